//! What checkout counts, for whoever reads metrics.
//!
//! # Protocol of the atomics
//!
//! Each number stands for itself, decides nothing and publishes nothing: all relaxed. A reader may see one payment in
//! one number and not yet in another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
#[derive(Debug, Default)]
pub struct CallCounts {
    /// Calls that were answered.
    pub answered: Count,
    /// Calls that failed, after all tries.
    pub failed: Count,
    time_us: AtomicU64,
}

impl CallCounts {
    /// The time spent in all calls together, in microseconds. Calls that were given up half-way are not in it.
    pub fn time_us(&self) -> u64 {
        self.time_us.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, is_answered: bool, took: Duration) {
        if is_answered { &self.answered } else { &self.failed }.add_one();
        self.time_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
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
