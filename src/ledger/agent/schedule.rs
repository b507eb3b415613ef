//! Which sales are to be looked at, and when. A sale that rests costs nothing until its time comes or it is named.

use std::collections::{BTreeSet, HashMap, VecDeque};

use tokio::time::Instant;

use crate::domain::SaleId;

/// How urgent a look is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Nobody waits: as there is time.
    InTurn,
    /// Buyers, an operator or another node may wait.
    Now,
}

/// When a sale is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Next(Urgency),
    At(Instant),
}

/// The sales of one agent.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    when: HashMap<SaleId, When>,
    /// The two lines. A place counts only if `when` says the same of its sale.
    urgent: VecDeque<SaleId>,
    in_turn: VecDeque<SaleId>,
    timers: BTreeSet<(Instant, SaleId)>,
}

impl Schedule {
    /// The sale is to be looked at, at least so urgently.
    pub fn name(&mut self, sale: SaleId, urgency: Urgency) {
        let is_named = matches!(self.when.get(&sale), Some(When::Next(before)) if *before >= urgency);
        if !is_named {
            self.set(sale, Some(When::Next(urgency)));
            self.line(urgency).push_back(sale);
        }
    }

    /// The sale is to be looked at then, unless it is named before.
    pub fn wait_until(&mut self, sale: SaleId, at: Instant) {
        self.set(sale, Some(When::At(at)));
        self.timers.insert((at, sale));
    }

    /// The sale is not looked at any more, unless it is named again.
    pub fn forget(&mut self, sale: SaleId) {
        self.set(sale, None);
    }

    /// Names those whose time has come.
    pub fn pass(&mut self, now: Instant) {
        while let Some(&(at, sale)) = self.timers.first()
            && at <= now
        {
            self.name(sale, Urgency::InTurn);
        }
    }

    /// How long the line is.
    pub fn waiting(&mut self, urgency: Urgency) -> usize {
        self.line(urgency).len()
    }

    /// The sales of the first `places` places of the line.
    pub fn take(&mut self, urgency: Urgency, places: usize) -> Vec<SaleId> {
        let mut sales: Vec<_> = self.line(urgency).drain(..places).collect();
        sales.retain(|sale| {
            let counts = self.when.get(sale) == Some(&When::Next(urgency));
            if counts {
                self.set(*sale, None);
            }
            counts
        });
        sales
    }

    /// When there is something to look at: `None` when nothing will be until a sale is named.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let is_anybody_named = !self.urgent.is_empty() || !self.in_turn.is_empty();
        if is_anybody_named { Some(now) } else { self.timers.first().map(|(at, _)| *at) }
    }

    fn set(&mut self, sale: SaleId, when: Option<When>) {
        let before = match when {
            Some(when) => self.when.insert(sale, when),
            None => self.when.remove(&sale),
        };
        if let Some(When::At(at)) = before {
            self.timers.remove(&(at, sale));
        }
    }

    fn line(&mut self, urgency: Urgency) -> &mut VecDeque<SaleId> {
        match urgency {
            Urgency::InTurn => &mut self.in_turn,
            Urgency::Now => &mut self.urgent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn n2_a_sale_is_looked_at_when_it_is_named_or_its_time_comes_and_once() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        let [a, b, c] = [1, 2, 3].map(SaleId);
        let all = |schedule: &mut Schedule, urgency| {
            let places = schedule.waiting(urgency);
            schedule.take(urgency, places)
        };
        assert_eq!(schedule.next(start), None);
        schedule.wait_until(a, at(5));
        schedule.wait_until(b, at(3));
        schedule.wait_until(a, at(9));
        assert_eq!(schedule.next(start), Some(at(3)));
        schedule.pass(at(4));
        assert_eq!(schedule.next(at(4)), Some(at(4)));
        assert_eq!(
            (all(&mut schedule, Urgency::Now), all(&mut schedule, Urgency::InTurn)),
            (vec![], vec![b])
        );
        schedule.pass(at(6));
        assert_eq!(schedule.next(at(6)), Some(at(9)), "the former time is forgotten");
        for urgency in [Urgency::InTurn, Urgency::Now, Urgency::Now, Urgency::InTurn] {
            schedule.name(a, urgency);
        }
        schedule.name(c, Urgency::InTurn);
        assert_eq!(all(&mut schedule, Urgency::Now), [a]);
        schedule.name(a, Urgency::InTurn);
        assert_eq!(schedule.take(Urgency::InTurn, 1), [a], "in the place that it had");
        schedule.wait_until(a, at(20));
        assert_eq!(all(&mut schedule, Urgency::InTurn), [c], "it had its turn");
        assert_eq!(schedule.next(at(7)), Some(at(20)));
        schedule.pass(at(21));
        assert_eq!(all(&mut schedule, Urgency::InTurn), [a]);
        assert_eq!(schedule.next(at(22)), None);
        schedule.name(a, Urgency::Now);
        schedule.wait_until(b, at(30));
        [a, b].into_iter().for_each(|sale| schedule.forget(sale));
        assert_eq!(all(&mut schedule, Urgency::Now), []);
        assert_eq!(schedule.next(at(31)), None, "what is forgotten has no time any more");
    }
}
