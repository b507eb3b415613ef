//! A map by buyers' names that grows in small steps and keeps little beside what it is for.
//!
//! The buyers stand in blocks that are never moved; what is looked up is an index of eight bytes a buyer, their hash and
//! their place, in many small tables with a lock each. When such a table grows it moves some thousand of these, which takes
//! some ten microseconds, whoever waits for it: a map in one piece would move everything, and all buyers would wait.
//!
//! # Protocol
//!
//! A part is read and changed under its lock only, which is held for one look or one change and never across anything else:
//! who looks sees a part before or after a change, also one that moves its index or gives a place to another buyer. Nothing
//! is promised between parts; only [`BuyerMap::len`] looks at more than one, and counts each at a moment of its own.

use std::fmt;

use crossbeam::utils::CachePadded;
use hashbrown::HashTable;
use hashbrown::hash_table;

use super::sync::RwLock;

/// Buyers whose index is one table, about: so many are moved at once when it grows. A table of 2,048 places holds 1,792, and a
/// part that has more than are expected of it is seldom above that: a table that is twice as large would be half empty.
const BUYERS_A_PART: usize = 1_664;
/// Parts at least, so that those who look on several cores seldom meet: 2 KiB. The model has one: its buyers always meet, and
/// what it tries does not depend on how their names are hashed.
const PARTS_MIN: usize = if cfg!(feature = "model") { 1 } else { 16 };
/// Parts at most: enough for some ten million buyers.
const PARTS_MAX: usize = 6_144;
/// Buyers in a block.
const BUYERS_A_BLOCK: usize = 128;

/// Values by the names of buyers.
pub(super) struct BuyerMap<V> {
    parts: Box<[CachePadded<RwLock<Part<V>>>]>,
    hasher: ahash::RandomState,
}

/// A part of the map.
struct Part<V> {
    index: HashTable<Entry>,
    buyers: Blocks<V>,
}

/// Where buyers stand. Blocks are filled one after the other, and places that become free are used again first.
struct Blocks<V> {
    blocks: Vec<Vec<Slot<V>>>,
    free: Vec<u32>,
}

/// A buyer and what is kept; `None` in a free place.
type Slot<V> = Option<(Box<str>, V)>;

/// Where a buyer stands.
#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    place: u32,
}

impl<V> BuyerMap<V> {
    /// An empty map that expects about so many buyers; more may come.
    pub fn sized_for(buyers: usize) -> Self {
        let parts = buyers.div_ceil(BUYERS_A_PART).clamp(PARTS_MIN, PARTS_MAX);
        let parts = (0..parts).map(|_| CachePadded::new(RwLock::new(Part::empty()))).collect();
        Self { parts, hasher: ahash::RandomState::new() }
    }

    /// Shows what is kept of the buyer.
    #[inline]
    pub fn look<R>(&self, buyer: &str, look: impl FnOnce(Option<&V>) -> R) -> R {
        let (part, hash) = self.part(buyer);
        let part = part.read();
        let found = part.index.find(spread(hash), |entry| part.buyers.is_at(entry, buyer, hash));
        look(found.and_then(|entry| part.buyers.slot(entry.place).as_ref()).map(|(_, value)| value))
    }

    /// Takes out what is kept of the buyer, and keeps what `change` makes of it.
    pub fn change<R>(&self, buyer: &str, change: impl FnOnce(Option<V>) -> (Option<V>, R)) -> R {
        let (part, hash) = self.part(buyer);
        let mut part = part.write();
        let Part { index, buyers } = &mut *part;
        let is_buyers = |entry: &Entry| buyers.is_at(entry, buyer, hash);
        match index.entry(spread(hash), is_buyers, |entry| spread(entry.hash)) {
            hash_table::Entry::Vacant(vacant) => {
                let (value, answer) = change(None);
                if let Some(value) = value {
                    vacant.insert(Entry { hash, place: buyers.add((buyer.into(), value)) });
                }
                answer
            }
            hash_table::Entry::Occupied(occupied) => {
                let place = occupied.get().place;
                let (name, value) = buyers.slot_mut(place).take().expect("the index names no free place");
                let (value, answer) = change(Some(value));
                match value {
                    Some(value) => *buyers.slot_mut(place) = Some((name, value)),
                    None => {
                        occupied.remove();
                        buyers.free.push(place);
                    }
                }
                answer
            }
        }
    }

    /// How many buyers there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().index.len()).sum()
    }

    /// The buyer's part, and the hash by which it stands there.
    #[inline]
    fn part(&self, buyer: &str) -> (&RwLock<Part<V>>, u32) {
        let hash = self.hasher.hash_one(buyer);
        // One half of the hash chooses the part, of however many there are; the other the place in its table.
        let part = ((hash >> 32) * self.parts.len() as u64) >> 32;
        (&self.parts[part as usize], hash as u32)
    }
}

impl<V> fmt::Debug for BuyerMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuyerMap").field("buyers", &self.len()).finish_non_exhaustive()
    }
}

impl<V> Part<V> {
    const fn empty() -> Self {
        Self { index: HashTable::new(), buyers: Blocks { blocks: Vec::new(), free: Vec::new() } }
    }
}

impl<V> Blocks<V> {
    #[inline]
    fn is_at(&self, entry: &Entry, buyer: &str, hash: u32) -> bool {
        entry.hash == hash && self.slot(entry.place).as_ref().is_some_and(|(name, _)| **name == *buyer)
    }

    /// Where the buyer stands from now on.
    fn add(&mut self, buyer: (Box<str>, V)) -> u32 {
        if let Some(place) = self.free.pop() {
            *self.slot_mut(place) = Some(buyer);
            return place;
        }
        if self.blocks.last().is_none_or(|block| block.len() == BUYERS_A_BLOCK) {
            self.blocks.push(Vec::with_capacity(BUYERS_A_BLOCK));
        }
        let before = (self.blocks.len() - 1) * BUYERS_A_BLOCK;
        let block = self.blocks.last_mut().expect("there is one with room");
        block.push(Some(buyer));
        (before + block.len() - 1) as u32
    }

    fn slot(&self, place: u32) -> &Slot<V> {
        &self.blocks[place as usize / BUYERS_A_BLOCK][place as usize % BUYERS_A_BLOCK]
    }

    fn slot_mut(&mut self, place: u32) -> &mut Slot<V> {
        &mut self.blocks[place as usize / BUYERS_A_BLOCK][place as usize % BUYERS_A_BLOCK]
    }
}

/// As long as the table wants it: it looks at both ends.
const fn spread(hash: u32) -> u64 {
    ((hash as u64) << 32) | hash as u64
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    /// What a change makes of a value: an odd sum stays, an even one leaves.
    fn changed(value: Option<u32>, by: u32) -> (Option<u32>, Option<u32>) {
        let sum = value.unwrap_or(0) + by;
        ((sum % 2 == 1).then_some(sum), value)
    }

    proptest! {
        #[test]
        fn it_keeps_what_a_map_keeps(changes in proptest::collection::vec((0u32..40, 0u32..9), 0..400)) {
            let (map, mut model) = (BuyerMap::sized_for(1), HashMap::<String, u32>::new());
            for (buyer, by) in changes {
                let name = format!("buyer-{buyer}");
                let before = map.change(&name, |value| changed(value, by));
                let (kept, expected) = changed(model.remove(&name), by);
                prop_assert_eq!(before, expected);
                if let Some(kept) = kept {
                    model.insert(name.clone(), kept);
                }
                prop_assert_eq!(map.look(&name, |value| value.copied()), kept);
                prop_assert_eq!(map.len(), model.len());
            }
            for (name, kept) in model {
                prop_assert_eq!(map.look(&name, |value| value.copied()), Some(kept));
            }
        }
    }

    #[test]
    fn o3_a_map_grows_in_parts_and_its_buyers_stay_where_they_are() {
        let map = BuyerMap::sized_for(100_000);
        assert_eq!(map.parts.len(), 61);
        let name = |number: u32| format!("buyer-{number}");
        for number in 0..100_000 {
            map.change(&name(number), |value| (Some(number), assert!(value.is_none())));
        }
        assert_eq!(map.len(), 100_000);
        let largest = map.parts.iter().map(|part| part.read().index.len()).max();
        assert!(largest.is_some_and(|largest| largest < 2 * BUYERS_A_PART), "{largest:?}");
        let places: usize = map.parts.iter().map(|part| part.read().index.capacity()).sum();
        assert!(
            places < 120_000,
            "nearly full, but for a part or two that have more than is expected: {places}"
        );
        for part in &map.parts {
            let part = part.read();
            assert!(part.buyers.blocks.iter().all(|block| block.capacity() == BUYERS_A_BLOCK));
        }
        assert!((0..100_000).all(|number| map.look(&name(number), |value| value == Some(&number))));
        // Places that become free are used again.
        for number in 0..100_000 {
            map.change(&name(number), |_| (None, ()));
        }
        assert_eq!(map.len(), 0);
        let blocks = || map.parts.iter().map(|part| part.read().buyers.blocks.len()).sum::<usize>();
        let before = blocks();
        for number in 0..50_000 {
            map.change(&name(number), |_| (Some(number), ()));
        }
        assert_eq!((map.len(), blocks()), (50_000, before));
    }
}
