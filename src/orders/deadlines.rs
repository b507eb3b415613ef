//! When orders that wait for their payment run out of time.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::graces::{Grace, Graces};
use super::untold_graces::UntoldGraces;
use crate::domain::{EpochMs, NewOrder, OrderId};

/// The schedule of payment deadlines, soonest first (some 32 bytes an order, 18 where it was found at a start, in nodes that
/// are never moved), and by what they have moved.
///
/// An entry is a hint. The order may have been paid or cancelled since, and its deadline may have been moved to a later
/// time: the store decides when it is asked to expire it, and an order that goes on waiting is entered again.
#[derive(Debug, Default)]
pub struct Deadlines {
    schedule: Mutex<Schedule>,
    /// Whether somebody is in the schedule: told under its lock, so that the last word is true.
    has_any: watch::Sender<bool>,
    /// Changed by several hands at once: only ever made from what it is at that moment.
    graces: ArcSwap<Graces>,
    untold: Mutex<UntoldGraces>,
    reads: Mutex<Reads>,
}

type Schedule = BTreeSet<(EpochMs, OrderId)>;

/// How often the store was read for what it has granted.
#[derive(Debug, Default)]
struct Reads {
    /// The number of the last read that began.
    begun: u64,
    /// The number of the read that counts.
    taken: u64,
}

impl Deadlines {
    /// Enters one order.
    pub fn enter(&self, pay_before: EpochMs, order: OrderId) {
        self.change(|schedule| schedule.insert((pay_before, order)));
    }

    /// Enters many orders under one lock.
    pub fn enter_all(&self, orders: impl IntoIterator<Item = (EpochMs, OrderId)>) {
        self.change(|schedule| {
            if schedule.is_empty() {
                // Made of all of them at once its nodes are full; of one after the other they are half empty.
                *schedule = orders.into_iter().collect();
            } else {
                schedule.extend(orders);
            }
        });
    }

    /// Takes orders out that do not wait for anything any more, from where their rows say and from where graces have moved
    /// them to.
    pub fn forget_all<'a>(&self, orders: impl IntoIterator<Item = &'a NewOrder>) {
        let graces = self.graces();
        self.change(|schedule| {
            for order in orders {
                schedule.remove(&(order.pay_before, order.id));
                if !graces.granted().is_empty() {
                    schedule.remove(&(graces.pay_before_at_last(order), order.id));
                }
            }
        });
    }

    /// Takes out the orders whose time is over at `now`, soonest first, at most `max`.
    pub fn take_due(&self, now: EpochMs, max: usize) -> Vec<OrderId> {
        let mut due = Vec::new();
        self.change(|schedule| {
            while due.len() < max
                && let Some((pay_before, order)) = schedule.first().copied()
                && pay_before <= now
            {
                schedule.pop_first();
                due.push(order);
            }
        });
        due
    }

    /// Changes the schedule, and says whether somebody is in it from then on.
    fn change<T>(&self, work: impl FnOnce(&mut Schedule) -> T) -> T {
        let mut schedule = self.schedule.lock();
        let outcome = work(&mut schedule);
        let has_any = !schedule.is_empty();
        self.has_any.send_if_modified(|had_any| std::mem::replace(had_any, has_any) != has_any);
        outcome
    }

    /// Ends when an order waits: at once, if one does.
    pub async fn any(&self) {
        let mut has_any = self.has_any.subscribe();
        // It lives as long as these deadlines.
        let _ = has_any.wait_for(|has_any| *has_any).await;
    }

    /// By what deadlines have moved.
    pub fn graces(&self) -> Arc<Graces> {
        self.graces.load_full()
    }

    /// Takes over what the store is `read` to have granted. Of two reads at once the one counts that began later, whichever
    /// ends first: it saw everything that was durable when the other one began. What is new is to be told of, if there are
    /// `events` to tell it, and an outage that grew, once it grows no more. Blocks as long as `read` does.
    ///
    /// # Errors
    /// That of `read`.
    pub fn take_granted<E>(
        &self,
        read: impl FnOnce() -> Result<Vec<Grace>, E>,
        events: bool,
    ) -> Result<(), E> {
        let number = {
            let mut reads = self.reads.lock();
            reads.begun += 1;
            reads.begun
        };
        let granted = read()?;
        let mut reads = self.reads.lock();
        if number > reads.taken {
            reads.taken = number;
            // Still locked: what is new is new to one read.
            self.set_granted(granted, events);
        }
        Ok(())
    }

    fn set_granted(&self, granted: Vec<Grace>, events: bool) {
        let known = self.graces();
        if let Some(oldest) = granted.iter().map(|grace| grace.from).min() {
            self.untold.lock().forget_before(oldest);
        }
        for grace in &granted {
            let has_ended = |before: &Grace| before.until.is_some() && before.until == grace.until;
            if known.same_as(grace).is_none_or(has_ended) {
                self.tell(grace, events);
            }
        }
        let granted = Graces::new(granted);
        self.graces.rcu(|now| granted.clone().with_ongoing(now.ongoing()));
    }

    /// Paying is impossible since `ongoing`, or possible again.
    pub fn set_ongoing(&self, ongoing: Option<EpochMs>) {
        self.graces.rcu(|now| Graces::clone(now).with_ongoing(ongoing));
    }

    /// The orders that wait now are to be told of this grace, as far as it concerns them and they were not.
    pub fn tell_of(&self, grace: &Grace) {
        self.tell(grace, true);
    }

    fn tell(&self, grace: &Grace, events: bool) {
        let mut untold = self.untold.lock();
        if untold.note(grace) && events {
            let mut orders: Vec<OrderId> = self.schedule.lock().iter().map(|(_, order)| *order).collect();
            orders.sort_unstable();
            orders.dedup();
            untold.push(grace.clone(), orders);
        }
    }

    /// The next orders to tell of a grace, at most `max`, and the grace.
    pub fn next_untold(&self, max: usize) -> Option<(Grace, Vec<OrderId>)> {
        self.untold.lock().take(max)
    }

    /// These orders could not be told of it.
    pub fn still_untold(&self, grace: Grace, orders: Vec<OrderId>) {
        self.untold.lock().put_back(grace, orders);
    }

    /// How many orders wait.
    pub fn len(&self) -> usize {
        self.schedule.lock().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;

    use super::*;
    use crate::domain::{BuyerId, Cents, SaleId};

    fn id(n: u64) -> OrderId {
        OrderId::from_number(n).unwrap()
    }

    fn order(n: u64) -> NewOrder {
        NewOrder {
            id: id(n),
            sale: SaleId(1),
            buyer: BuyerId::new("ann").unwrap(),
            quantity: 1,
            amount: Cents(1),
            created_at: EpochMs(0),
            pay_before: EpochMs(10),
            idempotency_key: None,
        }
    }

    fn gift() -> Grace {
        Grace::gift(None, EpochMs(7), 100, "test".into())
    }

    fn take(deadlines: &Deadlines, granted: Vec<Grace>) {
        deadlines.take_granted(|| Ok::<_, Infallible>(granted), true).unwrap();
    }

    #[test]
    fn due_orders_come_soonest_first_and_once() {
        let deadlines = Deadlines::default();
        deadlines.enter_all([(EpochMs(30), id(3)), (EpochMs(10), id(1))]);
        deadlines.enter(EpochMs(20), id(2));
        assert_eq!(deadlines.take_due(EpochMs(9), 10), []);
        assert_eq!(deadlines.take_due(EpochMs(20), 1), [id(1)]);
        assert_eq!(deadlines.take_due(EpochMs(20), 10), [id(2)]);
        assert_eq!(deadlines.len(), 1);
    }

    #[test]
    fn who_waits_for_somebody_to_wait_is_woken_by_each_way_in_and_rests_after_each_way_out() {
        let deadlines = Deadlines::default();
        let has_any = || deadlines.any().now_or_never().is_some();
        let mut resting = Box::pin(deadlines.any());
        assert!(resting.as_mut().now_or_never().is_none() && !has_any());
        deadlines.enter(EpochMs(10), id(1));
        assert!(resting.as_mut().now_or_never().is_some() && has_any());
        deadlines.take_due(EpochMs(9), 10);
        assert!(has_any(), "nobody was due");
        deadlines.take_due(EpochMs(10), 10);
        assert!(!has_any());
        deadlines.enter_all([(EpochMs(10), id(1)), (EpochMs(10), id(2))]);
        deadlines.forget_all([&order(1)]);
        assert!(has_any(), "one is left");
        deadlines.forget_all([&order(2)]);
        assert!(!has_any());
    }

    #[test]
    fn many_orders_are_entered_beside_those_that_wait_already() {
        let deadlines = Deadlines::default();
        deadlines.enter_all((1..=100).rev().map(|n| (EpochMs(10 * n as i64), id(n))));
        deadlines.enter_all((1..=100).map(|n| (EpochMs(10 * n as i64 + 5), id(100 + n))));
        let expected: Vec<_> = (1..=100).flat_map(|n| [id(n), id(100 + n)]).collect();
        assert_eq!(deadlines.take_due(EpochMs(2_000), 1_000), expected);
    }

    #[test]
    fn m9_an_order_has_one_deadline_however_often_it_goes_back_to_waiting() {
        let deadlines = Deadlines::default();
        for _ in 0..1_000 {
            deadlines.enter(EpochMs(10), id(1));
        }
        assert_eq!(deadlines.len(), 1);
        assert_eq!(deadlines.take_due(EpochMs(10), 10), [id(1)]);
        deadlines.enter(EpochMs(20), id(1));
        assert_eq!(deadlines.take_due(EpochMs(20), 10), [id(1)]);
        assert!(deadlines.is_empty());
    }

    #[test]
    fn m4_those_who_wait_are_told_of_a_new_grace_once_and_in_parts() {
        let deadlines = Deadlines::default();
        let outage = |until| Grace::outage(EpochMs(1), EpochMs(until), "test");
        take(&deadlines, vec![outage(5)]);
        assert!(deadlines.next_untold(9).is_none(), "nobody waits");
        deadlines.enter_all((1..=5).map(|n| (EpochMs(10), id(n))));
        take(&deadlines, vec![outage(6)]);
        assert!(deadlines.next_untold(9).is_none(), "it is known already");
        take(&deadlines, vec![outage(6), gift()]);
        let mut told = Vec::new();
        while let Some((grace, orders)) = deadlines.next_untold(2) {
            assert!(grace == gift() && orders.len() <= 2);
            told.extend(orders);
        }
        told.sort_unstable();
        assert_eq!(told, (1..=5).map(id).collect::<Vec<_>>());
    }

    #[test]
    fn m4_an_outage_that_another_node_notes_is_told_of_at_its_beginning_and_at_its_end() {
        let deadlines = Deadlines::default();
        deadlines.enter(EpochMs(100_000), id(1));
        let outage = |until| Grace::outage(EpochMs(0), EpochMs(until), "test");
        let mut told = |until| {
            take(&deadlines, vec![outage(until)]);
            deadlines.next_untold(9).is_some()
        };
        assert_eq!([2_000, 7_000, 12_000, 12_000, 12_000].map(&mut told), [true, false, false, true, false]);
    }

    #[test]
    fn m4_an_outage_that_ends_while_grants_are_taken_over_is_over() {
        for (was, becomes) in [(Some(EpochMs(1)), None), (None, Some(EpochMs(1)))] {
            let deadlines = Deadlines::default();
            deadlines.set_ongoing(was);
            // Whoever takes the gift over has to wait for the orders that are to be told of it.
            let waiting = deadlines.schedule.lock();
            std::thread::scope(|scope| {
                let taking = scope.spawn(|| take(&deadlines, vec![gift()]));
                while !deadlines.untold.is_locked() {
                    std::thread::yield_now();
                }
                deadlines.set_ongoing(becomes);
                drop(waiting);
                taking.join().unwrap();
            });
            let graces = deadlines.graces();
            assert_eq!((graces.ongoing(), graces.granted()), (becomes, &[gift()][..]));
        }
    }

    #[test]
    fn m4_what_was_read_before_a_gift_was_made_does_not_hide_it() {
        let deadlines = Deadlines::default();
        deadlines.enter(EpochMs(10), id(1));
        let slow = || {
            let before = Vec::new();
            take(&deadlines, vec![gift()]);
            Ok::<_, Infallible>(before)
        };
        deadlines.take_granted(slow, true).unwrap();
        assert_eq!(deadlines.graces().granted(), [gift()]);
        assert!(deadlines.next_untold(9).is_some_and(|(grace, _)| grace == gift()));
        take(&deadlines, Vec::new());
        assert_eq!(deadlines.graces().granted(), [], "what the store forgets is forgotten");
    }

    #[test]
    fn m4_who_could_not_be_told_is_told_before_others() {
        let deadlines = Deadlines::default();
        deadlines.enter_all((1..=3).map(|n| (EpochMs(10), id(n))));
        deadlines.tell_of(&gift());
        let (grace, orders) = deadlines.next_untold(2).unwrap();
        deadlines.still_untold(grace, orders.clone());
        assert_eq!(deadlines.next_untold(2).unwrap().1, orders);
    }

    #[test]
    fn an_order_that_was_paid_is_not_asked_for_when_its_time_comes() {
        let deadlines = Deadlines::default();
        deadlines.enter_all([(EpochMs(10), id(1)), (EpochMs(10), id(2)), (EpochMs(15), id(3))]);
        deadlines.forget_all([&order(1), &order(7)]);
        assert_eq!(deadlines.len(), 2);
        assert_eq!(deadlines.take_due(EpochMs(10), 1), [id(2)]);
        // One that was moved stands where it was moved to.
        take(&deadlines, vec![Grace::outage(EpochMs(5), EpochMs(10), "test")]);
        deadlines.forget_all([&order(3)]);
        assert!(deadlines.is_empty());
    }
}
