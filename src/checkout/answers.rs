//! What buyers hear who want to pay an order, or to give it up.

use super::payment_outcome::{PaymentOutcome, Why};
use crate::domain::{Order, OrderStatus};

/// When to come back if nothing better is known, in ms.
pub(super) const RETRY_AFTER_MS: u64 = 1_000;

/// What a buyer hears who wants to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayAnswer {
    /// The order is durably paid, now or since an earlier payment.
    Paid(Order),
    /// The payment is under way or its outcome not known; asking for the order tells how it ends.
    Paying(Order),
    /// The bank said no. The order waits for another payment until its deadline.
    Declined {
        /// Why, in a word for the buyer.
        reason: String,
    },
    /// The risk check said no. The order waits until its deadline.
    RiskRejected {
        /// Why, in a word for the buyer.
        reason: String,
    },
    /// As many payments of the order were begun as may be. It waits until its deadline.
    TooManyAttempts {
        /// How many that is.
        attempts_max: u32,
    },
    /// The time to pay is over.
    Expired,
    /// The order was cancelled.
    Cancelled,
    /// The order was paid, and all of it given back.
    Refunded,
    /// The store refused the order when it was placed.
    Rejected,
    /// The order is not durable yet: ask again in a moment.
    Pending,
    /// This method is not accepted, or no name of a method at all.
    MethodNotAllowed,
    /// Gateway, risk service or store is away, or too much is under way. Nothing was taken.
    Unavailable {
        /// When to come back at the earliest, in ms.
        retry_after_ms: u64,
    },
}

/// What a buyer hears who gives an order up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The order is durably cancelled, now or since before; its units are on sale again.
    Cancelled(Order),
    /// It is paid.
    AlreadyPaid,
    /// It was paid, and all of it given back.
    Refunded,
    /// A payment is under way, or its outcome is not known.
    PaymentInProgress,
    /// The time to pay is over; its units are on sale again.
    Expired,
    /// The store refused the order when it was placed.
    Rejected,
    /// The order is not durable yet: ask again in a moment.
    Pending,
    /// The store does not answer, or has not in time: it may be done later, and whoever asks again hears so.
    Unavailable {
        /// When to come back at the earliest, in ms.
        retry_after_ms: u64,
    },
}

/// What a buyer hears of a payment that stands so.
pub(super) fn answer(outcome: PaymentOutcome, paying: Order) -> PayAnswer {
    match outcome {
        PaymentOutcome::Paid(order) => PayAnswer::Paid(order),
        PaymentOutcome::Unknown(_) => PayAnswer::Paying(paying),
        // Another node may have begun the next payment, or ended the order.
        PaymentOutcome::Back(order, why) => answer_by_status(&order).unwrap_or(match why {
            Why::Declined { reason } => PayAnswer::Declined { reason },
            Why::RiskRejected { reason } => PayAnswer::RiskRejected { reason },
            Why::RiskAway | Why::GatewayAway | Why::GatewayRefused | Why::TooLate | Why::Operator { .. } => {
                PayAnswer::Unavailable { retry_after_ms: RETRY_AFTER_MS }
            }
        }),
    }
}

/// What the order's status says to a payment; `None` when it may be paid. Whether its time is over is for the store to
/// say: the order as read may be older than its deadline.
pub(super) fn answer_by_status(order: &Order) -> Option<PayAnswer> {
    match order.status {
        OrderStatus::Pending => Some(PayAnswer::Pending),
        OrderStatus::PrePay => None,
        OrderStatus::Paying => Some(PayAnswer::Paying(order.clone())),
        // The payment was made; what became of it since stands in the order.
        OrderStatus::Paid | OrderStatus::Refunding => Some(PayAnswer::Paid(order.clone())),
        OrderStatus::Refunded => Some(PayAnswer::Refunded),
        OrderStatus::Cancelled => Some(PayAnswer::Cancelled),
        OrderStatus::Expired => Some(PayAnswer::Expired),
        OrderStatus::Rejected => Some(PayAnswer::Rejected),
    }
}

/// The order as its buyer sees it while it is being paid.
pub(super) fn paying(order: &Order) -> PayAnswer {
    PayAnswer::Paying(Order { status: OrderStatus::Paying, ..order.clone() })
}
