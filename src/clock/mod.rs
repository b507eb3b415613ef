//! The engine's time. Its calendar is read from the stopwatch: it was right when the engine started, it follows the
//! system's (or the database's) calendar slowly, and a calendar that steps is not believed until it has settled.
//!
//! [`Clock`] tells the time, [`Calendar`] decides what to believe, and whoever looks at the other calendars (see
//! [`guard_calendar`](crate::orders::guard_calendar)) tells it what they say.
//!
//! # Protocol of the atomics
//!
//! One task writes, all others read. `offset_us` and `is_agreed` each decide alone and publish nothing else: who reads
//! one a moment before it changes has read it in time. The figures are only shown. All relaxed.

mod calendar;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub use calendar::{Calendar, Finding, Sighting};
pub use settings::ClockSettings;

use crate::admission::Moment;
use crate::domain::{EpochMs, Nanos};

/// Tells the time. Copies of one clock tell the same.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    told: Arc<Told>,
}

#[derive(Debug)]
struct Told {
    /// The calendar at the stopwatch's start, in µs since 1970.
    offset_us: AtomicI64,
    is_agreed: AtomicBool,
    steps: AtomicU64,
    reference_off_ms: AtomicI64,
    system_off_ms: AtomicI64,
}

/// What there is to show of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockFigures {
    /// Whether the calendar that counts agrees with the engine's.
    pub is_agreed: bool,
    /// How often a calendar has stepped since the start.
    pub steps: u64,
    /// How far the calendar that counts (the database's, or else the system's) is ahead of the engine's, in ms.
    pub reference_off_ms: i64,
    /// How far the system's calendar is ahead of the engine's, in ms.
    pub system_off_ms: i64,
}

impl Clock {
    /// A clock whose stopwatch starts now, and whose calendar is the system's. A process has one: token buckets compare
    /// its readings.
    pub fn start() -> Self {
        Self::start_at(Self::system_calendar())
    }

    /// The same with another calendar.
    pub fn start_at(calendar: EpochMs) -> Self {
        let told = Told {
            offset_us: AtomicI64::new(calendar.0.saturating_mul(1_000)),
            is_agreed: AtomicBool::new(true),
            steps: AtomicU64::new(0),
            reference_off_ms: AtomicI64::new(0),
            system_off_ms: AtomicI64::new(0),
        };
        Self { start: Instant::now(), told: Arc::new(told) }
    }

    /// What the system's calendar says, right or wrong.
    pub fn system_calendar() -> EpochMs {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        EpochMs(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }

    /// Calendar and stopwatch, read together.
    pub fn now(&self) -> Moment {
        let mono = self.stopwatch();
        Moment { wall: self.calendar_at(mono), mono }
    }

    /// The stopwatch alone.
    pub fn stopwatch(&self) -> Nanos {
        Nanos(self.start.elapsed().as_nanos() as u64)
    }

    /// The engine's calendar.
    pub fn calendar(&self) -> EpochMs {
        self.now().wall
    }

    fn calendar_at(&self, mono: Nanos) -> EpochMs {
        EpochMs(self.told.offset_us.load(Relaxed).saturating_add((mono.0 / 1_000) as i64).div_euclid(1_000))
    }

    /// Whether the calendar can be relied on: nothing expires while it cannot.
    pub fn is_agreed(&self) -> bool {
        self.told.is_agreed.load(Relaxed)
    }

    /// What there is to show.
    pub fn figures(&self) -> ClockFigures {
        ClockFigures {
            is_agreed: self.is_agreed(),
            steps: self.told.steps.load(Relaxed),
            reference_off_ms: self.told.reference_off_ms.load(Relaxed),
            system_off_ms: self.told.system_off_ms.load(Relaxed),
        }
    }

    /// A calendar to guard this clock with, which begins with what the clock says.
    pub fn guarded(&self, settings: &ClockSettings) -> Calendar {
        Calendar::new(settings, self.told.offset_us.load(Relaxed), self.stopwatch())
    }

    /// Tells what the guard believes from now on.
    pub fn follow(&self, calendar: &Calendar) {
        self.told.offset_us.store(calendar.offset_us(), Relaxed);
        self.told.is_agreed.store(calendar.is_agreed(), Relaxed);
        self.told.reference_off_ms.store(calendar.off_ms(), Relaxed);
    }

    /// Counts a step of a calendar.
    pub fn count_step(&self) {
        self.told.steps.fetch_add(1, Relaxed);
    }

    /// Shows how far the system's calendar is ahead.
    pub fn show_system_off(&self, off_ms: i64) {
        self.told.system_off_ms.store(off_ms, Relaxed);
    }
}
