//! Whether the engine lives, whether it is ready, and how it is.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::checkout_figures::{breaker_word, concerns_json};
use super::control_plane::ControlPlane;
use super::readiness::{Lifecycle, Readiness};
use crate::admission::Intake;
use crate::domain::{NodeId, OrderId};
use crate::ledger::LedgerFault;

/// A store that takes longer to find one order is not ready.
const STORE_PROBE_MAX: Duration = Duration::from_secs(1);
/// A Redis that takes longer to answer a PING is away.
const LEDGER_PROBE_MAX: Duration = Duration::from_millis(500);

/// The state of each thing that readiness depends on; "ok" is the good one.
pub(super) struct Checks {
    lifecycle: &'static str,
    writer: &'static str,
    /// The order store.
    pub store: &'static str,
    /// The Redis that lends the stock, if there is one.
    pub ledger: Option<&'static str>,
    /// Whether there is something that an operator has to look after, although everything else is well.
    has_concerns: bool,
    /// What those said that are not well, by the name of their check or the code of the concern.
    reasons: Map<String, Value>,
}

impl Checks {
    /// Looks at each of them.
    pub async fn of(plane: &ControlPlane) -> Self {
        let lifecycle = match plane.readiness.lifecycle() {
            Lifecycle::Starting => "starting",
            Lifecycle::Running => "ok",
            Lifecycle::Draining => "draining",
        };
        let writer = match plane.admission.queue().intake() {
            Intake::Open => "ok",
            Intake::Stalled => "stalled",
            Intake::Closed => "closed",
        };
        // An order that never was: the look-up goes through the store's index and its file.
        let nobodys = OrderId::from_tick(0, NodeId::new(0).expect("0 is a node"));
        let mut reasons = Map::new();
        let store = match tokio::time::timeout(STORE_PROBE_MAX, plane.desk.order(nobodys)).await {
            Ok(Ok(_)) => "ok",
            Ok(Err(error)) => {
                reasons.insert("store".into(), error.to_string().into());
                "failed"
            }
            Err(_) => "slow",
        };
        let answers = tokio::time::timeout(LEDGER_PROBE_MAX, plane.sales.ledger().answers()).await;
        let ledger = match answers {
            Ok(None) => None,
            Ok(Some(Ok(()))) => Some("ok"),
            Ok(Some(Err(fault))) => {
                reasons.insert("ledger".into(), fault.to_string().into());
                Some(if matches!(fault, LedgerFault::Away(_)) { "away" } else { "refused" })
            }
            Err(_) => Some("away"),
        };
        let mut concerns = plane.sales.ledger().concerns();
        concerns.extend(plane.store_concerns.all());
        let room_trouble = plane.room_trouble();
        let webhook_trouble = plane.webhook_trouble();
        let has_concerns = !concerns.is_empty() || room_trouble.is_some() || webhook_trouble.is_some();
        reasons.extend(concerns.into_iter().map(|(code, said)| (code.to_owned(), said.into())));
        reasons.extend(room_trouble.map(|(code, said)| (code.to_owned(), said.into())));
        reasons.extend(webhook_trouble.map(|(code, said)| (code.to_owned(), said.into())));
        Self { lifecycle, writer, store, ledger, has_concerns, reasons }
    }

    /// Without the ledger: a node whose Redis is away sells what it holds, shows orders and takes payments, and all nodes
    /// would be unready at once.
    fn all_ok(&self) -> bool {
        [self.lifecycle, self.writer, self.store].iter().all(|&check| check == "ok")
    }

    fn json(&self) -> Value {
        let mut checks = json!({ "lifecycle": self.lifecycle, "writer": self.writer, "store": self.store });
        if let Some(ledger) = self.ledger {
            checks["ledger"] = ledger.into();
        }
        checks
    }

    /// What is not as it should be, for those who watch: each with its code or the name of its check, and in words.
    pub fn troubles(self) -> Value {
        let names = [("lifecycle", self.lifecycle), ("writer", self.writer), ("store", self.store)];
        let named = names.into_iter().chain(self.ledger.map(|word| ("ledger", word)));
        let mut troubles = self.reasons;
        for (name, word) in named.filter(|(_, word)| *word != "ok") {
            troubles.entry(name).or_insert_with(|| word.into());
        }
        troubles.into_iter().map(|(code, said)| json!({ "code": code, "said": said })).collect()
    }
}

/// The process answers: nothing else is looked at.
pub(super) async fn livez() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

/// The answer to "is it ready" before there is an engine to look at.
pub(super) async fn starting(State(readiness): State<Arc<Readiness>>) -> Response {
    let said = readiness.waits_for_store().map(|said| ("store".to_owned(), Value::from(said)));
    let reasons: Map<String, Value> = said.into_iter().collect();
    let body = json!({
        "status": "not_ready",
        "checks": { "lifecycle": "starting" },
        "start": readiness.progress(),
        "reasons": reasons,
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// Whether buyers can be sent here.
pub(super) async fn readyz(State(plane): State<Arc<ControlPlane>>) -> Response {
    let checks = Checks::of(&plane).await;
    let (status, word) = verdict(checks.all_ok(), "ready", "not_ready");
    (status, Json(json!({ "status": word, "checks": checks.json(), "reasons": checks.reasons })))
        .into_response()
}

/// The same with what a person wants to know. A payment gateway that is away does not make the engine unready: buyers
/// still win their orders, and pay later.
pub(super) async fn healthz(State(plane): State<Arc<ControlPlane>>) -> Response {
    let checks = Checks::of(&plane).await;
    let (status, word) = verdict(checks.all_ok(), "ok", "failing");
    let concerns = plane.checkout.stuck_payments();
    let needs_a_person = concerns.contradicted + concerns.without_gateway > 0;
    let is_doubtful = !plane.desk.clock().is_agreed();
    let certificates: Map<String, Value> =
        plane.certificate_troubles().map(|(of, trouble)| (of.to_owned(), trouble)).collect();
    let is_degraded = checks.all_ok()
        && (checks.ledger.is_some_and(|ledger| ledger != "ok")
            || checks.has_concerns
            || needs_a_person
            || is_doubtful
            || !certificates.is_empty());
    let word = if is_degraded { "degraded" } else { word };
    let queue = plane.admission.queue();
    let body = json!({
        "status": word,
        "version": env!("CARGO_PKG_VERSION"),
        "node": plane.node.number(),
        "uptime_s": plane.started.elapsed().as_secs(),
        "checks": checks.json(),
        "reasons": checks.reasons,
        "gateway": breaker_word(plane.checkout.gateway_breaker()),
        "risk": breaker_word(plane.checkout.risk_breaker()),
        "payments": concerns_json(&plane.checkout),
        "simulated": plane.checkout.simulated(),
        "clock": plane.clock_json(),
        "unusable_certificates": certificates,
        "campaigns": plane.admission.board().sales().len(),
        "queue": { "depth": queue.depth(), "capacity": queue.capacity() },
    });
    (status, Json(body)).into_response()
}

fn verdict(good: bool, yes: &'static str, no: &'static str) -> (StatusCode, &'static str) {
    if good { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) }
}
