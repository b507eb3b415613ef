//! Latency files that the standard HdrHistogram tools read: `.hlog` by the second, `.hgrm` over the whole run.
//!
//! Values are microseconds in `.hlog` and milliseconds in `.hgrm`, as the tools expect them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path as FilePath, PathBuf};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use crate::hdr_text;
use crate::load::recorder::histogram;
use crate::outcome::{Outcome, Path};

/// The interval logs of a run, one file for each path and outcome that occurred, and one for each path.
#[derive(Debug)]
pub struct IntervalLogs {
    folder: PathBuf,
    base_s: f64,
    files: BTreeMap<String, BufWriter<File>>,
    second: BTreeMap<Path, Histogram<u64>>,
}

impl IntervalLogs {
    /// Logs in `folder` for a run that started at the Unix time `base_s`.
    pub fn new(folder: &FilePath, base_s: f64) -> Self {
        Self { folder: folder.to_owned(), base_s, files: BTreeMap::new(), second: BTreeMap::new() }
    }

    /// Appends the second that ended at `tick` to the log of a path and outcome.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(
        &mut self,
        path: Path,
        outcome: Outcome,
        tick: u64,
        values: &Histogram<u64>,
    ) -> io::Result<()> {
        let all = self.second.entry(path).or_insert_with(histogram);
        all.add(values).map_err(io::Error::other)?;
        self.write(&format!("{}.{}", path.name(), outcome.name()), tick, values)
    }

    /// Ends a second: the logs of the paths get their sums.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn end_second(&mut self, tick: u64) -> io::Result<()> {
        for (path, all) in std::mem::take(&mut self.second) {
            self.write(path.name(), tick, &all)?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.files.values_mut().try_for_each(Write::flush)
    }

    fn write(&mut self, name: &str, tick: u64, values: &Histogram<u64>) -> io::Result<()> {
        if !self.files.contains_key(name) {
            let mut file = BufWriter::new(File::create(self.folder.join(format!("{name}.hlog")))?);
            writeln!(file, "#[Histogram log format version 1.3]")?;
            writeln!(file, "#[StartTime: {:.3} (seconds since epoch)]", self.base_s)?;
            writeln!(file, "#[BaseTime: {:.3} (seconds since epoch)]", self.base_s)?;
            writeln!(
                file,
                "#[{name}: response time from the due time, microseconds; Interval_Max in milliseconds]"
            )?;
            writeln!(
                file,
                "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
            )?;
            self.files.insert(name.to_owned(), file);
        }
        let Some(file) = self.files.get_mut(name) else { return Ok(()) };
        let (start_s, max_ms) = (tick.saturating_sub(1) as f64, values.max() as f64 / 1e3);
        writeln!(file, "{start_s:.3},1.000,{max_ms:.3},{}", hdr_text::pack(values)?)
    }
}

/// Reads the seconds of an interval log.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn read_interval_log(path: &FilePath) -> io::Result<Vec<Histogram<u64>>> {
    let bytes = std::fs::read(path)?;
    let damaged =
        |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let mut seconds = Vec::new();
    for entry in IntervalLogIterator::new(&bytes) {
        if let LogEntry::Interval(interval) = entry.map_err(|error| damaged(format!("{error:?}")))? {
            let values = hdr_text::unpack(interval.encoded_histogram());
            seconds.push(values.map_err(|error| damaged(error.to_string()))?);
        }
    }
    Ok(seconds)
}

/// Writes the percentile distribution of a histogram of microseconds, in milliseconds.
///
/// # Errors
/// When the file cannot be written.
pub fn write_hgrm(path: &FilePath, values: &Histogram<u64>) -> io::Result<()> {
    const STEPS_PER_HALF_DISTANCE: u32 = 5;
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in values.iter_quantiles(STEPS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let (value_ms, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile_iterated_to());
        if quantile < 1.0 {
            writeln!(file, "{value_ms:12.3} {quantile:2.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(file, "{value_ms:12.3} {quantile:2.12} {total:10}")?;
        }
    }
    let (mean, deviation) = (values.mean() / 1e3, values.stdev() / 1e3);
    writeln!(file, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    let max = values.max() as f64 / 1e3;
    writeln!(file, "#[Max     = {max:12.3}, Total count    = {:12}]", values.len())?;
    writeln!(file, "#[Buckets = {:12}, SubBuckets     = {:12}]", values.buckets(), 2048)?;
    file.flush()
}

/// Reads the points of a percentile distribution: quantile and milliseconds.
///
/// # Errors
/// When it cannot be read.
pub fn read_hgrm(path: &FilePath) -> io::Result<Vec<(f64, f64)>> {
    let text = std::fs::read_to_string(path)?;
    let point = |line: &str| {
        let mut words = line.split_whitespace();
        let value: f64 = words.next()?.parse().ok()?;
        let quantile: f64 = words.next()?.parse().ok()?;
        Some((quantile, value))
    };
    Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(point).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut values = histogram();
        (1..=10_000).for_each(|us| values.record(us).unwrap());
        let mut logs = IntervalLogs::new(folder.path(), 1_700_000_000.25);
        logs.append(Path::Seckill, Outcome::Won, 1, &values).unwrap();
        logs.append(Path::Seckill, Outcome::SoldOut, 1, &values).unwrap();
        logs.end_second(1).unwrap();
        logs.finish().unwrap();
        let won = read_interval_log(&folder.path().join("seckill.won.hlog")).unwrap();
        let all = read_interval_log(&folder.path().join("seckill.hlog")).unwrap();
        assert_eq!((won[0].len(), all[0].len()), (10_000, 20_000));
        assert_eq!(won[0].value_at_quantile(0.99), values.value_at_quantile(0.99));

        let path = folder.path().join("x.hgrm");
        write_hgrm(&path, &values).unwrap();
        let points = read_hgrm(&path).unwrap();
        let max_ms = points.last().unwrap().1;
        assert!((9.99..10.01).contains(&max_ms), "{max_ms}");
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
    }
}
