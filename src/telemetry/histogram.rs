//! An HdrHistogram that many threads may write without a lock.
//!
//! Protocol: every cell is an `AtomicU64` that only grows, added to with `Relaxed`. A reader loads the cells one by
//! one, also `Relaxed`. What it sees is therefore no cut through one instant: a recording made while it reads may be
//! in or out. But no recording is lost or counted twice, each snapshot contains all of the one before, and the number
//! of recordings is the sum of the cells and not a counter of its own, so the two can never disagree. `sum` is a cell
//! like the others and may be ahead of or behind the buckets by what is being recorded at that moment.
//!
//! Memory: `(buckets + 1) * 1024` cells of 8 bytes. [`Layout::LATENCY`] has 17 buckets: 144 KiB. [`Layout::SIZE`] has
//! 7: 64 KiB. All of it is allocated when the histogram is made.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hdrhistogram::Histogram;

/// Significant decimal digits of every histogram: a value is known to one part in a thousand.
pub const SIGNIFICANT_DIGITS: u8 = 3;

/// Cells in the upper half of a bucket: three digits need 2,000 steps, the next power of two is 2,048.
const HALF: usize = 1024;
const HALF_BITS: u32 = HALF.trailing_zeros();

/// The range of a histogram. Arranged exactly as HdrHistogram arranges it, so that a snapshot loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    lowest: u64,
    highest: u64,
}

impl Layout {
    /// Nanoseconds, from 1 µs to 60 s. What takes longer is recorded as 60 s.
    pub const LATENCY: Self = Self { lowest: 1_000, highest: 60_000_000_000 };
    /// Numbers of things, from 1 to 100,000. More is recorded as 100,000.
    pub const SIZE: Self = Self { lowest: 1, highest: 100_000 };

    /// Bits that are below the resolution.
    const fn unit_bits(self) -> u32 {
        self.lowest.ilog2()
    }

    const fn cells(self) -> usize {
        self.cell_of(self.highest) / HALF * HALF + HALF
    }

    /// The cell of `value`, which is at most `highest`.
    const fn cell_of(self, value: u64) -> usize {
        let unit = self.unit_bits();
        let mask = (2 * HALF as u64 - 1) << unit;
        let bucket = u64::BITS - (HALF_BITS + 1) - unit - (value | mask).leading_zeros();
        let step = (value >> (bucket + unit)) as usize;
        // In bucket 0 the steps run from 0 to 2,047, in the others from 1,024.
        (bucket as usize * HALF) + step
    }

    /// The lowest value that falls into `cell`.
    const fn value_of(self, cell: usize) -> u64 {
        let (bucket, step) = if cell < 2 * HALF { (0, cell) } else { (cell / HALF - 1, cell % HALF + HALF) };
        (step as u64) << (bucket as u32 + self.unit_bits())
    }

    /// An empty histogram of this layout.
    pub fn histogram(self) -> Histogram<u64> {
        Histogram::new_with_bounds(self.lowest, self.highest, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that HdrHistogram accepts")
    }
}

/// A histogram that is written with relaxed atomics and read by [`AtomicHistogram::add_to`].
#[derive(Debug)]
pub struct AtomicHistogram {
    layout: Layout,
    cells: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl AtomicHistogram {
    /// An empty histogram; allocates all it will ever need, which the system gives when it is first written.
    pub fn new(layout: Layout) -> Self {
        let cells = bytemuck::zeroed_slice_box(layout.cells());
        Self { layout, cells, sum: AtomicU64::new(0) }
    }

    /// Counts one `value`, in the unit of the layout. Two atomic additions; never blocks, never allocates.
    pub fn record(&self, value: u64) {
        let value = value.min(self.layout.highest);
        self.cells[self.layout.cell_of(value)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// Adds what has been recorded so far to `snapshot`.
    pub fn add_to(&self, snapshot: &mut HistogramSnapshot) {
        debug_assert_eq!(snapshot.layout, self.layout, "a snapshot adds up histograms of one layout");
        for (cell, count) in self.cells.iter().enumerate() {
            let count = count.load(Relaxed);
            if count > 0 {
                snapshot.histogram.saturating_record_n(self.layout.value_of(cell), count);
            }
        }
        snapshot.sum = snapshot.sum.saturating_add(self.sum.load(Relaxed));
    }

    /// The sum of what has been recorded.
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// How many values have been recorded.
    pub fn count(&self) -> u64 {
        self.cells.iter().map(|cell| cell.load(Relaxed)).sum()
    }
}

/// What one or more histograms of the same layout had recorded when they were read.
#[derive(Clone, Debug)]
pub struct HistogramSnapshot {
    layout: Layout,
    /// The values, each known to three digits.
    pub histogram: Histogram<u64>,
    /// The exact sum of the values, in the unit of the layout.
    pub sum: u64,
}

impl HistogramSnapshot {
    /// A snapshot of nothing.
    pub fn empty(layout: Layout) -> Self {
        Self { layout, histogram: layout.histogram(), sum: 0 }
    }

    /// Adds another snapshot of the same layout.
    pub fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.layout, other.layout, "a snapshot adds up histograms of one layout");
        self.histogram.add(&other.histogram).expect("the layouts are the same");
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The mean; 0 when there are no values.
    pub fn mean(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.sum as f64 / self.count() as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both(layout: Layout, values: &[u64]) -> (Histogram<u64>, HistogramSnapshot) {
        let (mut expected, ours) = (layout.histogram(), AtomicHistogram::new(layout));
        for &value in values {
            expected.saturating_record(value.min(layout.highest));
            ours.record(value);
        }
        assert_eq!(ours.count(), values.len() as u64);
        let mut snapshot = HistogramSnapshot::empty(layout);
        ours.add_to(&mut snapshot);
        (expected, snapshot)
    }

    #[test]
    fn layouts_take_the_memory_that_is_documented() {
        assert_eq!(Layout::LATENCY.cells() * 8, 144 * 1024);
        assert_eq!(Layout::SIZE.cells() * 8, 64 * 1024);
        for layout in [Layout::LATENCY, Layout::SIZE] {
            assert_eq!(layout.cells(), layout.histogram().distinct_values());
        }
    }

    #[test]
    fn each_cell_is_the_cell_of_its_lowest_value() {
        for layout in [Layout::LATENCY, Layout::SIZE] {
            for cell in 0..layout.cells() {
                assert_eq!(layout.cell_of(layout.value_of(cell)), cell);
            }
        }
    }

    #[test]
    fn what_is_above_the_range_is_recorded_as_the_highest_value() {
        let (_, snapshot) = both(Layout::LATENCY, &[u64::MAX, 60_000_000_001]);
        assert_eq!(snapshot.count(), 2);
        assert_eq!(snapshot.sum, 2 * 60_000_000_000);
        assert_eq!(
            snapshot.histogram.value_at_quantile(0.5),
            snapshot.histogram.highest_equivalent(60_000_000_000)
        );
    }

    #[test]
    fn recordings_of_many_threads_are_all_counted() {
        let shared = AtomicHistogram::new(Layout::SIZE);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let shared = &shared;
                scope.spawn(move || (0..10_000).for_each(|n| shared.record(n % 7 + thread)));
            }
        });
        let mut snapshot = HistogramSnapshot::empty(Layout::SIZE);
        shared.add_to(&mut snapshot);
        assert_eq!(snapshot.count(), 40_000);
    }

    fn cells(histogram: &Histogram<u64>) -> impl Iterator<Item = (u64, u64)> {
        histogram.iter_recorded().map(|cell| (cell.value_iterated_to(), cell.count_at_value()))
    }

    proptest! {
        #[test]
        fn a_snapshot_is_what_hdrhistogram_would_have_recorded(
            values in proptest::collection::vec((0u32..37).prop_flat_map(|bits| 0..1u64 << bits), 0..200)
        ) {
            for layout in [Layout::LATENCY, Layout::SIZE] {
                let (expected, snapshot) = both(layout, &values);
                // Cell by cell, and not the structs: a snapshot knows a value only to its cell, so the smallest one that
                // hdrhistogram remembers may differ within it.
                prop_assert!(cells(&expected).eq(cells(&snapshot.histogram)), "the cells differ");
                let p99 = snapshot.histogram.value_at_quantile(0.99);
                prop_assert!(expected.equivalent(expected.value_at_quantile(0.99), p99));
                prop_assert!(expected.equivalent(expected.max(), snapshot.histogram.max()));
                prop_assert_eq!(snapshot.sum, values.iter().map(|v| (*v).min(layout.highest)).sum::<u64>());
            }
        }
    }
}
