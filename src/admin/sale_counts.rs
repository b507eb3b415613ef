//! Where the units of sales are, counted in the store for those who watch: now and then, and never for long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::admission::Sales;
use crate::domain::SaleId;
use crate::orders::Audit;

/// A sale that buyers come to is counted as often as this, others less often.
pub(super) const COUNT_EVERY: Duration = Duration::from_secs(1);
pub(super) const COUNT_IDLE_EVERY: Duration = Duration::from_secs(5);
/// Counting ends for now after so long; the sales that were counted longest ago come first the next time.
pub(super) const COUNTING_MAX: Duration = Duration::from_millis(250);

/// Where a sale's units were when they were last counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub at: Instant,
    pub took: Duration,
    pub audit: Audit,
    pub conserved: bool,
}

/// The last count of each sale that somebody watches.
#[derive(Debug, Default)]
pub(super) struct SaleCounts(Mutex<HashMap<SaleId, Counted>>);

impl SaleCounts {
    /// The last count of a sale, if it has been counted.
    pub fn of(&self, sale: SaleId) -> Option<Counted> {
        self.0.lock().get(&sale).copied()
    }

    /// Forgets all sales but those of the board.
    pub fn keep(&self, board: &Sales) {
        self.0.lock().retain(|id, _| board.by_id(*id).is_some());
    }

    /// Keeps a count.
    pub fn set(&self, sale: SaleId, counted: Counted) {
        self.0.lock().insert(sale, counted);
    }
}
