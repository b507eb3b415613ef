//! Orders that nobody paid in time: they expire, and their units go back on sale.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::service::Checkout;
use super::till::now;
use crate::domain::{OrderAction, OrderId, OrderStatus};
use crate::orders::{Applied, StoreError, Transition};

/// Expires overdue orders, for ever. The deadlines are hints: the store refuses to expire an order that was paid, is
/// being paid or was cancelled, and an order that goes back from paying is entered again.
///
/// May be dropped at any moment: orders that were taken out and not expired yet are entered anew at the next start.
pub async fn expire(checkout: Checkout) {
    let till = &checkout.0.till;
    let settings = &till.settings.expiry;
    let mut ticks = interval(Duration::from_millis(settings.tick_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        loop {
            let due = till.desk.deadlines().take_due(now(), settings.batch_max);
            let is_last = due.len() < settings.batch_max;
            let is_stuck = expire_batch(&checkout, due).await;
            if is_last || is_stuck {
                break;
            }
        }
    }
}

/// Asks for all at once, so that the writer commits them together. `true` if the store did not take them all.
async fn expire_batch(checkout: &Checkout, due: Vec<OrderId>) -> bool {
    let mut asked = JoinSet::new();
    for order in due {
        let checkout = checkout.clone();
        asked.spawn(async move { expire_one(&checkout, order).await });
    }
    let outcomes = asked.join_all().await;
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    // One line for all of them: they fail together.
    if let Some(error) = outcomes.into_iter().find_map(Result::err) {
        tracing::warn!(orders = failed, %error, "orders could not be expired; they are tried again");
    }
    failed > 0
}

/// Fails if the store did not take the step; the order is tried again at the next tick.
async fn expire_one(checkout: &Checkout, order: OrderId) -> Result<(), StoreError> {
    let till = &checkout.0.till;
    match till.desk.apply(Transition::plain(order, OrderAction::Expire, now())).await {
        Ok(Applied::Done(_)) => till.metrics.expired.add_one(),
        // The calendar was set back.
        Ok(Applied::Refused(order)) if order.status == OrderStatus::PrePay => {
            till.desk.deadlines().enter(order.placed.pay_before, order.placed.id);
        }
        Ok(Applied::Refused(_) | Applied::UnknownOrder) => {}
        Err(error) => {
            till.desk.deadlines().enter(now(), order);
            return Err(error);
        }
    }
    Ok(())
}
