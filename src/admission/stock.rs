//! Units of one sale in memory, one padded counter a core.
//!
//! # Protocol of the atomics
//!
//! - A shard is a plain count of units on sale. It falls only by a compare-and-swap that leaves it at zero or more, so
//!   units never go below zero; it grows only in [`Stock::add`].
//! - [`Stock::take`] first looks for a shard that holds the whole quantity: its own, then its siblings. Only when there
//!   is none it takes `gathering` and collects from all of them.
//! - `changes` counts additions in steps of two; it is odd while somebody gathers, who holds units that may come back.
//!   A look that finds too little is believed only if `changes` was even and still is the same afterwards (whoever holds
//!   `gathering` needs only the second half): then all shards together were short at one moment.
//! - For that to hold, whoever sees what a take or an addition left in a shard must also see the `changes` made before
//!   it: takes release and looks acquire; additions release through `changes`.

use crossbeam::utils::CachePadded;

use super::sync::{AtomicU32, AtomicU64, Mutex, Ordering};
use crate::domain::Units;

/// The units of one sale that are on sale on this node.
#[derive(Debug)]
pub struct Stock {
    shards: Box<[CachePadded<AtomicU32>]>,
    changes: CachePadded<AtomicU64>,
    gathering: Mutex<()>,
}

/// What an addition adds to `changes`.
const ADDITION: u64 = 2;
/// What the beginning of a gathering, and its end, add to `changes`: the bit that is set in between.
const GATHERING: u64 = 1;

impl Stock {
    /// `units` spread evenly over `shards` counters (at least one).
    pub fn new(shards: usize, units: Units) -> Self {
        let shards = shards.max(1);
        let share = units / shards as Units;
        let rest = units as usize % shards;
        let counters = (0..shards).map(|i| CachePadded::new(AtomicU32::new(share + Units::from(i < rest))));
        Self {
            shards: counters.collect(),
            changes: CachePadded::new(AtomicU64::new(0)),
            gathering: Mutex::new(()),
        }
    }

    /// Whether [`Stock::take`] may find `quantity` units. `false` means that at one moment of the call fewer were on
    /// sale, and costs one load a shard.
    #[inline]
    pub fn may_have(&self, home: usize, quantity: Units) -> bool {
        let seen = self.changes.load(Ordering::Acquire);
        let mut units = 0;
        for shard in self.from(home) {
            units += shard.load(Ordering::Acquire);
            if units >= quantity {
                return true;
            }
        }
        seen & GATHERING != 0 || self.changes.load(Ordering::Acquire) != seen
    }

    /// Units on sale, summed shard by shard: exact when nothing moves meanwhile.
    pub fn remaining(&self) -> Units {
        self.shards.iter().map(|shard| shard.load(Ordering::Relaxed)).sum()
    }

    /// Takes `quantity` units, all or none, from the `home` shard first. Dropping the guard gives them back.
    ///
    /// `None` means that at one moment of the call fewer than `quantity` units were on sale.
    pub fn take(&self, home: usize, quantity: Units) -> Option<TakenUnits<'_>> {
        let found = self.from(home).any(|shard| take_whole(shard, quantity));
        // Lazily: a guard that is made and dropped would put units on sale that nobody took.
        (found || self.gather(quantity)).then(|| TakenUnits { stock: self, home, quantity })
    }

    /// Puts `quantity` units on sale in the `home` shard.
    pub fn add(&self, home: usize, quantity: Units) {
        self.shards[home % self.shards.len()].fetch_add(quantity, Ordering::Relaxed);
        self.changes.fetch_add(ADDITION, Ordering::Release);
    }

    /// Puts `quantity` units on sale, spread over all shards.
    pub fn add_spread(&self, quantity: Units) {
        let shards = self.shards.len();
        let share = quantity / shards as Units;
        let rest = quantity as usize % shards;
        for home in 0..shards {
            let units = share + Units::from(home < rest);
            if units > 0 {
                self.add(home, units);
            }
        }
    }

    /// Takes everything off sale and says how much it was.
    pub fn drain(&self) -> Units {
        let _alone = self.gathering.lock();
        self.shards.iter().map(|shard| shard.swap(0, Ordering::Relaxed)).sum()
    }

    /// The shards, `home` first.
    #[inline]
    fn from(&self, home: usize) -> impl Iterator<Item = &AtomicU32> {
        let (before, from_home) = self.shards.split_at(home % self.shards.len());
        from_home.iter().chain(before).map(|shard| &**shard)
    }

    /// Collects `quantity` units from all shards, or puts back what it found.
    #[cold]
    fn gather(&self, quantity: Units) -> bool {
        let _alone = self.gathering.lock();
        self.changes.fetch_add(GATHERING, Ordering::Relaxed);
        let collected = self.collect(quantity);
        let enough = collected == quantity;
        if !enough && collected > 0 {
            self.add(0, collected);
        }
        self.changes.fetch_add(GATHERING, Ordering::Release);
        enough
    }

    /// Takes up to `quantity` units, wherever they are. Fewer means that at one moment there were no more.
    fn collect(&self, quantity: Units) -> Units {
        let mut collected = 0;
        loop {
            let seen = self.changes.load(Ordering::Acquire);
            for shard in &self.shards {
                collected += take_up_to(shard, quantity - collected);
                if collected == quantity {
                    return collected;
                }
            }
            if self.changes.load(Ordering::Acquire) == seen {
                return collected;
            }
        }
    }
}

/// Takes `quantity` from a shard that has as many.
#[inline]
fn take_whole(shard: &AtomicU32, quantity: Units) -> bool {
    shard.fetch_update(Ordering::Release, Ordering::Relaxed, |units| units.checked_sub(quantity)).is_ok()
}

/// Takes as much as the shard has, at most `wanted`.
fn take_up_to(shard: &AtomicU32, wanted: Units) -> Units {
    let had = shard.fetch_update(Ordering::AcqRel, Ordering::Acquire, |units| {
        (units > 0).then(|| units - units.min(wanted))
    });
    had.map_or(0, |units| units.min(wanted))
}

/// Units in the hand of one purchase: kept or, when dropped, back on sale.
#[must_use = "dropping the guard puts the units back on sale"]
#[derive(Debug)]
pub struct TakenUnits<'a> {
    stock: &'a Stock,
    home: usize,
    quantity: Units,
}

impl TakenUnits<'_> {
    /// The units are the order's now. Returns how many.
    pub fn keep(self) -> Units {
        let quantity = self.quantity;
        std::mem::forget(self);
        quantity
    }
}

impl Drop for TakenUnits<'_> {
    fn drop(&mut self) {
        self.stock.add(self.home, self.quantity);
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_a_sibling_is_found_and_a_dropped_guard_gives_back() {
        let stock = Stock::new(4, 2);
        assert_eq!(stock.take(3, 1).map(TakenUnits::keep), Some(1));
        drop(stock.take(2, 1).expect("one unit is left in some shard"));
        assert_eq!(stock.remaining(), 1);
        assert_eq!(stock.take(1, 1).map(TakenUnits::keep), Some(1));
        assert!(stock.take(0, 1).is_none() && !stock.may_have(0, 1));
    }

    #[test]
    fn a_quantity_is_gathered_from_several_shards_or_not_at_all() {
        let stock = Stock::new(4, 7);
        assert!(!stock.may_have(0, 8) && stock.take(0, 8).is_none());
        assert_eq!(stock.remaining(), 7);
        assert_eq!(stock.take(0, 7).map(TakenUnits::keep), Some(7));
        stock.add_spread(6);
        assert_eq!(stock.drain(), 6);
        assert_eq!(stock.remaining(), 0);
    }

    #[test]
    fn threads_sell_every_unit_exactly_once() {
        let stock = Stock::new(2, 30_000);
        let sold: u32 = std::thread::scope(|scope| {
            let sellers: Vec<_> = (0..4u32)
                .map(|home| {
                    let stock = &stock;
                    scope.spawn(move || {
                        let mut sold = 0;
                        let mut turn = home;
                        while let Some(units) = stock.take(home as usize, 1) {
                            turn += 1;
                            if turn % 3 == 0 { drop(units) } else { sold += units.keep() }
                        }
                        sold
                    })
                })
                .collect();
            sellers.into_iter().map(|seller| seller.join().unwrap()).sum()
        });
        assert_eq!((sold, stock.remaining()), (30_000, 0));
    }
}
