//! What became of a sale's purchases on this node, for those who watch it.
//!
//! # Protocol of the atomics
//!
//! Each core adds to cells of its own, and whoever asks adds them up. They decide nothing and publish nothing: relaxed. They
//! are the real atomics in the model, too: nothing there depends on them, and each would double what it has to try.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::domain::Rejection;

/// What is counted: an order placed, a click on an order that exists or is on its way, and every rejection of a sale.
const CODES: [&str; 13] = [
    "won",
    "replayed",
    "idempotency-key-reused",
    "quantity-not-allowed",
    "already-purchased",
    "sale-not-started",
    "sale-paused",
    "sale-ended",
    "waiting-room",
    "sold-out",
    "rate-limited",
    "too-many-releases",
    "overloaded",
];

/// What became of a purchase.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decided {
    Won,
    Replayed,
    Rejected(Rejection),
}

/// The counts of one sale.
#[derive(Debug)]
pub struct Tally(Box<[CachePadded<[AtomicU64; CODES.len()]>]>);

/// The counts at one moment, by code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TallyCounts([u64; CODES.len()]);

impl Tally {
    /// Counts by `shards` cores, at least one.
    pub(super) fn new(shards: usize) -> Self {
        let core = || CachePadded::new([const { AtomicU64::new(0) }; CODES.len()]);
        Self((0..shards.max(1)).map(|_| core()).collect())
    }

    /// Counts one purchase, decided on the core whose shard is `home`.
    #[inline]
    pub(super) fn count(&self, home: usize, decided: Decided) {
        self.0[home % self.0.len()][place(decided)].fetch_add(1, Ordering::Relaxed);
    }

    /// All that was counted so far.
    pub fn counts(&self) -> TallyCounts {
        let mut sum = TallyCounts::default();
        for core in &self.0 {
            sum.0.iter_mut().zip(core.iter()).for_each(|(sum, cell)| *sum += cell.load(Ordering::Relaxed));
        }
        sum
    }
}

impl TallyCounts {
    /// Purchases that were decided.
    pub fn arrivals(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Orders that were placed.
    pub fn wins(&self) -> u64 {
        self.0[place(Decided::Won)]
    }

    /// Refusals, by code. Repeated clicks on one's own order are none.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CODES.into_iter().zip(self.0).skip(2)
    }

    /// All of them by code, those that are zero as well.
    pub fn by_code(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CODES.into_iter().zip(self.0)
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = *self;
        sum.0.iter_mut().zip(other.0).for_each(|(sum, other)| *sum += other);
        sum
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        since.0.iter_mut().zip(before.0).for_each(|(now, before)| *now = now.saturating_sub(before));
        since
    }
}

const fn place(decided: Decided) -> usize {
    match decided {
        Decided::Won => 0,
        Decided::Replayed => 1,
        Decided::Rejected(rejection) => match rejection {
            Rejection::IdempotencyKeyReused => 2,
            Rejection::QuantityNotAllowed { .. } => 3,
            Rejection::AlreadyPurchased { .. } => 4,
            Rejection::NotStarted { .. } => 5,
            Rejection::Paused => 6,
            Rejection::Ended => 7,
            Rejection::WaitingRoom { .. } => 8,
            Rejection::SoldOut => 9,
            Rejection::RateLimited { .. } => 10,
            Rejection::TooManyReleases { .. } => 11,
            // A sale that is not known counts nowhere: there is no sale.
            Rejection::Overloaded | Rejection::UnknownSale => 12,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EpochMs, Nanos, NodeId, OrderId, Rate, RateScope, RoomRefusal};

    #[test]
    fn each_rejection_is_counted_under_its_code() {
        let order_id = OrderId::from_tick(1, NodeId::new(1).unwrap());
        let rate = Rate { per_s: 1, burst: 1 };
        let rejections = [
            Rejection::IdempotencyKeyReused,
            Rejection::QuantityNotAllowed { per_buyer_limit: 1 },
            Rejection::AlreadyPurchased { order_id },
            Rejection::NotStarted { starts_at: EpochMs(0) },
            Rejection::Paused,
            Rejection::Ended,
            Rejection::WaitingRoom { reason: RoomRefusal::NoPass, retry_after: Nanos(1) },
            Rejection::SoldOut,
            Rejection::RateLimited { scope: RateScope::Buyer, rate, retry_after: Nanos(1) },
            Rejection::TooManyReleases { releases_max: 1 },
            Rejection::Overloaded,
        ];
        let tally = Tally::new(2);
        for (times, rejection) in (1..).zip(rejections) {
            (0..times).for_each(|home| tally.count(home, Decided::Rejected(rejection)));
        }
        tally.count(7, Decided::Won);
        tally.count(0, Decided::Replayed);
        let counts = tally.counts();
        let expected: Vec<_> = rejections.iter().map(Rejection::code).zip(1..).collect();
        assert_eq!(counts.refusals().collect::<Vec<_>>(), expected);
        assert_eq!((counts.wins(), counts.arrivals()), (1, 68));
        assert_eq!(counts.since(&counts), TallyCounts::default());
        assert_eq!(counts.plus(&counts).since(&counts), counts);
        assert_eq!(counts.by_code().map(|(_, count)| count).sum::<u64>(), counts.arrivals());
    }
}
