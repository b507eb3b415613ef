//! The engine's figures, as JSON and as HdrHistogram files.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::control_plane::ControlPlane;
use super::problem::Problem;
use super::{checkout_figures, lease_agent_figures, store_figures};
use crate::admission::Intake;
use crate::domain::FieldError;
use crate::telemetry::{HistogramSnapshot, Outcome, Path, ProcessUsage, Telemetry, percentile_file};

const NANOS_PER_US: f64 = 1_000.0;

/// `GET /api/v1/stats`
pub(super) async fn stats(State(plane): State<Arc<ControlPlane>>) -> Json<Value> {
    let telemetry = &plane.telemetry;
    let sales = plane.admission.board().sales();
    let paths: Map<_, _> = Path::ALL
        .into_iter()
        .map(|path| {
            let mut latency = latency(&telemetry.path(path));
            latency["outcomes"] = by_outcome(telemetry, path);
            let recent = plane.intervals.recent(path);
            latency["recent"] =
                json!({ "per_s": tenths(recent.per_s), "p99_us": micros(recent.p99_nanos as f64) });
            (path.name().to_owned(), latency)
        })
        .collect();
    let (batches, commit) = (telemetry.writers.batch_orders(), telemetry.writers.commit());
    Json(json!({
        "node": plane.node.number(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": plane.started.elapsed().as_secs(),
        "paths": paths,
        "outcomes": outcomes(telemetry),
        "queue": queue_json(&plane),
        "writer": {
            "batches": batches.count(),
            "batch_orders_mean": tenths(batches.mean()),
            "batch_orders_max": batches.histogram.max(),
            "commit": latency(&commit),
            "failed_batches": telemetry.writers.failed_batches.value(),
            "steps_waiting": plane.desk.steps_waiting(),
        },
        "edge": {
            "connections": telemetry.edge_connections.value(),
            "connections_refused": telemetry.edge_connections_refused.value(),
            "http2_connections": telemetry.http2.connections.value(),
        },
        "store": store_figures::json(&plane.desk.pool_figures(), plane.desk.log_figures()),
        "checkout": checkout_figures::json(&plane.checkout),
        "ledger": lease_agent_figures::json(&plane),
        "campaigns": sales.len(),
        "process": ProcessUsage::read().map(|usage| json!({
            "cpu_s": usage.cpu_s,
            "resident_bytes": usage.resident_bytes,
            "threads": usage.threads,
            "open_fds": usage.open_fds,
        })),
    }))
}

/// Every outcome with its number, over all paths. A winner counts twice: as `won` when it is decided and as `durable`
/// (or `pending`, or `overloaded`) when it is answered.
fn outcomes(telemetry: &Telemetry) -> BTreeMap<&'static str, u64> {
    let count = |outcome| {
        let timed: u64 = Path::ALL
            .into_iter()
            .filter(|path| path.outcomes().contains(&outcome))
            .map(|path| telemetry.count(path, outcome))
            .sum();
        timed + telemetry.count_elsewhere(outcome)
    };
    Outcome::ALL.into_iter().map(|outcome| (outcome.code(), count(outcome))).collect()
}

fn by_outcome(telemetry: &Telemetry, path: Path) -> Value {
    let seen = path.outcomes().iter().filter_map(|&outcome| {
        let snapshot = telemetry.outcome(path, outcome);
        (snapshot.count() > 0).then(|| (outcome.code().to_owned(), latency(&snapshot)))
    });
    Value::Object(seen.collect())
}

fn latency(snapshot: &HistogramSnapshot) -> Value {
    let at = |quantile| {
        if snapshot.count() == 0 {
            0.0
        } else {
            micros(snapshot.histogram.value_at_quantile(quantile) as f64)
        }
    };
    json!({
        "count": snapshot.count(),
        "mean_us": micros(snapshot.mean()),
        "p50_us": at(0.5),
        "p90_us": at(0.9),
        "p99_us": at(0.99),
        "p999_us": at(0.999),
        "max_us": micros(snapshot.histogram.max() as f64),
    })
}

/// Nanoseconds in microseconds with one decimal: finer than that the histograms do not know.
pub(super) fn micros(nanos: f64) -> f64 {
    tenths(nanos / NANOS_PER_US)
}

pub(super) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The queue of admitted orders.
pub(super) fn queue_json(plane: &ControlPlane) -> Value {
    let queue = plane.admission.queue();
    json!({ "depth": queue.depth(), "capacity": queue.capacity(), "intake": intake_word(queue.intake()) })
}

fn intake_word(intake: Intake) -> &'static str {
    match intake {
        Intake::Open => "open",
        Intake::Stalled => "stalled",
        Intake::Closed => "closed",
    }
}

/// `GET /api/v1/latency/{path}.hgrm`, with `?code=` for one outcome only.
pub(super) async fn percentiles(
    State(plane): State<Arc<ControlPlane>>,
    UrlPath(file): UrlPath<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    let path = file.strip_suffix(".hgrm").and_then(Path::from_name).ok_or_else(Problem::not_found)?;
    if let Some(unknown) = query.keys().find(|name| *name != "code") {
        return Err(Problem::field(unknown, "is no parameter here; there is code"));
    }
    let snapshot = match query.get("code") {
        None => plane.telemetry.path(path),
        Some(code) => {
            let outcome = path.outcomes().iter().find(|outcome| outcome.code() == code).ok_or_else(|| {
                let known: Vec<_> = path.outcomes().iter().map(|outcome| outcome.code()).collect();
                FieldError { field: "code", problem: format!("must be one of {}", known.join(", ")) }
            })?;
            plane.telemetry.outcome(path, *outcome)
        }
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], percentile_file(&snapshot)).into_response())
}

/// `GET /api/v1/latency.hlog`
pub(super) async fn interval_log(State(plane): State<Arc<ControlPlane>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], plane.intervals.text()).into_response()
}
