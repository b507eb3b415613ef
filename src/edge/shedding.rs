//! When a serving thread has more than it can do, and how much of what is dear it then refuses.
//!
//! As in CoDel, what counts is the shortest wait within an interval: a burst makes some requests wait and is soon over, and
//! only when nobody was read without waiting there is a queue that stands. Then a step more is refused each interval, more
//! of them the longer the wait is, and a step less as soon as somebody did not wait.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{FieldError, Nanos};
use crate::settings::within;
use crate::telemetry::EdgeLoad;

/// The `[edge.overload]` section: when look-ups, payments and operators' reads are refused so that purchases go on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverloadSettings {
    /// The longest that requests may wait, all of an interval's, before they are read, in milliseconds. 0: nothing is refused.
    pub wait_ms_max: u64,
    /// The interval, in milliseconds: after each, a step more or less is refused.
    pub interval_ms: u64,
}

impl Default for OverloadSettings {
    fn default() -> Self {
        Self { wait_ms_max: 20, interval_ms: 100 }
    }
}

impl OverloadSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub(super) fn check(&self) -> Result<(), FieldError> {
        within("overload.wait_ms_max", self.wait_ms_max, 0..=10_000)?;
        within("overload.interval_ms", self.interval_ms, 10..=10_000)
    }
}

/// The level of one thread.
#[derive(Debug)]
pub(super) struct Shedding {
    most: Nanos,
    interval: Nanos,
    /// The shortest wait of this interval.
    least: Option<Nanos>,
    ends: Nanos,
    level: u32,
}

/// Who waits no longer does not wait.
const CALM_MAX: Nanos = Nanos(1_000_000);

/// Steps that are added at most at once: an eighth of looks each.
const STEPS_AT_ONCE: u64 = EdgeLoad::STEPS as u64;

impl Shedding {
    /// Nothing is refused at first.
    pub fn new(settings: &OverloadSettings, now: Nanos) -> Self {
        let [most, interval] = [settings.wait_ms_max, settings.interval_ms].map(|ms| Nanos(ms * 1_000_000));
        Self { most, interval, least: None, ends: Nanos(now.0 + interval.0), level: 0 }
    }

    /// Whether nothing is refused, and this wait is none.
    pub fn is_calm(&self, wait: Nanos) -> bool {
        self.level == 0 && wait <= CALM_MAX
    }

    /// An interval begins at `now`, of which nothing is known yet.
    pub fn begin_anew(&mut self, now: Nanos) {
        self.least = None;
        self.ends = Nanos(now.0 + self.interval.0);
    }

    /// What had arrived was read at `now`, after this wait. The new level when it changes.
    pub fn note(&mut self, wait: Nanos, now: Nanos) -> Option<u32> {
        if self.most.0 == 0 {
            return None;
        }
        let least = self.least.map_or(wait, |least| Nanos(least.0.min(wait.0)));
        if now < self.ends {
            self.least = Some(least);
            return None;
        }
        self.begin_anew(now);
        let before = self.level;
        self.level = if least > self.most {
            let steps = (least.0 / self.most.0).min(STEPS_AT_ONCE) as u32;
            (before + steps).min(EdgeLoad::LEVEL_MAX)
        } else {
            before.saturating_sub(1)
        };
        (self.level != before).then_some(self.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Levels after intervals of ten waits each, in milliseconds.
    fn levels(shedding: &mut Shedding, from: &mut u64, intervals: &[&[u64]]) -> Vec<u32> {
        let mut levels = Vec::new();
        for waits in intervals {
            for wait in waits.iter().cycle().take(10) {
                *from += 10;
                shedding.note(Nanos(wait * MS), Nanos(*from * MS));
            }
            levels.push(shedding.level);
        }
        levels
    }

    #[test]
    fn a_queue_that_stands_is_met_step_by_step_and_a_burst_is_not() {
        let mut shedding = Shedding::new(&OverloadSettings::default(), Nanos(0));
        let from = &mut 0;
        // Some wait long, one does not: no queue stands.
        assert_eq!(levels(&mut shedding, from, &[&[500, 500, 1, 500]]), [0]);
        assert_eq!(levels(&mut shedding, from, &[&[21], &[25], &[39]]), [1, 2, 3]);
        // Five times as long as may be: five steps at once.
        assert_eq!(levels(&mut shedding, from, &[&[110, 100]]), [8]);
        assert_eq!(levels(&mut shedding, from, &[&[20], &[0], &[19, 90]]), [7, 6, 5]);
        assert_eq!(levels(&mut shedding, from, &[&[9_000], &[9_000], &[9_000]]), [13, 16, 16]);
        let down = levels(&mut shedding, from, &[&[0][..]; 17]);
        assert_eq!((down[0], down[15], down[16]), (15, 0, 0));
    }

    #[test]
    fn a_thread_that_was_away_counts_what_it_finds() {
        let mut shedding = Shedding::new(&OverloadSettings::default(), Nanos(0));
        assert_eq!(
            shedding.note(Nanos(4_000 * MS), Nanos(4_000 * MS)),
            Some(8),
            "no interval had a shorter wait"
        );
        assert_eq!(shedding.note(Nanos(0), Nanos(4_010 * MS)), None, "the next interval has begun");
    }

    #[test]
    fn a_long_wait_that_a_calm_thread_finds_is_looked_at_for_an_interval_first() {
        let mut shedding = Shedding::new(&OverloadSettings::default(), Nanos(0));
        assert!(shedding.is_calm(Nanos(MS)) && !shedding.is_calm(Nanos(2 * MS)));
        // Looks once an interval, while all is calm; then one finds that somebody waits.
        assert_eq!(shedding.note(Nanos(0), Nanos(200 * MS)), None);
        shedding.begin_anew(Nanos(400 * MS));
        assert_eq!(shedding.note(Nanos(500 * MS), Nanos(400 * MS)), None);
        assert_eq!(levels(&mut shedding, &mut 400, &[&[1, 500], &[500]]), [0, 8]);
        assert!(!shedding.is_calm(Nanos(0)), "while something is refused");
    }

    #[test]
    fn zero_refuses_nothing() {
        let settings = OverloadSettings { wait_ms_max: 0, ..OverloadSettings::default() };
        let mut shedding = Shedding::new(&settings, Nanos(0));
        assert!((1..100).all(|n| shedding.note(Nanos(u64::MAX / 2), Nanos(n * 1_000 * MS)).is_none()));
    }
}
