//! The Prometheus text format, version 0.0.4, and the engine's figures in it.

use std::fmt::Write;

use super::edge_load::{Dear, EdgeLoad, listen_overflows};
use super::histogram::HistogramSnapshot;
use super::http2::Http2End;
use super::outcome::{Outcome, Path};
use super::recorder::Telemetry;
use super::refused_tokens::TokenFault;
use crate::domain::Nanos;

/// The `Content-Type` of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const NANOS_PER_SECOND: f64 = 1e9;

/// Upper bounds of the latency buckets in nanoseconds. The usual objectives of a P99 (1, 5, 10, 50, 100 and 300 ms)
/// are among them, so that "how many requests kept it" is read and not interpolated.
const LATENCY_BOUNDS: [u64; 18] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    300_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Upper bounds of the batch size buckets.
const SIZE_BOUNDS: [u64; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];

/// What a family of samples is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

/// A page in the text format, under construction. Write each family as a whole, heading first.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Starts the family `name`.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family that was started last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            self.text.push(if n == 0 { '{' } else { ',' });
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// The samples of one histogram whose values are divided by `unit`, with these upper bounds (undivided, growing).
    ///
    /// A value is counted under a bound when all values that the histogram cannot tell from it are: near a bound the
    /// count may be low by the histogram's resolution of one in a thousand, never high.
    fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        snapshot: &HistogramSnapshot,
        bounds: &[u64],
        unit: f64,
    ) {
        let bucket = format!("{name}_bucket");
        let mut recorded = snapshot.histogram.iter_recorded().peekable();
        let mut below = 0;
        for &bound in bounds {
            while let Some(step) = recorded.next_if(|step| step.value_iterated_to() <= bound) {
                below += step.count_since_last_iteration();
            }
            let le = (bound as f64 / unit).to_string();
            self.sample(&bucket, &[labels, &[("le", &le)]].concat(), below as f64);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), snapshot.count() as f64);
        self.sample(&format!("{name}_sum"), labels, snapshot.sum as f64 / unit);
        self.sample(&format!("{name}_count"), labels, snapshot.count() as f64);
    }

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
                self.histogram(DURATION, &labels, &snapshot, &LATENCY_BOUNDS, NANOS_PER_SECOND);
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
        self.histogram(WAIT, &[], &load.waits(), &LATENCY_BOUNDS, NANOS_PER_SECOND);
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
        self.histogram(BATCH, &[], &writers.batch_orders(), &SIZE_BOUNDS, 1.0);
        const COMMIT: &str = "seckill_commit_duration_seconds";
        self.family(COMMIT, Kind::Histogram, "One transaction of the order store.");
        self.histogram(COMMIT, &[], &writers.commit(), &LATENCY_BOUNDS, NANOS_PER_SECOND);
        const FAILED: &str = "seckill_failed_batches_total";
        self.family(FAILED, Kind::Counter, "Batches that the order store did not take, each try counted.");
        self.sample(FAILED, &[], writers.failed_batches.value() as f64);
    }

    /// The write-ahead log of an embedded store: what was synced and folded, and for how long somebody waited.
    pub fn store_log(&mut self, telemetry: &Telemetry) {
        const SYNC: &str = "seckill_store_sync_duration_seconds";
        self.family(SYNC, Kind::Histogram, "One sync of the embedded order store, by its file.");
        for (file, snapshot) in telemetry.store_log.syncs() {
            self.histogram(SYNC, &[("file", file)], &snapshot, &LATENCY_BOUNDS, NANOS_PER_SECOND);
        }
        const FOLD: &str = "seckill_store_fold_duration_seconds";
        self.family(
            FOLD,
            Kind::Histogram,
            "One fold of the log into the table file, by the thread that did it.",
        );
        for (by, snapshot) in telemetry.store_log.folds() {
            self.histogram(FOLD, &[("by", by)], &snapshot, &LATENCY_BOUNDS, NANOS_PER_SECOND);
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

    /// The page.
    pub fn into_text(self) -> String {
        self.text
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
    fn label_values_and_help_are_escaped() {
        let mut page = Exposition::default();
        page.family("x", Kind::Gauge, "one\ntwo \\ three");
        page.sample("x", &[("a", "quote \" slash \\ line\n")], 1.5);
        assert_eq!(
            page.into_text(),
            "# HELP x one\\ntwo \\\\ three\n# TYPE x gauge\nx{a=\"quote \\\" slash \\\\ line\\n\"} 1.5\n"
        );
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
    fn the_objectives_are_bucket_bounds() {
        for objective_ms in [1, 5, 10, 50, 100, 300] {
            assert!(LATENCY_BOUNDS.contains(&(objective_ms * 1_000_000)));
        }
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
