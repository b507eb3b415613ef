//! What a worker measures in one second, handed over whole to the collector: nothing on the hot path is shared.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::hdr_text;
use crate::outcome::{OUTCOMES, Outcome, Path};

/// Significant digits of every histogram.
const DIGITS: u8 = 3;
/// Different unexpected answers that are kept by name.
const ODDITIES_MAX: usize = 32;

/// A new histogram of microseconds that grows as needed.
pub fn histogram() -> Histogram<u64> {
    // Fails only for digits outside 0..=5.
    Histogram::new(DIGITS).expect("three digits are within the limits")
}

/// Records a value however large. (`saturating_record` would cut it off at the size of the moment.)
fn record(histogram: &mut Histogram<u64>, value: u64) {
    histogram.record(value).expect("histograms grow as needed");
}

/// Nanoseconds as whole microseconds, rounded up so that nothing takes no time.
pub fn micros(ns: u64) -> u64 {
    ns.div_ceil(1_000).max(1)
}

/// Which requests a cell counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellKey {
    /// Phase by index.
    pub phase: u16,
    /// Path.
    pub path: Path,
    /// Outcome.
    pub outcome: Outcome,
}

/// Latencies of one kind of request, in microseconds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    /// From the due time.
    #[serde(with = "hdr_text")]
    pub response: Histogram<u64>,
    /// From the time of sending.
    #[serde(with = "hdr_text")]
    pub service: Histogram<u64>,
}

impl Default for Cell {
    fn default() -> Self {
        Self { response: histogram(), service: histogram() }
    }
}

/// Counts of one worker in one second.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub struct Counters {
    /// Requests written.
    pub sent: u64,
    /// Answers read.
    pub answered: u64,
    /// Connections opened after the start.
    pub connects: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Answers that denied an order to its holder.
    pub untruthful: u64,
}

/// One worker's second.
#[derive(Debug, Serialize, Deserialize)]
pub struct Frame {
    /// Seconds since the start of the run at its end.
    pub tick: u64,
    /// Latencies by kind.
    pub cells: Vec<(CellKey, Cell)>,
    /// Sent minus due, microseconds.
    #[serde(with = "hdr_text")]
    pub lag: Histogram<u64>,
    /// The part of it that is the client's own: due and a connection free, but not sent. Microseconds.
    #[serde(with = "hdr_text")]
    pub own_lag: Histogram<u64>,
    /// Counts.
    pub counters: Counters,
    /// Requests in flight at its end.
    pub in_flight: u64,
    /// How long the oldest unsent request has been due at its end, microseconds.
    pub behind_us: u64,
    /// Time on the processor.
    pub cpu_ns: u64,
    /// Time runnable, but waiting for a processor.
    pub starved_ns: u64,
    /// Time on the clock.
    pub wall_ns: u64,
    /// Unexpected answers by what they said.
    pub oddities: BTreeMap<String, u64>,
    /// Units that answered, eligible visitors asked for, by campaign.
    pub demand: BTreeMap<u16, u64>,
}

/// Collects the current second of a worker.
#[derive(Debug)]
pub struct Recorder {
    slots: Vec<Option<Box<Cell>>>,
    touched: Vec<CellKey>,
    lag: Histogram<u64>,
    own_lag: Histogram<u64>,
    /// Counts of the current second.
    pub counters: Counters,
    oddities: BTreeMap<String, u64>,
    demand: BTreeMap<u16, u64>,
}

impl Recorder {
    /// For a run of this many phases.
    pub fn new(phases: usize) -> Self {
        let slots = phases * Path::ALL.len() * OUTCOMES;
        Self {
            slots: std::iter::repeat_with(|| None).take(slots).collect(),
            touched: Vec::new(),
            lag: histogram(),
            own_lag: histogram(),
            counters: Counters::default(),
            oddities: BTreeMap::new(),
            demand: BTreeMap::new(),
        }
    }

    /// Counts a request.
    pub fn record(&mut self, key: CellKey, response_ns: u64, service_ns: u64) {
        let slot = &mut self.slots[slot(key)];
        let cell = slot.get_or_insert_with(|| {
            self.touched.push(key);
            Box::default()
        });
        record(&mut cell.response, micros(response_ns));
        record(&mut cell.service, micros(service_ns));
    }

    /// Counts how late a request was sent.
    pub fn record_lag(&mut self, lag_ns: u64, own_lag_ns: u64) {
        record(&mut self.lag, lag_ns / 1_000);
        record(&mut self.own_lag, own_lag_ns / 1_000);
    }

    /// Remembers an unexpected answer for the report.
    pub fn note_oddity(&mut self, what: String) {
        if self.oddities.len() < ODDITIES_MAX || self.oddities.contains_key(&what) {
            *self.oddities.entry(what).or_default() += 1;
        }
    }

    /// Counts units that a visitor asked for and was answered about.
    pub fn note_demand(&mut self, campaign: u16, units: u64) {
        if units > 0 {
            *self.demand.entry(campaign).or_default() += units;
        }
    }

    /// Hands the second over and starts the next one; the gauges are for the caller to fill in.
    pub fn take(&mut self, tick: u64) -> Frame {
        let slots = &mut self.slots;
        let cells = self.touched.drain(..).filter_map(|key| Some((key, *slots[slot(key)].take()?))).collect();
        Frame {
            tick,
            cells,
            lag: std::mem::replace(&mut self.lag, histogram()),
            own_lag: std::mem::replace(&mut self.own_lag, histogram()),
            counters: std::mem::take(&mut self.counters),
            in_flight: 0,
            behind_us: 0,
            cpu_ns: 0,
            starved_ns: 0,
            wall_ns: 0,
            oddities: std::mem::take(&mut self.oddities),
            demand: std::mem::take(&mut self.demand),
        }
    }
}

fn slot(key: CellKey) -> usize {
    (usize::from(key.phase) * Path::ALL.len() + key.path as usize) * OUTCOMES + key.outcome as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_handed_over_once() {
        let mut recorder = Recorder::new(2);
        let key = CellKey { phase: 1, path: Path::Lookup, outcome: Outcome::Unsent };
        recorder.record(key, 1_500, 900);
        recorder.record(key, 3_600_000_000_000, 1);
        recorder.note_oddity("418".into());
        let frame = recorder.take(1);
        assert_eq!(frame.cells.len(), 1);
        assert_eq!(frame.cells[0].0, key);
        assert_eq!(frame.cells[0].1.response.len(), 2);
        assert_eq!(frame.cells[0].1.response.min(), 2, "microseconds are rounded up");
        assert!(frame.cells[0].1.response.max() >= 3_600_000_000, "an hour is not cut off");
        assert_eq!(frame.oddities["418"], 1);
        assert!(recorder.take(2).cells.is_empty());
    }
}
