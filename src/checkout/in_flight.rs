//! Which orders are being paid right now: at most one attempt each, and everybody who asks hears its answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::answers::PayAnswer;
use crate::domain::OrderId;

/// Where an attempt's answer will be: nothing until it ends, and closed without an answer if it broke off.
pub(super) type PendingAnswer = watch::Receiver<Option<PayAnswer>>;

#[derive(Debug)]
struct InFlight {
    method: Box<str>,
    outcome: PendingAnswer,
}

/// The attempts under way.
#[derive(Debug)]
pub(super) struct InFlightPayments {
    by_order: Mutex<HashMap<OrderId, InFlight>>,
    attempts_max: usize,
    /// How many attempts are under way: what a drain waits for.
    count: watch::Sender<usize>,
}

/// What somebody finds who wants to pay an order.
pub(super) enum Entry {
    /// Nobody is paying it: the attempt is theirs.
    First(Attempt),
    /// It is being paid by the same method: the answer will be theirs too.
    Joined(PendingAnswer),
    /// It is being paid by another method.
    Occupied,
    /// Too many orders are being paid.
    Full,
}

impl InFlightPayments {
    pub(super) fn new(attempts_max: usize) -> Arc<Self> {
        let (count, _) = watch::channel(0);
        Arc::new(Self { by_order: Mutex::default(), attempts_max, count })
    }

    /// Begins an attempt, or joins the one under way.
    pub(super) fn enter(self: &Arc<Self>, order: OrderId, method: &str) -> Entry {
        let mut by_order = self.by_order.lock();
        let under_way = by_order.len();
        let slot = match by_order.entry(order) {
            Slot::Occupied(slot) if &*slot.get().method == method => {
                return Entry::Joined(slot.get().outcome.clone());
            }
            Slot::Occupied(_) => return Entry::Occupied,
            Slot::Vacant(_) if under_way >= self.attempts_max => return Entry::Full,
            Slot::Vacant(slot) => slot,
        };
        let (answer, outcome) = watch::channel(None);
        slot.insert(InFlight { method: method.into(), outcome });
        self.count.send_replace(by_order.len());
        Entry::First(Attempt { order, answer, in_flight: Arc::clone(self) })
    }

    /// The outcome of the attempt under way, if there is one by this method.
    pub(super) fn join(&self, order: OrderId, method: &str) -> Option<PendingAnswer> {
        let by_order = self.by_order.lock();
        let payment = by_order.get(&order).filter(|payment| &*payment.method == method)?;
        Some(payment.outcome.clone())
    }

    /// How many attempts are under way.
    pub(super) fn len(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until no attempt is under way.
    pub(super) async fn ended(&self) {
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = self.count.subscribe().wait_for(|&count| count == 0).await;
    }
}

/// The one attempt to pay an order. Gone when dropped.
#[derive(Debug)]
pub(super) struct Attempt {
    order: OrderId,
    answer: watch::Sender<Option<PayAnswer>>,
    in_flight: Arc<InFlightPayments>,
}

impl Attempt {
    /// Where its answer will be.
    pub(super) fn outcome(&self) -> PendingAnswer {
        self.answer.subscribe()
    }

    /// Makes room for the next attempt, then tells everybody who waits: who has heard the answer may pay again at once.
    pub(super) fn end(self, answer: PayAnswer) {
        let waiting = self.answer.clone();
        drop(self);
        waiting.send_replace(Some(answer));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut by_order = self.in_flight.by_order.lock();
        by_order.remove(&self.order);
        self.in_flight.count.send_replace(by_order.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NodeId;

    fn order(serial: u64) -> OrderId {
        OrderId::from_tick(serial, NodeId::new(0).unwrap())
    }

    #[tokio::test]
    async fn one_attempt_an_order_and_its_answer_for_all_who_joined() {
        let in_flight = InFlightPayments::new(2);
        let Entry::First(attempt) = in_flight.enter(order(1), "card") else { panic!("nobody else pays") };
        let Entry::Joined(mut outcome) = in_flight.enter(order(1), "card") else {
            panic!("one is under way")
        };
        assert!(matches!(in_flight.enter(order(1), "wire"), Entry::Occupied));
        assert!(in_flight.join(order(1), "wire").is_none());
        let Entry::First(other) = in_flight.enter(order(2), "card") else { panic!("room for two") };
        assert!(matches!(in_flight.enter(order(3), "card"), Entry::Full));

        attempt.end(PayAnswer::Expired);
        assert_eq!(outcome.wait_for(Option::is_some).await.unwrap().as_ref(), Some(&PayAnswer::Expired));
        let Entry::First(broken) = in_flight.enter(order(1), "card") else { panic!("the first has ended") };
        let mut outcome = broken.outcome();
        drop(broken);
        assert!(outcome.wait_for(Option::is_some).await.is_err(), "an attempt that broke off has no answer");

        assert_eq!(in_flight.len(), 1);
        drop(other);
        in_flight.ended().await;
    }
}
