//! Figures and probes.

use serde_json::json;

use super::figure_bodies as bodies;
use super::parts::{look, tenant};
use crate::admin::problem_code::Code;
use crate::openapi::parts::sale_in_query;
use crate::openapi::{Answer, Content, Method, Operation, Parameter};
use crate::telemetry::Outcome;

const TAG: &str = "figures";
const TEXT: Content = Content::text("text/plain");

/// `GET /metrics`
pub fn metrics() -> Operation {
    look("/metrics", "scrapeMetrics", "All figures for Prometheus")
        .about("As text, or with native histograms for who prefers protocol buffers.")
        .tag(TAG)
        .answers(Answer::new(200, "The figures", TEXT).or(Content::text("application/vnd.google.protobuf")))
}

/// `GET /api/v1/stats`
pub fn stats() -> Operation {
    look("/api/v1/stats", "getStats", "The engine's figures since its start")
        .tag(TAG)
        .answers(Answer::json::<bodies::Stats>(200, "The figures"))
}

/// `GET /api/v1/latency.hlog`
pub fn interval_log() -> Operation {
    look("/api/v1/latency.hlog", "getIntervalLog", "Latency as an HdrHistogram interval log")
        .tag(TAG)
        .answers(Answer::new(200, "The log", TEXT))
}

/// `GET /api/v1/latency/{file}`
pub fn percentiles() -> Operation {
    let files = ["seckill.hgrm", "order.hgrm", "checkout.hgrm"];
    let codes: Vec<_> = Outcome::ALL.into_iter().map(Outcome::code).collect();
    look(
        "/api/v1/latency/{file}",
        "getPercentiles",
        "The latency of a path as an HdrHistogram percentile file",
    )
    .tag(TAG)
    .takes([
        Parameter::path("file", "The path.")
            .of(json!({ "type": "string", "enum": files }))
            .such_as("seckill.hgrm"),
        Parameter::query("code", "Of this outcome only, which the path has to have.")
            .of(json!({ "enum": codes })),
    ])
    .answers(Answer::new(200, "The file", TEXT))
    .refuses([Code::NotFound, Code::InvalidField])
}

/// `GET /api/v1/reconcile`
pub fn reconcile() -> Operation {
    look("/api/v1/reconcile", "compareBooks", "The books of memory, ledger and store, compared now")
        .tag("engine")
        .takes([tenant()])
        .takes(sale_in_query())
        .answers(Answer::json::<bodies::Books>(200, "The books"))
        .refuses([Code::InvalidField, Code::StoreUnavailable])
}

fn probe(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Get, path, id, summary).tag(TAG)
}

/// `GET /livez`
pub fn livez() -> Operation {
    probe("/livez", "isAlive", "Whether the process answers")
        .answers(Answer::json::<bodies::Alive>(200, "It does."))
}

/// `GET /readyz`
pub fn readyz() -> Operation {
    probe("/readyz", "isReady", "Whether buyers can be sent here")
        .answers(Answer::json::<bodies::Readiness>(200, "They can."))
        .answers(Answer::json::<bodies::Readiness>(503, "They cannot, and why"))
}

/// `GET /healthz`
pub fn healthz() -> Operation {
    probe("/healthz", "getHealth", "How the engine is, for a person")
        .answers(Answer::json::<bodies::Health>(200, "Well, or well enough to sell"))
        .answers(Answer::json::<bodies::HealthOrStart>(503, "Not well, or not started"))
}
