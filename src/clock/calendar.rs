//! Which calendar to believe: a pure machine, time is an argument.

use super::settings::ClockSettings;
use crate::domain::{EpochMs, Nanos};

/// A calendar that is a little off is followed by at most this part of the time that has passed.
const SLEW_DIVISOR: u64 = 200;

/// What another calendar said.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// What it said.
    pub calendar: EpochMs,
    /// When, by the stopwatch.
    pub at: Nanos,
    /// How far that may be wrong, in ms: it took so long to ask.
    pub blur_ms: u64,
}

/// What a sighting came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Both calendars agree, as before.
    Agrees,
    /// It has stepped: it is now so many ms ahead of the engine's.
    Stepped {
        /// Negative when it is behind.
        off_ms: i64,
    },
    /// It is off, as before.
    IsOff,
    /// It has come back to what the engine says.
    Returned,
    /// It is off and has run evenly for so long that it can be taken ([`Calendar::take`]).
    Settled {
        /// How far it is ahead; negative when it is behind.
        off_ms: i64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// The engine's calendar when it began.
    began: EpochMs,
    /// The other calendar at the stopwatch's start, as it was first seen.
    offset_us: i64,
    since: Nanos,
}

/// The engine's calendar beside another one.
#[derive(Debug)]
pub struct Calendar {
    step_ms_max: u64,
    settle: Nanos,
    offset_us: i64,
    off_us: i64,
    seen_at: Nanos,
    doubt: Option<Doubt>,
}

impl Calendar {
    pub(super) fn new(settings: &ClockSettings, offset_us: i64, now: Nanos) -> Self {
        Self {
            step_ms_max: settings.step_ms_max,
            settle: Nanos(settings.settle_ms.saturating_mul(1_000_000)),
            offset_us,
            off_us: 0,
            seen_at: now,
            doubt: None,
        }
    }

    /// The engine's calendar at the stopwatch's start, in µs since 1970.
    pub fn offset_us(&self) -> i64 {
        self.offset_us
    }

    /// Whether the other calendar says the same.
    pub fn is_agreed(&self) -> bool {
        self.doubt.is_none()
    }

    /// How far the other calendar was ahead when it was last seen, in ms.
    pub fn off_ms(&self) -> i64 {
        self.off_us / 1_000
    }

    /// Takes in what the other calendar says.
    pub fn see(&mut self, seen: Sighting) -> Finding {
        let offset_us = offset_of(seen);
        let limit_us = (self.step_ms_max.saturating_add(seen.blur_ms)).saturating_mul(1_000);
        let is_near = |a: i64, b: i64| a.abs_diff(b) <= limit_us;
        let passed_us = (seen.at.0.saturating_sub(self.seen_at.0)) / 1_000;
        self.seen_at = seen.at;
        self.off_us = offset_us.saturating_sub(self.offset_us);
        let off_ms = self.off_ms();
        if is_near(offset_us, self.offset_us) {
            let reach = i64::try_from(passed_us / SLEW_DIVISOR).unwrap_or(i64::MAX);
            self.offset_us += self.off_us.clamp(-reach, reach);
            return if self.doubt.take().is_some() { Finding::Returned } else { Finding::Agrees };
        }
        match self.doubt {
            Some(doubt) if is_near(offset_us, doubt.offset_us) => {
                let is_settled = seen.at.0.saturating_sub(doubt.since.0) >= self.settle.0;
                if is_settled { Finding::Settled { off_ms } } else { Finding::IsOff }
            }
            before => {
                let began = before.map_or_else(|| self.at(seen.at), |doubt| doubt.began);
                self.doubt = Some(Doubt { began, offset_us, since: seen.at });
                Finding::Stepped { off_ms }
            }
        }
    }

    /// Takes the other calendar for the right one.
    pub fn take(&mut self, seen: Sighting) {
        self.offset_us = offset_of(seen);
        self.off_us = 0;
        self.doubt = None;
    }

    /// The latest start that a sale may have to be open: while the calendars differ, the earlier of both counts, and
    /// what had opened before stays open. `None` when they agree.
    pub fn opens_until(&self, now: Nanos) -> Option<EpochMs> {
        let doubt = self.doubt?;
        let here = self.at(now);
        let there = here.plus_ms(self.off_ms());
        Some(here.min(there).max(doubt.began))
    }

    fn at(&self, mono: Nanos) -> EpochMs {
        EpochMs(self.offset_us.saturating_add((mono.0 / 1_000) as i64).div_euclid(1_000))
    }
}

fn offset_of(seen: Sighting) -> i64 {
    seen.calendar.0.saturating_mul(1_000).saturating_sub((seen.at.0 / 1_000) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;

    fn calendar() -> Calendar {
        let settings = ClockSettings { tick_ms: 100, step_ms_max: 500, settle_ms: 60_000 };
        Calendar::new(&settings, START * 1_000, Nanos(0))
    }

    /// `ms` after the start the other calendar is `off` ms ahead of the stopwatch.
    fn seen(ms: u64, off: i64) -> Sighting {
        Sighting { calendar: EpochMs(START + ms as i64 + off), at: at(ms), blur_ms: 0 }
    }

    fn at(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    #[test]
    fn a_calendar_that_is_a_little_off_is_followed_slowly() {
        let mut calendar = calendar();
        assert_eq!(calendar.see(seen(1_000, 400)), Finding::Agrees);
        assert_eq!(calendar.offset_us(), START * 1_000 + 5_000, "5 ms of the first second");
        for second in 2..200 {
            assert_eq!(calendar.see(seen(second * 1_000, 400)), Finding::Agrees);
        }
        assert_eq!(calendar.offset_us(), (START + 400) * 1_000);
        assert_eq!((calendar.is_agreed(), calendar.opens_until(at(0))), (true, None));
    }

    #[test]
    fn m5_a_step_that_goes_back_changes_nothing() {
        for off in [HOUR, -HOUR] {
            let mut calendar = calendar();
            assert_eq!(calendar.see(seen(100, 0)), Finding::Agrees);
            assert_eq!(calendar.see(seen(200, off)), Finding::Stepped { off_ms: off });
            assert!(!calendar.is_agreed());
            assert_eq!(calendar.see(seen(300, off)), Finding::IsOff);
            assert_eq!(calendar.see(seen(700, 0)), Finding::Returned);
            assert!(calendar.is_agreed());
            assert_eq!(calendar.offset_us(), START * 1_000);
        }
    }

    #[test]
    fn m5_a_step_for_good_is_taken_when_it_has_settled_and_not_before() {
        for off in [HOUR, -HOUR] {
            let mut calendar = calendar();
            assert_eq!(calendar.see(seen(1_000, off)), Finding::Stepped { off_ms: off });
            assert_eq!(calendar.see(seen(60_900, off)), Finding::IsOff);
            assert_eq!(calendar.see(seen(61_000, off)), Finding::Settled { off_ms: off });
            assert!(!calendar.is_agreed(), "it is for the guard to take it");
            calendar.take(seen(61_100, off));
            assert_eq!(calendar.offset_us(), (START + off) * 1_000);
            assert_eq!(calendar.see(seen(61_200, off)), Finding::Agrees);
        }
    }

    #[test]
    fn a_calendar_that_goes_on_stepping_never_settles() {
        let mut calendar = calendar();
        for minute in 1..100 {
            let off = HOUR * minute as i64;
            assert_eq!(calendar.see(seen(minute * 59_000, off)), Finding::Stepped { off_ms: off });
        }
        assert!(!calendar.is_agreed());
    }

    #[test]
    fn m5_while_calendars_differ_a_sale_opens_when_both_say_so_and_what_is_open_stays_open() {
        let mut ahead = calendar();
        ahead.see(seen(1_000, HOUR));
        assert_eq!(ahead.opens_until(at(1_000)), Some(EpochMs(START + 1_000)));
        assert_eq!(
            ahead.opens_until(at(5_000)),
            Some(EpochMs(START + 5_000)),
            "the stopwatch's time goes on"
        );
        let mut behind = calendar();
        behind.see(seen(1_000, -HOUR));
        assert_eq!(behind.opens_until(at(1_000)), Some(EpochMs(START + 1_000)));
        assert_eq!(
            behind.opens_until(at(5_000)),
            Some(EpochMs(START + 1_000)),
            "the other says it is earlier"
        );
        let past_the_hour = HOUR as u64 + 6_000;
        assert_eq!(behind.opens_until(at(past_the_hour)), Some(EpochMs(START + 6_000)));
    }

    #[test]
    fn what_took_long_to_ask_is_believed_less() {
        let mut calendar = calendar();
        let slow = Sighting { blur_ms: 2_000, ..seen(100, 2_000) };
        assert_eq!(calendar.see(slow), Finding::Agrees);
        // Half a millisecond was followed.
        assert_eq!(calendar.see(seen(200, 2_000)), Finding::Stepped { off_ms: 1_999 });
    }
}
