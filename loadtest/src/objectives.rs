//! Holds the measured figures against the scenario's limits. Errors that no limit is about have the limit zero.

use crate::outcome::{Outcome, Path};
use crate::scenario::Objective;
use crate::summary::{Latencies, ObjectiveResult, PathSummary, Summary};

/// Judges every limit of every objective.
pub fn judge(objectives: &[Objective], summary: &Summary) -> Vec<ObjectiveResult> {
    let asked = objectives.iter().flat_map(|objective| judge_one(objective, summary));
    asked.chain(unjudged_errors(objectives, summary)).collect()
}

/// The share of errors that an objective of this path is about. A purchase that failed is no order, so the error rate
/// of orders is that of all purchases.
pub fn error_rate(summary: &Summary, path: Path, phase: Option<&str>) -> Option<f64> {
    let own = summary.path(path, phase).map(|path| path.error_rate);
    let purchases = summary.path(Path::Seckill, phase).map(|path| path.error_rate);
    match path {
        Path::Order => own.into_iter().chain(purchases).reduce(f64::max),
        _ => own,
    }
}

/// A miss for each path and phase that had errors which no objective judges.
fn unjudged_errors(objectives: &[Objective], summary: &Summary) -> Vec<ObjectiveResult> {
    let judged = |path: Path, phase: &str| {
        objectives.iter().any(|objective| {
            let about = objective.path == path || (objective.path == Path::Order && path == Path::Seckill);
            let then = objective.phase.as_deref().is_none_or(|only| only == phase);
            objective.error_rate.is_some() && about && then
        })
    };
    let phases = summary.by_phase.iter();
    let paths =
        phases.flat_map(|(phase, paths)| paths.iter().map(move |(path, found)| (phase, *path, found)));
    let missed = paths.filter(|(phase, path, found)| found.errors > 0 && !judged(*path, phase));
    let miss = |(phase, path, found): (&String, Path, &PathSummary)| ObjectiveResult {
        what: format!("{} · {phase} error_rate (no objective is about it)", path.name()),
        limit: 0.0,
        measured: Some(found.error_rate),
        met: false,
    };
    missed.map(miss).collect()
}

fn judge_one(objective: &Objective, summary: &Summary) -> Vec<ObjectiveResult> {
    let path = objective.path;
    let measured = summary.path(path, objective.phase.as_deref());
    let latencies = measured.and_then(|path| of_outcome(path, objective.outcome));
    let scope = [Some(path.name()), objective.outcome.map(Outcome::name), objective.phase.as_deref()];
    let scope = scope.into_iter().flatten().collect::<Vec<_>>().join(" · ");

    let ms = |of: fn(&Latencies) -> f64| latencies.map(|latencies| of(latencies) / 1e3);
    let at_most = [
        ("mean_ms", objective.mean_ms, ms(|l| l.response.mean_us)),
        ("p50_ms", objective.p50_ms, ms(|l| l.response.p50_us as f64)),
        ("p90_ms", objective.p90_ms, ms(|l| l.response.p90_us as f64)),
        ("p99_ms", objective.p99_ms, ms(|l| l.response.p99_us as f64)),
        ("p999_ms", objective.p999_ms, ms(|l| l.response.p999_us as f64)),
        ("max_ms", objective.max_ms, ms(|l| l.response.max_us as f64)),
        ("error_rate", objective.error_rate, error_rate(summary, path, objective.phase.as_deref())),
    ];
    let at_least = [
        ("rate_per_s_min", objective.rate_per_s_min, latencies.map(|l| l.rate_per_s)),
        ("count_min", objective.count_min.map(|n| n as f64), latencies.map(|l| l.count as f64)),
    ];
    let result = |name: &str, limit: Option<f64>, measured: Option<f64>, met: fn(f64, f64) -> bool| {
        let limit = limit?;
        let met = measured.is_some_and(|measured| met(measured, limit));
        Some(ObjectiveResult { what: format!("{scope} {name}"), limit, measured, met })
    };
    let upper =
        at_most.into_iter().filter_map(|(name, limit, value)| result(name, limit, value, |m, l| m <= l));
    let lower =
        at_least.into_iter().filter_map(|(name, limit, value)| result(name, limit, value, |m, l| m >= l));
    upper.chain(lower).collect()
}

fn of_outcome(path: &PathSummary, outcome: Option<Outcome>) -> Option<&Latencies> {
    match outcome {
        Some(outcome) => path.outcomes.get(&outcome),
        None => Some(&path.all),
    }
}
