//! Graces of which those who wait have still to be told.
//!
//! To whoever waits an outage is one. In the store it is many graces: each node notes when it could not let anybody pay, and
//! each of these grows while it lasts. So what is told of is time in which nobody could pay, a stretch of it once, and only
//! one that is long enough to be noticed: else every order that waits would have an event for each node and each look.

use std::collections::VecDeque;

use super::graces::{Grace, NOTICED_MS_MIN};
use crate::domain::{EpochMs, OrderId};

/// A grace, and the orders that may be concerned.
#[derive(Debug)]
struct Untold {
    grace: Grace,
    /// Those that waited when it became known; what is told of is taken out.
    orders: Vec<OrderId>,
}

/// What is to be told, first come first.
#[derive(Debug, Default)]
pub struct UntoldGraces {
    waiting: VecDeque<Untold>,
    /// Outages that were told of, or are among `waiting`, by time. They have no moment in common.
    noted: Vec<(EpochMs, EpochMs)>,
}

impl UntoldGraces {
    /// Whether the grace is worth telling: a gift is, and an outage of which enough was not noted before. It is from now on.
    pub fn note(&mut self, grace: &Grace) -> bool {
        let Some(until) = grace.until else { return true };
        // Every outage that is over is noted again with each look at the store.
        let first = self.noted.partition_point(|(_, to)| *to < grace.from);
        let behind = first + self.noted[first..].partition_point(|(from, _)| *from <= until);
        let touched = &self.noted[first..behind];
        let common = |&(from, to): &(EpochMs, EpochMs)| until.min(to).ms_since(grace.from.max(from));
        let known: i64 = touched.iter().map(|noted| common(noted).max(0)).sum();
        let is_new = until.ms_since(grace.from) - known >= NOTICED_MS_MIN;
        if is_new {
            let whole =
                |(from, until): (EpochMs, EpochMs), &(a, b): &(EpochMs, EpochMs)| (from.min(a), until.max(b));
            let whole = touched.iter().fold((grace.from, until), whole);
            drop(self.noted.splice(first..behind, [whole]));
        }
        is_new
    }

    /// Outages that were over by then are in no list any more.
    pub fn forget_before(&mut self, oldest: EpochMs) {
        self.noted.retain(|(_, until)| *until >= oldest);
    }

    /// These orders are to be told of the grace.
    pub fn push(&mut self, grace: Grace, orders: Vec<OrderId>) {
        if !orders.is_empty() {
            self.waiting.push_back(Untold { grace, orders });
        }
    }

    /// These were not told of it after all: they come first.
    pub fn put_back(&mut self, grace: Grace, orders: Vec<OrderId>) {
        self.waiting.push_front(Untold { grace, orders });
    }

    /// Takes out the next orders to tell, at most `max`, and of which grace.
    pub fn take(&mut self, max: usize) -> Option<(Grace, Vec<OrderId>)> {
        let next = self.waiting.front_mut()?;
        let kept = next.orders.len().saturating_sub(max);
        let (orders, grace) = (next.orders.split_off(kept), next.grace.clone());
        if next.orders.is_empty() {
            self.waiting.pop_front();
        }
        Some((grace, orders))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage(from: i64, until: i64) -> Grace {
        Grace::outage(EpochMs(from), EpochMs(until), "test")
    }

    #[test]
    fn m4_an_outage_that_several_nodes_have_noted_is_told_of_once() {
        let mut untold = UntoldGraces::default();
        assert!(untold.note(&outage(10_000, 11_300)));
        for other in [outage(10_050, 11_250), outage(9_900, 11_400), outage(10_000, 11_300)] {
            assert!(!untold.note(&other), "{other:?}");
        }
        assert!(untold.note(&outage(20_000, 21_000)), "another one");
        assert!(untold.note(&Grace::gift(None, EpochMs(10_500), 5, "test".into())), "a gift is always news");
    }

    #[test]
    fn m4_an_outage_that_has_grown_is_told_of_again_when_somebody_may_notice() {
        let mut untold = UntoldGraces::default();
        assert!(untold.note(&outage(0, 5_000)));
        assert!(!untold.note(&outage(0, 5_999)));
        assert!(!untold.note(&outage(0, 5_999)), "what was not told of adds up");
        assert!(untold.note(&outage(0, 6_000)));
        assert!(untold.note(&outage(7_000, 9_000)));
        assert!(untold.note(&outage(5_000, 10_500)), "1 s between the two, half a second after them");
        assert_eq!(untold.noted, [(EpochMs(0), EpochMs(10_500))]);
    }

    #[test]
    fn m4_outages_are_noted_by_time_in_whatever_order_they_become_known() {
        let mut untold = UntoldGraces::default();
        for new in [outage(40_000, 42_000), outage(0, 2_000), outage(20_000, 22_000), outage(30_000, 32_000)]
        {
            assert!(untold.note(&new) && !untold.note(&new), "{new:?}");
        }
        assert!(!untold.note(&outage(19_500, 20_400)), "too short for anybody to notice what is new of it");
        assert!(untold.note(&outage(22_000, 30_000)), "what lies between two of them");
        let expected = [(0, 2_000), (20_000, 32_000), (40_000, 42_000)];
        assert_eq!(untold.noted, expected.map(|(from, until)| (EpochMs(from), EpochMs(until))));
    }

    #[test]
    fn what_is_forgotten_in_the_store_is_forgotten_here() {
        let mut untold = UntoldGraces::default();
        untold.note(&outage(0, 5_000));
        untold.note(&outage(10_000, 15_000));
        untold.forget_before(EpochMs(5_001));
        assert_eq!(untold.noted, [(EpochMs(10_000), EpochMs(15_000))]);
    }
}
