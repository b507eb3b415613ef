//! What the lender of this node's stock did, and how far the books of each sale are apart.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::recorder::Counter;
use crate::domain::SaleId;

/// How far the three books of a sale were apart when they were last compared, in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriftRecord {
    /// Held by this node, less on sale, in flight and durable.
    pub memory: i64,
    /// Durable orders that the ledger does not know of yet.
    pub unsettled: i64,
    /// Returned units that are not available again yet.
    pub unreturned: i64,
    /// Units of a changed stock that the ledger does not know of yet.
    pub unresized: i64,
    /// Units sold above what was lent.
    pub above_lease: i64,
    /// Whether the ledger has no valid book.
    pub lost: bool,
}

impl DriftRecord {
    /// The figures with their names in metrics and in the admin API.
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

/// What the lender of this node's stock did; all zero when this engine sells alone.
#[derive(Debug, Default)]
pub struct LenderRecords {
    /// Units that this node was lent.
    pub leased_units: Counter,
    /// Units that it handed back unsold.
    pub handed_back_units: Counter,
    /// Comparisons of the three books.
    pub comparisons: Counter,
    /// Movements that brought the ledger towards the store.
    pub repairs: Counter,
    /// Books that were opened anew.
    pub rebuilds: Counter,
    /// Silent nodes whose units of a sale were taken back.
    pub reclaims: Counter,
    /// How often this node was fenced and began another life.
    pub rejoins: Counter,
    /// Rounds of work that were cut short because Redis or the store did not answer.
    pub troubles: Counter,
    drift: Mutex<BTreeMap<SaleId, DriftRecord>>,
}

impl LenderRecords {
    /// Records a comparison.
    pub fn compared(&self, sale: SaleId, drift: DriftRecord) {
        self.comparisons.increment();
        self.drift.lock().insert(sale, drift);
    }

    /// The last comparison of each sale.
    pub fn drift(&self) -> BTreeMap<SaleId, DriftRecord> {
        self.drift.lock().clone()
    }
}
