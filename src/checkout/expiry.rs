//! Orders that nobody paid in time: they expire, and their units go back on sale.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::service::Checkout;
use super::settings::ExpirySettings;
use crate::domain::{OrderAction, OrderId, OrderStatus};
use crate::orders::{Applied, OrderDesk, StoreError, Transition};

/// Expires overdue orders, for ever. The deadlines are hints: the store refuses to expire an order that was paid, is
/// being paid or was cancelled, and an order that goes back from paying is entered again. Nothing expires while the
/// calendar is in doubt, or while nobody can pay.
///
/// May be dropped at any moment: orders that were taken out and not expired yet are entered anew at the next start.
pub async fn expire(checkout: Checkout) {
    let coordinator = &checkout.0.coordinator;
    let settings = &coordinator.settings.expiry;
    let mut ticks = interval(Duration::from_millis(settings.tick_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        ticks.tick().await;
        while coordinator.desk.clock().is_agreed()
            && coordinator.desk.deadlines().graces().ongoing().is_none()
        {
            let room = room(settings, coordinator.desk.steps_capacity(), coordinator.desk.steps_waiting());
            let due = coordinator.desk.deadlines().take_due(coordinator.desk.clock().calendar(), room);
            let is_last = due.len() < room || room == 0;
            let failed = expire_batch(&checkout, due).await;
            tell(&mut is_failing, &failed);
            if is_last || !failed.is_empty() {
                break;
            }
        }
        // While nobody waits there is nothing to look for. That orders expire again is said all the same.
        if !is_failing {
            coordinator.desk.deadlines().any().await;
        }
    }
}

/// How many orders may expire now: payments and cancellations must always find room beside them.
fn room(settings: &ExpirySettings, steps_capacity: usize, steps_waiting: usize) -> usize {
    settings.batch_max.min(steps_capacity.div_ceil(2).saturating_sub(steps_waiting))
}

/// Once when it begins, and once when it is over: not for each order, nor at each tick.
fn tell(is_failing: &mut bool, failed: &[StoreError]) {
    match failed.first() {
        Some(error) if !*is_failing => {
            *is_failing = true;
            tracing::warn!(
                orders = failed.len(),
                %error,
                sqlstate = error.sqlstate.as_deref(),
                "orders could not be expired; they are tried again"
            );
        }
        None if *is_failing => {
            *is_failing = false;
            tracing::info!("orders expire again");
        }
        _ => {}
    }
}

/// Asks for all at once, so that the writer commits them together. Why some of them did not expire.
async fn expire_batch(checkout: &Checkout, due: Vec<OrderId>) -> Vec<StoreError> {
    let mut asked = JoinSet::new();
    for order in due {
        let checkout = checkout.clone();
        asked.spawn(async move { expire_one(&checkout, order).await });
    }
    asked.join_all().await.into_iter().filter_map(Result::err).collect()
}

/// An error when the store did not take the step; the order is tried again at the next tick.
async fn expire_one(checkout: &Checkout, order: OrderId) -> Result<(), StoreError> {
    let coordinator = &checkout.0.coordinator;
    let desk: &OrderDesk = &coordinator.desk;
    let now = desk.clock().calendar();
    match desk.apply(Transition::plain(order, OrderAction::Expire, now)).await {
        Ok(Applied::Done(_)) => coordinator.metrics.expired.add_one(),
        // Its deadline was moved to a later time.
        Ok(Applied::Refused(order)) if order.status == OrderStatus::PrePay => {
            desk.deadlines().enter(order.placed.pay_before, order.placed.id);
        }
        Ok(Applied::Refused(_) | Applied::UnknownOrder) => {}
        Err(error) => {
            desk.deadlines().enter(now, order);
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d8_what_expires_leaves_half_of_the_steps_to_others() {
        let settings = ExpirySettings { batch_max: 1_000, ..ExpirySettings::default() };
        assert_eq!(room(&settings, 16_384, 0), 1_000);
        assert_eq!(room(&settings, 100, 0), 50);
        assert_eq!(room(&settings, 100, 30), 20);
        assert_eq!(room(&settings, 100, 50), 0);
        assert_eq!(room(&settings, 100, 100), 0);
        assert_eq!(room(&settings, 1, 0), 1);
    }
}
