//! The routes of the page: from a form to the API's request, and from its answer to the page.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::super::data_plane::DataPlane;
use super::super::problem;
use super::super::reply::{Content, Field, Fields, Keep, Reply};
use super::super::request::{Head, Request};
use super::super::route::Route;
use super::assets;
use super::form::{Act, Form, Wanted};
use super::html::Page;
use super::view::Seen;
use super::words::best;
use crate::domain::{EpochMs, OrderId, RoomRefusal};
use crate::telemetry::Outcome;

/// How orders are paid where the configuration names no method.
const USUAL_METHOD: &str = "card";
/// What buyers have of an order that is over: nothing, so that they may buy again.
const OVER: [&str; 4] = ["cancelled", "expired", "rejected", "refunded"];

/// In ms: by then an order that was accepted is written down, and every node finds it. `client.js` waits as long.
const WRITTEN_MS: u64 = 30_000;

/// What the API has answered.
struct Told {
    status: StatusCode,
    outcome: Outcome,
    keep: Keep,
    fields: Fields,
    body: Value,
}

impl From<Reply> for Told {
    fn from(reply: Reply) -> Self {
        let body = serde_json::from_slice(&reply.body).unwrap_or_default();
        Self { status: reply.status, outcome: reply.outcome, keep: reply.keep, fields: reply.fields, body }
    }
}

impl Told {
    /// The document, if that is what was answered; null otherwise.
    fn document(&mut self) -> Value {
        if self.status == StatusCode::OK { self.body.take() } else { Value::Null }
    }

    /// What the refusal is called: its code, or the reason that says more.
    fn refusal(&self) -> &str {
        let code = self.body["code"].as_str().unwrap_or("other");
        self.body["reason"].as_str().filter(|_| code == "waiting-room").unwrap_or(code)
    }

    /// Whether nobody can tell whether there is such a thing.
    fn is_away(&self) -> bool {
        !matches!(self.status, StatusCode::OK | StatusCode::NOT_FOUND)
    }

    fn order(&self) -> Option<OrderId> {
        self.body["order_id"].as_str()?.parse().ok()
    }
}

/// A page that is being made.
struct Making<'a> {
    sale_path: &'a str,
    seen: Seen,
    status: StatusCode,
    outcome: Outcome,
    refusal: Option<String>,
    /// The buyer's own page, and what it was asked for.
    mine: Option<Wanted>,
    fields: Fields,
}

impl DataPlane {
    /// The page, its parts, and what its forms ask for.
    pub(in super::super) async fn buyer_page(&self, request: &Request<'_>, route: Route<'_>) -> Reply {
        let (Route::BuyerPage { campaign, sku }
        | Route::BuyerForm { campaign, sku }
        | Route::OwnPage { campaign, sku }
        | Route::PagePart { campaign, sku, .. }) = route
        else {
            return self.counted(request, problem::NOT_FOUND.reply(&request.id));
        };
        if !self.page_access().serves(campaign, sku) {
            return self.counted(request, problem::NOT_FOUND.reply(&request.id));
        }
        let sale_path = &format!("/seckill/{campaign}/{sku}");
        match route {
            Route::BuyerForm { .. } => self.act(request, sale_path, campaign, sku).await,
            Route::OwnPage { .. } => self.own_page(request, sale_path, campaign, sku, None).await,
            Route::PagePart { part, .. } => {
                let part = assets::reply(part).unwrap_or_else(|| problem::NOT_FOUND.reply(&request.id));
                self.counted(request, part)
            }
            _ => self.public_page(request, sale_path).await,
        }
    }

    /// The page of everybody.
    async fn public_page(&self, request: &Request<'_>, sale_path: &str) -> Reply {
        let mut state = self.ask(request, ("GET", sale_path), request.head, b"").await;
        let refusal = (state.status != StatusCode::OK).then(|| state.refusal().to_owned());
        let (status, outcome, keep) = (state.status, state.outcome, state.keep.clone());
        let (is_away, sale) = (state.is_away(), state.document());
        let room = self.room_of(request, &sale).await;
        let seen = Seen { sale, room, is_away, ..Seen::default() };
        let making = Making { sale_path, seen, status, outcome, refusal, mine: None, fields: Fields::new() };
        let is_personal = self.page_access().guests || keep == Keep::NoStore;
        let reply = self.made(request, making);
        if is_personal { reply } else { reply.kept(in_each_language(keep)) }
    }

    /// The page of one buyer: the order, or the place, or what everybody sees. With what was refused, if anything was.
    async fn own_page(
        &self,
        request: &Request<'_>,
        sale_path: &str,
        campaign: &str,
        sku: &str,
        refused: Option<(Told, Option<OrderId>)>,
    ) -> Reply {
        let mut wanted = Wanted::parse(request.query);
        let mut refusal = None;
        let (mut status, mut outcome, mut fields) = (StatusCode::OK, Outcome::Served, Fields::new());
        if let Some((told, order)) = refused {
            refusal = Some(told.refusal().to_owned());
            wanted.order = told.order().or(order);
            (status, outcome) = (told.status, told.outcome);
            fields.extend(told.fields.into_iter().filter(|field| matches!(field, Field::RetryAfter(_))));
        }
        let mut state = self.ask(request, ("GET", sale_path), request.head, b"").await;
        if state.status != StatusCode::OK {
            (status, outcome) = (state.status, state.outcome);
            refusal = Some(state.refusal().to_owned());
        }
        let (is_away, sale) = (state.is_away(), state.document());
        let room = self.room_of(request, &sale).await;
        let mut seen = Seen { sale, room, is_away, ..Seen::default() };
        if let Some(id) = wanted.order {
            let mut order = self.ask(request, ("GET", &format!("/orders/{id}")), request.head, b"").await;
            let is_here = order.body["campaign"] == campaign && order.body["sku"] == sku;
            if wanted.pending && may_be_on_its_way(order.status, id, request.arrived.wall) {
                // What the purchase was answered: nobody here knows more of it.
                seen.order = json!({ "order_id": id.to_string(), "status": "pending" });
            } else {
                if order.status == StatusCode::OK && !is_here {
                    order = problem::UNKNOWN_ORDER.reply(&request.id).into();
                }
                // Another's, another sale's, or none: the page must not go on with it in place of what its buyer has here.
                if matches!(order.status, StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED) {
                    wanted.order = None;
                }
                if order.status != StatusCode::OK && refusal.is_none() {
                    (status, outcome) = (order.status, order.outcome);
                    refusal = Some(order.refusal().to_owned());
                }
                seen.order = order.document();
            }
        }
        if seen.order.is_null() && !seen.room.is_null() && self.holds_place(request, campaign, sku) {
            let place = self.ask(request, ("POST", &format!("{sale_path}/queue")), request.head, b"").await;
            if place.status == StatusCode::CREATED {
                fields.extend(place.fields);
                seen.place = place.body;
            }
        }
        // The store is read for who comes back, not for a crowd that is refused: who holds an order hears so in the refusal.
        let waits = !seen.place.is_null() && seen.place["admitted"] == false;
        if seen.order.is_null() && !waits && refusal.is_none() {
            seen.order = self.newest_order(request, campaign, sku).await;
        }
        let making = Making { sale_path, seen, status, outcome, refusal, mine: Some(wanted), fields };
        self.made(request, making)
    }

    /// The buyer's newest order of the sale, unless that is over.
    async fn newest_order(&self, request: &Request<'_>, campaign: &str, sku: &str) -> Value {
        let query = format!("campaign={campaign}&sku={sku}&limit=1");
        let asked = Request { method: "GET", path: "/orders", query: &query, body: b"", ..*request };
        let mut orders = self.told(&asked).await.document();
        let order = orders.pointer_mut("/orders/0").map(Value::take).unwrap_or_default();
        let is_over = order["status"].as_str().is_some_and(|status| OVER.contains(&status));
        if is_over { Value::Null } else { order }
    }

    async fn room_of(&self, request: &Request<'_>, sale: &Value) -> Value {
        match sale["queue"]["url"].as_str() {
            Some(url) => self.ask(request, ("GET", url), request.head, b"").await.document(),
            None => Value::Null,
        }
    }

    /// Does what a form asks for. What was done is shown where a reload does not do it again.
    async fn act(&self, request: &Request<'_>, sale_path: &str, campaign: &str, sku: &str) -> Reply {
        // Every browser that can show the page says where a form comes from; whose page it was, was looked at before.
        if request.head.origin.is_none() && request.head.fetch_site.is_none() {
            return self.counted(request, problem::CROSS_SITE.reply(&request.id));
        }
        let Some(form) = Form::parse(request.body) else {
            let told = problem::BAD_REQUEST.detailed("The body must be a form of the page.");
            return self.counted(request, told.reply(&request.id));
        };
        let head = Head {
            gate_token: form.gate_token.as_deref().map(str::as_bytes).or(request.head.gate_token),
            ..request.head
        };
        let (told, order) = match form.act {
            Act::Register => {
                (self.ask(request, ("POST", &format!("{sale_path}/queue")), head, b"").await, None)
            }
            Act::Buy => {
                let head = Head { idempotency_key: form.key.as_deref().map(str::as_bytes), ..head };
                (self.buy(request, sale_path, head).await, None)
            }
            Act::Pay(id) => {
                let method = form.method.as_deref().unwrap_or(USUAL_METHOD);
                let body = json!({ "payment_method": method }).to_string();
                let path = format!("/orders/{id}/checkout");
                (self.ask(request, ("POST", &path), head, body.as_bytes()).await, Some(id))
            }
            Act::Cancel(id) => {
                (self.ask(request, ("DELETE", &format!("/orders/{id}")), head, b"").await, Some(id))
            }
        };
        let has_no_room = form.act == Act::Register && told.refusal() == "no-queue";
        if !told.status.is_success() && !has_no_room {
            return self.own_page(request, sale_path, campaign, sku, Some((told, order))).await;
        }
        let place = match told.order().or(order) {
            Some(id) if told.body["status"] == "pending" => {
                format!("{sale_path}/page/mine?order={id}&pending")
            }
            Some(id) => format!("{sale_path}/page/mine?order={id}"),
            None => format!("{sale_path}/page/mine"),
        };
        let mut reply = Reply::of(Content::Html, StatusCode::SEE_OTHER, told.outcome, Bytes::new());
        reply.fields.extend(told.fields.into_iter().filter(|field| matches!(field, Field::SetCookie(_))));
        match HeaderValue::try_from(place) {
            Ok(place) => reply.with(Field::SeeOther(Box::new(place))),
            Err(_) => problem::NOT_FOUND.reply(&request.id),
        }
    }

    /// Buys. A turn does not run out: a pass that is over is renewed first, with its place.
    async fn buy(&self, request: &Request<'_>, sale_path: &str, head: Head<'_>) -> Told {
        let told = self.ask(request, ("POST", sale_path), head, b"").await;
        if told.refusal() != RoomRefusal::ExpiredPass.as_str() {
            return told;
        }
        let renewed = self.ask(request, ("POST", &format!("{sale_path}/queue")), head, b"").await;
        let Some(pass) = renewed.body["pass"].as_str() else { return told };
        let head = Head { sale_pass: Some(pass.as_bytes()), ..head };
        let mut told = self.ask(request, ("POST", sale_path), head, b"").await;
        told.fields.extend(renewed.fields);
        told
    }

    /// Asks the API, in the visitor's name.
    async fn ask(
        &self,
        request: &Request<'_>,
        (method, path): (&str, &str),
        head: Head<'_>,
        body: &[u8],
    ) -> Told {
        // Whole documents: what a platform is spared, the page would lack.
        let head = Head { platform: None, ..head };
        self.told(&Request { method, path, query: "", head, body, ..*request }).await
    }

    async fn told(&self, request: &Request<'_>) -> Told {
        // The way of every request: it is counted, shed and refused as if it had come by itself.
        Box::pin(self.routed(request)).await.into()
    }

    fn made(&self, request: &Request<'_>, making: Making<'_>) -> Reply {
        let Making { sale_path, seen, status, outcome, refusal, mine, mut fields } = making;
        let methods: Vec<&str> = match self.checkout.methods() {
            [] => vec![USUAL_METHOD],
            listed => listed.iter().map(String::as_str).collect(),
        };
        let key: u128 = rand::random();
        let page = Page {
            language: best(request.head.accept_language),
            sale_path,
            seen: &seen,
            refusal: refusal.as_deref(),
            is_mine: mine.is_some(),
            is_still: mine.as_ref().is_some_and(|mine| mine.still),
            order: mine.as_ref().and_then(|mine| mine.order),
            key: &format!("{key:032x}"),
            methods: &methods,
            is_simulated: self.checkout.simulated().contains(&"gateway"),
        };
        let guest = self.page_access().new_guest(&request.head);
        fields.extend(guest.and_then(|guest| self.cookie(&guest, "/", 0)));
        let mut reply = Reply::of(Content::Html, status, outcome, page.text());
        reply.fields = fields;
        reply
    }
}

/// Whether an order that was accepted may be on its way, where looking it up is answered with this status: the node that
/// accepted it knows it, any other one finds it once it is written down, and nobody while the store does not answer.
fn may_be_on_its_way(status: StatusCode, id: OrderId, now: EpochMs) -> bool {
    match status {
        // The number says when it was made, by a clock that may be a little ahead of this one.
        StatusCode::NOT_FOUND => now.ms_since(id.made_at()).unsigned_abs() < WRITTEN_MS,
        StatusCode::SERVICE_UNAVAILABLE => true,
        _ => false,
    }
}

/// A public document that the visitor's languages choose, too.
fn in_each_language(keep: Keep) -> Keep {
    let Keep::Public { cache_control, vary } = keep else { return keep };
    let names = match vary.as_ref().and_then(|names| names.to_str().ok()) {
        Some(names) => format!("{names}, accept-language"),
        None => "accept-language".to_owned(),
    };
    Keep::Public { cache_control, vary: HeaderValue::try_from(names).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NodeId;

    #[test]
    fn an_order_that_was_accepted_is_on_its_way_until_every_node_would_find_it() {
        let made = EpochMs(1_800_000_000_000);
        let id = OrderId::from_tick(OrderId::tick_at(made), NodeId::new(9).unwrap());
        let limit = WRITTEN_MS as i64;
        for (status, ms, expected) in [
            (StatusCode::NOT_FOUND, 0, true),
            (StatusCode::NOT_FOUND, limit - 1, true),
            (StatusCode::NOT_FOUND, limit, false),
            (StatusCode::NOT_FOUND, 1 - limit, true),
            (StatusCode::NOT_FOUND, -limit, false),
            (StatusCode::SERVICE_UNAVAILABLE, 10 * limit, true),
            (StatusCode::OK, 0, false),
            (StatusCode::UNAUTHORIZED, 0, false),
        ] {
            assert_eq!(may_be_on_its_way(status, id, made.plus_ms(ms)), expected, "{status} after {ms} ms");
        }
    }

    #[test]
    fn a_cache_keeps_a_page_for_each_language() {
        let kept = |vary| Keep::Public { cache_control: HeaderValue::from_static("public"), vary };
        let names = |keep: Keep| in_each_language(keep).vary();
        assert_eq!(names(kept(None)), Some(HeaderValue::from_static("accept-language")));
        let tenant = Some(HeaderValue::from_static("x-tenant-id"));
        assert_eq!(names(kept(tenant)), Some(HeaderValue::from_static("x-tenant-id, accept-language")));
        assert_eq!(names(Keep::NoStore), None);
    }
}
