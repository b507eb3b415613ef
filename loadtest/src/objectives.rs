//! Holds the measured figures against the scenario's limits.

use crate::outcome::Outcome;
use crate::scenario::Objective;
use crate::summary::{Latencies, ObjectiveResult, PathSummary, Summary};

/// Judges every limit of every objective.
pub fn judge(objectives: &[Objective], summary: &Summary) -> Vec<ObjectiveResult> {
    objectives.iter().flat_map(|objective| judge_one(objective, summary)).collect()
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
        ("error_rate", objective.error_rate, measured.map(|path| path.error_rate)),
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
