//! How many who wait are admitted, and when: arithmetic, of whoever moves the marks. Time is an argument.

use std::collections::VecDeque;

use super::super::purchase::Moment;
use super::load::Load;
use crate::domain::{EpochMs, Nanos, RoomMarks, RoomTerms};

/// Rungs of a ladder at most: half a megabyte, however many are drawn.
const RUNGS_MAX: u64 = 1 << 16;

/// The order of those who are drawn: the priority of every n-th of them. Up to `RUNGS_MAX` people it is the priority of each.
#[derive(Debug)]
pub struct Ladder {
    step: u64,
    rungs: Vec<u64>,
    drawn: u64,
}

impl Ladder {
    /// The ladder of these priorities, in any order. One that is there twice is one buyer's, who registered twice.
    pub fn of(mut priorities: Vec<u64>) -> Self {
        priorities.sort_unstable();
        priorities.dedup();
        let drawn = priorities.len() as u64;
        let step = drawn.div_ceil(RUNGS_MAX).max(1);
        Self { step, rungs: priorities.into_iter().step_by(step as usize).collect(), drawn }
    }

    /// How many are drawn.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }

    /// People between two rungs.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The mark that admits `people`, or as many below as the ladder has a rung for; and how many it admits.
    pub fn mark_for(&self, people: u64) -> (u64, u64) {
        let rung = people / self.step;
        match self.rungs.get(rung as usize) {
            Some(&mark) if people < self.drawn => (mark, rung * self.step),
            _ => (RoomMarks::PRIORITY_END, self.drawn),
        }
    }
}

/// As many people a second as the engine can serve, found out by trying: a quarter more each second, and half as many as
/// soon as work piles up.
#[derive(Debug)]
pub struct Pace {
    per_s: f64,
    tried_at: Option<Nanos>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { per_s: f64::from(Self::FIRST_PER_S), tried_at: None }
    }
}

impl Pace {
    /// People a second to begin with.
    pub const FIRST_PER_S: u32 = 200;
    const LEAST_PER_S: f64 = 10.0;

    fn per_s(&mut self, load: &Load, most: u32, now: Nanos) -> f64 {
        let tried_at = *self.tried_at.get_or_insert(now);
        if now.0.saturating_sub(tried_at.0) >= Nanos::SECOND.0 {
            self.tried_at = Some(now);
            let next = if load.is_strained() { self.per_s / 2.0 } else { self.per_s * 1.25 };
            self.per_s = next.clamp(Self::LEAST_PER_S, f64::from(most).max(Self::LEAST_PER_S));
        }
        self.per_s
    }
}

/// What there is to know of a room before people are admitted.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Buyers who were admitted.
    pub admitted: u64,
    /// Units that are sold: so many have come.
    pub sold: u64,
    /// Whether the sale sells and has something left.
    pub is_open: bool,
    /// The work that waits.
    pub load: Load,
    /// People a second at most, where the engine finds the rate out.
    pub most_per_s: u32,
    /// So many are admitted at once at the least.
    pub step: u64,
}

/// How many may be admitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// So many more.
    pub people: u64,
    /// The rate.
    pub rate_per_s: u32,
    /// How many of a thousand who were admitted do not come.
    pub absent_permille: u32,
}

/// The release of one room. It is kept by whoever moves its marks, and begins anew with the next one who does.
#[derive(Debug)]
pub struct Releasing {
    budget: f64,
    last: Option<Nanos>,
    pace: Pace,
    /// How many were admitted when, for as long as those of then may still come; the oldest first.
    admitted: VecDeque<(EpochMs, u64)>,
    absent_permille: u32,
}

impl Default for Releasing {
    /// The first is admitted at once.
    fn default() -> Self {
        Self { budget: 1.0, last: None, pace: Pace::default(), admitted: VecDeque::new(), absent_permille: 0 }
    }
}

impl Releasing {
    /// Fewer than so many tell nothing of how many do not come.
    const TELLING: u64 = 20;
    /// However many do not come, at least a tenth do: one gap must not let everybody in.
    const ABSENT_PERMILLE_MAX: u64 = 900;

    /// How many may be admitted at `now`. Time in which nobody could buy does not count.
    pub fn next(&mut self, terms: &RoomTerms, seen: &Seen, now: Moment) -> Release {
        let since = self.last.replace(now.mono).map_or(0, |last| now.mono.0.saturating_sub(last.0));
        if seen.is_open {
            self.note_absent(terms, seen, now.wall);
        }
        let rate = match terms.rate_per_s {
            Some(rate) => f64::from(rate),
            None => {
                let most = f64::from(seen.most_per_s);
                let serves = self.pace.per_s(&seen.load, seen.most_per_s, now.mono);
                (serves * 1_000.0 / f64::from(1_000 - self.absent_permille)).min(most)
            }
        };
        if seen.is_open {
            let more = rate * since as f64 / Nanos::SECOND.0 as f64;
            // More than what a second allows is not saved up for later.
            self.budget = (self.budget + more).min(rate.max(seen.step as f64));
        } else {
            self.budget = self.budget.min(1.0);
        }
        let people = if seen.is_open { self.budget as u64 } else { 0 };
        Release { people, rate_per_s: rate as u32, absent_permille: self.absent_permille }
    }

    /// So many were admitted.
    pub fn took(&mut self, people: u64) {
        self.budget = (self.budget - people as f64).max(0.0);
    }

    fn note_absent(&mut self, terms: &RoomTerms, seen: &Seen, now: EpochMs) {
        const EVERY_MS: i64 = 1_000;
        if self.admitted.back().is_none_or(|(at, _)| now.ms_since(*at) >= EVERY_MS) {
            self.admitted.push_back((now, seen.admitted));
        }
        let due_at = now.plus_ms(-i64::from(terms.grace_s) * 1_000);
        while self.admitted.get(1).is_some_and(|(at, _)| *at <= due_at) {
            self.admitted.pop_front();
        }
        let Some(&(_, due)) = self.admitted.front().filter(|(at, _)| *at <= due_at) else { return };
        if due >= Self::TELLING {
            let came_permille = (seen.sold.min(due) * 1_000 / due).min(1_000);
            self.absent_permille = (1_000 - came_permille).min(Self::ABSENT_PERMILLE_MAX) as u32;
        }
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{RoomFailure, RoomMode, RoomSeed};

    const TERMS: RoomTerms = RoomTerms {
        mode: RoomMode::Fifo,
        opens_at: None,
        rate_per_s: Some(100),
        grace_s: 2,
        on_failure: RoomFailure::Open,
        seed: RoomSeed([0; 16]),
        beacon: None,
    };
    const SEEN: Seen = Seen {
        admitted: 0,
        sold: 0,
        is_open: true,
        load: Load { waiting: 0, capacity: 100, is_stalled: false },
        most_per_s: 10_000,
        step: 1,
    };

    fn at(ms: i64) -> Moment {
        Moment { wall: EpochMs(1_000_000 + ms), mono: Nanos(ms as u64 * 1_000_000) }
    }

    #[test]
    fn a_given_rate_is_kept_and_a_pause_saves_nothing_up() {
        let mut releasing = Releasing::default();
        let mut admitted = 0;
        let mut run = |from: i64, until: i64, is_open| {
            for ms in (from..until).step_by(250) {
                let release = releasing.next(&TERMS, &Seen { is_open, ..SEEN }, at(ms));
                releasing.took(release.people);
                admitted += release.people;
            }
            admitted
        };
        let first = run(0, 10_000, true);
        assert!((970..=1_001).contains(&first), "{first}");
        assert_eq!(run(10_000, 20_000, false), first, "nobody while it is paused");
        let then = run(20_000, 30_000, true) - first;
        assert!((970..=1_001).contains(&then), "{then}");
    }

    #[test]
    fn the_engine_finds_out_what_it_can_serve() {
        let terms = RoomTerms { rate_per_s: None, ..TERMS };
        let mut releasing = Releasing::default();
        let mut run = |from: i64, until: i64, waiting| {
            let load = Load { waiting, ..SEEN.load };
            let steps = (from..until).step_by(250);
            steps.map(|ms| releasing.next(&terms, &Seen { load, ..SEEN }, at(ms)).rate_per_s).last().unwrap()
        };
        assert_eq!(run(0, 1_000, 0), Pace::FIRST_PER_S);
        let risen = run(1_000, 60_000, 0);
        assert_eq!(risen, 10_000);
        assert!(run(60_000, 64_000, 80) <= risen / 8);
        assert_eq!(run(64_000, 120_000, 80), 10);
    }

    #[test]
    fn the_fullest_of_all_nodes_decides() {
        let load = |waiting, is_stalled| Load { waiting, capacity: 200, is_stalled };
        assert_eq!(
            [load(0, false), load(50, false), load(0, true), load(900, false)].map(|load| load.permille()),
            [0, 250, 1_000, 1_000]
        );
        let elsewhere = |permille| load(20, false).or_fuller(Load::of_permille(permille));
        assert!(!elsewhere(0).is_strained() && elsewhere(0).waiting == 20);
        assert!(elsewhere(251).is_strained() && !elsewhere(250).is_strained() && elsewhere(1_000).is_stalled);
        // One that stands holds the others' pace down, however idle this one is.
        let terms = RoomTerms { rate_per_s: None, ..TERMS };
        let mut releasing = Releasing::default();
        let mut rate = 0;
        for ms in (0..20_000).step_by(250) {
            let load = load(0, false).or_fuller(Load::of_permille(1_000));
            rate = releasing.next(&terms, &Seen { load, ..SEEN }, at(ms)).rate_per_s;
        }
        assert_eq!(rate, 10);
    }

    #[test]
    fn who_does_not_come_makes_room_for_others() {
        let terms = RoomTerms { rate_per_s: None, ..TERMS };
        let mut releasing = Releasing::default();
        for ms in (0..6_000).step_by(250) {
            let admitted = 100;
            let release = releasing.next(&terms, &Seen { admitted, sold: 75, ..SEEN }, at(ms));
            let expected = if ms < 2_000 { 0 } else { 250 };
            assert_eq!(release.absent_permille, expected, "at {ms}");
        }
    }

    proptest! {
        #[test]
        fn a_mark_admits_as_many_as_it_says_and_never_more(
            priorities in proptest::collection::vec(0..RoomMarks::PRIORITY_END, 0..200), people in 0u64..250,
        ) {
            let ladder = Ladder::of(priorities.clone());
            let (mark, admitted) = ladder.mark_for(people);
            let mut distinct = priorities;
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(ladder.drawn(), distinct.len() as u64);
            let below = distinct.iter().filter(|priority| **priority < mark).count() as u64;
            prop_assert_eq!(below, admitted);
            prop_assert_eq!(admitted, people.min(distinct.len() as u64));
        }
    }

    #[test]
    fn a_long_ladder_has_few_rungs_and_the_same_order() {
        let people = 3 * RUNGS_MAX + 5;
        let ladder = Ladder::of((0..people).map(|n| n * 7).rev().collect());
        assert!(ladder.rungs.len() as u64 <= RUNGS_MAX);
        let marks: Vec<(u64, u64)> =
            [0, 3, 4, 100_001, people - 1, people].map(|n| ladder.mark_for(n)).to_vec();
        for (mark, admitted) in marks {
            let below = (mark.min(people * 7)).div_ceil(7);
            assert_eq!(below, admitted);
        }
    }
}
