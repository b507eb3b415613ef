//! HdrHistogram's percentile file (`.hgrm`), which the usual plotters read.

use std::fmt::Write;

use super::histogram::HistogramSnapshot;

const NANOS_PER_MS: f64 = 1e6;
/// Lines for each halving of the distance to 100 %, as the reference implementation writes them.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// The percentiles of a latency snapshot in milliseconds.
pub fn percentile_file(snapshot: &HistogramSnapshot) -> String {
    let histogram = &snapshot.histogram;
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut below = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        below += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / NANOS_PER_MS, step.quantile_iterated_to());
        let _ = write!(text, "{value:12.3} {quantile:14.12} {below:10}");
        // The last line has no fourth column: it would be infinite.
        let _ =
            if quantile < 1.0 { writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(text) };
    }
    let (mean, deviation) = (histogram.mean() / NANOS_PER_MS, histogram.stdev() / NANOS_PER_MS);
    let (max, layout) = (histogram.max() as f64 / NANOS_PER_MS, histogram.buckets());
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len());
    let _ = writeln!(text, "#[Buckets = {layout:12}, SubBuckets     = {:12}]", 2_048);
    text
}

#[cfg(test)]
mod tests {
    use super::super::histogram::{AtomicHistogram, Layout};
    use super::*;

    fn snapshot(values: impl IntoIterator<Item = u64>) -> HistogramSnapshot {
        let histogram = AtomicHistogram::new(Layout::LATENCY);
        values.into_iter().for_each(|value| histogram.record(value));
        let mut snapshot = HistogramSnapshot::empty(Layout::LATENCY);
        histogram.add_to(&mut snapshot);
        snapshot
    }

    #[test]
    fn the_lines_agree_with_the_histogram() {
        let snapshot = snapshot((1..=10_000).map(|n| n * 10_000));
        let text = percentile_file(&snapshot);
        let mut lines = text.lines();
        assert_eq!(
            lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
            ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
        );
        assert_eq!(lines.next(), Some(""));
        let (mut last, mut rows) = ((0.0, 0.0, 0), 0);
        for line in lines.by_ref().take_while(|line| !line.starts_with('#')) {
            let columns: Vec<f64> = line.split_whitespace().map(|column| column.parse().unwrap()).collect();
            let (value, quantile, count) = (columns[0], columns[1], columns[2] as u64);
            assert!(value >= last.0 && quantile >= last.1 && count >= last.2, "{line}");
            let expected = snapshot.histogram.value_at_quantile(quantile) as f64 / NANOS_PER_MS;
            assert!((value - expected).abs() <= expected / 1_000.0 + 0.001, "{line}: {expected}");
            if quantile < 1.0 {
                // The column is printed with two decimals and the quantile with twelve.
                let inverse = 1.0 / (1.0 - quantile);
                assert!((columns[3] - inverse).abs() <= 0.006 + inverse / 1e6, "{line}");
            } else {
                assert_eq!((columns.len(), count), (3, 10_000));
            }
            (last, rows) = ((value, quantile, count), rows + 1);
        }
        assert_eq!(last.1, 1.0);
        assert!(rows > 40, "{rows} rows");
        assert!(text.contains("Total count    =        10000]"), "{text}");
    }

    #[test]
    fn a_snapshot_of_nothing_is_still_a_file() {
        let text = percentile_file(&snapshot([]));
        assert!(text.contains("Total count    =            0]"), "{text}");
        assert!(!text.contains("NaN"), "{text}");
    }
}
