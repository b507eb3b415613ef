//! Payments and refunds under way that do not end by themselves soon, and why: what an operator is shown.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::gateway::AttemptId;
use super::payment_outcome::Doubt;

/// The payments that wait for something, by what it is.
#[derive(Debug, Default)]
pub(super) struct StuckPayments(Mutex<HashMap<AttemptId, Doubt>>);

/// How many payments wait for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StuckPaymentCounts {
    /// The gateway works on them.
    pub processing: usize,
    /// The gateway tells what cannot be true of them: a person must look.
    pub contradicted: usize,
    /// Their gateway is not configured here.
    pub without_gateway: usize,
}

impl StuckPayments {
    /// Keeps in mind what is in doubt of a payment, or of its refund, now.
    pub(super) fn note(&self, payment: AttemptId, doubt: Option<Doubt>) {
        match doubt {
            Some(doubt @ (Doubt::Processing | Doubt::Contradiction | Doubt::NoGateway)) => {
                self.0.lock().insert(payment, doubt);
            }
            // Silence says nothing about what was wrong before.
            Some(_) => {}
            None => self.forget(payment),
        }
    }

    /// The payment has ended.
    pub(super) fn forget(&self, payment: AttemptId) {
        self.0.lock().remove(&payment);
    }

    pub(super) fn counts(&self) -> StuckPaymentCounts {
        let mut counts = StuckPaymentCounts::default();
        for doubt in self.0.lock().values() {
            match doubt {
                Doubt::Processing => counts.processing += 1,
                Doubt::Contradiction => counts.contradicted += 1,
                Doubt::NoGateway => counts.without_gateway += 1,
                Doubt::Gateway | Doubt::Risk | Doubt::Store => {}
            }
        }
        counts
    }
}
