//! A token bucket in one atomic word: the generic cell rate algorithm (ITU-T I.371, Annex A).
//!
//! The word is the *theoretical arrival time*: the moment at which the bucket would be full again. A request is
//! admitted when that moment, moved on by one emission interval, lies no further ahead than the burst allows.
//!
//! # Protocol of the atomics
//!
//! One word, changed only by compare-and-swap, publishes nothing else: relaxed throughout. A refusal writes nothing,
//! so that a flood of refused requests does not move the cache line between cores.

use super::sync::{AtomicU64, Ordering};
use crate::domain::{Nanos, Rate};

/// Emission interval and tolerance of a [`Rate`]: the pure half of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    interval_ns: u64,
    tolerance_ns: u64,
}

impl Pace {
    /// The pace of `rate`; a rate of zero counts as one a second.
    pub fn of(rate: Rate) -> Self {
        Self::in_steps(rate, 1)
    }

    /// The pace of `rate` for a clock that counts in steps of `step_ns`: the time from one admission to the next is
    /// rounded down to whole steps, at least one.
    pub fn in_steps(rate: Rate, step_ns: u64) -> Self {
        let interval_ns = Nanos::SECOND.0 / u64::from(rate.per_s.max(1));
        let interval_ns = (interval_ns / step_ns).max(1) * step_ns;
        Self { interval_ns, tolerance_ns: interval_ns * u64::from(rate.burst.max(1)) }
    }

    /// Decides on a request at `now` for a bucket that will be full at `full_at`.
    ///
    /// # Errors
    /// How long to wait until a request would pass, if nobody else comes.
    #[inline]
    pub fn admit(self, full_at: Nanos, now: Nanos) -> Result<Nanos, Nanos> {
        let next = full_at.0.max(now.0) + self.interval_ns;
        match next.checked_sub(now.0 + self.tolerance_ns) {
            None | Some(0) => Ok(Nanos(next)),
            Some(early_ns) => Err(Nanos(early_ns)),
        }
    }
}

/// A token bucket shared by all threads.
#[derive(Debug)]
pub struct TokenBucket {
    rate: Rate,
    pace: Pace,
    full_at: AtomicU64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, pace: Pace::of(rate), full_at: AtomicU64::new(0) }
    }

    /// The rate it keeps.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long to wait at least.
    #[inline]
    pub fn take(&self, now: Nanos) -> Result<(), Nanos> {
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = self.pace.admit(Nanos(full_at), now)?;
            match self.full_at.compare_exchange_weak(full_at, next.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => full_at = changed,
            }
        }
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn burst_then_rate() {
        let bucket = TokenBucket::new(Rate { per_s: 10, burst: 3 });
        let at = |ms: u64| Nanos(ms * 1_000_000);
        for _ in 0..3 {
            assert_eq!(bucket.take(at(0)), Ok(()));
        }
        assert_eq!(bucket.take(at(0)), Err(at(100)));
        assert_eq!(bucket.take(at(60)), Err(at(40)));
        assert_eq!(bucket.take(at(100)), Ok(()));
        assert_eq!(bucket.take(at(100)), Err(at(100)));
    }

    proptest! {
        /// In any window the bucket admits at most burst + rate * window, and a refused request that waits as long as
        /// it was told passes.
        #[test]
        fn never_faster_than_its_rate(
            per_s in 1u32..100_000, burst in 1u32..1_000,
            gaps in proptest::collection::vec(0u64..50_000_000, 1..400),
        ) {
            let rate = Rate { per_s, burst };
            let bucket = TokenBucket::new(rate);
            let (mut now, mut admitted, mut last_wait) = (0, 0u64, None);
            for gap in gaps {
                now += gap;
                match bucket.take(Nanos(now)) {
                    Ok(()) => admitted += 1,
                    Err(wait) => last_wait = Some(now + wait.0),
                }
                let interval = 1_000_000_000 / u64::from(per_s);
                prop_assert!(admitted <= u64::from(burst) + now / interval);
            }
            if let Some(later) = last_wait {
                prop_assert_eq!(bucket.take(Nanos(later.max(now + bucket.pace.interval_ns))), Ok(()));
            }
        }
    }
}
