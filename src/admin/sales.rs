//! Campaigns: make, list, change, audit.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::access::Tenant;
use super::fields::{Fields, Given, required};
use super::problem::{Problem, invalid_name};
use super::{ControlPlane, rfc3339};
use crate::admission::LiveSale;
use crate::domain::{Cents, Currency, EpochMs, FieldError, Rate, Sale, SaleKey, SalePhase, SaleTerms, Units};
use crate::ledger::{NewSale, StockAudit};

/// Seconds to pay when the body does not say.
const PAY_WITHIN_S: u32 = 900;

/// `POST /api/v1/campaigns`
pub(super) async fn create(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let new = parse_new(&tenant, plane.now(), Fields::parse(&whole(body)?)?)?;
    let desk = Arc::clone(&plane.sales);
    // A task of its own: a client that goes away must not stop it half-way.
    let created = tokio::spawn(async move { desk.create(new).await }).await.map_err(cut_short)??;
    tracing::info!(sale = %created.key, stock = created.total, "a campaign was created");
    let location = format!("/api/v1/campaigns/{}/{}", created.key.campaign(), created.key.sku());
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(plane.describe(&created))).into_response())
}

/// `GET /api/v1/campaigns`
pub(super) async fn list(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
) -> Result<Json<Value>, Problem> {
    let _permit = plane.store_permit().await;
    let sales = plane.desk.sales().await?;
    let campaigns: Vec<_> =
        sales.iter().filter(|sale| sale.key.tenant() == tenant).map(|sale| plane.describe(sale)).collect();
    Ok(Json(json!({ "campaigns": campaigns })))
}

/// `GET /api/v1/campaigns/{campaign}/{sku}`
pub(super) async fn show(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let live = plane.live_sale(&tenant, &campaign, &sku)?;
    let _permit = plane.store_permit().await;
    let audit = plane.desk.audit(live.id).await?.ok_or_else(Problem::unknown_sale)?;
    let sale = Sale {
        id: live.id,
        key: live.key.clone(),
        terms: live.terms.clone(),
        total: audit.total,
        sold: audit.sold_by_guard,
    };
    Ok(Json(plane.describe(&sale)))
}

/// `PATCH /api/v1/campaigns/{campaign}/{sku}`
pub(super) async fn change(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let key = plane.live_sale(&tenant, &campaign, &sku)?.key.clone();
    let change = Change::parse(Fields::parse(&whole(body)?)?)?;
    let desk = Arc::clone(&plane.sales);
    // A task of its own: a client that goes away must not stop it half-way.
    let changing =
        tokio::spawn(async move { desk.change(&key, |terms, total| change.apply(terms, total)).await });
    let changed = changing.await.map_err(cut_short)??;
    tracing::info!(sale = %changed.key, stock = changed.total, terms = ?changed.terms, "a campaign was changed");
    Ok(Json(plane.describe(&changed)))
}

/// `GET /api/v1/campaigns/{campaign}/{sku}/audit`
pub(super) async fn audit(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let sale = plane.live_sale(&tenant, &campaign, &sku)?;
    let _permit = plane.store_permit().await;
    let audit = plane.sales.ledger().audit(&sale).await?.ok_or_else(Problem::unknown_sale)?;
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

pub(super) fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "The body is larger than admin.body_bytes_max.";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
        }
        _ => Problem::malformed("The body did not arrive whole."),
    })
}

pub(super) fn cut_short(_: tokio::task::JoinError) -> Problem {
    let detail = "The engine stopped during the change; look at what became of it when it runs again.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", detail)
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
    let (per_s, burst) = (fields.number("rate_per_s")?, fields.number("burst")?);
    terms.rate = changed_rate(None, per_s, burst)?;
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

/// The rate after `rate_per_s` and `burst` were given. A burst that was never given is one second's worth.
fn changed_rate(
    rate: Option<Rate>,
    per_s: Given<u32>,
    burst: Given<u32>,
) -> Result<Option<Rate>, FieldError> {
    let per_s = match per_s {
        Given::Null => None,
        Given::Value(per_s) => Some(per_s),
        Given::Absent => rate.map(|rate| rate.per_s),
    };
    let Some(per_s) = per_s else {
        return match burst {
            Given::Value(_) => Err(FieldError { field: "burst", problem: "needs rate_per_s".into() }),
            Given::Absent | Given::Null => Ok(None),
        };
    };
    let burst = match burst {
        Given::Value(burst) => burst,
        Given::Null => per_s,
        Given::Absent => rate.map_or(per_s, |rate| rate.burst),
    };
    Ok(Some(Rate { per_s, burst }))
}

/// What a `PATCH` asks for.
struct Change {
    stock: Given<Units>,
    starts_at: Given<EpochMs>,
    ends_at: Given<EpochMs>,
    rate_per_s: Given<u32>,
    burst: Given<u32>,
    per_buyer_limit: Given<Units>,
    title: Given<String>,
    price_cents: Given<u64>,
    paused: Given<bool>,
    pay_within_s: Given<u32>,
}

impl Change {
    fn parse(mut fields: Fields) -> Result<Self, Problem> {
        const KNOWN: [&str; 10] = [
            "stock",
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
        let change = Self {
            stock: fields.number("stock")?,
            starts_at: fields.time("starts_at")?,
            ends_at: fields.time("ends_at")?,
            rate_per_s: fields.number("rate_per_s")?,
            burst: fields.number("burst")?,
            per_buyer_limit: fields.number("per_buyer_limit")?,
            title: fields.text("title")?,
            price_cents: fields.number("price_cents")?,
            paused: fields.flag("paused")?,
            pay_within_s: fields.number("pay_within_s")?,
        };
        fields.finish(&KNOWN)?;
        Ok(change)
    }

    fn apply(self, terms: &mut SaleTerms, total: &mut Units) -> Result<(), FieldError> {
        set("stock", self.stock, total)?;
        set("starts_at", self.starts_at, &mut terms.starts_at)?;
        match self.ends_at {
            Given::Null => terms.ends_at = SaleTerms::NO_END,
            given => set("ends_at", given, &mut terms.ends_at)?,
        }
        terms.rate = changed_rate(terms.rate, self.rate_per_s, self.burst)?;
        set("per_buyer_limit", self.per_buyer_limit, &mut terms.per_buyer_limit)?;
        set("title", self.title, &mut terms.title)?;
        set("price_cents", self.price_cents, &mut terms.price.0)?;
        set("paused", self.paused, &mut terms.paused)?;
        set("pay_within_s", self.pay_within_s, &mut terms.pay_within_s)
    }
}

fn set<T>(field: &'static str, given: Given<T>, place: &mut T) -> Result<(), FieldError> {
    match given {
        Given::Absent => Ok(()),
        Given::Null => Err(FieldError { field, problem: "cannot be null".into() }),
        Given::Value(value) => {
            *place = value;
            Ok(())
        }
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_set_changed_and_taken_away() {
        let rate = |per_s, burst| Some(Rate { per_s, burst });
        let (some, absent, null) = (Given::Value, Given::Absent, Given::Null);
        assert_eq!(changed_rate(None, absent, absent), Ok(None));
        assert_eq!(changed_rate(None, some(10), absent), Ok(rate(10, 10)));
        assert_eq!(changed_rate(None, some(10), some(5)), Ok(rate(10, 5)));
        assert_eq!(changed_rate(rate(10, 5), some(20), absent), Ok(rate(20, 5)));
        assert_eq!(changed_rate(rate(10, 5), absent, some(7)), Ok(rate(10, 7)));
        assert_eq!(changed_rate(rate(10, 5), absent, null), Ok(rate(10, 10)));
        assert_eq!(changed_rate(rate(10, 5), null, absent), Ok(None));
        assert_eq!(changed_rate(None, absent, some(5)).unwrap_err().field, "burst");
        assert_eq!(changed_rate(rate(10, 5), null, some(5)).unwrap_err().field, "burst");
    }

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

    #[test]
    fn no_end_can_be_written() {
        assert_eq!(rfc3339(SaleTerms::NO_END), "9999-12-30T22:00:00.000Z");
    }
}
