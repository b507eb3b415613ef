//! Order numbers on their way: given out, and not arrived yet.
//!
//! Who reads durable orders by their numbers must not be shown one above a number that may still become durable, or he
//! passes it by for good. Numbers are given out in several parts of the engine at once, so each part lists its own; within
//! a part they grow, and finding one is a search in a short sorted list.
//!
//! # Protocol
//!
//! A number is taken from [`OrderIds`] while the part's lock is held, and listed before it is let go. A reader takes the
//! last number given out first, and then looks into each part: a number up to that one was taken either before the reader
//! had the part's lock, and is listed there or arrived, or after it, and then it is higher. So below the lowest listed
//! number, and up to the last one, nothing is missing.

use std::collections::VecDeque;

use super::order_ids::OrderIds;
use super::sync::Mutex;
use crate::domain::{EpochMs, OrderId, SaleId};

/// Parts with a lock each. Threads of the edge use different ones.
const PARTS: usize = 16;

/// A number that was given out.
#[derive(Debug)]
struct Listed {
    id: OrderId,
    sale: SaleId,
    has_arrived: bool,
}

/// The numbers that are on their way.
#[derive(Debug)]
pub struct Flight {
    ids: OrderIds,
    parts: [Mutex<VecDeque<Listed>>; PARTS],
}

impl Flight {
    /// Numbers of `ids`, none given out yet.
    pub fn new(ids: OrderIds) -> Self {
        Self { ids, parts: Default::default() }
    }

    /// The next number, for an order of `sale`. It is on its way until [`Flight::arrive`] is called with the same `home`.
    pub(super) fn depart(&self, sale: SaleId, home: usize, now: EpochMs) -> OrderId {
        let mut part = self.parts[home % PARTS].lock();
        let id = self.ids.next(now);
        part.push_back(Listed { id, sale, has_arrived: false });
        id
    }

    /// The number is an order's that is durable, or nobody's for good.
    pub(super) fn arrive(&self, id: OrderId, home: usize) {
        let mut part = self.parts[home % PARTS].lock();
        if let Ok(place) = part.binary_search_by_key(&id, |listed| listed.id) {
            part[place].has_arrived = true;
        }
        while part.front().is_some_and(|first| first.has_arrived) {
            part.pop_front();
        }
    }

    /// The sale of an order that is on its way.
    pub fn sale_of(&self, id: OrderId) -> Option<SaleId> {
        self.parts.iter().find_map(|part| {
            let part = part.lock();
            let place = part.binary_search_by_key(&id, |listed| listed.id).ok()?;
            Some(part[place].sale).filter(|_| !part[place].has_arrived)
        })
    }

    /// The highest number such that no order of this node with a number up to it can become durable any more. Orders of
    /// other nodes up to `known` count as arrived there: this node's next numbers are above it.
    pub fn complete_through(&self, known: Option<OrderId>) -> OrderId {
        if let Some(known) = known {
            self.ids.rise_above(known);
        }
        let last = self.ids.last_tick();
        let lowest =
            self.parts.iter().filter_map(|part| part.lock().front().map(|first| first.id.tick())).min();
        OrderId::last_below_tick(lowest.map_or(last + 1, |lowest| lowest.min(last + 1)))
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;
    use crate::domain::NodeId;

    const NOW: EpochMs = EpochMs(1_800_000_000_000);
    const SALE: SaleId = SaleId(7);

    fn flight() -> Flight {
        Flight::new(OrderIds::after(NodeId::new(3).unwrap(), None))
    }

    #[test]
    fn a1_nothing_above_the_lowest_number_on_its_way_is_complete() {
        let flight = flight();
        let [a, b, c] = [0, 1, 0].map(|home| flight.depart(SALE, home, NOW));
        assert!(flight.complete_through(None) < a);
        flight.arrive(c, 0);
        assert!(flight.complete_through(None) < a, "a is still on its way");
        flight.arrive(a, 0);
        let mark = flight.complete_through(None);
        assert!(a <= mark && mark < b);
        flight.arrive(b, 1);
        assert!(flight.complete_through(None) >= c);
        assert!(flight.depart(SALE, 5, NOW) > flight.complete_through(None));
    }

    #[test]
    fn what_others_have_made_durable_is_below_the_next_number() {
        let flight = flight();
        let other = OrderId::from_tick(OrderId::tick_at(NOW) + 1_000_000, NodeId::new(9).unwrap());
        assert!(flight.complete_through(Some(other)) >= other);
        assert!(flight.depart(SALE, 0, NOW) > other);
    }

    #[test]
    fn d2_an_order_on_its_way_is_found_without_asking_any_sale() {
        let flight = flight();
        let id = flight.depart(SALE, 20, NOW);
        assert_eq!(flight.sale_of(id), Some(SALE));
        flight.arrive(id, 20);
        assert_eq!(flight.sale_of(id), None);
    }

    #[test]
    fn a1_readers_beside_many_threads_never_pass_a_number_that_is_on_its_way() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (flight, over) = (flight(), AtomicBool::new(false));
        let arrived = parking_lot::Mutex::new(std::collections::BTreeSet::new());
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|home| {
                    let (flight, arrived) = (&flight, &arrived);
                    scope.spawn(move || {
                        let mut on_their_way = VecDeque::new();
                        for n in 0..2_000 {
                            on_their_way.push_back(flight.depart(SALE, home, NOW));
                            if n % 3 == 0 {
                                let id = on_their_way.pop_front().unwrap();
                                // Durable first, arrived then.
                                arrived.lock().insert(id);
                                flight.arrive(id, home);
                            }
                        }
                        for id in on_their_way {
                            arrived.lock().insert(id);
                            flight.arrive(id, home);
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                let mut seen_below = (OrderId::last_below_tick(1), 0);
                while !over.load(Ordering::SeqCst) {
                    let mark = flight.complete_through(None);
                    let durable = arrived.lock().range(..=mark).count();
                    // What lies below an older mark has not become more.
                    assert_eq!(arrived.lock().range(..=seen_below.0).count(), seen_below.1);
                    seen_below = (mark, durable);
                }
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            over.store(true, Ordering::SeqCst);
        });
        assert_eq!(arrived.lock().range(..=flight.complete_through(None)).count(), 8_000);
    }
}
