//! Gathers the workers' seconds into totals, a series, interval logs, and the progress line.

use std::collections::BTreeMap;
use std::io;
use std::path::Path as FilePath;

use hdrhistogram::Histogram;

use crate::client::Client;
use crate::hdr_files::IntervalLogs;
use crate::load::recorder::{Cell, CellKey, Counters, Frame, histogram};
use crate::outcome::{Outcome, Path};
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::summary::{ClientHealth, Latencies, PathSummary, Percentiles, PhaseSummary, Second, SecondOfPath};

/// Share of seconds with a busy worker from which on the client counts as saturated.
const BUSY_SECONDS_MAX: f64 = 0.1;

/// Everything measured so far.
#[derive(Debug)]
pub struct Collector {
    measured: Vec<bool>,
    totals: BTreeMap<CellKey, Cell>,
    lag: Histogram<u64>,
    own_lag: Histogram<u64>,
    counters: Counters,
    cpu_ns: u64,
    starved_ns: u64,
    oddities: BTreeMap<String, u64>,
    demand: BTreeMap<u16, u64>,
    /// The first and the last second in which a phase's requests of a path were answered.
    spans: BTreeMap<(u16, Path), (u64, u64)>,
    series: Vec<Second>,
    open: BTreeMap<u64, (usize, Merged)>,
    workers: usize,
    logs: IntervalLogs,
    progress: Progress,
}

/// One second of all workers.
#[derive(Debug)]
struct Merged {
    cells: BTreeMap<CellKey, Cell>,
    lag: Histogram<u64>,
    counters: Counters,
    in_flight: u64,
    behind_us: u64,
    busy: f64,
}

impl Collector {
    /// For a run of `scenario` whose files go to `folder`; `base_s` is its start as a Unix time.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(scenario: &Scenario, folder: &FilePath, base_s: f64, progress: Progress) -> io::Result<Self> {
        Ok(Self {
            measured: scenario.phases.iter().map(|phase| phase.measure).collect(),
            totals: BTreeMap::new(),
            lag: histogram(),
            own_lag: histogram(),
            counters: Counters::default(),
            cpu_ns: 0,
            starved_ns: 0,
            oddities: BTreeMap::new(),
            demand: BTreeMap::new(),
            spans: BTreeMap::new(),
            series: Vec::new(),
            open: BTreeMap::new(),
            workers: scenario.client.workers as usize,
            logs: IntervalLogs::new(folder, base_s),
            progress,
        })
    }

    /// Takes one worker's second in.
    ///
    /// # Errors
    /// When the interval logs cannot be written.
    pub fn take(&mut self, frame: Frame) -> io::Result<()> {
        add(&mut self.lag, &frame.lag);
        add(&mut self.own_lag, &frame.own_lag);
        sum(&mut self.counters, &frame.counters);
        self.cpu_ns += frame.cpu_ns;
        self.starved_ns += frame.starved_ns;
        for (what, count) in frame.oddities {
            *self.oddities.entry(what).or_default() += count;
        }
        for (campaign, units) in frame.demand {
            *self.demand.entry(campaign).or_default() += units;
        }
        let (seen, merged) = self.open.entry(frame.tick).or_insert_with(|| (0, Merged::new()));
        *seen += 1;
        for (key, cell) in frame.cells {
            let into = merged.cells.entry(key).or_default();
            add(&mut into.response, &cell.response);
            add(&mut into.service, &cell.service);
        }
        add(&mut merged.lag, &frame.lag);
        sum(&mut merged.counters, &frame.counters);
        merged.in_flight += frame.in_flight;
        merged.behind_us = merged.behind_us.max(frame.behind_us);
        // The last, short second says nothing about a share of a second.
        if frame.wall_ns >= 500_000_000 {
            merged.busy = merged.busy.max((frame.cpu_ns + frame.starved_ns) as f64 / frame.wall_ns as f64);
        }
        if *seen == self.workers {
            self.close_first()?;
        }
        Ok(())
    }

    /// Takes in what is left when all workers have ended.
    ///
    /// # Errors
    /// When the interval logs cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        while !self.open.is_empty() {
            self.close_first()?;
        }
        self.progress.end();
        self.logs.finish()
    }

    fn close_first(&mut self) -> io::Result<()> {
        let Some((tick, (_, merged))) = self.open.pop_first() else { return Ok(()) };
        let second = merged.second(tick);
        self.progress.show(&second);
        self.series.push(second);
        for (key, cell) in &merged.cells {
            self.spans.entry((key.phase, key.path)).or_insert((tick, tick)).1 = tick;
            if self.measured[usize::from(key.phase)] {
                self.logs.append(key.path, key.outcome, tick, &cell.response)?;
            }
        }
        self.logs.end_second(tick)?;
        for (key, cell) in merged.cells {
            let total = self.totals.entry(key).or_default();
            add(&mut total.response, &cell.response);
            add(&mut total.service, &cell.service);
        }
        Ok(())
    }

    /// The run by the second.
    pub fn series(&self) -> &[Second] {
        &self.series
    }

    /// Unexpected answers.
    pub fn oddities(&self) -> &BTreeMap<String, u64> {
        &self.oddities
    }

    /// Units of a campaign that visitors who may have them asked for and were answered about.
    pub fn demand_units(&self, campaign: usize) -> u64 {
        self.demand.get(&(campaign as u16)).copied().unwrap_or_default()
    }

    /// Answers that denied an order to its holder.
    pub fn untruthful(&self) -> u64 {
        self.counters.untruthful
    }

    /// Histograms of the measured phases by path and outcome.
    pub fn by_outcome(&self) -> BTreeMap<(Path, Outcome), Cell> {
        let mut sums: BTreeMap<(Path, Outcome), Cell> = BTreeMap::new();
        for (key, cell) in self.totals.iter().filter(|(key, _)| self.measured[usize::from(key.phase)]) {
            let into = sums.entry((key.path, key.outcome)).or_default();
            add(&mut into.response, &cell.response);
            add(&mut into.service, &cell.service);
        }
        sums
    }

    /// The measured phases together, and each alone.
    pub fn summarise(
        &self,
        phases: &[PhaseSummary],
    ) -> (BTreeMap<Path, PathSummary>, BTreeMap<String, BTreeMap<Path, PathSummary>>) {
        let all = phases.iter().enumerate().filter(|(_, phase)| phase.measured);
        let together = self.paths(&all.clone().collect::<Vec<_>>());
        let alone = all
            .map(|(index, phase)| (phase.name.clone(), self.paths(&[(index, phase)])))
            .filter(|(_, paths)| !paths.is_empty())
            .collect();
        (together, alone)
    }

    fn paths(&self, phases: &[(usize, &PhaseSummary)]) -> BTreeMap<Path, PathSummary> {
        let mut summaries = BTreeMap::new();
        for path in Path::ALL {
            let mut all = Cell::default();
            let mut outcomes: BTreeMap<Outcome, Cell> = BTreeMap::new();
            let mut seconds = 0.0;
            for (index, phase) in phases {
                let cells = self.totals.iter();
                let mut used = false;
                for (key, cell) in
                    cells.filter(|(key, _)| key.path == *path && usize::from(key.phase) == *index)
                {
                    used = true;
                    let outcome = outcomes.entry(key.outcome).or_default();
                    for into in [&mut all, outcome] {
                        add(&mut into.response, &cell.response);
                        add(&mut into.service, &cell.service);
                    }
                }
                if used {
                    let seen = self.spans.get(&(*index as u16, *path)).copied().unwrap_or_default();
                    seconds += seconds_taken(seen, phase);
                }
            }
            if all.response.is_empty() {
                continue;
            }
            let count = all.response.len();
            let errors: u64 =
                outcomes.iter().filter(|(o, _)| o.is_error()).map(|(_, cell)| cell.response.len()).sum();
            let outcomes =
                outcomes.iter().map(|(outcome, cell)| (*outcome, latencies(cell, seconds))).collect();
            let error_rate = errors as f64 / count as f64;
            summaries
                .insert(*path, PathSummary { all: latencies(&all, seconds), outcomes, errors, error_rate });
        }
        summaries
    }

    /// Judges the client itself.
    pub fn client_health(&self, limits: &Client) -> ClientHealth {
        let mut busy: Vec<f64> =
            self.series.iter().map(|second| second.busy).filter(|busy| *busy > 0.0).collect();
        busy.sort_by(f64::total_cmp);
        let over = busy.iter().filter(|busy| **busy > limits.busy_max).count();
        let own_lag = Percentiles::of(&self.own_lag);
        let own_lag_ms = own_lag.p99_us as f64 / 1e3;
        let mut reasons = Vec::new();
        if own_lag_ms > limits.lag_p99_ms_max {
            reasons.push(format!(
                "the client sent late by itself: P99 {own_lag_ms:.1} ms, limit {} ms",
                limits.lag_p99_ms_max
            ));
        }
        if over as f64 > busy.len() as f64 * BUSY_SECONDS_MAX {
            reasons.push(format!(
                "a worker was busy for more than {:.0} % of the time in {over} of {} seconds",
                limits.busy_max * 100.0,
                busy.len()
            ));
        }
        let mut responses = histogram();
        self.totals
            .iter()
            .filter(|(key, _)| key.path != Path::Order)
            .for_each(|(_, cell)| add(&mut responses, &cell.response));
        let p99_ms = responses.value_at_quantile(0.99) as f64 / 1e3;
        let caution = if own_lag_ms > p99_ms / 2.0 {
            format!(
                "most of the slow answers' time was the client's own lateness ({own_lag_ms:.1} of {p99_ms:.1} ms at P99): the engine was quicker than this"
            )
        } else {
            String::new()
        };
        ClientHealth {
            saturated: !reasons.is_empty(),
            reasons,
            caution,
            lag: Percentiles::of(&self.lag),
            own_lag,
            busy_median: busy.get(busy.len() / 2).copied().unwrap_or(0.0),
            busy_max: busy.last().copied().unwrap_or(0.0),
            cpu_us_per_request: self.cpu_ns as f64 / 1e3 / self.counters.sent.max(1) as f64,
            cpu_s: self.cpu_ns as f64 / 1e9,
            starved_s: self.starved_ns as f64 / 1e9,
            sent: self.counters.sent,
            answered: self.counters.answered,
            connects: self.counters.connects,
            untruthful: self.counters.untruthful,
        }
    }
}

impl Merged {
    fn new() -> Self {
        Self {
            cells: BTreeMap::new(),
            lag: histogram(),
            counters: Counters::default(),
            in_flight: 0,
            behind_us: 0,
            busy: 0.0,
        }
    }

    fn second(&self, tick: u64) -> Second {
        let mut paths: BTreeMap<String, (Histogram<u64>, u64)> = BTreeMap::new();
        let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
        for (key, cell) in &self.cells {
            let path = key.path.name();
            let (all, errors) = paths.entry(path.to_owned()).or_insert_with(|| (histogram(), 0));
            add(all, &cell.response);
            *errors += if key.outcome.is_error() { cell.response.len() } else { 0 };
            *outcomes.entry(format!("{path}/{}", key.outcome.name())).or_default() += cell.response.len();
        }
        let of_path = |(all, errors): (Histogram<u64>, u64)| SecondOfPath {
            count: all.len(),
            errors,
            p50_us: all.value_at_quantile(0.5),
            p99_us: all.value_at_quantile(0.99),
            max_us: all.max(),
        };
        Second {
            t: tick,
            sent: self.counters.sent,
            answered: self.counters.answered,
            paths: paths.into_iter().map(|(path, cell)| (path, of_path(cell))).collect(),
            outcomes,
            lag_p99_us: self.lag.value_at_quantile(0.99),
            in_flight: self.in_flight,
            behind_us: self.behind_us,
            busy: (self.busy * 1e3).round() / 1e3,
        }
    }
}

/// How long a phase's requests of a path took to be answered, if that was from the `first` to the `last` second of the
/// run: the phase's length, or longer if the engine fell behind. Requests that come later than their phase, such as
/// payments after a long thought, count from the first of them.
fn seconds_taken((first, last): (u64, u64), phase: &PhaseSummary) -> f64 {
    // Only the second of an answer is known, not its fraction: a quick one is neither late nor an overrun.
    let from_s = if first as f64 > phase.start_s + 1.0 { first as f64 } else { phase.start_s };
    let taken_s = last as f64 - from_s;
    if taken_s > phase.duration_s + 1.0 { taken_s } else { phase.duration_s }
}

fn latencies(cell: &Cell, seconds: f64) -> Latencies {
    Latencies {
        count: cell.response.len(),
        rate_per_s: (cell.response.len() as f64 / seconds * 10.0).round() / 10.0,
        response: Percentiles::of(&cell.response),
        service: Percentiles::of(&cell.service),
    }
}

fn add(into: &mut Histogram<u64>, other: &Histogram<u64>) {
    // Fails only for a histogram of fixed size; these grow.
    into.add(other).expect("histograms grow as needed");
}

fn sum(into: &mut Counters, other: &Counters) {
    into.sent += other.sent;
    into.answered += other.answered;
    into.connects += other.connects;
    into.bytes_in += other.bytes_in;
    into.untruthful += other.untruthful;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_the_seconds_in_which_its_requests_came() {
        let phase = PhaseSummary {
            name: "order".into(),
            model: "open".into(),
            start_s: 27.0,
            duration_s: 20.0,
            measured: true,
            visits_due: None,
        };
        // Answered at once, to the end of the phase and a little later.
        assert_eq!(seconds_taken((28, 48), &phase), 20.0);
        // The engine fell 15 s behind.
        assert_eq!(seconds_taken((28, 62), &phase), 35.0);
        // Paid 22 s after the purchase, in time; and then 10 s behind.
        assert_eq!(seconds_taken((50, 70), &phase), 20.0);
        assert_eq!(seconds_taken((50, 80), &phase), 30.0);
    }
}
