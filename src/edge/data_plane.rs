//! The engine's own [`Application`]: finds the route and hands the request to its handler.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::Application;
use super::cookie::kept_by_browser;
use super::cross_site::{self, Visit};
use super::gatekeeper::Gatekeeper;
use super::identity::{Buyer, Denied};
use super::openapi::document;
use super::page::PageAccess;
use super::problem::{self, ProblemAnswer};
use super::reply::{Field, Reply, retry_after_s};
use super::request::{Head, Request};
use super::route::{NoRoute, Route};
use super::settings::EdgeSettings;
use super::tokens::challenge;
use super::tuning::Tuning;
use crate::admission::{Admission, Moment};
use crate::checkout::Checkout;
use crate::clock::Clock;
use crate::domain::{FieldError, Nanos};
use crate::orders::{OrderDesk, StoreError};
use crate::telemetry::{Dear, GatekeeperRecords, Outcome, Path, Recorder, Seldom, Telemetry};
use crate::traces::Tracer;

/// What the handlers work with.
pub struct DataPlane {
    pub(super) admission: Arc<Admission>,
    pub(super) desk: OrderDesk,
    pub(super) checkout: Checkout,
    pub(super) gatekeeper: Option<Gatekeeper>,
    pub(super) tracer: Option<Tracer>,
    page_access: PageAccess,
    /// Whether whoever asks does so over TLS.
    is_tls: bool,
    tuning: ArcSwap<Tuning>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
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
        telemetry: &Arc<Telemetry>,
        admission: Arc<Admission>,
        desk: OrderDesk,
        checkout: Checkout,
    ) -> Result<Self, FieldError> {
        // Made before anybody waits for it.
        document();
        Ok(Self {
            admission,
            desk,
            checkout,
            gatekeeper: None,
            tracer: None,
            page_access: PageAccess::default(),
            is_tls: settings.tls.is_on(),
            tuning: ArcSwap::from_pointee(Tuning::new(settings)?),
            clock,
            telemetry: Arc::clone(telemetry),
            recorders: (0..settings.serving_threads()).map(|home| telemetry.recorder(home)).collect(),
        })
    }

    /// With pages for buyers.
    #[must_use]
    pub fn with_page(self, page_access: PageAccess) -> Self {
        Self { page_access, ..self }
    }

    /// With somebody who is asked about whoever joins a waiting room.
    #[must_use]
    pub fn with_gatekeeper(self, gatekeeper: Option<Gatekeeper>) -> Self {
        Self { gatekeeper, ..self }
    }

    /// With somebody who takes spans of what is won and paid.
    #[must_use]
    pub fn with_tracer(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Whether the keys and tables of the settings can be read: what [`DataPlane::new`] would say.
    ///
    /// # Errors
    /// Names the setting that is missing or wrong.
    pub fn check(settings: &EdgeSettings) -> Result<(), FieldError> {
        Tuning::new(settings).map(drop)
    }

    /// Takes over `ack_wait_ms`, `sale_state`, `auth`, `tenant` and `cors` while buyers are served; the rest of the
    /// settings needs a restart.
    ///
    /// # Errors
    /// Names the setting that is wrong; then nothing has changed.
    pub fn retune(&self, settings: &EdgeSettings) -> Result<(), FieldError> {
        let mut new = Tuning::new(settings)?;
        let old = self.tuning.load();
        if new.made_of == old.made_of {
            new.identity = Arc::clone(&old.identity);
        }
        self.tuning.store(Arc::new(new));
        Ok(())
    }

    /// What is in force now. Not to be held across a wait.
    pub(super) fn tuning(&self) -> Guard<Arc<Tuning>> {
        self.tuning.load()
    }

    /// Which sales have a page.
    pub(super) fn page_access(&self) -> &PageAccess {
        &self.page_access
    }

    /// Has the asking browser bring a name and its value along to `path` and below, for `wanted_s` seconds or longer.
    pub(super) fn cookie(&self, pair: &str, path: &str, wanted_s: i64) -> Option<Field> {
        kept_by_browser(pair, path, wanted_s, self.is_tls)
    }

    /// What became of who joined waiting rooms.
    pub(super) fn gatekeeper_records(&self) -> &GatekeeperRecords {
        &self.telemetry.gatekeeper
    }

    /// The time now, for what has waited.
    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// How long this request waits for its order to be durable: no longer than its caller does, who shall hear of the
    /// order.
    pub(super) fn ack_wait(&self, request: &Request<'_>) -> Duration {
        let most = self.tuning().ack_wait;
        let left = |by: Nanos| Duration::from_nanos(by.0.saturating_sub(self.clock.stopwatch().0));
        request.answer_by.map_or(most, |by| most.min(left(by)))
    }

    /// The reply, counted as that of a request outside the three paths.
    pub(super) fn counted(&self, request: &Request<'_>, reply: Reply) -> Reply {
        self.recorder(request.home).count(reply.outcome);
        reply
    }

    fn recorder(&self, home: usize) -> &Recorder {
        &self.recorders[home % self.recorders.len()]
    }

    /// Records a request of one of the three paths that has just come to this outcome.
    pub(super) fn record(&self, request: &Request<'_>, path: Path, outcome: Outcome) {
        self.recorder(request.home).record(path, outcome, self.took(request).0);
    }

    /// What the request has taken so far.
    pub(super) fn took(&self, request: &Request<'_>) -> Nanos {
        Nanos(self.clock.stopwatch().0.saturating_sub(request.arrived.mono.0))
    }

    /// Who asks.
    pub(super) fn buyer<'a>(
        &self,
        tuning: &Tuning,
        request: &Request<'a>,
    ) -> Result<Buyer<'a>, ProblemAnswer> {
        let named = tuning.identity.buyer(&request.head);
        named.or_else(|denied| match denied {
            Denied::NoUser => {
                let guest = self.page_access.guest(&request.head);
                guest.map(Buyer::Named).ok_or_else(|| problem::NO_USER.answer())
            }
            Denied::Token(fault) => {
                let now_s = request.arrived.wall.0.max(0) as u64 / 1_000;
                if let Some(reasons) = self.telemetry.refused_tokens.count(fault, now_s) {
                    tracing::warn!(%reasons, "tokens of buyers were refused");
                }
                Err(problem::NO_TOKEN
                    .answer()
                    .text("reason", fault.code())
                    .with(Field::WwwAuthenticate(challenge(fault))))
            }
        })
    }

    /// Who asks, when that has to be known before it is known whose sale it is about.
    pub(super) fn buyer_before_tenant<'a>(
        &self,
        tuning: &Tuning,
        request: &Request<'a>,
    ) -> Result<Option<Buyer<'a>>, ProblemAnswer> {
        if tuning.tenants.are_in_tokens() { self.buyer(tuning, request).map(Some) } else { Ok(None) }
    }

    /// The answer of the route, counted.
    pub(super) async fn routed(&self, request: &Request<'_>) -> Reply {
        self.answer_of(request, Route::find(request.method, request.path)).await
    }

    async fn answer_of(&self, request: &Request<'_>, found: Result<Route<'_>, NoRoute>) -> Reply {
        let reply = match found {
            Ok(Route::Purchase { campaign, sku }) => return self.purchase(request, campaign, sku).await,
            Ok(Route::SaleState { campaign, sku }) => self.sale_state(request, campaign, sku).await,
            Ok(Route::Register { campaign, sku }) => self.register(request, campaign, sku).await,
            Ok(Route::RoomState { campaign, sku }) => self.room_state(request, campaign, sku).await,
            Ok(
                page @ (Route::BuyerPage { .. }
                | Route::BuyerForm { .. }
                | Route::OwnPage { .. }
                | Route::PagePart { .. }),
            ) => {
                // It asks other routes, and each is counted there.
                return Box::pin(self.buyer_page(request, page)).await;
            }
            Ok(Route::Orders | Route::Order { .. }) if self.sheds(request, Dear::Look) => {
                busy().reply(&request.id)
            }
            Ok(Route::Orders) => self.orders(request).await,
            Ok(Route::Order { id }) => self.order(request, id).await,
            Ok(Route::Cancel { id }) => self.cancel(request, id).await,
            Ok(Route::Checkout { .. }) if self.sheds(request, Dear::Pay) => {
                let reply = busy().reply(&request.id);
                self.record(request, Path::Checkout, reply.outcome);
                return reply;
            }
            Ok(Route::Checkout { id }) => return self.checkout(request, id).await,
            Ok(Route::Description) => self.description(request),
            Ok(Route::Problems) => self.problem_pages(),
            Ok(Route::Problem { code }) => self.problem_page(request, code),
            Err(NoRoute::UnknownPath) => problem::NOT_FOUND.reply(&request.id),
            Err(NoRoute::MethodNotAllowed { allow }) => {
                problem::METHOD_NOT_ALLOWED.answer().with(Field::Allow(allow)).reply(&request.id)
            }
        };
        self.counted(request, reply)
    }

    /// Whether the request has to give way: purchases would wait for it. Looked at before anything is read for it, a
    /// token included.
    pub(super) fn sheds(&self, request: &Request<'_>, dear: Dear) -> bool {
        self.telemetry.edge_load.sheds(request.home, dear)
    }

    /// Answers a call inside the network, which names its route itself: the request says who asks, with what, and what
    /// `path` its answer may lead to. It is refused, shed, counted and measured as if it had come over HTTP.
    pub async fn call(&self, request: &Request<'_>, route: Route<'_>) -> Reply {
        // Whether a name was asked is for HTTP to say.
        let heard = match self.turned_away(&request.head, request.home) {
            Some(foreign) => Err(foreign),
            None => request.head.check(true),
        };
        if let Err(answer) = heard {
            return answer.reply(&request.id);
        }
        self.prepare_keys(&request.head).await;
        self.answer_of(request, Ok(route)).await
    }

    /// Reads keys of tokens again, where the one that this request's was signed with is not known yet.
    async fn prepare_keys(&self, head: &Head<'_>) {
        let set = self.tuning().identity.set_for(head);
        if let Some((set, key)) = set {
            set.prepare(key.as_deref()).await;
        }
    }

    /// What a browser is told, or kept from, that comes from a page: nothing of it concerns other clients.
    fn answered_to_page(&self, request: &Request<'_>) -> Option<Reply> {
        let tuning = self.tuning();
        let visit = tuning.sites.visit(&request.head);
        let reply = match tuning.sites.preflight(request, visit) {
            Some(reply) => reply,
            None if visit == Visit::Foreign && cross_site::acts(request.method) => {
                problem::CROSS_SITE.reply(&request.id)
            }
            None => return None,
        };
        self.recorder(request.home).count(reply.outcome);
        Some(reply)
    }
}

impl Application for DataPlane {
    async fn answer(&self, request: &Request<'_>) -> Reply {
        self.prepare_keys(&request.head).await;
        if request.head.origin.is_none() && request.head.fetch_site.is_none() {
            return self.routed(request).await;
        }
        if let Some(reply) = self.answered_to_page(request) {
            return reply;
        }
        let reply = self.routed(request).await;
        let tuning = self.tuning();
        tuning.sites.shown_to(tuning.sites.visit(&request.head), reply)
    }

    fn turned_away(&self, head: &Head<'_>, home: usize) -> Option<ProblemAnswer> {
        if self.tuning().identity.is_heard(head) {
            return None;
        }
        self.recorder(home).count(Outcome::Forbidden);
        Some(problem::FOREIGN_ORIGIN.answer())
    }
}

/// The answer to what gives way to purchases.
pub(super) fn busy() -> ProblemAnswer {
    problem::OVERLOADED
        .detailed("The engine is busy selling; ask again in a moment.")
        .with(Field::RetryAfter(retry_after_s(Nanos::SECOND)))
}

/// The answer to whoever would have to wait for the store.
pub(super) fn store_is_away(request: &Request<'_>, error: &StoreError) -> ProblemAnswer {
    static SAID: Seldom = Seldom::new();
    if let Some(more) = SAID.now() {
        tracing::warn!(
            %error,
            sqlstate = error.sqlstate.as_deref(),
            request_id = request.id.as_str(),
            more,
            "the order store did not answer a buyer"
        );
    }
    problem::OVERLOADED
        .detailed("The order store does not answer now; try again.")
        .with(Field::RetryAfter(retry_after_s(Nanos::SECOND)))
}
