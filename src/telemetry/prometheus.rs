//! The engine's figures on a page for Prometheus.

use super::edge_load::{Dear, EdgeLoad, listen_overflows};
use super::exposition::{Exposition, Kind};
use super::http2::Http2End;
use super::outcome::{Outcome, Path};
use super::recorder::Telemetry;
use super::refused_tokens::TokenFault;
use crate::domain::Nanos;

const NANOS_PER_SECOND: f64 = 1e9;

impl Exposition {
    /// The requests of the edge: latency and number by path and code, connections.
    pub fn requests(&mut self, telemetry: &Telemetry) {
        const DURATION: &str = "seckill_request_duration_seconds";
        const REQUESTS: &str = "seckill_requests_total";
        let mut counts = Vec::new();
        self.family(
            DURATION,
            Kind::Histogram,
            "From the socket to the decision, the durable order or the answer.",
        );
        for path in Path::ALL {
            for &outcome in path.outcomes() {
                let snapshot = telemetry.outcome(path, outcome);
                let labels = [("path", path.name()), ("code", outcome.code())];
                self.latencies(DURATION, &labels, &snapshot);
                counts.push((path.name(), outcome.code(), snapshot.count()));
            }
        }
        for outcome in Outcome::ALL {
            let count = telemetry.count_elsewhere(outcome);
            if count > 0 {
                counts.push(("elsewhere", outcome.code(), count));
            }
        }
        self.family(REQUESTS, Kind::Counter, "Requests by what became of them.");
        for (path, code, count) in counts {
            self.sample(REQUESTS, &[("path", path), ("code", code)], count as f64);
        }

        const OPEN: &str = "seckill_edge_connections";
        self.family(OPEN, Kind::Gauge, "Connections that are open at the edge.");
        self.sample(OPEN, &[], telemetry.edge_connections.value() as f64);
        const REFUSED: &str = "seckill_edge_connections_refused_total";
        self.family(
            REFUSED,
            Kind::Counter,
            "Connections closed at once because as many were open as may be.",
        );
        self.sample(REFUSED, &[], telemetry.edge_connections_refused.value() as f64);
        const HANDSHAKES: &str = "seckill_edge_tls_handshakes_total";
        self.family(HANDSHAKES, Kind::Counter, "TLS handshakes at the edge by how they ended.");
        for (word, count) in telemetry.tls.by_word() {
            self.sample(HANDSHAKES, &[("outcome", word)], count as f64);
        }
        const HTTP2: &str = "seckill_edge_http2_connections";
        self.family(HTTP2, Kind::Gauge, "Connections at the edge that speak HTTP/2.");
        self.sample(HTTP2, &[], telemetry.http2.connections.value() as f64);
        const ENDED: &str = "seckill_edge_http2_ended_total";
        self.family(ENDED, Kind::Counter, "HTTP/2 connections that were ended for what their clients did.");
        for why in Http2End::ALL {
            self.sample(ENDED, &[("reason", why.word())], telemetry.http2.count(why) as f64);
        }
        self.edge_load(&telemetry.edge_load);
    }

    /// How busy the serving threads are, and what is refused because of it.
    fn edge_load(&mut self, load: &EdgeLoad) {
        const WAIT: &str = "seckill_edge_read_wait_seconds";
        let help =
            "How long what had arrived waited until its thread read it, looked at some dozen times a second.";
        self.family(WAIT, Kind::Histogram, help);
        self.latencies(WAIT, &[], &load.waits());
        const BUSY: &str = "seckill_edge_thread_busy_seconds_total";
        let help = "Time of a serving thread on a processor; its rate is the share of time that it is busy.";
        self.thread_times(BUSY, help, load.times().map(|(busy, _)| busy));
        const STARVED: &str = "seckill_edge_thread_starved_seconds_total";
        let help = "Time of a serving thread that was ready and had no processor.";
        self.thread_times(STARVED, help, load.times().map(|(_, starved)| starved));
        const RATIO: &str = "seckill_edge_shed_ratio";
        self.family(RATIO, Kind::Gauge, "Share of what is dear that the busiest serving thread refuses now.");
        for dear in Dear::ALL {
            self.sample(RATIO, &[("kind", dear.word())], load.share(dear));
        }
        const SHED: &str = "seckill_edge_shed_total";
        self.family(SHED, Kind::Counter, "Requests refused because purchases would have had to wait.");
        for dear in Dear::ALL {
            self.sample(SHED, &[("kind", dear.word())], load.shed(dear) as f64);
        }
        let Some(overflows) = listen_overflows() else { return };
        const OVERFLOWS: &str = "seckill_listen_overflows_total";
        let help = "Connections that the kernel dropped because a listener's queue was full; of all programs, since the \
                    machine's start.";
        self.family(OVERFLOWS, Kind::Counter, help);
        self.sample(OVERFLOWS, &[], overflows as f64);
    }

    fn thread_times(&mut self, name: &str, help: &str, times: impl Iterator<Item = Nanos>) {
        self.family(name, Kind::Counter, help);
        for (number, time) in times.enumerate() {
            self.sample(name, &[("thread", &number.to_string())], time.0 as f64 / NANOS_PER_SECOND);
        }
    }

    /// The order writers: batch size, commit time, failures.
    pub fn writers(&mut self, telemetry: &Telemetry) {
        let writers = &telemetry.writers;
        const BATCH: &str = "seckill_batch_orders";
        self.family(BATCH, Kind::Histogram, "Orders and their steps in one transaction.");
        self.sizes(BATCH, &[], &writers.batch_orders());
        const COMMIT: &str = "seckill_commit_duration_seconds";
        self.family(COMMIT, Kind::Histogram, "One transaction of the order store.");
        self.latencies(COMMIT, &[], &writers.commit());
        const FAILED: &str = "seckill_failed_batches_total";
        self.family(FAILED, Kind::Counter, "Batches that the order store did not take, each try counted.");
        self.sample(FAILED, &[], writers.failed_batches.value() as f64);
    }

    /// The write-ahead log of an embedded store: what was synced and folded, and for how long somebody waited.
    pub fn store_log(&mut self, telemetry: &Telemetry) {
        const SYNC: &str = "seckill_store_sync_duration_seconds";
        self.family(SYNC, Kind::Histogram, "One sync of the embedded order store, by its file.");
        for (file, snapshot) in telemetry.store_log.syncs() {
            self.latencies(SYNC, &[("file", file)], &snapshot);
        }
        const FOLD: &str = "seckill_store_fold_duration_seconds";
        self.family(
            FOLD,
            Kind::Histogram,
            "One fold of the log into the table file, by the thread that did it.",
        );
        for (by, snapshot) in telemetry.store_log.folds() {
            self.latencies(FOLD, &[("by", by)], &snapshot);
        }
    }

    /// Spans by what became of them.
    pub fn traces(&mut self, telemetry: &Telemetry) {
        const SPANS: &str = "seckill_trace_spans_total";
        self.family(SPANS, Kind::Counter, "Spans that were recorded, by what became of them.");
        for (word, count) in telemetry.traces.by_word() {
            self.sample(SPANS, &[("outcome", word)], count as f64);
        }
    }

    /// Tokens of buyers that did not count, by reason.
    pub fn refused_tokens(&mut self, telemetry: &Telemetry) {
        const REFUSED: &str = "seckill_edge_tokens_refused_total";
        self.family(REFUSED, Kind::Counter, "Tokens of buyers that did not count, by reason.");
        for fault in TokenFault::ALL {
            let count = telemetry.refused_tokens.value(fault);
            self.sample(REFUSED, &[("reason", fault.code())], count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(fill: impl FnOnce(&Telemetry)) -> String {
        let telemetry = Telemetry::new(2);
        fill(&telemetry);
        let mut page = Exposition::default();
        page.requests(&telemetry);
        page.writers(&telemetry);
        page.store_log(&telemetry);
        page.into_text()
    }

    /// The value of the sample with exactly this name and label set.
    fn value(page: &str, sample: &str) -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no sample {sample}")).parse().unwrap()
    }

    #[test]
    fn buckets_are_cumulative_and_end_in_the_count() {
        let page = page(|t| {
            for micros in [10, 60, 900, 4_900, 250_000, 20_000_000] {
                t.recorder(micros as usize).record(Path::Seckill, Outcome::Won, micros * 1_000);
            }
        });
        let bucket = |le: &str| {
            let name = "seckill_request_duration_seconds_bucket";
            value(&page, &format!("{name}{{path=\"seckill\",code=\"won\",le=\"{le}\"}}"))
        };
        let bounds = ["0.00005", "0.0001", "0.0005", "0.001", "0.005", "0.1", "0.3", "10", "+Inf"];
        assert_eq!(bounds.map(bucket), [1., 2., 2., 3., 4., 4., 5., 5., 6.]);
        let labels = "{path=\"seckill\",code=\"won\"}";
        assert_eq!(value(&page, &format!("seckill_request_duration_seconds_count{labels}")), 6.0);
        assert_eq!(value(&page, &format!("seckill_requests_total{labels}")), 6.0);
        assert_eq!(value(&page, &format!("seckill_request_duration_seconds_sum{labels}")), 20.255_87);
    }

    #[test]
    fn each_family_is_announced_once_and_each_sample_belongs_to_the_last_one() {
        let page = page(|t| {
            t.recorder(0).count(Outcome::NotFound);
            t.writers.record_batch(3, 1_000_000);
        });
        let (mut family, mut seen) = (String::new(), std::collections::HashSet::new());
        for line in page.lines() {
            if let Some(heading) = line.strip_prefix("# TYPE ") {
                family = heading.split(' ').next().unwrap().to_owned();
                assert!(seen.insert(family.clone()), "{family} is announced twice");
            } else if !line.starts_with('#') {
                let (name, number) = line.rsplit_once(' ').unwrap();
                let name = name.split('{').next().unwrap();
                let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{name} in {family}"));
                assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
                assert!(number.parse::<f64>().unwrap() >= 0.0);
            }
        }
        assert_eq!(value(&page, "seckill_requests_total{path=\"elsewhere\",code=\"not-found\"}"), 1.0);
        assert_eq!(value(&page, "seckill_batch_orders_bucket{le=\"2\"}"), 0.0);
        assert_eq!(value(&page, "seckill_batch_orders_bucket{le=\"4\"}"), 1.0);
    }
}
