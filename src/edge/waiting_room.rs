//! `POST` and `GET /seckill/{campaign}/{sku}/queue`: joining the waiting room of a sale, and its public document.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;

use super::data_plane::{DataPlane, store_is_away};
use super::gatekeeper::{Gatekeeper, Judged, Question};
use super::identity::Buyer;
use super::json::{JsonObject, json_object};
use super::problem::{self, ProblemAnswer};
use super::refusal::rejected;
use super::reply::{Field, Keep, Reply, retry_after_s, seconds_until};
use super::request::Request;
use super::waiting_room_document::room_object;
use crate::admission::{Knock, LiveSale, NotRegistered, RoomPlace};
use crate::domain::{Nanos, Rejection};
use crate::telemetry::Outcome;

/// What the body of a registration says: nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoMembers {}

/// A buyer before the door, at a sale of the board.
struct Knocking<'a> {
    sale: Arc<LiveSale>,
    buyer: Buyer<'a>,
    knock: Knock,
}

impl DataPlane {
    /// A place in the waiting room: the buyer's own, or a new one at its end.
    pub(super) async fn register(&self, request: &Request<'_>, campaign: &str, sku: &str) -> Reply {
        let registered = match self.knock(request, campaign, sku) {
            Ok(Some(knocking)) => self.let_in(request, &knocking).await,
            // Archived: it has ended.
            Ok(None) => match Box::pin(self.archived_sale(request, campaign, sku)).await {
                Ok(_) => Err(rejected(&Rejection::Ended, request)),
                Err(answer) => Err(answer),
            },
            Err(answer) => Err(answer),
        };
        registered.unwrap_or_else(|answer| answer.reply(&request.id))
    }

    /// `None` when the sale is not on the board.
    fn knock<'a>(
        &self,
        request: &Request<'a>,
        campaign: &str,
        sku: &str,
    ) -> Result<Option<Knocking<'a>>, ProblemAnswer> {
        if !request.body.is_empty() {
            json_object::<NoMembers>(request.body).map_err(|error| {
                problem::BAD_REQUEST.detailed(&format!("The body must be empty or {{}}: {error}."))
            })?;
        }
        let tuning = self.tuning();
        let early = self.buyer_before_tenant(&tuning, request)?;
        let tenant = tuning.tenants.of(&request.head, early.as_ref().and_then(Buyer::tenant))?;
        let sales = self.admission.board().sales();
        let Some(sale) = sales.by_name(&tenant, campaign, sku) else { return Ok(None) };
        let buyer = match early {
            Some(buyer) => buyer,
            None => self.buyer(&tuning, request)?,
        };
        // Not when its header arrived: its body may have come much later, and who is drawn has registered before.
        match self.admission.knock(sale, buyer.name(), request.head.pass(), self.now()) {
            Ok(knock) => Ok(Some(Knocking { sale: Arc::clone(sale), buyer, knock })),
            Err(refusal) => Err(not_registered(&refusal, request)),
        }
    }

    /// Gives who knocks a place, unless the gatekeeper refuses a newcomer.
    async fn let_in(&self, request: &Request<'_>, knocking: &Knocking<'_>) -> Result<Reply, ProblemAnswer> {
        let Knocking { sale, buyer, knock } = knocking;
        if let Some(gatekeeper) = self.gatekeeper.as_ref().filter(|_| knock.is_new()) {
            Box::pin(self.ask_about(gatekeeper, request, knocking)).await?;
        }
        // A place begins with the verdict: the log of registrations is in order of time.
        match self.admission.seat(sale, buyer.name(), knock, self.now()) {
            Ok(place) => Ok(self.seated(request, &place)),
            Err(refusal) => Err(not_registered(&refusal, request)),
        }
    }

    /// 201: the place, and the pass for the header or the cookie.
    fn seated(&self, request: &Request<'_>, place: &RoomPlace) -> Reply {
        let mut object = JsonObject::with_capacity(420);
        object.text("pass", place.pass.as_str()).time("joined_at", place.joined_at);
        match place.position {
            Some(position) => object.number("position", position),
            None => object.null("position"),
        };
        object
            .number("of", place.of)
            .number("eta_s", place.eta_s)
            .flag("admitted", place.admitted)
            .flag("has_chance", place.has_chance)
            .time("expires_at", place.expires_at)
            .text("status_url", request.path)
            .number("poll_s", RoomPlace::POLL_S);
        let mut reply = Reply::json(StatusCode::CREATED, Outcome::Served, object.finish());
        let sale_path = request.path.strip_suffix("/queue").unwrap_or(request.path);
        let lasts_s = place.expires_at.ms_since(request.arrived.wall) / 1_000;
        reply.fields.extend(self.cookie(&format!("sale_pass={}", place.pass.as_str()), sale_path, lasts_s));
        reply
    }

    async fn ask_about(
        &self,
        gatekeeper: &Gatekeeper,
        request: &Request<'_>,
        Knocking { sale, buyer, knock }: &Knocking<'_>,
    ) -> Result<(), ProblemAnswer> {
        let question = Question {
            tenant: sale.key.tenant(),
            campaign: sale.key.campaign(),
            sku: sale.key.sku(),
            buyer: buyer.name().as_str(),
            token: request.head.gate_token.and_then(|token| std::str::from_utf8(token).ok()),
            user_agent: request.head.user_agent.and_then(|agent| std::str::from_utf8(agent).ok()),
            request_id: request.id.as_str(),
        };
        let whose = (sale.id, knock.who());
        match gatekeeper.judge(&question, whose, request.arrived.mono, self.gatekeeper_records()).await {
            Judged::In => Ok(()),
            Judged::Refused { reason } => {
                Err(problem::REGISTRATION_REFUSED.answer_with(reason.len()).text("reason", &reason))
            }
            Judged::Away { retry_after } => Err(problem::REGISTRATION_UNAVAILABLE
                .answer()
                .with(Field::RetryAfter(retry_after_s(retry_after)))),
        }
    }

    /// Whether the request brings a pass that is this buyer's at this sale, over or not.
    pub(super) fn holds_place(&self, request: &Request<'_>, campaign: &str, sku: &str) -> bool {
        let Some(pass) = request.head.pass() else { return false };
        let Ok((tenant, buyer)) = self.tenant_and_buyer(request) else { return false };
        let sales = self.admission.board().sales();
        sales
            .by_name(&tenant, campaign, sku)
            .is_some_and(|sale| self.admission.rooms().rules().keys.read(pass, sale, buyer.name()).is_some())
    }

    /// How far the room has come: the same for everybody, so that a CDN can answer for us.
    pub(super) async fn room_state(&self, request: &Request<'_>, campaign: &str, sku: &str) -> Reply {
        let shown = Box::pin(self.try_room_state(request, campaign, sku)).await;
        shown.unwrap_or_else(|answer| answer.reply(&request.id))
    }

    async fn try_room_state(
        &self,
        request: &Request<'_>,
        campaign: &str,
        sku: &str,
    ) -> Result<Reply, ProblemAnswer> {
        let tenant = self.tenant(request)?;
        let live = self.admission.board().sales().by_name(&tenant, campaign, sku).cloned();
        if let Some(sale) = live {
            return self.room_document(request, &sale);
        }
        let sale = self.archived_sale(request, campaign, sku).await?;
        if let Some(terms) = sale.terms.waiting_room() {
            let marks = self.desk.room_marks(vec![sale.id]).await;
            let marks = marks.map_err(|error| store_is_away(request, &error))?;
            marks.iter().for_each(|(_, marks)| sale.state.room().show(marks, terms));
        }
        self.room_document(request, &sale)
    }

    fn room_document(&self, request: &Request<'_>, sale: &LiveSale) -> Result<Reply, ProblemAnswer> {
        let (tuning, now) = (self.tuning(), request.arrived.wall);
        let terms = sale.terms.waiting_room().ok_or_else(|| problem::NO_QUEUE.answer())?;
        let phase = self.admission.phase(sale, now);
        let body = room_object(sale, terms, &sale.state.room().marks(), phase, now);
        let in_token = tuning.tenants.are_in_tokens() && request.head.authorization.is_some();
        let kept = if in_token { Keep::NoStore } else { tuning.sale_state.kept_for_all() };
        Ok(Reply::json(StatusCode::OK, Outcome::Served, body).kept(kept))
    }
}

fn not_registered(refusal: &NotRegistered, request: &Request<'_>) -> ProblemAnswer {
    match refusal {
        NotRegistered::NoRoom => problem::NO_QUEUE.answer(),
        NotRegistered::Closed { opens_at } => {
            let wait_ms = opens_at.ms_since(request.arrived.wall).max(0) as u64;
            let wait = Nanos(wait_ms.saturating_mul(1_000_000));
            problem::QUEUE_CLOSED
                .answer()
                .time("opens_at", *opens_at)
                .time("server_time", request.arrived.wall)
                .with(Field::RetryAfter(seconds_until(wait)))
        }
        NotRegistered::Rejected(rejection) => rejected(rejection, request),
    }
}
