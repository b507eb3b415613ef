//! Which orders are being paid right now: at most one attempt each, and everybody who asks hears its answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::answers::PayAnswer;
use crate::domain::OrderId;

/// Where an attempt's answer will be: nothing until it ends, and closed without an answer if it broke off.
pub(super) type Outcome = watch::Receiver<Option<PayAnswer>>;

#[derive(Debug)]
struct Live {
    method: Box<str>,
    outcome: Outcome,
}

/// The attempts under way.
#[derive(Debug)]
pub(super) struct LiveAttempts {
    by_order: Mutex<HashMap<OrderId, Live>>,
    attempts_max: usize,
    /// How many attempts are under way: what a drain waits for.
    count: watch::Sender<usize>,
}

/// What somebody finds who wants to pay an order.
pub(super) enum Entry {
    /// Nobody is paying it: the attempt is theirs.
    First(Attempt),
    /// It is being paid by the same method: the answer will be theirs too.
    Joined(Outcome),
    /// It is being paid by another method.
    Occupied,
    /// Too many orders are being paid.
    Full,
}

impl LiveAttempts {
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
        slot.insert(Live { method: method.into(), outcome });
        self.count.send_replace(by_order.len());
        Entry::First(Attempt { order, answer, live: Arc::clone(self) })
    }

    /// The outcome of the attempt under way, if there is one by this method.
    pub(super) fn join(&self, order: OrderId, method: &str) -> Option<Outcome> {
        let by_order = self.by_order.lock();
        let live = by_order.get(&order).filter(|live| &*live.method == method)?;
        Some(live.outcome.clone())
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
    live: Arc<LiveAttempts>,
}

impl Attempt {
    /// Where its answer will be.
    pub(super) fn outcome(&self) -> Outcome {
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
        let mut by_order = self.live.by_order.lock();
        by_order.remove(&self.order);
        self.live.count.send_replace(by_order.len());
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
        let live = LiveAttempts::new(2);
        let Entry::First(attempt) = live.enter(order(1), "card") else { panic!("nobody else pays") };
        let Entry::Joined(mut outcome) = live.enter(order(1), "card") else { panic!("one is under way") };
        assert!(matches!(live.enter(order(1), "wire"), Entry::Occupied));
        assert!(live.join(order(1), "wire").is_none());
        let Entry::First(other) = live.enter(order(2), "card") else { panic!("room for two") };
        assert!(matches!(live.enter(order(3), "card"), Entry::Full));

        attempt.end(PayAnswer::Expired);
        assert_eq!(outcome.wait_for(Option::is_some).await.unwrap().as_ref(), Some(&PayAnswer::Expired));
        let Entry::First(broken) = live.enter(order(1), "card") else { panic!("the first has ended") };
        let mut outcome = broken.outcome();
        drop(broken);
        assert!(outcome.wait_for(Option::is_some).await.is_err(), "an attempt that broke off has no answer");

        assert_eq!(live.len(), 1);
        drop(other);
        live.ended().await;
    }
}
