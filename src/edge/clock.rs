//! The two clocks of a request, read together.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::admission::Moment;
use crate::domain::{EpochMs, Nanos};

/// Reads both clocks. Copies of one clock count from the same start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose stopwatch starts now. The process has one: token buckets compare its readings.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks.
    pub fn now(&self) -> Moment {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { wall: EpochMs(since_epoch.as_millis() as i64), mono: self.stopwatch() }
    }

    /// The stopwatch alone.
    pub fn stopwatch(&self) -> Nanos {
        Nanos(self.start.elapsed().as_nanos() as u64)
    }
}
