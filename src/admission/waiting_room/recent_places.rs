//! The places that were given out lately on this node: who registers again hears of the same one.
//!
//! A table of fixed size, however many wait: a place is forgotten when another one falls into its slot. Who holds a pass
//! does not need it; it keeps those who do not from a worse place, and from filling the log.
//!
//! # Protocol of the atomics
//!
//! A slot is three words, and the first is the name combined with the other two by exclusive or. Whoever reads a mixture of
//! two writes finds a name that is nobody's. Nothing else is published: relaxed. They are the real atomics in the model, too:
//! no purchase depends on them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::domain::{EpochMs, SaleId, Who};

const SLOTS: usize = 1 << 15;

/// Who has been given which place lately.
pub(super) struct RecentPlaces(Box<[[AtomicU64; 3]]>);

impl Default for RecentPlaces {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| [const { AtomicU64::new(0) }; 3]).collect())
    }
}

impl RecentPlaces {
    /// When the buyer joined, and under which number, if that is still known.
    pub fn of(&self, sale: SaleId, who: &Who) -> Option<(EpochMs, u32)> {
        let (name, slot) = self.slot(sale, who);
        let [combined, joined_at, number] = slot.each_ref().map(|word| word.load(Relaxed));
        let is_known = joined_at != 0 && combined ^ joined_at ^ number.rotate_left(32) == name;
        is_known.then_some((EpochMs(joined_at as i64), number as u32))
    }

    /// Keeps a place in mind.
    pub fn note(&self, sale: SaleId, who: &Who, joined_at: EpochMs, number: u32) {
        let (name, [combined, first, second]) = self.slot(sale, who);
        let (joined_at, number) = (joined_at.0 as u64, u64::from(number));
        combined.store(name ^ joined_at ^ number.rotate_left(32), Relaxed);
        first.store(joined_at, Relaxed);
        second.store(number, Relaxed);
    }

    fn slot(&self, sale: SaleId, who: &Who) -> (u64, &[AtomicU64; 3]) {
        // The name is a hash already.
        let (first, rest) = who.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let name = number(first) ^ u64::from(sale.0);
        (name, &self.0[number(rest) as usize % SLOTS])
    }
}

impl std::fmt::Debug for RecentPlaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecentPlaces").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_until_another_takes_its_slot() {
        let places = RecentPlaces::default();
        let (ann, bob) = ([1; 16], {
            let mut who = [1; 16];
            who[0] = 2;
            who
        });
        assert_eq!(places.of(SaleId(1), &ann), None);
        places.note(SaleId(1), &ann, EpochMs(5), 9);
        assert_eq!(places.of(SaleId(1), &ann), Some((EpochMs(5), 9)));
        assert_eq!((places.of(SaleId(2), &ann), places.of(SaleId(1), &bob)), (None, None));
        places.note(SaleId(1), &bob, EpochMs(6), 10);
        assert_eq!((places.of(SaleId(1), &ann), places.of(SaleId(1), &bob)), (None, Some((EpochMs(6), 10))));
    }
}
