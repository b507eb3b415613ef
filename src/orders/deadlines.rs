//! When orders that wait for their payment run out of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use parking_lot::Mutex;

use crate::domain::{EpochMs, OrderId};

/// The schedule of payment deadlines, soonest first: 16 bytes an order.
///
/// An entry is a hint. The order may have been paid or cancelled since; the store decides when it is asked to expire
/// it, and an order that goes back to waiting is entered again.
#[derive(Debug, Default)]
pub struct Deadlines(Mutex<BinaryHeap<Reverse<(EpochMs, OrderId)>>>);

impl Deadlines {
    /// Enters one order.
    pub fn enter(&self, pay_before: EpochMs, order: OrderId) {
        self.0.lock().push(Reverse((pay_before, order)));
    }

    /// Enters many orders under one lock.
    pub fn enter_all(&self, orders: impl IntoIterator<Item = (EpochMs, OrderId)>) {
        self.0.lock().extend(orders.into_iter().map(Reverse));
    }

    /// Takes out the orders whose time is over at `now`, soonest first, at most `max`.
    pub fn take_due(&self, now: EpochMs, max: usize) -> Vec<OrderId> {
        let mut heap = self.0.lock();
        let mut due = Vec::new();
        while due.len() < max
            && let Some(Reverse((pay_before, order))) = heap.peek().copied()
            && pay_before <= now
        {
            heap.pop();
            due.push(order);
        }
        due
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_orders_come_soonest_first_and_once() {
        let deadlines = Deadlines::default();
        let id = |n| OrderId::from_number(n).unwrap();
        deadlines.enter_all([(EpochMs(30), id(3)), (EpochMs(10), id(1))]);
        deadlines.enter(EpochMs(20), id(2));
        assert_eq!(deadlines.take_due(EpochMs(9), 10), []);
        assert_eq!(deadlines.take_due(EpochMs(20), 1), [id(1)]);
        assert_eq!(deadlines.take_due(EpochMs(20), 10), [id(2)]);
        assert_eq!(deadlines.len(), 1);
    }
}
