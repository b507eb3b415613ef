//! Two clocks, never mixed: the calendar's and the stopwatch's.

/// Milliseconds since 1970-01-01T00:00:00Z: what buyers, orders and sale windows speak of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochMs(pub i64);

impl EpochMs {
    /// This moment plus `ms` milliseconds, saturating at the ends of time.
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; negative when `earlier` is later.
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Nanoseconds of a clock that never goes back, counted from the start of the process.
/// Token buckets count in it, so that a stepped calendar neither opens nor closes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// One second.
    pub const SECOND: Self = Self(1_000_000_000);

    /// This many nanoseconds, rounded up to whole milliseconds: a wait that is long enough.
    pub const fn ceil_ms(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }
}
