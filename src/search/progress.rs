//! How writing goes, to be shown.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::EpochMs;

/// What this engine has written, and what waits. Only shown; relaxed.
#[derive(Debug, Default)]
pub struct Progress {
    written: AtomicU64,
    removed: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
    late: AtomicUsize,
    refusals: AtomicUsize,
    is_writer: AtomicBool,
    moments: Mutex<Moments>,
}

#[derive(Clone, Debug, Default)]
struct Moments {
    late_since: Option<Instant>,
    last_written: Option<EpochMs>,
    last_failure: Option<(EpochMs, String)>,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Whether this engine is the one that writes.
    pub is_writer: bool,
    /// Documents written since the start.
    pub written: u64,
    /// Documents removed since the start.
    pub removed: u64,
    /// Documents that were refused since the start.
    pub refused: u64,
    /// Requests that failed since the start.
    pub failures: u64,
    /// Documents that wait.
    pub late: usize,
    /// Documents that the index does not take as they are.
    pub refusals: usize,
    /// For how long the oldest of those that wait has, in seconds.
    pub lag_s: f64,
    /// When the index last took something.
    pub last_written: Option<EpochMs>,
    /// When it last did not, and why.
    pub last_failure: Option<(EpochMs, String)>,
}

impl Progress {
    /// How it stands now.
    pub fn standing(&self) -> Standing {
        let Moments { late_since, last_written, last_failure } = self.moments.lock().clone();
        Standing {
            is_writer: self.is_writer.load(Relaxed),
            written: self.written.load(Relaxed),
            removed: self.removed.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failures: self.failures.load(Relaxed),
            late: self.late.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
            lag_s: late_since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
            last_written,
            last_failure,
        }
    }

    pub(super) fn count_taken(&self, is_removal: bool, at: EpochMs) {
        let counter = if is_removal { &self.removed } else { &self.written };
        counter.fetch_add(1, Relaxed);
        self.moments.lock().last_written = Some(at);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn count_failure(&self, at: EpochMs, why: String) {
        self.failures.fetch_add(1, Relaxed);
        self.moments.lock().last_failure = Some((at, why));
    }

    /// What waits, since when, and how many the index does not take.
    pub(super) fn show(&self, late: usize, since: Option<Instant>, refusals: usize) {
        self.late.store(late, Relaxed);
        self.refusals.store(refusals, Relaxed);
        self.moments.lock().late_since = since;
    }

    pub(super) fn set_writer(&self, is_writer: bool) {
        self.is_writer.store(is_writer, Relaxed);
    }
}
