//! HdrHistogram's interval log (`.hlog`): what each path did in each second, kept up to a number of bytes.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use parking_lot::Mutex;

use super::histogram::{HistogramSnapshot, Layout};
use super::outcome::Path;
use super::recorder::Telemetry;

/// The maximum of each interval is written in milliseconds, as the reference implementation does.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// What a path did in the latest interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// Requests a second.
    pub per_s: f64,
    /// The 99th percentile in nanoseconds; 0 when there was no request.
    pub p99_nanos: u64,
}

/// The log. [`IntervalLog::append`] is called once an interval by one task, the rest by whoever reads.
#[derive(Debug)]
pub struct IntervalLog {
    started: SystemTime,
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// One line for each path and interval that had requests, oldest first.
    lines: VecDeque<String>,
    bytes: usize,
    /// Everything recorded up to `until`, by path.
    before: [Histogram<u64>; Path::ALL.len()],
    /// The sums of that, which tell whether anything has come since.
    sums: [u64; Path::ALL.len()],
    until: Duration,
    recent: [Recent; Path::ALL.len()],
}

impl IntervalLog {
    /// An empty log of an engine that started at `started`. Beyond `bytes_max` the oldest intervals are dropped.
    pub fn new(started: SystemTime, bytes_max: usize) -> Self {
        let state = State {
            lines: VecDeque::new(),
            bytes: 0,
            before: Path::ALL.map(|_| Layout::LATENCY.histogram()),
            sums: Default::default(),
            until: Duration::ZERO,
            recent: Default::default(),
        };
        Self { started, bytes_max, state: Mutex::new(state) }
    }

    /// Ends the interval that began at the previous call, `uptime` after the start. Paths without a request in it
    /// leave no line.
    pub fn append(&self, telemetry: &Telemetry, uptime: Duration) {
        let known = self.state.lock().sums;
        // Read before the lock is taken, so that a reader of the log never waits for the histograms; the sums before the
        // cells, so that what comes in between is looked at again. Where nothing has come there is nothing to add up.
        let sums = Path::ALL.map(|path| telemetry.path_sum(path));
        let snapshots =
            Path::ALL.map(|path| (sums[path as usize] != known[path as usize]).then(|| telemetry.path(path)));
        self.state.lock().append(snapshots, sums, uptime, self.bytes_max);
    }

    /// Ends an interval every `every` for as long as it is driven, which should begin at the engine's start.
    pub async fn keep(&self, telemetry: &Telemetry, every: Duration) {
        let began = tokio::time::Instant::now();
        let mut ticks = tokio::time::interval_at(began + every, every);
        // After a pause the next interval is simply longer: its length is in the log.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.append(telemetry, began.elapsed());
        }
    }

    /// What a path did in the latest interval.
    pub fn recent(&self, path: Path) -> Recent {
        self.state.lock().recent[path as usize]
    }

    /// The whole log, as the standard tools read it.
    pub fn text(&self) -> String {
        let (mut head, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .with_start_time(self.started)
            .with_base_time(self.started)
            .with_max_value_divisor(MAX_VALUE_DIVISOR)
            .begin_log_with(&mut head, &mut serializer)
            .expect("writing to memory does not fail");
        let mut text = String::from_utf8(head).expect("the head is ASCII");
        text.push_str(
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        );
        let state = self.state.lock();
        text.reserve(state.bytes);
        text.extend(state.lines.iter().map(String::as_str));
        text
    }
}

impl State {
    fn append(
        &mut self,
        snapshots: [Option<HistogramSnapshot>; Path::ALL.len()],
        sums: [u64; Path::ALL.len()],
        uptime: Duration,
        bytes_max: usize,
    ) {
        let length = uptime.saturating_sub(self.until);
        if length.is_zero() {
            return;
        }
        for (path, snapshot) in Path::ALL.into_iter().zip(snapshots) {
            let Some(HistogramSnapshot { histogram: total, .. }) = snapshot else {
                self.recent[path as usize] = Recent::default();
                continue;
            };
            let mut interval = total.clone();
            interval.subtract(&self.before[path as usize]).expect("cells only grow");
            self.before[path as usize] = total;
            self.recent[path as usize] = Recent {
                per_s: interval.len() as f64 / length.as_secs_f64(),
                p99_nanos: if interval.is_empty() { 0 } else { interval.value_at_quantile(0.99) },
            };
            if !interval.is_empty() {
                let line = line(path, &interval, self.until, length);
                self.bytes += line.len();
                self.lines.push_back(line);
            }
        }
        while self.bytes > bytes_max {
            let Some(line) = self.lines.pop_front() else { break };
            self.bytes -= line.len();
        }
        (self.sums, self.until) = (sums, uptime);
    }
}

fn line(path: Path, interval: &Histogram<u64>, start: Duration, length: Duration) -> String {
    let (mut written, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    IntervalLogWriterBuilder::new()
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(&mut written, &mut serializer)
        .and_then(|mut writer| {
            writer
                .write_histogram(interval, start, length, Tag::new(path.name()))
                .map_err(std::io::Error::other)
        })
        .expect("writing to memory does not fail");
    let written = String::from_utf8(written).expect("an interval line is ASCII");
    // Each writer begins with the divisor. In this log that stands once, in the head.
    let line = written.lines().next_back().unwrap_or_default();
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Outcome;
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    /// Path, start, length and histogram of each line.
    fn parse(text: &str) -> Vec<(String, Duration, Duration, Histogram<u64>)> {
        // The crate's own parser knows comments and intervals, but not the column heading that Java writes.
        let text: String =
            text.lines().filter(|line| !line.starts_with('"')).map(|line| format!("{line}\n")).collect();
        let intervals = IntervalLogIterator::new(text.as_bytes()).filter_map(|entry| match entry.unwrap() {
            LogEntry::Interval(interval) => {
                let bytes = base64(interval.encoded_histogram());
                let histogram = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                let tag = interval.tag().unwrap().as_str().to_owned();
                Some((tag, interval.start_timestamp(), interval.duration(), histogram))
            }
            _ => None,
        });
        intervals.collect()
    }

    fn base64(text: &str) -> Vec<u8> {
        let digit = |c: u8| match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let sextets: Vec<u32> = text.bytes().filter(|&c| c != b'=').map(|c| u32::from(digit(c))).collect();
        sextets
            .chunks(4)
            .flat_map(|four| {
                let word = four.iter().enumerate().fold(0, |word, (n, s)| word | s << (18 - 6 * n));
                word.to_be_bytes()[1..four.len()].to_vec()
            })
            .collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_interval_holds_what_was_recorded_in_it() {
        let (telemetry, log) = (Telemetry::new(1), IntervalLog::new(SystemTime::now(), 1 << 20));
        let recorder = telemetry.recorder(0);
        recorder.record(Path::Seckill, Outcome::Won, 40_000);
        recorder.record(Path::Seckill, Outcome::SoldOut, 9_000);
        log.append(&telemetry, SECOND);
        recorder.record(Path::Order, Outcome::Durable, 300_000);
        log.append(&telemetry, 3 * SECOND);
        log.append(&telemetry, 4 * SECOND);

        let intervals = parse(&log.text());
        assert_eq!(intervals.len(), 2);
        let (path, start, length, histogram) = &intervals[0];
        assert_eq!((path.as_str(), *start, *length, histogram.len()), ("seckill", Duration::ZERO, SECOND, 2));
        assert_eq!(histogram.max(), histogram.highest_equivalent(40_000));
        let (path, start, length, histogram) = &intervals[1];
        assert_eq!((path.as_str(), *start, *length, histogram.len()), ("order", SECOND, 2 * SECOND, 1));
        assert!(log.text().contains("[StartTime: ") && log.text().contains("[BaseTime: "));
    }

    #[test]
    fn recent_is_the_latest_interval_only() {
        let (telemetry, log) = (Telemetry::new(1), IntervalLog::new(SystemTime::now(), 1 << 20));
        (0..10).for_each(|_| telemetry.recorder(0).record(Path::Checkout, Outcome::Paid, 1_000_000));
        log.append(&telemetry, 2 * SECOND);
        let recent = log.recent(Path::Checkout);
        assert_eq!(recent.per_s, 5.0);
        assert!((1_000_000..1_001_000).contains(&recent.p99_nanos));
        log.append(&telemetry, 3 * SECOND);
        assert_eq!(log.recent(Path::Checkout), Recent::default());
    }

    #[test]
    fn the_oldest_intervals_go_when_the_log_is_full() {
        let (telemetry, log) = (Telemetry::new(1), IntervalLog::new(SystemTime::now(), 1_000));
        for second in 1..=100 {
            telemetry.recorder(0).record(Path::Seckill, Outcome::SoldOut, u64::from(second) * 1_000);
            log.append(&telemetry, second * SECOND);
        }
        let intervals = parse(&log.text());
        assert!((2..40).contains(&intervals.len()), "{}", intervals.len());
        assert_eq!(intervals.last().unwrap().1, 99 * SECOND);
        assert!(log.state.lock().bytes <= 1_000);
    }
}
