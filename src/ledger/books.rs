//! The three books of a sale side by side: this node's memory, the ledger, the order store.

use super::lease::{Book, Drift, MemoryView};
use crate::domain::SaleUnits;

/// What the ledger has of a sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerBook {
    /// There is no other ledger than this engine's memory.
    Embedded,
    /// It does not answer.
    Unavailable,
    /// Its book; it may say itself that it is not valid.
    Read(Book),
}

/// The books as they were read, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreeBooks {
    /// What this node has; `None` when nobody could be asked.
    pub memory: Option<MemoryView>,
    /// What is lent to whom.
    pub ledger: LedgerBook,
    /// What is sold, by whom.
    pub store: SaleUnits,
    /// How far they are apart; `None` when one of them is missing.
    pub drift: Option<Drift>,
}

impl ThreeBooks {
    /// The books of an engine that sells alone, which has `on_sale` units and `in_flight` orders on their way.
    pub fn embedded(on_sale: u64, in_flight: u64, store: SaleUnits) -> Self {
        let held = store.total;
        let in_memory = on_sale + in_flight + store.sold;
        let drift = Drift { memory: held as i64 - in_memory as i64, ..Drift::default() };
        Self {
            memory: Some(MemoryView { on_sale, in_flight, held }),
            ledger: LedgerBook::Embedded,
            store,
            drift: Some(drift),
        }
    }
}
