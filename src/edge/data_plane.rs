//! The engine's own [`Application`]: finds the route and hands the request to its handler.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::Application;
use super::identity::{Buyer, Denied, Identity};
use super::problem::{self, ProblemAnswer};
use super::reply::{Field, Reply, retry_after_s};
use super::request::Request;
use super::route::{NoRoute, Route};
use super::sale_state::SaleStatePage;
use super::settings::EdgeSettings;
use crate::admission::Admission;
use crate::checkout::Checkout;
use crate::clock::Clock;
use crate::domain::{FieldError, Nanos, SaleKey};
use crate::orders::{OrderDesk, StoreError};
use crate::telemetry::{Outcome, Path, Recorder, Seldom, Telemetry};

/// What may change while buyers are served.
#[derive(Debug)]
pub(super) struct Tuning {
    pub(super) ack_wait: Duration,
    pub(super) sale_state: SaleStatePage,
}

impl Tuning {
    fn new(settings: &EdgeSettings) -> Result<Self, FieldError> {
        Ok(Self {
            ack_wait: Duration::from_millis(settings.ack_wait_ms),
            sale_state: SaleStatePage::new(&settings.sale_state)?,
        })
    }
}

/// What the handlers work with.
pub struct DataPlane {
    pub(super) admission: Arc<Admission>,
    pub(super) desk: OrderDesk,
    pub(super) checkout: Checkout,
    tuning: ArcSwap<Tuning>,
    identity: Identity,
    clock: Clock,
    recorders: Box<[Recorder]>,
}

impl DataPlane {
    /// Reads the keys and tables of the settings.
    ///
    /// # Errors
    /// Names the setting that is missing or wrong.
    pub fn new(
        settings: &EdgeSettings,
        clock: Clock,
        telemetry: &Telemetry,
        admission: Arc<Admission>,
        desk: OrderDesk,
        checkout: Checkout,
    ) -> Result<Self, FieldError> {
        Ok(Self {
            admission,
            desk,
            checkout,
            tuning: ArcSwap::from_pointee(Tuning::new(settings)?),
            identity: Identity::new(&settings.auth)?,
            clock,
            recorders: (0..settings.serving_threads()).map(|home| telemetry.recorder(home)).collect(),
        })
    }

    /// Takes over `ack_wait_ms` and `sale_state` while buyers are served; the rest of the settings needs a restart.
    ///
    /// # Errors
    /// Names the setting that is wrong; then nothing has changed.
    pub fn retune(&self, settings: &EdgeSettings) -> Result<(), FieldError> {
        self.tuning.store(Arc::new(Tuning::new(settings)?));
        Ok(())
    }

    /// What is in force now. Not to be held across a wait.
    pub(super) fn tuning(&self) -> Guard<Arc<Tuning>> {
        self.tuning.load()
    }

    fn recorder(&self, request: &Request<'_>) -> &Recorder {
        &self.recorders[request.home % self.recorders.len()]
    }

    /// Records a request of one of the three paths that has just come to this outcome.
    pub(super) fn record(&self, request: &Request<'_>, path: Path, outcome: Outcome) {
        let nanos = self.clock.stopwatch().0.saturating_sub(request.arrived.mono.0);
        self.recorder(request).record(path, outcome, nanos);
    }

    /// Who asks.
    pub(super) fn buyer<'a>(&self, request: &Request<'a>) -> Result<Buyer<'a>, ProblemAnswer> {
        self.identity.buyer(&request.head).map_err(|denied| match denied {
            Denied::ForeignOrigin => problem::FOREIGN_ORIGIN.answer(),
            Denied::NoUser => problem::NO_USER.answer(),
            Denied::NoToken => problem::NO_TOKEN.answer().with(Field::WwwAuthenticate("Bearer")),
        })
    }
}

impl Application for DataPlane {
    async fn answer(&self, request: &Request<'_>) -> Reply {
        let reply = match Route::find(request.method, request.path) {
            Ok(Route::Purchase { campaign, sku }) => return self.purchase(request, campaign, sku).await,
            Ok(Route::SaleState { campaign, sku }) => self.sale_state(request, campaign, sku),
            Ok(Route::Order { id }) => self.order(request, id).await,
            Ok(Route::Cancel { id }) => self.cancel(request, id).await,
            Ok(Route::Checkout { id }) => return self.checkout(request, id).await,
            Err(NoRoute::UnknownPath) => problem::NOT_FOUND.reply(&request.id),
            Err(NoRoute::MethodNotAllowed { allow }) => {
                problem::METHOD_NOT_ALLOWED.answer().with(Field::Allow(allow)).reply(&request.id)
            }
        };
        self.recorder(request).count(reply.outcome);
        reply
    }
}

/// The tenant that the request names.
pub(super) fn tenant<'a>(request: &Request<'a>) -> Result<&'a str, ProblemAnswer> {
    let Some(tenant) = request.head.tenant else { return Ok(SaleKey::DEFAULT_TENANT) };
    std::str::from_utf8(tenant).ok().filter(|tenant| SaleKey::check_part(tenant).is_ok()).ok_or_else(|| {
        problem::BAD_REQUEST.detailed("X-Tenant-ID must be 1 to 64 characters of A-Z a-z 0-9 . _ -.")
    })
}

/// The answer to whoever would have to wait for the store.
pub(super) fn store_is_away(error: &StoreError) -> ProblemAnswer {
    static SAID: Seldom = Seldom::new();
    if let Some(more) = SAID.now() {
        tracing::warn!(%error, more, "the order store did not answer a buyer");
    }
    problem::OVERLOADED
        .detailed("The order store does not answer now; try again.")
        .with(Field::RetryAfter(retry_after_s(Nanos::SECOND)))
}
