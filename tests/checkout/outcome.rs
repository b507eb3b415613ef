//! What a buyer hears, and whether the money agrees with it.

use seckill::checkout::{AttemptId, PayAnswer, PaymentState};
use seckill::domain::{Order, OrderStatus};

use crate::scripted::ScriptedGateway;
use OrderStatus::{Paid, Paying};

/// What a buyer hears, without the details.
pub fn word(answer: &PayAnswer) -> &'static str {
    match answer {
        PayAnswer::Paid(_) => "paid",
        PayAnswer::Paying(_) => "paying",
        PayAnswer::Declined { .. } => "declined",
        PayAnswer::RiskRejected { .. } => "risk-rejected",
        PayAnswer::TooManyAttempts { .. } => "too-many-attempts",
        PayAnswer::Expired => "expired",
        PayAnswer::Cancelled => "cancelled",
        PayAnswer::Refunded => "refunded",
        PayAnswer::Rejected => "rejected",
        PayAnswer::Pending => "pending",
        PayAnswer::MethodNotAllowed => "method-not-allowed",
        PayAnswer::Unavailable { .. } => "unavailable",
    }
}

/// Money and order agree: a final or waiting order has no money on hold, and money is taken for paid orders only, once.
pub async fn check_money(gateway: &ScriptedGateway, order: &Order) {
    let mut captured = 0;
    for attempt in 1..=order.payment_attempt {
        let truth = gateway.truth(AttemptId { order: order.placed.id, attempt }).await;
        captured += usize::from(truth == PaymentState::Captured);
        assert!(
            truth != PaymentState::Held || order.status == Paying,
            "money is on hold for an order that is {}",
            order.status
        );
    }
    assert_eq!(captured == 1, order.status == Paid, "{order:?} was charged {captured} times");
    assert!(captured <= 1);
}
