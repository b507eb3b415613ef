//! How many deliveries an engine has attempted, to be shown.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Attempts at deliveries to one endpoint, by this engine. Only shown; relaxed.
#[derive(Debug, Default)]
pub struct Deliveries {
    taken: AtomicU64,
    failed: AtomicU64,
}

impl Deliveries {
    pub(super) fn count(&self, is_taken: bool) {
        let counter = if is_taken { &self.taken } else { &self.failed };
        counter.fetch_add(1, Relaxed);
    }

    /// Those that were taken, and those that failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.taken.load(Relaxed), self.failed.load(Relaxed))
    }
}
