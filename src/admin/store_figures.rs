//! The connections of the order store, as JSON and as Prometheus text.

use serde_json::{Value, json};

use crate::ledger::Concerns;
use crate::orders::{LogFigures, PoolFigures};
use crate::telemetry::{Exposition, Kind};

/// The figures for `GET /api/v1/stats`.
pub(super) fn json(figures: &PoolFigures, log: Option<LogFigures>) -> Value {
    let PoolFigures { capacity, in_use, idle, opened, failed, broken, reused, waited, timed_out } = *figures;
    json!({
        "connections": { "capacity": capacity, "in_use": in_use, "idle": idle },
        "opened": opened,
        "failed": failed,
        "broken": broken,
        "reused": reused,
        "reuse_rate": reuse_rate(reused, opened),
        "waited": waited,
        "timed_out": timed_out,
        "log": log.map(|log| json!({
            "bytes": log.bytes,
            "bytes_max": log.bytes_max,
            "unfolded_bytes": log.unfolded_bytes,
            "times_full": log.times_full,
            "oldest_read_ms": log.oldest_read.map(|lasts| lasts.as_millis() as u64),
        })),
    })
}

/// The part of all uses that found a connection ready, to the thousandth; `null` before the first.
fn reuse_rate(reused: u64, opened: u64) -> Option<f64> {
    let uses = reused + opened;
    (uses > 0).then(|| (reused as f64 / uses as f64 * 1_000.0).round() / 1_000.0)
}

impl Exposition {
    /// The write-ahead log of an embedded store, and what keeps it from beginning anew.
    pub(super) fn log_of_store(&mut self, log: &LogFigures) {
        let oldest_read = log.oldest_read.unwrap_or_default().as_secs_f64();
        let gauges = [
            (
                "seckill_store_log_bytes",
                "The write-ahead log, from its beginning to the last commit.",
                log.bytes as f64,
            ),
            (
                "seckill_store_log_bytes_max",
                "The write-ahead log never grows beyond these.",
                log.bytes_max as f64,
            ),
            (
                "seckill_store_log_unfolded_bytes",
                "Of the log, what is not folded into the table file yet.",
                log.unfolded_bytes as f64,
            ),
            (
                "seckill_store_oldest_read_seconds",
                "For how long the oldest read of the store has lasted; 0 when there is none.",
                oldest_read,
            ),
        ];
        for (name, help, value) in gauges {
            self.family(name, Kind::Gauge, help);
            self.sample(name, &[], value);
        }
        const FULL: &str = "seckill_store_log_full_total";
        self.family(
            FULL,
            Kind::Counter,
            "Batches that found the log full and had to wait, each try counted.",
        );
        self.sample(FULL, &[], log.times_full as f64);
    }

    /// The figures for `GET /metrics`, and what an operator has to look after at the store.
    pub(super) fn store(&mut self, figures: &PoolFigures, concerns: &Concerns) {
        const CONCERN: &str = "seckill_store_concern";
        self.family(CONCERN, Kind::Gauge, "What an operator has to look after at the store, by its code.");
        for (code, _) in concerns.all() {
            self.sample(CONCERN, &[("code", code)], 1.0);
        }
        const CONNECTIONS: &str = "seckill_store_connections";
        self.family(CONNECTIONS, Kind::Gauge, "Connections for reading the order store, by what they do.");
        self.sample(CONNECTIONS, &[("state", "in_use")], figures.in_use as f64);
        self.sample(CONNECTIONS, &[("state", "idle")], figures.idle as f64);
        const CAPACITY: &str = "seckill_store_connections_max";
        self.family(CAPACITY, Kind::Gauge, "Connections for reading the order store that are kept at most.");
        self.sample(CAPACITY, &[], figures.capacity as f64);
        let counters = [
            (
                "opened",
                figures.opened,
                "Connections to the order store that were made, the writers' included.",
            ),
            ("failed", figures.failed, "Connections to the order store that could not be made."),
            (
                "broken",
                figures.broken,
                "Connections that were lost, or given up because an answer did not come.",
            ),
            ("reused", figures.reused, "Reads of the order store that found a connection ready."),
            ("waited", figures.waited, "Reads that had to wait because all connections were in use."),
            ("timed_out", figures.timed_out, "Reads that were refused after such a wait."),
        ];
        for (word, count, help) in counters {
            let name = format!("seckill_store_connections_{word}_total");
            self.family(&name, Kind::Counter, help);
            self.sample(&name, &[], count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reuse_rate_is_a_part_of_all_uses() {
        assert_eq!(reuse_rate(0, 0), None);
        assert_eq!(reuse_rate(0, 3), Some(0.0));
        assert_eq!(reuse_rate(2, 1), Some(0.667));
    }
}
