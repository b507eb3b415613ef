//! What the lease agent of this node's stock did, and how far the books of each sale are apart.
//!
//! # Protocol of the atomic
//!
//! One task writes it; who shows it needs nothing else to be as new: relaxed.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use super::counter::Counter;
use crate::domain::SaleId;

/// How far the three books of a sale were apart when they were last compared: each kind of drift with its units.
pub type DriftKinds = [(&'static str, i64); 6];

/// What the lease agent of this node's stock did; all zero when this engine sells alone.
#[derive(Debug, Default)]
pub struct LeaseAgentRecords {
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
    /// The timeline that the order store is in; of an engine that shares it.
    pub store_timeline: Counter,
    /// Whether the order store has not answered this node for so long that it handed its unsold units back.
    pub cut_off: AtomicBool,
    drift: Mutex<BTreeMap<SaleId, DriftKinds>>,
}

impl LeaseAgentRecords {
    /// Records a comparison.
    pub fn compared(&self, sale: SaleId, drift: DriftKinds) {
        self.comparisons.increment();
        self.drift.lock().insert(sale, drift);
    }

    /// Forgets a sale that has ended.
    pub fn ended(&self, sale: SaleId) {
        self.drift.lock().remove(&sale);
    }

    /// The last comparison of each sale.
    pub fn drift(&self) -> BTreeMap<SaleId, DriftKinds> {
        self.drift.lock().clone()
    }
}
