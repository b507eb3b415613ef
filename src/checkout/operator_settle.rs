//! A payment or a refund that never ends, ended by an operator.
//!
//! Whoever calls it paid is believed: nothing is asked and nothing is taken. Whoever calls it voided gives the engine two
//! duties: that nobody captures it afterwards, and that a capture which has happened is not overlooked.
//!
//! 1. While it is ended here nobody at this node makes or recovers it.
//! 2. The journal says that it is let go, durably. From then on no life of any node begins to capture it.
//! 3. The gateway is told to void it. If it answers `captured`, the money was taken and the order is paid; if it answers
//!    `voided`, none ever will be.
//! 4. If it does not answer, a capture that another node began before step 2 may still be repeated there, for at most
//!    `settle_within_ms`: so long is waited. Then the operator's word counts.
//!
//! What no engine can do is to call back a capture that the gateway has taken in and never answered, or to keep a node that
//! was frozen between reading an order and calling from calling when it thaws. An operator who
//! calls a payment voided without the gateway's word must have it from the gateway by another way. The same is true of who
//! calls a refund not made: no node asks for it afterwards, and one that hears late that it was made says so loudly.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::answers::{RETRY_AFTER_MS, answer};
use super::coordinator::ByHand;
use super::gateway::{AttemptId, PaymentState};
use super::in_flight::{Attempt, Entry};
use super::payment_outcome::{PaymentOutcome, Why, has_ended};
use super::refund::REFUND;
use super::service::Checkout;
use crate::domain::{Order, OrderAction, OrderStatus, PaymentDirection, PaymentNote};
use crate::orders::{Act, Applied};

/// What an operator says about a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// The money was taken.
    Paid,
    /// None was, and none is to be.
    Voided,
    /// Of a refund: the money was given back.
    Refunded,
    /// Of a refund: it was not, and is not to be.
    NotRefunded,
}

/// What an operator hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleAnswer {
    /// It is as they said, durably; the order as it is now.
    Settled(Order),
    /// Called voided, but the gateway says that the money was taken: the order is paid.
    Captured(Order),
    /// The order has no payment, or no refund, under way; the order as it is.
    NotPaying(Order),
    /// The payment is being made or recovered at this moment.
    UnderWay {
        /// When to come back at the earliest, in ms.
        retry_after_ms: u64,
    },
    /// The store does not answer.
    Unavailable {
        /// When to come back at the earliest, in ms.
        retry_after_ms: u64,
    },
}

const UNAVAILABLE: SettleAnswer = SettleAnswer::Unavailable { retry_after_ms: RETRY_AFTER_MS };

impl Checkout {
    /// Ends the payment or the refund of `order`, as it was read just now, as an operator says. The reason is kept for good; the trail
    /// tells the `act`.
    pub async fn settle(
        &self,
        order: Order,
        outcome: SettleOutcome,
        reason: &str,
        act: Option<Act>,
    ) -> SettleAnswer {
        let action = match (order.status, outcome) {
            (OrderStatus::Paying, SettleOutcome::Paid | SettleOutcome::Voided) => None,
            (OrderStatus::Refunding, SettleOutcome::Refunded) => Some(OrderAction::ConfirmRefund),
            (OrderStatus::Refunding, SettleOutcome::NotRefunded) => Some(OrderAction::AbortRefund),
            _ => return SettleAnswer::NotPaying(order),
        };
        if let Some(action) = action {
            return self.settle_refund(order, action, reason, act).await;
        }
        let method = order.payment_method.as_deref().unwrap_or_default();
        let Some(attempt) = self.alone_with(&order, method).await else {
            return SettleAnswer::UnderWay { retry_after_ms: RETRY_AFTER_MS };
        };
        // Read again: now that nobody else here pays it, it stays as it is, or another node has ended the payment.
        let order = match self.0.coordinator.desk.order(order.placed.id).await {
            Ok(Some(fresh)) if !has_ended(AttemptId::latest(&order), &fresh) => fresh,
            Ok(Some(fresh)) => return SettleAnswer::NotPaying(fresh),
            Ok(None) | Err(_) => return UNAVAILABLE,
        };
        let payment = AttemptId::latest(&order);
        let told = match outcome {
            SettleOutcome::Paid => self.end_as_told(payment, OrderAction::ConfirmPayment, reason, act).await,
            _ => self.settle_voided(order.clone(), reason, act).await,
        };
        let outcome_now = match &told {
            SettleAnswer::Settled(now) | SettleAnswer::Captured(now) if now.status == OrderStatus::Paid => {
                PaymentOutcome::Paid(now.clone())
            }
            SettleAnswer::Settled(now) | SettleAnswer::Captured(now) | SettleAnswer::NotPaying(now) => {
                PaymentOutcome::Back(now.clone(), Why::Operator { reason: reason.to_owned() })
            }
            // Whoever waits for the payment asks again.
            SettleAnswer::UnderWay { .. } | SettleAnswer::Unavailable { .. } => return told,
        };
        self.0.stuck.note(payment, outcome_now.doubt());
        self.0.coordinator.metrics.settled_by_operator.add_one();
        tracing::warn!(payment = %payment, ?outcome, reason, order = %payment.order, "a payment was settled by an operator");
        attempt.end(answer(outcome_now, order));
        told
    }

    async fn settle_refund(
        &self,
        order: Order,
        action: OrderAction,
        reason: &str,
        act: Option<Act>,
    ) -> SettleAnswer {
        let Some(_attempt) = self.alone_with(&order, REFUND).await else {
            return SettleAnswer::UnderWay { retry_after_ms: RETRY_AFTER_MS };
        };
        let why = format!("operator: {reason}");
        match self.0.coordinator.end_refund(&order, action, Some(why), None, act).await {
            Ok(Applied::Done(now)) => {
                self.0.stuck.forget(AttemptId::latest(&order));
                self.0.coordinator.metrics.settled_by_operator.add_one();
                let refund = order.refunds.begun;
                tracing::warn!(order = %order.placed.id, refund, ?action, reason, "a refund was settled by an operator");
                SettleAnswer::Settled(now)
            }
            Ok(Applied::Refused(now)) => SettleAnswer::NotPaying(now),
            Ok(Applied::UnknownOrder) | Err(_) => UNAVAILABLE,
        }
    }

    /// Waits until nobody at this node makes or recovers what is under way of the order, and keeps others away from then on.
    async fn alone_with(&self, order: &Order, method: &str) -> Option<Attempt> {
        let settings = &self.0.coordinator.settings;
        let longest = settings.try_within_ms + 2 * settings.settle_within_ms;
        let deadline = Instant::now() + Duration::from_millis(longest);
        loop {
            match self.0.in_flight.enter(order.placed.id, method) {
                Entry::First(attempt) => return Some(attempt),
                Entry::Joined(mut outcome) => {
                    // An attempt that broke off is as good as one that ended.
                    let _ = timeout_at(deadline, outcome.wait_for(Option::is_some)).await.ok()?;
                }
                Entry::Occupied | Entry::Full => return None,
            }
        }
    }

    async fn settle_voided(&self, order: Order, reason: &str, act: Option<Act>) -> SettleAnswer {
        let coordinator = &self.0.coordinator;
        let was_going_on = order.payment.direction == PaymentDirection::GoingOn;
        let payment = AttemptId::latest(&order);
        let why = Why::Operator { reason: reason.to_owned() }.to_string();
        let order = match coordinator.noted(&order, PaymentNote::TurnBack { why }).await {
            Ok(order) => order,
            Err(PaymentOutcome::Paid(order) | PaymentOutcome::Back(order, _)) => {
                return SettleAnswer::NotPaying(order);
            }
            Err(PaymentOutcome::Unknown(_)) => return UNAVAILABLE,
        };
        let captures_end = Instant::now() + Duration::from_millis(coordinator.settings.settle_within_ms);
        let told = match coordinator.under_way(order).await {
            Ok(payment) => coordinator.void(&payment).await.ok(),
            Err(PaymentOutcome::Paid(order)) => return SettleAnswer::Captured(order),
            // Without its gateway, or its sale, there is nobody to ask.
            Err(_) => None,
        };
        match told {
            Some(PaymentState::Captured) => {
                return match self.end_as_told(payment, OrderAction::ConfirmPayment, reason, act).await {
                    SettleAnswer::Settled(order) => SettleAnswer::Captured(order),
                    other => other,
                };
            }
            Some(PaymentState::Voided | PaymentState::Declined { .. }) => {}
            _ if was_going_on => sleep_until(captures_end).await,
            _ => {}
        }
        self.end_as_told(payment, OrderAction::AbortPayment, reason, act).await
    }

    async fn end_as_told(
        &self,
        payment: AttemptId,
        action: OrderAction,
        reason: &str,
        act: Option<Act>,
    ) -> SettleAnswer {
        let by_hand = ByHand { reason: reason.to_owned(), act };
        match self.0.coordinator.end(payment, action, Some(by_hand)).await {
            Ok(Applied::Done(order)) => SettleAnswer::Settled(order),
            Ok(Applied::Refused(order)) => SettleAnswer::NotPaying(order),
            Ok(Applied::UnknownOrder) | Err(_) => UNAVAILABLE,
        }
    }
}
