//! `summary.json`: everything that a run found, in a versioned form. `schema/summary.v1.json` describes it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path as FilePath;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::outcome::{Outcome, Path};
use crate::scenario::Published;
use crate::verify::{SaleTerms, Verification};

/// The version that this tester writes and reads.
pub const SCHEMA: &str = "loadtest.summary/1";

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: String,
    /// Scenario's name.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// Id of the run, part of its campaigns' names.
    pub run_id: String,
    /// RFC 3339.
    pub started_at: String,
    /// Seconds from the first due request to the last answer.
    pub duration_s: f64,
    /// Whether it was ended by a signal.
    pub interrupted: bool,
    /// When the engine was heard for the last time, in seconds, if the run was ended because it was gone for good.
    #[serde(default)]
    pub engine_gone_at_s: Option<f64>,
    /// Where it ran.
    pub environment: Environment,
    /// The result and its reasons.
    pub result: RunResult,
    /// Its phases.
    pub phases: Vec<PhaseSummary>,
    /// Measured phases together, by path.
    pub paths: BTreeMap<Path, PathSummary>,
    /// Each measured phase alone, by phase and path.
    pub by_phase: BTreeMap<String, BTreeMap<Path, PathSummary>>,
    /// The tester itself.
    pub client: ClientHealth,
    /// Limits and what was measured.
    pub objectives: Vec<ObjectiveResult>,
    /// The check of every promise; absent when it was switched off.
    pub verification: Option<Verification>,
    /// Why the promises could not be checked, if they were to be.
    #[serde(default)]
    pub verification_error: Option<String>,
    /// What can be checked again later.
    pub sales: Vec<SaleTerms>,
    /// Published figures to stand beside.
    pub published: Vec<Published>,
    /// Unexpected answers by what they said.
    pub oddities: BTreeMap<String, u64>,
    /// The run by the second, in which answers came.
    pub series: Vec<Second>,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// The process's exit code.
    pub exit_code: u8,
    /// Its name.
    pub name: String,
    /// Why.
    pub reasons: Vec<String>,
}

/// A phase as it was planned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// Name.
    pub name: String,
    /// `open`, `closed` or `rest`.
    pub model: String,
    /// Seconds from the start of the run.
    pub start_s: f64,
    /// Seconds.
    pub duration_s: f64,
    /// Whether it counts in the summary.
    pub measured: bool,
    /// Visits due by the schedule; absent in a closed phase.
    pub visits_due: Option<u64>,
}

/// One path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PathSummary {
    /// All outcomes.
    pub all: Latencies,
    /// By outcome.
    pub outcomes: BTreeMap<Outcome, Latencies>,
    /// Outcomes that are errors.
    pub errors: u64,
    /// Their share.
    pub error_rate: f64,
}

/// Latencies of one kind of request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Latencies {
    /// Requests.
    pub count: u64,
    /// Per second of the phases that had any, or of the longer time that their answers took.
    pub rate_per_s: f64,
    /// From the due time.
    pub response: Percentiles,
    /// From the time of sending.
    pub service: Percentiles,
}

/// Microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // The names say it.
pub struct Percentiles {
    pub mean_us: f64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub p9999_us: u64,
    pub max_us: u64,
}

impl Percentiles {
    /// Reads them off a histogram.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            mean_us: (histogram.mean() * 10.0).round() / 10.0,
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            p9999_us: histogram.value_at_quantile(0.9999),
            max_us: histogram.max(),
        }
    }
}

/// Whether the tester itself was quick enough.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientHealth {
    /// Whether it was not: then the run says nothing about the engine.
    pub saturated: bool,
    /// Why.
    pub reasons: Vec<String>,
    /// What to bear in mind though it was quick enough; empty as a rule.
    pub caution: String,
    /// Sent minus due.
    pub lag: Percentiles,
    /// The client's own part: due, a connection free, not sent.
    pub own_lag: Percentiles,
    /// Share of a second that the busiest worker spent on the processor or waiting for it: median over the run.
    pub busy_median: f64,
    /// The same, of the worst second.
    pub busy_max: f64,
    /// Processor time of the workers for each request, microseconds.
    pub cpu_us_per_request: f64,
    /// Processor time of the workers.
    pub cpu_s: f64,
    /// Time that the workers waited for a processor.
    pub starved_s: f64,
    /// Requests sent.
    pub sent: u64,
    /// Answers read.
    pub answered: u64,
    /// Connections opened during the run.
    pub connects: u64,
    /// Answers that denied an order to its holder.
    pub untruthful: u64,
}

/// A limit and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveResult {
    /// In words.
    pub what: String,
    /// The limit.
    pub limit: f64,
    /// What was measured; absent when there was nothing to measure, which is a miss.
    pub measured: Option<f64>,
    /// Whether it was met.
    pub met: bool,
}

/// One second.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the start, at its end.
    pub t: u64,
    /// Requests sent.
    pub sent: u64,
    /// Answers.
    pub answered: u64,
    /// By path.
    pub paths: BTreeMap<String, SecondOfPath>,
    /// Requests by `path/outcome`.
    pub outcomes: BTreeMap<String, u64>,
    /// P99 of sent minus due.
    pub lag_p99_us: u64,
    /// In flight at its end.
    pub in_flight: u64,
    /// How long the oldest unsent request has been due at its end.
    pub behind_us: u64,
    /// Share of the second that the busiest worker spent on the processor or waiting for it.
    pub busy: f64,
}

/// One second of one path.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[allow(missing_docs)] // The names say it.
pub struct SecondOfPath {
    pub count: u64,
    pub errors: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

impl Summary {
    /// Writes `summary.json` into a folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &FilePath) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        text.push('\n');
        std::fs::write(folder.join("summary.json"), text)
    }

    /// Reads the `summary.json` of a folder.
    ///
    /// # Errors
    /// When it is missing or of another version.
    pub fn read(folder: &FilePath) -> io::Result<Self> {
        let text = std::fs::read_to_string(folder.join("summary.json")).map_err(|error| {
            io::Error::new(error.kind(), format!("{}/summary.json: {error}", folder.display()))
        })?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(io::Error::other)?;
        if value["schema"] != SCHEMA {
            let found = &value["schema"];
            return Err(io::Error::other(format!(
                "{}: schema {found}, this tester reads {SCHEMA}",
                folder.display()
            )));
        }
        serde_json::from_value(value).map_err(io::Error::other)
    }

    /// One path of one phase, or of all measured phases.
    pub fn path(&self, path: Path, phase: Option<&str>) -> Option<&PathSummary> {
        match phase {
            Some(phase) => self.by_phase.get(phase)?.get(&path),
            None => self.paths.get(&path),
        }
    }
}
