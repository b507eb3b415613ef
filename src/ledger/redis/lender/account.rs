//! A sale as the clerk knows it.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::super::books::ThreeBooks;
use super::super::holding::Holding;
use super::super::movements::{Reply, Snapshot};
use super::super::store::StoreView;
use super::super::withholding::Withholding;
use crate::domain::Units;

/// A sale as the clerk knows it.
pub struct Account {
    pub holding: Holding,
    /// The book as the last answer told.
    pub last: Option<Reply>,
    /// Units of the last lease.
    pub chunk: u64,
    pub ask_at: Instant,
    pub reconcile_at: Instant,
    pub tail_at: Instant,
    pub behind_since: Option<Instant>,
    /// The store refused to sell what this node held: all of it goes back at the next registration.
    pub surrender: bool,
    /// When the ledger said that the sale is over; until the buyers are told.
    pub over_since: Option<Instant>,
    /// Buyers were refused for want of units, and the ledger had none to lend.
    pub asked_in_vain: bool,
    /// Comparisons in a row that found everything as it was.
    pub quiet: u32,
    /// Store and ledger at the last comparison.
    pub seen: Option<(StoreView, Snapshot)>,
    /// Units on sale here at the last look.
    pub on_sale: Units,
    /// Units that are kept off sale for an operator who lowers the stock.
    pub withholding: Option<Withholding>,
    /// Who wants to see the books when they are compared next.
    pub onlookers: Vec<oneshot::Sender<ThreeBooks>>,
}

impl Account {
    pub fn new(now: Instant) -> Self {
        Self {
            holding: Holding::new(),
            last: None,
            chunk: 0,
            ask_at: now,
            reconcile_at: now,
            tail_at: now,
            behind_since: None,
            surrender: false,
            over_since: None,
            asked_in_vain: false,
            quiet: 0,
            seen: None,
            on_sale: 0,
            withholding: None,
            onlookers: Vec::new(),
        }
    }

    /// Units that the ledger may lend, as far as the last answer told.
    pub fn available(&self) -> i64 {
        self.last.as_ref().map_or(0, |reply| reply.available)
    }

    /// Something happens: it is looked at as often as any other sale.
    pub fn wake(&mut self, reconcile_at: Instant) {
        self.quiet = 0;
        self.reconcile_at = self.reconcile_at.min(reconcile_at);
    }

    pub fn withheld(&self) -> u64 {
        self.withholding.as_ref().map_or(0, |withholding| withholding.units)
    }
}
