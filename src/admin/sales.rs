//! Campaigns: make, list, change, audit.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::access::Tenant;
use super::control_plane::ControlPlane;
use super::etag::{NotEntityTags, etag, versions};
use super::fields::{Fields, Given, required};
use super::problem::{Problem, invalid_name};
use super::rfc3339::rfc3339;
use crate::admission::LiveSale;
use crate::domain::{
    Cents, Currency, EpochMs, Rate, Sale, SaleEdit, SaleKey, SalePhase, SaleTerms, StockEdit,
};
use crate::ledger::{NewSale, StockAudit};

/// Seconds to pay when the body does not say.
const PAY_WITHIN_S: u32 = 900;

/// `POST /api/v1/campaigns`
pub(super) async fn create(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let new = parse_new(&tenant, plane.now(), Fields::of_body(body)?)?;
    let desk = Arc::clone(&plane.sales);
    // A task of its own: a client that goes away must not stop it half-way.
    let created = tokio::spawn(async move { desk.create(new).await }).await.map_err(Problem::cut_short)??;
    tracing::info!(sale = %created.key, stock = created.total, "a campaign was created");
    let location = format!("/api/v1/campaigns/{}/{}", created.key.campaign(), created.key.sku());
    let answer = (StatusCode::CREATED, [(header::LOCATION, location)], Json(plane.describe(&created)));
    Ok(tagged(&created, answer))
}

/// `GET /api/v1/campaigns`
pub(super) async fn list(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
) -> Result<Json<Value>, Problem> {
    let sales = plane.limited(plane.desk.sales()).await?;
    let campaigns: Vec<_> =
        sales.iter().filter(|sale| sale.key.tenant() == tenant).map(|sale| plane.describe(sale)).collect();
    Ok(Json(json!({ "campaigns": campaigns })))
}

/// `GET /api/v1/campaigns/{campaign}/{sku}`
pub(super) async fn show(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let live = plane.live_sale(&tenant, &campaign, &sku)?;
    let sale = plane.limited(plane.desk.sale(live.id)).await?.ok_or_else(Problem::unknown_sale)?;
    Ok(tagged(&sale, Json(plane.describe(&sale))))
}

/// `PATCH /api/v1/campaigns/{campaign}/{sku}`
pub(super) async fn change(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let live = plane.live_sale(&tenant, &campaign, &sku)?;
    let if_version = versions(&headers, live.id).map_err(|NotEntityTags| {
        Problem::malformed("If-Match must be *, or entity tags as ETag gives them.")
    })?;
    let edit = parse_edit(Fields::of_body(body)?)?;
    let (desk, key) = (Arc::clone(&plane.sales), live.key.clone());
    // A task of its own: a client that goes away must not stop it half-way.
    let changing = tokio::spawn(async move { desk.change(&key, edit, if_version).await });
    let changed = changing.await.map_err(Problem::cut_short)??;
    tracing::info!(sale = %changed.key, stock = changed.total, terms = ?changed.terms, "a campaign was changed");
    Ok(tagged(&changed, Json(plane.describe(&changed))))
}

/// The answer with the version of the sale that it shows.
fn tagged(sale: &Sale, answer: impl IntoResponse) -> Response {
    ([(header::ETAG, etag(sale))], answer).into_response()
}

/// `GET /api/v1/campaigns/{campaign}/{sku}/audit`
pub(super) async fn audit(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let sale = plane.live_sale(&tenant, &campaign, &sku)?;
    let audit = plane.limited(plane.sales.ledger().audit(&sale)).await?.ok_or_else(Problem::unknown_sale)?;
    let StockAudit { orders, available, leased, ledger, conserved } = audit;
    Ok(Json(json!({
        "total": orders.total,
        "available": available,
        "leased": leased,
        "held": orders.held,
        "paid": orders.paid,
        "sold": orders.sold(),
        "durable_orders": orders.durable_orders,
        "buyers_over_limit": orders.buyers_over_limit,
        "ledger": ledger.as_str(),
        "conserved": conserved,
    })))
}

fn parse_new(tenant: &str, now: EpochMs, mut fields: Fields) -> Result<NewSale, Problem> {
    const KNOWN: [&str; 13] = [
        "campaign",
        "sku",
        "title",
        "price_cents",
        "currency",
        "stock",
        "per_buyer_limit",
        "starts_at",
        "ends_at",
        "pay_within_s",
        "rate_per_s",
        "burst",
        "paused",
    ];
    let campaign = required("campaign", fields.text("campaign")?)?;
    SaleKey::check_part(&campaign).map_err(|rule| invalid_name("campaign", rule))?;
    let sku = required("sku", fields.text("sku")?)?;
    SaleKey::check_part(&sku).map_err(|rule| invalid_name("sku", rule))?;
    let key = SaleKey::new(tenant, &campaign, &sku).map_err(|rule| invalid_name("campaign", rule))?;
    let price = Cents(required("price_cents", fields.number("price_cents")?)?);
    let stock = required("stock", fields.number("stock")?)?;
    let currency = match fields.text("currency")? {
        Given::Value(code) => currency_of(&code)?,
        Given::Absent | Given::Null => Currency::USD,
    };
    let mut terms = SaleTerms {
        title: fields.text("title")?.unwrap_or(sku),
        price,
        currency,
        per_buyer_limit: fields.number("per_buyer_limit")?.unwrap_or(1),
        starts_at: fields.time("starts_at")?.unwrap_or(now),
        ends_at: fields.time("ends_at")?.unwrap_or(SaleTerms::NO_END),
        pay_within_s: fields.number("pay_within_s")?.unwrap_or(PAY_WITHIN_S),
        rate: None,
        paused: fields.flag("paused")?.unwrap_or(false),
    };
    terms.rate = match (fields.number("rate_per_s")?, fields.number("burst")?) {
        (Given::Value(per_s), burst) => Some(Rate { per_s, burst: burst.unwrap_or(per_s) }),
        (_, Given::Value(_)) => return Err(Problem::field("burst", "needs rate_per_s")),
        _ => None,
    };
    fields.finish(&KNOWN)?;
    Ok(NewSale { key, terms, stock })
}

/// The currency with this code, if it is one whose amounts can be told: ISO 4217 also has codes of metals, funds and tests
/// that have no minor unit. Sales that are stored already keep whatever code they were made with.
fn currency_of(code: &str) -> Result<Currency, Problem> {
    let known = iso_currency::Currency::from_code(code).filter(|known| known.exponent().is_some());
    known.and_then(|known| Currency::parse(known.code())).ok_or_else(|| {
        Problem::field("currency", "must be a code of ISO 4217 that has minor units, such as EUR or JPY")
    })
}

/// What a `PATCH` asks for.
fn parse_edit(mut fields: Fields) -> Result<SaleEdit, Problem> {
    const KNOWN: [&str; 11] = [
        "stock",
        "stock_delta",
        "starts_at",
        "ends_at",
        "rate_per_s",
        "burst",
        "per_buyer_limit",
        "title",
        "price_cents",
        "paused",
        "pay_within_s",
    ];
    let stock = set("stock", fields.number("stock")?)?.map(StockEdit::To);
    let delta = set("stock_delta", fields.delta("stock_delta")?)?.map(StockEdit::By);
    if stock.is_some() && delta.is_some() {
        return Err(Problem::field("stock_delta", "cannot be given together with stock"));
    }
    let edit = SaleEdit {
        stock: stock.or(delta),
        starts_at: set("starts_at", fields.time("starts_at")?)?,
        ends_at: match fields.time("ends_at")? {
            Given::Null => Some(SaleTerms::NO_END),
            given => set("ends_at", given)?,
        },
        rate_per_s: cleared(fields.number("rate_per_s")?),
        burst: cleared(fields.number("burst")?),
        per_buyer_limit: set("per_buyer_limit", fields.number("per_buyer_limit")?)?,
        title: set("title", fields.text("title")?)?,
        price: set("price_cents", fields.number("price_cents")?)?.map(Cents),
        paused: set("paused", fields.flag("paused")?)?,
        pay_within_s: set("pay_within_s", fields.number("pay_within_s")?)?,
    };
    fields.finish(&KNOWN)?;
    Ok(edit)
}

/// A field that may be left out and has no "none".
fn set<T>(field: &str, given: Given<T>) -> Result<Option<T>, Problem> {
    match given {
        Given::Absent => Ok(None),
        Given::Null => Err(Problem::field(field, "cannot be null")),
        Given::Value(value) => Ok(Some(value)),
    }
}

/// A field that may be left out, and taken away by `null`.
fn cleared<T>(given: Given<T>) -> Option<Option<T>> {
    match given {
        Given::Absent => None,
        Given::Null => Some(None),
        Given::Value(value) => Some(Some(value)),
    }
}

/// The word for a sale in this phase.
pub(super) fn state_word(phase: SalePhase, is_sold_out: bool) -> &'static str {
    match phase {
        SalePhase::Upcoming => "upcoming",
        SalePhase::Paused => "paused",
        SalePhase::Ended => "ended",
        SalePhase::Open if is_sold_out => "sold_out",
        SalePhase::Open => "open",
    }
}

impl ControlPlane {
    /// The sale of this tenant that is on the board.
    pub(super) fn live_sale(
        &self,
        tenant: &str,
        campaign: &str,
        sku: &str,
    ) -> Result<Arc<LiveSale>, Problem> {
        self.admission
            .board()
            .sales()
            .by_name(tenant, campaign, sku)
            .cloned()
            .ok_or_else(Problem::unknown_sale)
    }

    /// A sale as the API shows it.
    fn describe(&self, sale: &Sale) -> Value {
        let sales = self.admission.board().sales();
        let live = sales.by_id(sale.id);
        let remaining = live.map_or(0, |live| live.remaining_everywhere());
        let is_sold_out = live.is_none_or(|live| live.is_sold_out());
        let now = self.now();
        let phase = live.map_or_else(|| sale.terms.phase(now), |live| self.admission.phase(live, now));
        let SaleTerms { title, price, currency, per_buyer_limit, starts_at, ends_at, .. } = &sale.terms;
        json!({
            "tenant": sale.key.tenant(),
            "campaign": sale.key.campaign(),
            "sku": sale.key.sku(),
            "title": title,
            "price_cents": price.0,
            "currency": currency.as_str(),
            "stock": sale.total,
            "per_buyer_limit": per_buyer_limit,
            "starts_at": rfc3339(*starts_at),
            "ends_at": (*ends_at < SaleTerms::NO_END).then(|| rfc3339(*ends_at)),
            "pay_within_s": sale.terms.pay_within_s,
            "rate_per_s": sale.terms.rate.map(|rate| rate.per_s),
            "burst": sale.terms.rate.map(|rate| rate.burst),
            "paused": sale.terms.paused,
            "state": state_word(phase, is_sold_out),
            "sold": sale.sold,
            "remaining": remaining,
            "etag": etag(sale),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_sale_needs_four_fields() {
        let parse = |text: &str| parse_new("default", EpochMs(0), Fields::parse(text.as_bytes()).unwrap());
        let new = parse(r#"{"campaign":"c","sku":"s","price_cents":5,"stock":7}"#).unwrap();
        assert_eq!((new.stock, new.terms.price, new.terms.ends_at), (7, Cents(5), SaleTerms::NO_END));
        assert_eq!((new.terms.title.as_str(), new.terms.per_buyer_limit, new.terms.rate), ("s", 1, None));
        for missing in ["campaign", "sku", "price_cents", "stock"] {
            let mut body = json!({"campaign": "c", "sku": "s", "price_cents": 5, "stock": 7});
            body.as_object_mut().unwrap().remove(missing);
            let problem = parse(&body.to_string()).unwrap_err();
            assert!(problem.body("").contains(&format!("\"field\":\"{missing}\"")), "{missing}");
        }
    }
}
