//! Three books of one sale compared: the node's memory, the ledger in Redis, the order store. A pure function; what it
//! finds is shown as a metric, and repaired by the protocol's own movements, never overwritten.

use super::holding::Holding;
use super::movements::Snapshot;
use super::store::StoreView;
use crate::domain::NodeId;

/// What this node has in memory of one sale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryView {
    /// Units on sale here.
    pub on_sale: u64,
    /// Units of orders on their way to the store.
    pub in_flight: u64,
    /// Units that it was lent and has not handed back, sold ones included.
    pub held: u64,
}

impl MemoryView {
    /// The memory of a node that counts in `holding`.
    pub fn new(holding: &Holding, on_sale: u64, in_flight: u64) -> Self {
        Self { on_sale, in_flight, held: holding.held() }
    }
}

/// How far the three books are apart, in units. All zero means that every unit is where it should be. While orders are
/// on their way, `memory` and `unsettled` show them for a moment; what stays is drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Held by this node, less on sale, in flight and durable: units that memory has lost (or, negative, invented).
    pub memory: i64,
    /// Durable orders of all nodes that the ledger does not know of yet.
    pub unsettled: i64,
    /// Returned units that are not available again yet.
    pub unreturned: i64,
    /// Units that the store has on sale and the ledger does not, after a change of the stock.
    pub unresized: i64,
    /// Units sold above what was lent: it should not happen.
    pub above_lease: i64,
    /// Whether the ledger has no valid book.
    pub lost: bool,
}

impl Drift {
    /// Whether nothing is amiss.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Each kind with its name in metrics and in the admin API.
    pub fn kinds(&self) -> [(&'static str, i64); 6] {
        [
            ("memory", self.memory),
            ("unsettled", self.unsettled),
            ("unreturned", self.unreturned),
            ("unresized", self.unresized),
            ("above_lease", self.above_lease),
            ("lost", self.lost.into()),
        ]
    }
}

/// Compares the books of one sale as node `node` sees them.
pub fn compare(node: NodeId, memory: MemoryView, ledger: &Snapshot, store: &StoreView) -> Drift {
    let in_memory = memory.on_sale + memory.in_flight + store.settled_by(node);
    Drift { memory: memory.held as i64 - in_memory as i64, ..compare_outside(ledger, store) }
}

/// Compares the ledger with the store, whatever the nodes have in memory.
pub fn compare_outside(ledger: &Snapshot, store: &StoreView) -> Drift {
    let mut drift = Drift { lost: ledger.lost || ledger.epoch != store.epoch, ..Drift::default() };
    if drift.lost {
        return drift;
    }
    drift.unreturned = store.returned as i64 - ledger.returned as i64;
    drift.unresized = store.total as i64 - ledger.total as i64;
    for (node, durable) in &store.settled {
        let line = ledger.lines.get(node).copied().unwrap_or_default();
        drift.unsettled += *durable as i64 - line.settled as i64;
        let lent = line.granted as i64 - line.handed_back as i64;
        if !line.awaited {
            drift.above_lease += (*durable as i64 - lent).max(0);
        }
    }
    drift
}

#[cfg(test)]
mod tests {
    use super::super::movements::Line;
    use super::*;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn sound() -> (MemoryView, Snapshot, StoreView) {
        let line = |granted, handed_back, settled| Line { granted, handed_back, settled, ..Line::default() };
        let memory = MemoryView { on_sale: 2, in_flight: 1, held: 7 };
        let lines = [(node(1), line(8, 1, 4)), (node(2), line(3, 0, 3))].into();
        let ledger = Snapshot { epoch: 2, total: 20, returned: 1, lines, ..Snapshot::default() };
        let settled = vec![(node(1), 4), (node(2), 3)];
        let store = StoreView { epoch: 2, total: 20, revision: 1, sold: 6, returned: 1, settled };
        (memory, ledger, store)
    }

    #[test]
    fn books_that_agree_show_no_drift() {
        let (memory, ledger, store) = sound();
        assert!(compare(node(1), memory, &ledger, &store).is_none());
        assert_eq!(ledger.available() + ledger.leased() + ledger.sold(), 20);
    }

    #[test]
    fn each_difference_is_named() {
        let (memory, ledger, store) = sound();
        let short = MemoryView { on_sale: 1, ..memory };
        assert_eq!(compare(node(1), short, &ledger, &store).memory, 1);
        let later = StoreView { settled: vec![(node(1), 4), (node(2), 5)], ..store.clone() };
        let drift = compare(node(1), memory, &ledger, &later);
        assert_eq!((drift.unsettled, drift.above_lease), (2, 2));
        let returned = StoreView { returned: 3, total: 25, ..store.clone() };
        let drift = compare(node(1), memory, &ledger, &returned);
        assert_eq!((drift.unreturned, drift.unresized), (2, 5));
        assert!(compare(node(1), memory, &Snapshot { lost: true, ..ledger }, &store).lost);
    }
}
