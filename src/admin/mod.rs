//! The control plane: campaigns, audit, orders and events, figures, health, reload, a status page.
//!
//! [`AdminServer`] answers on a socket of its own and never knows the edge: a crowd there cannot keep an operator out.
//! Everything it may do is in [`ControlPlane`].

mod access;
mod checkout_figures;
mod clock_figures;
mod feeds;
mod fields;
mod health;
mod lender_figures;
mod order_acts;
mod places;
mod probe;
mod problem;
mod reconcile;
mod reload;
mod request_id;
mod sales;
mod server;
mod settings;
mod settle;
mod stats;
mod status_page;
mod store_figures;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

pub use access::AdminTokens;
pub use feeds::event_json;
pub use health::{Lifecycle, Readiness, StartPhase};
pub use probe::{Question, probe};
pub use reload::{Reload, ReloadRefused};
pub use server::{AdminServer, Opening};
pub use settings::AdminSettings;

use crate::admission::Admission;
use crate::checkout::Checkout;
use crate::domain::{EpochMs, NodeId, SaleTerms};
use crate::ledger::SaleDesk;
use crate::orders::{OrderDesk, Wanted};
use crate::telemetry::{IntervalLog, Telemetry};
use problem::Problem;

/// What the control plane works with.
pub struct ControlPlane {
    node: NodeId,
    settings: AdminSettings,
    tokens: Arc<AdminTokens>,
    started: Instant,
    admission: Arc<Admission>,
    desk: OrderDesk,
    sales: Arc<SaleDesk>,
    checkout: Checkout,
    telemetry: Arc<Telemetry>,
    intervals: Arc<IntervalLog>,
    readiness: Arc<Readiness>,
    reload: Arc<Reload>,
    /// Places for reading the store.
    store_reads: Arc<Semaphore>,
    /// Answers of feeds that are held in memory while their clients take them.
    feed_answers: Arc<Semaphore>,
}

/// What a [`ControlPlane`] is made of.
pub struct ControlPlaneParts {
    /// This engine's number.
    pub node: NodeId,
    /// Checked settings.
    pub settings: AdminSettings,
    /// Who may ask.
    pub tokens: Arc<AdminTokens>,
    /// The queue and the board of live sales.
    pub admission: Arc<Admission>,
    /// Orders, events, audits.
    pub desk: OrderDesk,
    /// Makes and changes sales.
    pub sales: Arc<SaleDesk>,
    /// Tells how paying goes.
    pub checkout: Checkout,
    /// The figures.
    pub telemetry: Arc<Telemetry>,
    /// The interval log, which somebody else appends to.
    pub intervals: Arc<IntervalLog>,
    /// Where the engine is between its start and its end.
    pub readiness: Arc<Readiness>,
    /// Reads the configuration again.
    pub reload: Arc<Reload>,
}

impl ControlPlane {
    /// A control plane; its uptime counts from here.
    pub fn new(parts: ControlPlaneParts) -> Self {
        let ControlPlaneParts {
            node,
            settings,
            tokens,
            admission,
            desk,
            sales,
            checkout,
            telemetry,
            intervals,
            readiness,
            reload,
        } = parts;
        let store_reads = Arc::new(Semaphore::new(settings.store_reads_max));
        let feed_answers = Arc::new(Semaphore::new(settings.feed_answers_max));
        let started = Instant::now();
        Self {
            node,
            settings,
            tokens,
            started,
            admission,
            desk,
            sales,
            checkout,
            telemetry,
            intervals,
            readiness,
            reload,
            store_reads,
            feed_answers,
        }
    }

    /// The calendar's time.
    fn now(&self) -> EpochMs {
        self.desk.clock().calendar()
    }

    /// Reads the store when there is a place for it: long reads of operators must not take the threads and the disk from
    /// the orders. The place is taken until the reading itself has ended, and a reading that nobody waits for any more is
    /// interrupted.
    async fn limited<T>(&self, reading: impl Future<Output = T>) -> T {
        Wanted::limited(&self.store_reads, reading).await
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane")
            .field("node", &self.node)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing at this path.")
}

/// The time as text: UTC, with milliseconds. What RFC 3339 cannot write is shown as the nearest time that it can.
fn rfc3339(time: EpochMs) -> String {
    let (first, last) = (jiff::Timestamp::MIN.as_millisecond(), SaleTerms::NO_END.0);
    format!("{:.3}", jiff::Timestamp::from_millisecond(time.0.clamp(first, last)).unwrap_or_default())
}
