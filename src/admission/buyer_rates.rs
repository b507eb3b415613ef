//! How fast each buyer may click, in a table of fixed size.
//!
//! A buyer is a tenant's: who has the same name with another tenant is somebody else. The table is an array of 64-byte
//! rows of eight words; the hash of tenant and buyer names the row, and a 20-bit tag in the word
//! tells the buyers of a row apart. The word's other 44 bits are the buyer's token bucket: the moment, in ticks of
//! 16.4 µs, at which it is full again (see [`Pace`]). A bucket that is full is no bucket: its word is free for anyone.
//! Time and pace are rounded down to whole ticks, so that no rounding takes a click from a buyer.
//!
//! A flood of invented buyers cannot grow the table. When all eight words of a row are in use, the bucket that is
//! nearest to full is forgotten: a flood can forgive some clicks of a buyer in the same row, and can never refuse one.
//! Two buyers share a bucket when row and tag are equal, about once in a million pairs of active buyers a row.
//!
//! # Protocol of the atomics
//!
//! Each word stands alone and is changed by compare-and-swap only: relaxed. Two first clicks of one buyer that race for
//! two words of a row give the buyer two buckets until the first runs full, so at most one more burst.

use super::bucket::Pace;
use super::sync::{AtomicU64, Ordering, zeros};
use crate::domain::{Nanos, Rate};

const WAYS: usize = 8;
/// Bytes of a row, and what it is aligned to: one line of the cache.
const ROW_BYTES: usize = 64;
const TIME_BITS: u32 = 44;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const TICK_NS: u64 = 1 << 14;

/// The click rates of all buyers on this node.
#[derive(Debug)]
pub struct BuyerRates {
    rate: Rate,
    pace: Pace,
    /// The rows, one after the other.
    words: Box<[AtomicU64]>,
    /// The word at which the first row begins, so that each is one line of the cache.
    first: usize,
    rows: usize,
    hasher: ahash::RandomState,
}

impl BuyerRates {
    /// A table for `buyers_max` active buyers, rounded up to a power of two: 8 bytes each, which the system gives when
    /// they are first written.
    pub fn new(rate: Rate, buyers_max: usize) -> Self {
        let rows = buyers_max.div_ceil(WAYS).max(1).next_power_of_two();
        let words = zeros((rows + 1) * WAYS);
        Self {
            rate,
            pace: Pace::in_steps(rate, TICK_NS),
            first: words.as_ptr().align_offset(ROW_BYTES).min(WAYS),
            words,
            rows,
            hasher: ahash::RandomState::new(),
        }
    }

    /// The rate each buyer has.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Bytes of the table.
    pub fn memory_bytes(&self) -> usize {
        std::mem::size_of_val(&*self.words)
    }

    /// Takes one click of the tenant's `buyer`.
    ///
    /// # Errors
    /// How long the buyer should wait at least.
    pub fn take(&self, tenant: &str, buyer: &str, now: Nanos) -> Result<(), Nanos> {
        let hash = self.hasher.hash_one((tenant, buyer));
        let row = self.row(hash as usize & (self.rows - 1));
        // A tag of zero would make an empty word look like a buyer's.
        let tag = (hash >> TIME_BITS).max(1) << TIME_BITS;
        let now = Nanos(now.0 / TICK_NS * TICK_NS);
        loop {
            let (slot, word) = Self::slot_of(row, tag, now);
            let full_at = if word & !TIME_MASK == tag { word & TIME_MASK } else { 0 };
            let next = self.pace.admit(Nanos(full_at * TICK_NS), now)?;
            let next_word = tag | ((next.0 / TICK_NS) & TIME_MASK);
            if slot.compare_exchange(word, next_word, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(());
            }
        }
    }

    fn row(&self, place: usize) -> &[AtomicU64; WAYS] {
        self.words[self.first + place * WAYS..].first_chunk().expect("the table ends with a whole row")
    }

    /// The buyer's word, else a free one, else the one nearest to full.
    fn slot_of(row: &[AtomicU64; WAYS], tag: u64, now: Nanos) -> (&AtomicU64, u64) {
        let mut victim = (&row[0], u64::MAX);
        for slot in row {
            let word = slot.load(Ordering::Relaxed);
            if word & !TIME_MASK == tag {
                return (slot, word);
            }
            if word & TIME_MASK < victim.1 & TIME_MASK {
                victim = (slot, word);
            }
        }
        debug_assert!(now.0 / TICK_NS <= TIME_MASK, "a process lives less than 9 years");
        victim
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { per_s: 10, burst: 2 };

    #[test]
    fn each_buyer_has_a_bucket_of_its_own() {
        let rates = BuyerRates::new(RATE, 1024);
        let at = |ms: u64| Nanos(ms * 1_000_000);
        let now = at(5);
        for buyer in ["ann", "bob"] {
            assert_eq!(rates.take("t", buyer, now), Ok(()));
            assert_eq!(rates.take("t", buyer, now), Ok(()));
            let wait = rates.take("t", buyer, now).unwrap_err();
            assert!(wait > at(99) && wait <= at(100), "{wait:?}");
        }
        assert_eq!(rates.take("t", "ann", at(105)), Ok(()));
    }

    #[test]
    fn c5_buyers_of_two_tenants_share_nothing() {
        let rates = BuyerRates::new(RATE, 1024);
        for _ in 0..RATE.burst {
            assert_eq!(rates.take("a", "b1", Nanos(0)), Ok(()));
        }
        assert!(rates.take("a", "b1", Nanos(0)).is_err());
        assert_eq!(rates.take("b", "b1", Nanos(0)), Ok(()));
        assert_eq!(rates.take("ab", "1", Nanos(0)), Ok(()), "names are not run together");
    }

    #[test]
    fn a_flood_of_invented_buyers_neither_grows_the_table_nor_refuses_anyone() {
        // Of so many some share a tag, and who has used the most stays longest: a third such buyer is met once in 200 runs.
        let rates = BuyerRates::new(Rate { burst: 10, ..RATE }, 64);
        let before = rates.memory_bytes();
        for n in 0..100_000 {
            assert_eq!(rates.take("t", &format!("invented-{n}"), Nanos(n)), Ok(()));
        }
        assert_eq!(rates.take("t", "honest", Nanos(100_000)), Ok(()));
        assert_eq!(rates.memory_bytes(), before);
    }

    proptest! {
        #[test]
        fn a_quiet_buyer_has_the_whole_burst_at_once_and_no_more(
            per_s in 1u32..1_000_000, burst in 1u32..500, now in 0u64..1 << 50,
        ) {
            let rates = BuyerRates::new(Rate { per_s, burst }, 64);
            let admitted = (0..burst + 1).filter(|_| rates.take("t", "ann", Nanos(now)).is_ok()).count();
            prop_assert_eq!(admitted, burst as usize);
        }
    }

    #[test]
    fn a_full_row_forgets_the_bucket_nearest_to_full() {
        let rates = BuyerRates::new(Rate { per_s: 1, burst: 100 }, WAYS);
        let now = Nanos(0);
        for _ in 0..100 {
            assert_eq!(rates.take("t", "greedy", now), Ok(()));
        }
        for n in 0..1_000 {
            assert_eq!(rates.take("t", &format!("invented-{n}"), now), Ok(()));
        }
        assert!(
            rates.take("t", "greedy", now).is_err(),
            "the deepest debt in the row is the last to be forgotten"
        );
    }
}
