//! Payments and refunds whose outcome is not known: the gateway is asked, again and again, until it tells.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answers::answer;
use super::gateway::AttemptId;
use super::in_flight::Entry;
use super::payment_outcome::PaymentOutcome;
use super::recovery_queue::Unresolved;
use super::refund::REFUND;
use super::refunding::Round;
use super::service::Checkout;
use crate::domain::{Order, OrderStatus};
use crate::orders::StoreError;

/// Asks the gateway about every payment without an outcome and brings it to its end, for ever.
///
/// May be dropped at any moment: what is then half-way is finished at the next start.
pub async fn recover(checkout: Checkout) {
    let queue = Arc::clone(&checkout.0.recovery);
    let places = Arc::new(Semaphore::new(queue.concurrency_max()));
    let mut under_way = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let unresolved = queue.next().await;
        let checkout = checkout.clone();
        under_way.spawn(async move {
            recover_one(&checkout, unresolved).await;
            drop(place);
        });
        while let Some(ended) = under_way.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "the recovery of a payment broke off; it is tried again");
            }
        }
    }
}

async fn recover_one(checkout: &Checkout, unresolved: Unresolved) {
    let coordinator = &checkout.0.coordinator;
    let order = match unfinished(checkout, unresolved.payment).await {
        Ok(Some(order)) => order,
        Ok(None) => {
            checkout.0.stuck.forget(unresolved.payment);
            return unresolved.resolved();
        }
        Err(_) => return,
    };
    if order.status == OrderStatus::Refunding {
        return recover_refund(checkout, order, unresolved).await;
    }
    let method = order.payment_method.as_deref().unwrap_or_default();
    let Entry::First(attempt) = checkout.0.in_flight.enter(order.placed.id, method) else { return };
    // Read again: now that nobody else here pays it, the order stays as it is, or another node has ended the payment.
    let Ok(Some(order)) = unfinished(checkout, unresolved.payment).await else { return };
    if order.status != OrderStatus::Paying {
        return;
    }
    let outcome = coordinator.resume(order.clone()).await;
    let metrics = &coordinator.metrics;
    match &outcome {
        PaymentOutcome::Paid(_) => &metrics.recovered_paid,
        PaymentOutcome::Back(..) => &metrics.recovered_back,
        PaymentOutcome::Unknown(_) => &metrics.recovery_retries,
    }
    .add_one();
    checkout.0.stuck.note(unresolved.payment, outcome.doubt());
    unresolved.conclude(outcome.doubt());
    attempt.end(answer(outcome, order));
}

async fn recover_refund(checkout: &Checkout, order: Order, unresolved: Unresolved) {
    let coordinator = &checkout.0.coordinator;
    let Entry::First(_attempt) = checkout.0.in_flight.enter(order.placed.id, REFUND) else { return };
    // Read again, as above.
    let Ok(Some(order)) = unfinished(checkout, unresolved.payment).await else { return };
    if order.status != OrderStatus::Refunding {
        return;
    }
    let outcome = coordinator.refund(order, Round::Later).await;
    let metrics = &coordinator.metrics;
    match outcome.doubt() {
        None => &metrics.refunds_recovered,
        Some(_) => &metrics.recovery_retries,
    }
    .add_one();
    checkout.0.stuck.note(unresolved.payment, outcome.doubt());
    unresolved.conclude(outcome.doubt());
}

/// The order, if it still waits for this very payment, or for the end of its refund. A later one has somebody else who
/// follows it.
async fn unfinished(checkout: &Checkout, payment: AttemptId) -> Result<Option<Order>, StoreError> {
    let order = checkout.0.coordinator.desk.order(payment.order).await?;
    let is_under_way = |order: &Order| matches!(order.status, OrderStatus::Paying | OrderStatus::Refunding);
    Ok(order.filter(|order| is_under_way(order) && AttemptId::latest(order) == payment))
}
