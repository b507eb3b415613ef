//! Whether the engine lives, whether it is ready, and how it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::ControlPlane;
use super::checkout_figures::{breaker_word, concerns_json};
use crate::admission::Intake;
use crate::domain::{NodeId, OrderId};
use crate::ledger::LedgerFault;

/// A store that takes longer to find one order is not ready.
const STORE_PROBE_MAX: Duration = Duration::from_secs(1);
/// A Redis that takes longer to answer a PING is away.
const LEDGER_PROBE_MAX: Duration = Duration::from_millis(500);

/// Where the engine is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Lifecycle {
    /// The edge does not listen yet.
    Starting,
    /// Buyers are served.
    Running,
    /// Stopping: what is in flight is finished, nothing new is taken.
    Draining,
}

/// What a start is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StartPhase {
    /// The order store is being opened: its lock or seat, its tables.
    OpeningStore,
    /// Stock, claims and deadlines are rebuilt from the orders.
    ReadingOrders,
    /// Writers, payments and the edge are being started.
    OpeningEdge,
}

impl StartPhase {
    const ALL: [Self; 3] = [Self::OpeningStore, Self::ReadingOrders, Self::OpeningEdge];

    const fn word(self) -> &'static str {
        match self {
            Self::OpeningStore => "opening-store",
            Self::ReadingOrders => "reading-orders",
            Self::OpeningEdge => "opening-edge",
        }
    }
}

/// The lifecycle as `app` sets it and the probes read it. Words of their own that publish nothing else: relaxed.
#[derive(Debug)]
pub struct Readiness {
    lifecycle: AtomicU8,
    phase: AtomicU8,
    orders_read: AtomicU64,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            lifecycle: AtomicU8::new(Lifecycle::Starting as u8),
            phase: AtomicU8::new(StartPhase::OpeningStore as u8),
            orders_read: AtomicU64::new(0),
        }
    }
}

impl Readiness {
    /// Moves on.
    pub fn set(&self, lifecycle: Lifecycle) {
        self.lifecycle.store(lifecycle as u8, Relaxed);
    }

    /// Moves on within the start.
    pub fn enter(&self, phase: StartPhase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Counts the orders that the start has read.
    pub fn orders_read(&self) -> &AtomicU64 {
        &self.orders_read
    }

    /// Where the engine is.
    pub fn lifecycle(&self) -> Lifecycle {
        match self.lifecycle.load(Relaxed) {
            0 => Lifecycle::Starting,
            1 => Lifecycle::Running,
            _ => Lifecycle::Draining,
        }
    }

    /// How far the start is.
    fn progress(&self) -> Value {
        let phase = StartPhase::ALL[usize::from(self.phase.load(Relaxed))];
        json!({ "phase": phase.word(), "orders_read": self.orders_read.load(Relaxed) })
    }
}

/// The state of each thing that readiness depends on; "ok" is the good one.
struct Checks {
    lifecycle: &'static str,
    writer: &'static str,
    store: &'static str,
    /// The Redis that lends the stock, if there is one.
    ledger: Option<&'static str>,
    /// What those said that are not well, by the name of their check.
    reasons: Map<String, Value>,
}

impl Checks {
    async fn of(plane: &ControlPlane) -> Self {
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
        Self { lifecycle, writer, store, ledger, reasons }
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
}

/// The process answers: nothing else is looked at.
pub(super) async fn livez() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

/// The answer to "is it ready" before there is an engine to look at.
pub(super) async fn starting(State(readiness): State<Arc<Readiness>>) -> Response {
    let body = json!({
        "status": "not_ready",
        "checks": { "lifecycle": "starting" },
        "start": readiness.progress(),
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
    let concerns = plane.checkout.concerns();
    let needs_a_person = concerns.contradicted + concerns.without_gateway > 0;
    let is_doubtful = !plane.desk.clock().is_agreed();
    let is_degraded = checks.all_ok()
        && (checks.ledger.is_some_and(|ledger| ledger != "ok") || needs_a_person || is_doubtful);
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
        "campaigns": plane.admission.board().sales().len(),
        "queue": { "depth": queue.depth(), "capacity": queue.capacity() },
    });
    (status, Json(body)).into_response()
}

fn verdict(good: bool, yes: &'static str, no: &'static str) -> (StatusCode, &'static str) {
    if good { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) }
}
