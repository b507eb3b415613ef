//! How far this node's memory has followed the store.

use std::time::Instant;

use parking_lot::Mutex;

/// The moment up to which memory knows every durable order. One hand writes it, the follower's.
#[derive(Debug, Default)]
pub(super) struct AppliedWatermark(Mutex<Option<Instant>>);

impl AppliedWatermark {
    /// Everything that was durable at `moment` has been taken over.
    pub fn advance(&self, moment: Instant) {
        *self.0.lock() = Some(moment);
    }

    /// Up to when everything has been taken over; `None` before the first time.
    pub fn reached(&self) -> Option<Instant> {
        *self.0.lock()
    }
}
