//! The connections of the order store, as JSON and as Prometheus text.

use serde_json::{Value, json};

use crate::ledger::Concerns;
use crate::orders::PoolFigures;
use crate::telemetry::{Exposition, Kind};

/// The figures for `GET /api/v1/stats`.
pub(super) fn json(figures: &PoolFigures) -> Value {
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
    })
}

/// The part of all uses that found a connection ready, to the thousandth; `null` before the first.
fn reuse_rate(reused: u64, opened: u64) -> Option<f64> {
    let uses = reused + opened;
    (uses > 0).then(|| (reused as f64 / uses as f64 * 1_000.0).round() / 1_000.0)
}

impl Exposition {
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
