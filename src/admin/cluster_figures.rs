//! What the nodes of a cluster tell each other of the last second, so that each one's console and live feed show all of them.
//! Who cannot be read is not in the sums, and not among the nodes: a figure is never older than some seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::admission::TallyCounts;
use crate::domain::{NodeId, SaleId};

/// What buyers of a sale met with, a second.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Rates {
    /// Purchases that were decided.
    pub arrivals: f64,
    /// Orders that were placed.
    pub wins: f64,
    /// Refusals by code, where there were any.
    pub refusals: BTreeMap<String, f64>,
}

impl Rates {
    /// Of what was counted in so long.
    pub fn of(counts: &TallyCounts, passed: Duration) -> Self {
        let per_s = |count: u64| count as f64 / passed.as_secs_f64();
        let refusals = counts.refusals().filter(|(_, count)| *count > 0);
        Self {
            arrivals: per_s(counts.arrivals()),
            wins: per_s(counts.wins()),
            refusals: refusals.map(|(code, count)| (code.to_owned(), per_s(count))).collect(),
        }
    }

    /// Those of another node as well.
    pub fn add(&mut self, other: &Self) {
        self.arrivals += other.arrivals;
        self.wins += other.wins;
        for (code, rate) in &other.refusals {
            *self.refusals.entry(code.clone()).or_default() += rate;
        }
    }
}

/// What a node tells.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct NodeFigures {
    /// Since its start.
    pub uptime_s: u64,
    /// Orders that wait for the store.
    pub queue: usize,
    /// How full its writers' queues are, in thousandths; 1,000 when the store takes nothing.
    #[serde(default)]
    pub load_permille: u32,
    /// Order events that wait to be sent to Redis; `None` where another node sends them, or the stream was not reached.
    #[serde(default)]
    pub relay_waiting: Option<u64>,
    /// Of all its sales.
    pub all: Rates,
    /// Of those where most buyers come, by the sale's number.
    pub sales: BTreeMap<u32, Rates>,
}

impl NodeFigures {
    /// Of one sale.
    pub fn of_sale(&self, sale: SaleId) -> Option<&Rates> {
        self.sales.get(&sale.0)
    }
}

/// Another node, as it was within the last seconds.
#[derive(Clone, Debug)]
pub(super) struct OtherNode {
    /// Its number.
    pub node: NodeId,
    /// What it told.
    pub figures: NodeFigures,
    /// Whether somebody watches there.
    pub is_watched: bool,
}

/// What this node knows of the others.
#[derive(Debug, Default)]
pub(super) struct Cluster(Mutex<Arc<Vec<OtherNode>>>);

impl Cluster {
    /// The other nodes, by number.
    pub fn others(&self) -> Arc<Vec<OtherNode>> {
        Arc::clone(&self.0.lock())
    }

    /// What they have told now.
    pub fn hear(&self, others: Vec<OtherNode>) {
        *self.0.lock() = Arc::new(others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_of_nodes_add_up_and_are_read_as_they_were_told() {
        let rates = |arrivals, wins, refusals: &[(&str, f64)]| Rates {
            arrivals,
            wins,
            refusals: refusals.iter().map(|(code, rate)| ((*code).to_owned(), *rate)).collect(),
        };
        let mut sum = rates(10.0, 1.0, &[("sold-out", 9.0)]);
        sum.add(&rates(5.5, 0.5, &[("sold-out", 3.0), ("sale-paused", 2.0)]));
        assert_eq!(sum, rates(15.5, 1.5, &[("sale-paused", 2.0), ("sold-out", 12.0)]));
        let told = NodeFigures {
            uptime_s: 7,
            queue: 3,
            load_permille: 250,
            relay_waiting: Some(12),
            all: sum.clone(),
            sales: [(4, sum)].into(),
        };
        let text = serde_json::to_string(&told).unwrap();
        let read: NodeFigures = serde_json::from_str(&text).unwrap();
        assert_eq!(read, told);
        assert_eq!(read.of_sale(SaleId(4)).map(|rates| rates.wins), Some(1.5));
        assert_eq!(read.of_sale(SaleId(5)), None);
        // An engine of the version before.
        let older = text.replace("\"load_permille\":250,", "").replace("\"relay_waiting\":12,", "");
        let older: NodeFigures = serde_json::from_str(&older).unwrap();
        assert_eq!(older, NodeFigures { load_permille: 0, relay_waiting: None, ..told });
    }
}
