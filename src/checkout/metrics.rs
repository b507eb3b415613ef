//! What checkout counts, for whoever reads metrics.
//!
//! # Protocol of the atomics
//!
//! Each number stands for itself, decides nothing and publishes nothing: all relaxed. A reader may see one payment in
//! one number and not yet in another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::telemetry::{AtomicHistogram, HistogramSnapshot, Layout};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls of a remote service, retries included in each.
#[derive(Debug)]
pub struct CallCounts {
    /// Calls that were answered.
    pub answered: Count,
    /// Calls that failed, after all tries.
    pub failed: Count,
    answered_took: AtomicHistogram,
    failed_took: AtomicHistogram,
}

impl Default for CallCounts {
    fn default() -> Self {
        let took = || AtomicHistogram::new(Layout::LATENCY);
        Self {
            answered: Count::default(),
            failed: Count::default(),
            answered_took: took(),
            failed_took: took(),
        }
    }
}

impl CallCounts {
    /// The time spent in all calls together, in microseconds. Calls that were given up half-way are not in it.
    pub fn time_us(&self) -> u64 {
        self.took().iter().map(|(_, took)| took.sum / 1_000).sum()
    }

    /// How long calls took, tries and pauses between them included, in nanoseconds: by how they ended.
    pub fn took(&self) -> [(&'static str, HistogramSnapshot); 2] {
        [("answered", &self.answered_took), ("failed", &self.failed_took)].map(|(result, took)| {
            let mut snapshot = HistogramSnapshot::empty(Layout::LATENCY);
            took.add_to(&mut snapshot);
            (result, snapshot)
        })
    }

    pub(super) fn add(&self, is_answered: bool, took: Duration) {
        let (count, times) = match is_answered {
            true => (&self.answered, &self.answered_took),
            false => (&self.failed, &self.failed_took),
        };
        count.add_one();
        times.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// The counts. Every payment that was begun ends in one of the first six.
#[derive(Debug, Default)]
pub struct CheckoutMetrics {
    /// Payments that ended paid at the first go.
    pub paid: Count,
    /// Payments that the bank declined.
    pub declined: Count,
    /// Payments that the risk check rejected, before or after they were begun.
    pub risk_rejected: Count,
    /// Payments given up because gateway, risk service or store was away.
    pub unavailable: Count,
    /// Payments whose order could no longer be paid: expired, cancelled or paid already.
    pub too_late: Count,
    /// Payments whose outcome was left to recovery.
    pub left_to_recovery: Count,
    /// Payments not begun because a breaker was open or a limit was reached.
    pub refused: Count,
    /// Payments that recovery found, or made, paid.
    pub recovered_paid: Count,
    /// Payments that recovery found not to have happened, or took back.
    pub recovered_back: Count,
    /// Attempts of recovery that ended without an outcome.
    pub recovery_retries: Count,
    /// Orders that expired.
    pub expired: Count,
    /// Orders that their buyers cancelled.
    pub cancelled: Count,
    /// Payments and refunds that an operator ended by hand.
    pub settled_by_operator: Count,
    /// Refunds that were made at the first go.
    pub refunded: Count,
    /// Refunds that came to nothing: the gateway refused them, or could not be asked.
    pub refunds_dropped: Count,
    /// Refunds whose outcome was left to recovery.
    pub refunds_left_to_recovery: Count,
    /// Refunds that recovery found, or had, made or refused.
    pub refunds_recovered: Count,
    /// Refunds that were recorded as made by another way than the gateway.
    pub refunded_by_hand: Count,
    /// Answers of a gateway that cannot be true of the payment they are about.
    pub contradictions: Count,
    /// Answers of a gateway that it works on a payment and will know later.
    pub processing: Count,
    /// Calls of the payment gateway.
    pub gateway: CallCounts,
    /// Risk checks, those the cached policy decided included.
    pub risk: CallCounts,
}
