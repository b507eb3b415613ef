//! Two runs side by side: the ratio of each figure, and whether chance alone would explain it.
//!
//! Requests of one second share their luck, so seconds are the units of the bootstrap, not requests: both runs are put
//! together anew from their own seconds many times, and the ratio's spread over these is its confidence interval. Runs
//! of too few seconds for that are compared by the ranks of their requests, with twice the room for chance.

use std::collections::BTreeMap;
use std::io;
use std::path::Path as FilePath;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::hdr_files::read_interval_log;
use crate::load::dice::Dice;
use crate::outcome::Path;
use crate::summary::Summary;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
const RESAMPLES: usize = 400;
/// With fewer seconds they cannot be resampled.
const SECONDS_MIN: usize = 5;
/// Requests share the luck of their second: by ranks alone chance would look smaller than it is.
const SHARED_LUCK: f64 = 2.0;
/// With fewer requests beyond it a quantile is one request's luck.
const REQUESTS_BEYOND_MIN: f64 = 5.0;
/// Two-sided 95 % of the normal distribution.
const Z_95: f64 = 1.96;

/// One figure of both runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Path.
    pub path: Path,
    /// `p50` … `p99.9`, `rate` or `error rate`.
    pub figure: String,
    /// Before: milliseconds, per second, or a share.
    pub before: f64,
    /// After.
    pub after: f64,
    /// After divided by before.
    pub ratio: f64,
    /// 95 % confidence interval of the ratio; absent when there are too few requests for one.
    pub interval: Option<(f64, f64)>,
    /// Whether chance alone does not explain the difference.
    pub significant: bool,
    /// Whether it is significant, for the worse, and more than tolerated.
    pub regression: bool,
    /// Whether it is worse by more than tolerated, and chance alone may explain it.
    pub doubtful: bool,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonVerdict {
    /// Nothing is worse by more than tolerated.
    NoRegression,
    /// Something is worse, and chance alone does not explain it.
    Regression,
    /// Something looks worse but may be chance, or there is too little to compare.
    CannotTell,
}

/// The comparison of two runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// The earlier run.
    pub before: String,
    /// The later run.
    pub after: String,
    /// Differences of the runs' circumstances that make the comparison doubtful.
    pub cautions: Vec<String>,
    /// What it comes to.
    pub verdict: ComparisonVerdict,
    /// The figures.
    pub rows: Vec<Row>,
}

/// A path that only one run has cannot be compared, and may be what is wrong.
fn verdict(rows: &[Row], only_in_one: &[String]) -> ComparisonVerdict {
    if rows.iter().any(|row| row.regression) {
        ComparisonVerdict::Regression
    } else if rows.is_empty() || !only_in_one.is_empty() || rows.iter().any(|row| row.doubtful) {
        ComparisonVerdict::CannotTell
    } else {
        ComparisonVerdict::NoRegression
    }
}

/// Compares two output folders; a difference of more than `tolerance` (0.1 is 10 %) for the worse is a regression.
///
/// # Errors
/// When a folder cannot be read.
pub fn compare(before: &FilePath, after: &FilePath, tolerance: f64) -> io::Result<Comparison> {
    let (old, new) = (Summary::read(before)?, Summary::read(after)?);
    let mut rows = Vec::new();
    let mut only_in_one = Vec::new();
    for path in Path::ALL {
        let (old_path, new_path) = match (old.paths.get(path), new.paths.get(path)) {
            (Some(old_path), Some(new_path)) => (old_path, new_path),
            (None, None) => continue,
            _ => {
                only_in_one.push(format!("only one of the runs has the path {}", path.name()));
                continue;
            }
        };
        let log = format!("{}.hlog", path.name());
        let old_seconds = Seconds::new(&read_interval_log(&before.join(&log))?);
        let new_seconds = Seconds::new(&read_interval_log(&after.join(&log))?);
        rows.extend(latency_rows(*path, &old_seconds, &new_seconds, tolerance));
        let rates = (old_path.all.rate_per_s, new_path.all.rate_per_s);
        rows.push(rate_row(*path, rates, &old_seconds, &new_seconds, tolerance));
        let errors = (old_path.errors, old_path.all.count, new_path.errors, new_path.all.count);
        rows.push(error_row(*path, errors, tolerance));
    }
    let name = |folder: &FilePath, summary: &Summary| {
        format!("{} ({}, {})", folder.display(), summary.scenario, summary.started_at)
    };
    Ok(Comparison {
        before: name(before, &old),
        after: name(after, &new),
        verdict: verdict(&rows, &only_in_one),
        cautions: cautions(&old, &new).into_iter().chain(only_in_one).collect(),
        rows,
    })
}

fn cautions(old: &Summary, new: &Summary) -> Vec<String> {
    let mut cautions = Vec::new();
    let mut differ = |what: &str, old: &str, new: &str| {
        if old != new {
            cautions.push(format!("different {what}: {old} / {new}"));
        }
    };
    differ("scenario", &old.scenario, &new.scenario);
    differ("processor", &old.environment.machine.cpu, &new.environment.machine.cpu);
    let cores = |of: &Summary| of.environment.machine.cores.to_string();
    differ("number of cores", &cores(old), &cores(new));
    let machines = |of: &Summary| (of.environment.agents.len() + 1).to_string();
    differ("number of machines that sent the load", &machines(old), &machines(new));
    if old.environment.scenario != new.environment.scenario {
        cautions.push("the scenarios' settings differ".into());
    }
    for (name, summary) in [("first", old), ("second", new)] {
        if summary.client.saturated {
            cautions.push(format!("the client of the {name} run was saturated"));
        }
    }
    cautions
}

/// The seconds of a run over one common list of values.
struct Seconds {
    values: Vec<u64>,
    seconds: Vec<Vec<(usize, u64)>>,
}

impl Seconds {
    fn new(histograms: &[Histogram<u64>]) -> Self {
        let mut index = BTreeMap::new();
        for histogram in histograms {
            index.extend(histogram.iter_recorded().map(|step| (step.value_iterated_to(), 0)));
        }
        index.values_mut().enumerate().for_each(|(place, slot)| *slot = place);
        let second = |histogram: &Histogram<u64>| {
            let steps = histogram.iter_recorded();
            steps.map(|step| (index[&step.value_iterated_to()], step.count_at_value())).collect()
        };
        let seconds = histograms.iter().map(second).collect();
        Self { values: index.into_keys().collect(), seconds }
    }

    /// Quantiles in milliseconds and the mean count a second, over these seconds.
    fn figures<'a>(&self, seconds: impl Iterator<Item = &'a Vec<(usize, u64)>>) -> [f64; 5] {
        let mut counts = vec![0u64; self.values.len()];
        let mut number = 0;
        for second in seconds {
            number += 1;
            second.iter().for_each(|(place, count)| counts[*place] += count);
        }
        let total: u64 = counts.iter().sum();
        let mut figures = [0.0; 5];
        for (figure, (_, quantile)) in figures.iter_mut().zip(QUANTILES) {
            let wanted = (quantile * total as f64).ceil().max(1.0) as u64;
            let mut seen = 0;
            let place = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            *figure = place.map_or(0.0, |place| self.values[place] as f64 / 1e3);
        }
        figures[4] = total as f64 / f64::from(number.max(1));
        figures
    }

    fn requests(&self) -> u64 {
        self.seconds.iter().flatten().map(|(_, count)| count).sum()
    }

    /// The milliseconds between which a quantile lies with 95 %, by the ranks that it may have.
    fn around(&self, quantile: f64) -> (f64, f64) {
        let mut counts = vec![0u64; self.values.len()];
        self.seconds.iter().flatten().for_each(|(place, count)| counts[*place] += count);
        let requests = counts.iter().sum::<u64>() as f64;
        let room = Z_95 * SHARED_LUCK * (requests * quantile * (1.0 - quantile)).sqrt();
        let at_rank = |rank: f64| {
            let wanted = rank.clamp(1.0, requests.max(1.0)) as u64;
            let mut seen = 0;
            let place = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            place.map_or(0.0, |place| self.values[place] as f64 / 1e3)
        };
        (at_rank((requests * quantile - room).floor()), at_rank((requests * quantile + room).ceil()))
    }

    fn all(&self) -> [f64; 5] {
        self.figures(self.seconds.iter())
    }

    fn resampled(&self, dice: &mut Dice) -> [f64; 5] {
        let number = self.seconds.len() as u64;
        self.figures((0..number).map(|_| &self.seconds[dice.below(number) as usize]))
    }
}

/// The 95 % intervals of the ratios of all five figures; none where there are too few requests.
fn intervals(old: &Seconds, new: &Seconds) -> [Option<(f64, f64)>; 5] {
    let requests = old.requests().min(new.requests()) as f64;
    let enough = |index: usize| {
        let beyond = QUANTILES.get(index).map_or(1.0, |(_, quantile)| 1.0 - quantile) * requests;
        beyond >= REQUESTS_BEYOND_MIN
    };
    let all = if old.seconds.len().min(new.seconds.len()) < SECONDS_MIN {
        by_ranks(old, new)
    } else {
        by_resampling(old, new)
    };
    std::array::from_fn(|index| enough(index).then_some(all[index]))
}

/// From the ranks that a quantile may have by chance, and the counts that a rate may.
fn by_ranks(old: &Seconds, new: &Seconds) -> [(f64, f64); 5] {
    std::array::from_fn(|index| match QUANTILES.get(index) {
        Some((_, quantile)) => {
            let ((old_low, old_high), (new_low, new_high)) = (old.around(*quantile), new.around(*quantile));
            (new_low / old_high.max(1e-9), new_high / old_low.max(1e-9))
        }
        None => {
            let (before, after) = (old.requests().max(1) as f64, new.requests().max(1) as f64);
            let ratio = new.all()[index] / old.all()[index].max(1e-9);
            let room = (Z_95 * SHARED_LUCK * (1.0 / before + 1.0 / after).sqrt()).exp();
            (ratio / room, ratio * room)
        }
    })
}

fn by_resampling(old: &Seconds, new: &Seconds) -> [(f64, f64); 5] {
    let mut dice = Dice::new(0x5EED);
    let mut ratios: [Vec<f64>; 5] = Default::default();
    for _ in 0..RESAMPLES {
        let (old, new) = (old.resampled(&mut dice), new.resampled(&mut dice));
        for (ratios, (old, new)) in ratios.iter_mut().zip(old.into_iter().zip(new)) {
            ratios.push(new / old.max(1e-9));
        }
    }
    ratios.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        (ratios[RESAMPLES / 40], ratios[RESAMPLES - 1 - RESAMPLES / 40])
    })
}

fn latency_rows(path: Path, old: &Seconds, new: &Seconds, tolerance: f64) -> Vec<Row> {
    let (before, after) = (old.all(), new.all());
    let intervals = intervals(old, new);
    let of_figure = |(index, (figure, _)): (usize, &(&str, f64))| {
        let (before, after) = (before[index], after[index]);
        let ratio = after / before.max(1e-9);
        row(path, figure, before, after, intervals[index], ratio > 1.0 + tolerance)
    };
    QUANTILES.iter().enumerate().map(of_figure).collect()
}

fn row(path: Path, figure: &str, before: f64, after: f64, interval: Option<(f64, f64)>, worse: bool) -> Row {
    let significant = interval.is_some_and(|(low, high)| low > 1.0 || high < 1.0);
    // Of a quantile that has too few requests nothing is asked: those below it speak for it.
    let (regression, doubtful) = (significant && worse, interval.is_some() && !significant && worse);
    let ratio = if before == after { 1.0 } else { after / before.max(1e-9) };
    Row { path, figure: figure.into(), before, after, ratio, interval, significant, regression, doubtful }
}

fn rate_row(path: Path, (before, after): (f64, f64), old: &Seconds, new: &Seconds, tolerance: f64) -> Row {
    row(path, "rate", before, after, intervals(old, new)[4], after < before * (1.0 - tolerance))
}

/// Error rates by the test of two proportions.
fn error_row(path: Path, (e1, n1, e2, n2): (u64, u64, u64, u64), tolerance: f64) -> Row {
    let (n1, n2) = (n1.max(1) as f64, n2.max(1) as f64);
    let (before, after) = (e1 as f64 / n1, e2 as f64 / n2);
    let pooled = (e1 + e2) as f64 / (n1 + n2);
    let spread = (pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2)).sqrt();
    let significant = spread > 0.0 && ((after - before) / spread).abs() > Z_95;
    let regression = significant && after > before * (1.0 + tolerance);
    let ratio = if before == after { 1.0 } else { after / before.max(1e-9) };
    // A share of none in a run and some in the other: with too few requests it may still be chance.
    let doubtful = !significant && after > before * (1.0 + tolerance);
    Row {
        path,
        figure: "error rate".into(),
        before,
        after,
        ratio,
        interval: None,
        significant,
        regression,
        doubtful,
    }
}

/// The comparison as text.
pub fn render(comparison: &Comparison) -> String {
    let mut out = format!("before: {}\nafter:  {}\n", comparison.before, comparison.after);
    for caution in &comparison.cautions {
        out += &format!("caution: {caution}\n");
    }
    out += &format!(
        "\n{:<10}{:<12}{:>12}{:>12}{:>9}  {:<16}\n",
        "path", "figure", "before", "after", "ratio", "95 % interval"
    );
    for row in &comparison.rows {
        let interval = row.interval.map_or("too few".into(), |(low, high)| format!("{low:.2} – {high:.2}"));
        let interval = if row.figure == "error rate" { String::new() } else { interval };
        let mark = match row {
            Row { regression: true, .. } => "REGRESSION",
            Row { doubtful: true, .. } => "WORSE, OR CHANCE",
            Row { significant: true, .. } => "significant",
            _ => "no significant difference",
        };
        let digits = if row.figure == "error rate" { 5 } else { 3 };
        out += &format!(
            "{:<10}{:<12}{:>12.digits$}{:>12.digits$}{:>9.3}  {interval:<16}{mark}\n",
            row.path.name(),
            row.figure,
            row.before,
            row.after,
            row.ratio
        );
    }
    out += match comparison.verdict {
        ComparisonVerdict::Regression => "\nresult: regression\n",
        ComparisonVerdict::CannotTell => "\nresult: cannot tell; longer runs of both would\n",
        ComparisonVerdict::NoRegression => "\nresult: no regression\n",
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::recorder::histogram;

    /// Seconds of 1,000 requests each around `us`, with a spread between seconds.
    fn run(us: u64, seconds: usize, seed: u64) -> Seconds {
        let mut dice = Dice::new(seed);
        let second = |_| {
            let mut histogram = histogram();
            let mood = dice.below(us / 10);
            (0..1000).for_each(|_| histogram.record(us + mood + dice.below(us)).unwrap());
            histogram
        };
        Seconds::new(&(0..seconds).map(second).collect::<Vec<_>>())
    }

    #[test]
    fn the_same_engine_shows_no_regression_and_a_slower_one_does() {
        let (base, same, slower) = (run(1000, 30, 1), run(1000, 30, 2), run(1300, 30, 3));
        let rows = latency_rows(Path::Seckill, &base, &same, 0.1);
        assert!(rows.iter().all(|row| !row.regression), "{rows:?}");
        let rows = latency_rows(Path::Seckill, &base, &slower, 0.1);
        assert!(rows.iter().all(|row| row.regression && row.significant), "{rows:?}");
        let rows = latency_rows(Path::Seckill, &slower, &base, 0.1);
        assert!(rows.iter().all(|row| !row.regression && row.significant), "faster is no regression");
    }

    #[test]
    fn l4_short_runs_are_compared_too() {
        let rows = latency_rows(Path::Seckill, &run(1000, 2, 1), &run(18_600, 2, 2), 0.1);
        assert!(rows[..3].iter().all(|row| row.regression), "{rows:?}");
        assert_eq!(verdict(&rows, &[]), ComparisonVerdict::Regression);
        let rows = latency_rows(Path::Seckill, &run(1000, 2, 1), &run(1000, 2, 1), 0.1);
        assert_eq!(verdict(&rows, &[]), ComparisonVerdict::NoRegression);
    }

    #[test]
    fn l4_what_chance_may_explain_cannot_be_told() {
        // One bad second of twenty: much worse, but it may not come again.
        let mut seconds: Vec<Histogram<u64>> = Vec::new();
        for second in 0..20 {
            let mut histogram = histogram();
            let us = if second == 7 { 50_000 } else { 1_000 };
            (0..1000).for_each(|_| histogram.record(us).unwrap());
            seconds.push(histogram);
        }
        let rows = latency_rows(Path::Seckill, &run(1000, 20, 1), &Seconds::new(&seconds), 0.1);
        assert!(rows.iter().any(|row| row.doubtful), "{rows:?}");
        assert_eq!(verdict(&rows, &[]), ComparisonVerdict::CannotTell);
        assert_eq!(verdict(&[], &[]), ComparisonVerdict::CannotTell, "nothing in common");
    }

    #[test]
    fn error_rates_are_compared_as_proportions() {
        assert!(error_row(Path::Order, (10, 100_000, 400, 100_000), 0.1).regression);
        assert!(!error_row(Path::Order, (10, 100_000, 12, 100_000), 0.1).significant);
        assert!(!error_row(Path::Order, (0, 1000, 0, 1000), 0.1).significant);
        assert!(!error_row(Path::Order, (400, 100_000, 10, 100_000), 0.1).regression);
    }
}
