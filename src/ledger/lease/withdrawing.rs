//! Units that are taken off sale so that an operator can lower the stock: gathered here first, from this node, the ledger
//! and the other nodes, so that nobody is sold a unit that is about to go.

use std::time::Instant;

/// What is to be done with the units now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// They stay off sale.
    Keep,
    /// All are here: whoever asked for them decides.
    Deliver,
    /// They go back on sale.
    PutBack,
    /// They are none any more: they go back to the ledger, whose total is lower.
    GiveUp,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Collecting,
    Delivered,
    GivenUp,
    Over,
}

/// Units off sale at this node, and what becomes of them.
#[derive(Clone, Debug)]
pub struct Withdrawing {
    wanted: u64,
    units: u64,
    give_up_at: Instant,
    stage: Stage,
}

impl Withdrawing {
    /// Nothing is gathered yet; it is tried until `give_up_at`.
    pub fn new(wanted: u64, give_up_at: Instant) -> Self {
        Self { wanted, units: 0, give_up_at, stage: Stage::Collecting }
    }

    /// Units that were gathered.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Units that are still to be gathered.
    pub fn missing(&self) -> u64 {
        if self.stage == Stage::Collecting { self.wanted.saturating_sub(self.units) } else { 0 }
    }

    /// These are off sale, too.
    pub fn gather(&mut self, units: u64) {
        self.units += units;
    }

    /// Whoever asked has decided, or does not listen any more, which means no.
    pub fn decide(&mut self, is_given_up: bool) {
        self.stage = match self.stage {
            Stage::Delivered if is_given_up => Stage::GivenUp,
            Stage::Collecting | Stage::Delivered => Stage::Over,
            last => last,
        };
    }

    /// Goes on as far as it can at `now`. Units that the store's share still covers are not to be given up yet.
    pub fn advance(&mut self, now: Instant, are_covered: bool) -> Next {
        match self.stage {
            Stage::Collecting if self.units >= self.wanted && !are_covered => {
                self.stage = Stage::Delivered;
                Next::Deliver
            }
            Stage::Collecting if now >= self.give_up_at => {
                self.stage = Stage::Over;
                Next::PutBack
            }
            Stage::Collecting | Stage::Delivered => Next::Keep,
            Stage::GivenUp => Next::GiveUp,
            Stage::Over => Next::PutBack,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn delivered(now: Instant) -> Withdrawing {
        let mut withdrawing = Withdrawing::new(3, now + Duration::from_secs(1));
        assert_eq!((withdrawing.missing(), withdrawing.advance(now, false)), (3, Next::Keep));
        withdrawing.gather(3);
        assert_eq!((withdrawing.missing(), withdrawing.advance(now, true)), (0, Next::Keep));
        assert_eq!(withdrawing.advance(now, false), Next::Deliver);
        assert_eq!(
            withdrawing.advance(now + Duration::from_secs(9), false),
            Next::Keep,
            "it waits for the word"
        );
        withdrawing
    }

    #[test]
    fn units_are_given_up_or_put_back_as_was_decided() {
        let now = Instant::now();
        for (is_given_up, next) in [(true, Next::GiveUp), (false, Next::PutBack)] {
            let mut withdrawing = delivered(now);
            withdrawing.decide(is_given_up);
            assert_eq!([withdrawing.advance(now, false), withdrawing.advance(now, true)], [next, next]);
            withdrawing.decide(!is_given_up);
            assert_eq!(withdrawing.advance(now, false), next, "the first word counts");
        }
    }

    #[test]
    fn too_few_units_are_put_back_in_time_or_when_nobody_waits() {
        let now = Instant::now();
        let mut withdrawing = Withdrawing::new(3, now + Duration::from_secs(1));
        withdrawing.gather(2);
        let mut deserted = withdrawing.clone();
        assert_eq!(withdrawing.advance(now, false), Next::Keep);
        assert_eq!(withdrawing.advance(now + Duration::from_secs(1), false), Next::PutBack);
        deserted.decide(true);
        assert_eq!((deserted.advance(now, false), deserted.units()), (Next::PutBack, 2));
    }
}
