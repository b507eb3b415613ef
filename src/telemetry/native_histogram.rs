//! The buckets of Prometheus' native histograms: bounds that grow by the same factor everywhere, and only those buckets
//! told that hold something.

use super::histogram::HistogramSnapshot;

/// The resolution: each bound is the one before it times 2^(1/32), 2.2 % more. A quantile is off by that at most.
pub(super) const SCHEMA: i32 = 5;
/// Buckets to a doubling.
const TO_A_DOUBLING: f64 = 32.0;

/// The buckets of one histogram that hold something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NativeBuckets {
    /// Values that are zero.
    pub zeros: u64,
    /// Number and count of each bucket, by growing number. Bucket `n` holds what is above 2^((n-1)/32) and not above
    /// 2^(n/32).
    pub filled: Vec<(i32, u64)>,
}

impl NativeBuckets {
    /// The buckets of a snapshot whose values are divided by `unit`. A value stands where the largest does that the
    /// histogram cannot tell from it: where its own quantiles say that it is.
    pub fn of(snapshot: &HistogramSnapshot, unit: f64) -> Self {
        let mut buckets = Self::default();
        for step in snapshot.histogram.iter_recorded() {
            let (value, count) = (step.value_iterated_to() as f64 / unit, step.count_since_last_iteration());
            if value <= 0.0 {
                buckets.zeros += count;
                continue;
            }
            let number = (value.log2() * TO_A_DOUBLING).ceil() as i32;
            match buckets.filled.last_mut() {
                Some((last, in_it)) if *last == number => *in_it += count,
                _ => buckets.filled.push((number, count)),
            }
        }
        buckets
    }

    /// The runs of buckets without a gap between them: how far each begins behind the end of the one before (the first:
    /// behind bucket 0), and how many buckets it has.
    pub fn spans(&self) -> Vec<(i32, u32)> {
        let mut spans: Vec<(i32, u32)> = Vec::new();
        let mut next = 0;
        for &(number, _) in &self.filled {
            match spans.last_mut() {
                Some((_, length)) if number == next => *length += 1,
                _ => spans.push((number - next, 1)),
            }
            next = number + 1;
        }
        spans
    }

    /// The counts, each as its difference from the one before.
    pub fn deltas(&self) -> Vec<i64> {
        let mut before = 0;
        let delta = |&(_, count): &(i32, u64)| {
            let delta = count as i64 - before;
            before = count as i64;
            delta
        };
        self.filled.iter().map(delta).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::{AtomicHistogram, Layout};
    use super::*;

    fn buckets(values: &[u64], unit: f64) -> NativeBuckets {
        let histogram = AtomicHistogram::new(Layout::SIZE);
        values.iter().for_each(|&value| histogram.record(value));
        let mut snapshot = HistogramSnapshot::empty(Layout::SIZE);
        histogram.add_to(&mut snapshot);
        NativeBuckets::of(&snapshot, unit)
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        // 2^(32/32) = 2 and 2^(64/32) = 4 are bounds; 3 lies between.
        let buckets = buckets(&[1, 2, 2, 3, 4], 1.0);
        assert_eq!(buckets.filled, [(0, 1), (32, 2), (51, 1), (64, 1)]);
        assert_eq!(buckets.spans(), [(0, 1), (31, 1), (18, 1), (12, 1)]);
        assert_eq!(buckets.deltas(), [1, 1, -1, 0]);
    }

    #[test]
    fn neighbours_are_one_run_and_fractions_have_negative_numbers() {
        let neighbours = buckets(&[1_000, 1_010, 1_030], 1.0);
        let numbers: Vec<_> = neighbours.filled.iter().map(|(number, _)| *number).collect();
        assert!(numbers.is_sorted() && neighbours.spans().len() < neighbours.filled.len(), "{neighbours:?}");
        assert_eq!(buckets(&[1], 4.0).filled, [(-64, 1)]);
    }

    #[test]
    fn nothing_is_lost() {
        let values: Vec<u64> = (0..5_000).map(|n| n * n % 9_001).collect();
        let buckets = buckets(&values, 1.0);
        let told: u64 = buckets.filled.iter().map(|(_, count)| count).sum();
        assert_eq!(buckets.zeros + told, 5_000);
        let (mut number, mut spans) = (0, Vec::new());
        for (offset, length) in buckets.spans() {
            number += offset;
            spans.extend((0..length as i32).map(|n| number + n));
            number += length as i32;
        }
        assert!(spans.iter().copied().eq(buckets.filled.iter().map(|(number, _)| *number)));
        let mut count = 0;
        let counts = buckets.deltas().into_iter().map(|delta| {
            count += delta;
            count as u64
        });
        assert!(counts.eq(buckets.filled.iter().map(|(_, count)| *count)));
    }
}
