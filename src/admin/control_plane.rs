//! What the handlers of the control plane work with.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::bulk_reads::BulkReads;
use super::cluster_figures::Cluster;
use super::feed_marks::FeedMarks;
use super::live_viewers::Live;
use super::problem::Problem;
use super::readiness::Readiness;
use super::refused_attempts::RefusedAttempts;
use super::relay_watch::RelayWatch;
use super::sale_counts::SaleCounts;
use super::sale_series::SaleSeries;
use super::session::Sessions;
use super::settings::AdminSettings;
use super::tokens::AdminTokens;
use crate::admission::Admission;
use crate::checkout::Checkout;
use crate::domain::{EpochMs, NodeId};
use crate::ledger::{Concerns, SaleDesk};
use crate::orders::{OrderDesk, ReadCancellation};
use crate::search::Search;
use crate::telemetry::{IntervalLog, Telemetry};
use crate::tls::Certificates;
use crate::webhooks::Webhooks;

/// Why the configuration was not reloaded; the old one stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadRefused {
    /// Whether the new one is well, and changes what only a restart can change.
    pub needs_restart: bool,
    /// What is wrong.
    pub detail: String,
    /// The keys that are to blame.
    pub keys: Vec<String>,
}

/// Reads the configuration again and applies it: answers with the keys that changed, and logs them or why there are
/// none. May block on a file.
pub type Reload = dyn Fn() -> Result<Vec<String>, ReloadRefused> + Send + Sync;

/// What the control plane works with.
pub struct ControlPlane {
    pub(super) node: NodeId,
    pub(super) settings: AdminSettings,
    pub(super) certificates: Vec<Arc<Certificates>>,
    pub(super) tokens: Arc<AdminTokens>,
    pub(super) sessions: Sessions,
    pub(super) failed_sign_ins: Arc<RefusedAttempts>,
    pub(super) refused_acts: Arc<RefusedAttempts>,
    pub(super) live: Live,
    pub(super) cluster: Cluster,
    pub(super) sale_counts: SaleCounts,
    pub(super) sale_series: SaleSeries,
    /// One scrape counts sales at a time.
    pub(super) counting: Arc<Semaphore>,
    /// One profile is taken at a time.
    pub(super) profiling: Arc<Semaphore>,
    pub(super) started: Instant,
    pub(super) admission: Arc<Admission>,
    pub(super) desk: OrderDesk,
    pub(super) sales: Arc<SaleDesk>,
    pub(super) checkout: Checkout,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) intervals: Arc<IntervalLog>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) reload: Arc<Reload>,
    pub(super) store_concerns: Arc<Concerns>,
    pub(super) webhooks: Option<Webhooks>,
    pub(super) search: Option<Search>,
    pub(super) relay: Option<RelayWatch>,
    /// Places for reading the store.
    pub(super) store_reads: Arc<Semaphore>,
    /// Turns of reading in bulk: fewer.
    pub(super) bulk_places: Arc<Semaphore>,
    /// Where what goes over many rows is read.
    pub(super) bulk_reads: BulkReads,
    /// Answers of feeds that are held in memory while their clients take them.
    pub(super) feed_answers: Arc<Semaphore>,
    /// How far feeds were read in vain.
    pub(super) feed_marks: FeedMarks,
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
    /// The certificates of both planes.
    pub certificates: Vec<Arc<Certificates>>,
    /// What an operator has to look after at the order store.
    pub store_concerns: Arc<Concerns>,
    /// Webhooks, where any are configured.
    pub webhooks: Option<Webhooks>,
    /// The search server that sales are followed into, where there is one.
    pub search: Option<Search>,
    /// The relay of order events, of an engine that sells with others.
    pub relay: Option<RelayWatch>,
    /// Where what goes over many rows is read.
    pub bulk_reads: BulkReads,
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
            certificates,
            store_concerns,
            webhooks,
            search,
            relay,
            bulk_reads,
        } = parts;
        let store_reads = Arc::new(Semaphore::new(settings.store_reads_max));
        let bulk_places = Arc::new(Semaphore::new(settings.store_reads_max.saturating_sub(1).max(1)));
        let feed_answers = Arc::new(Semaphore::new(settings.feed_answers_max));
        let live = Live::new(settings.live_viewers_max);
        let started = Instant::now();
        Self {
            node,
            settings,
            tokens,
            sessions: Sessions::default(),
            failed_sign_ins: Arc::default(),
            refused_acts: Arc::default(),
            live,
            cluster: Cluster::default(),
            sale_counts: SaleCounts::default(),
            sale_series: SaleSeries::default(),
            counting: Arc::new(Semaphore::new(1)),
            profiling: Arc::new(Semaphore::new(1)),
            started,
            admission,
            desk,
            sales,
            checkout,
            telemetry,
            intervals,
            readiness,
            reload,
            certificates,
            store_concerns,
            webhooks,
            search,
            relay,
            store_reads,
            bulk_places,
            bulk_reads,
            feed_answers,
            feed_marks: FeedMarks::default(),
        }
    }

    /// The calendar's time.
    pub(super) fn now(&self) -> EpochMs {
        self.desk.clock().calendar()
    }

    /// Whether callers show tokens, so that a browser signs in and out.
    pub(super) fn asks_for_token(&self) -> bool {
        !self.tokens.are_none()
    }

    /// Reads the store when there is a place for it: long reads of operators must not take the threads and the disk from
    /// the orders. The place is taken until the reading itself has ended, and a reading that nobody waits for any more is
    /// interrupted.
    pub(super) async fn limited<T>(&self, reading: impl Future<Output = T>) -> T {
        ReadCancellation::limited(&self.store_reads, reading).await
    }

    /// The same on threads that give way to buyers, for what goes over many rows. It leaves a place to what does not, if there is
    /// more than one.
    pub(super) async fn in_bulk<T>(&self, reading: impl Future<Output = T>) -> T {
        let turn =
            Arc::clone(&self.bulk_places).acquire_owned().await.expect("the semaphore is never closed");
        let threads = self.bulk_reads.handle();
        ReadCancellation::limited_on(threads, &self.store_reads, Some(turn), reading).await
    }

    /// Has an act go on in a task of its own, so that a client that goes away does not stop it half-way, and waits for it as
    /// long as acts are waited for.
    ///
    /// # Errors
    /// The store has not taken it in time, or the engine stops.
    pub(super) async fn acted<T: Send + 'static>(
        &self,
        act: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let wait = Duration::from_millis(self.settings.act_wait_ms);
        match timeout(wait, tokio::spawn(act)).await {
            Ok(ended) => ended.map_err(Problem::cut_short),
            Err(_) => Err(Problem::not_known_yet()),
        }
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
