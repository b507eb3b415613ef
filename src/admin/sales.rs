//! Campaigns: make, list, change, audit.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::etag::{NotEntityTags, etag, versions};
use super::fields::{Fields, Given, required};
use super::problem::{Problem, invalid_name};
use super::rfc3339::rfc3339;
use super::tenant::Tenant;
use super::waiting_room;
use crate::admission::LiveSale;
use crate::domain::{
    Cents, Currency, EpochMs, Rate, Sale, SaleEdit, SaleKey, SalePhase, SaleTerms, StockEdit,
};
use crate::ledger::{NewSale, SaleError, StockAudit};
use crate::orders::{Act, ActKind, SaleAct};

/// Seconds to pay when the body does not say.
const PAY_WITHIN_S: u32 = 900;

/// `POST /api/v1/campaigns`
pub(super) async fn create(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (new, reason) = parse_new(&acting.tenant, plane.now(), Fields::of_body(body)?)?;
    let act = acting.act(&plane, ActKind::CampaignCreated, sale_name(&new.key), reason);
    let (desk, act) = (Arc::clone(&plane.sales), SaleAct { act, show: sale_fields });
    let created = plane.acted(async move { desk.create(new, Some(act)).await }).await??;
    tracing::info!(sale = %created.key, stock = created.total, "a campaign was created");
    let location = format!("/api/v1/campaigns/{}/{}", created.key.campaign(), created.key.sku());
    let answer = (StatusCode::CREATED, [(header::LOCATION, location)], Json(plane.describe(&created)));
    Ok(tagged(&created, answer))
}

/// Which campaigns are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// The archived ones, and not the live ones.
    #[serde(default)]
    archived: bool,
}

/// `GET /api/v1/campaigns`, and with `?archived=true` those that are archived
pub(super) async fn list(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    query: Result<Query<Listed>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(listed) = query.map_err(|rejection| Problem::field("query", rejection.body_text()))?;
    let sales = if listed.archived {
        plane.limited(plane.desk.archived_sales(&tenant)).await?
    } else {
        plane.limited(plane.desk.sales()).await?
    };
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
    let found = plane.any_sale(&tenant, &campaign, &sku).await?;
    let sale = plane.limited(plane.desk.sale(found.id)).await?.ok_or_else(Problem::unknown_sale)?;
    Ok(tagged(&sale, Json(plane.describe(&sale))))
}

/// `PATCH /api/v1/campaigns/{campaign}/{sku}`
pub(super) async fn change(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path((campaign, sku)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let live = plane.live_sale(&acting.tenant, &campaign, &sku).await?;
    let (edit, reason) = parse_edit(Fields::of_body(body)?)?;
    let act = acting.act(&plane, ActKind::CampaignChanged, sale_name(&live.key), reason);
    plane.change_sale(&live, &headers, edit, act).await
}

/// The answer with the version of the sale that it shows.
pub(super) fn tagged(sale: &Sale, answer: impl IntoResponse) -> Response {
    ([(header::ETAG, etag(sale))], answer).into_response()
}

/// `GET /api/v1/campaigns/{campaign}/{sku}/audit`
pub(super) async fn audit(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let sale = plane.any_sale(&tenant, &campaign, &sku).await?;
    let audit = plane.in_bulk(plane.sales.ledger().audit(&sale)).await?.ok_or_else(Problem::unknown_sale)?;
    let StockAudit { orders, available, leased, ledger, conserved } = audit;
    Ok(Json(json!({
        "total": orders.total,
        "available": available,
        "leased": leased,
        "held": orders.held,
        "paid": orders.paid,
        "refunded": orders.refunded,
        "refunded_cents": orders.refunded_cents,
        "sold": orders.sold(),
        "durable_orders": orders.durable_orders,
        "buyers_over_limit": orders.buyers_over_limit,
        "ledger": ledger.as_str(),
        "conserved": conserved,
    })))
}

/// The sale that a body describes.
pub(super) fn read_new(tenant: &str, now: EpochMs, fields: Fields) -> Result<NewSale, Problem> {
    parse_new(tenant, now, fields).map(|(new, _)| new)
}

/// The sale to make, and why.
fn parse_new(tenant: &str, now: EpochMs, mut fields: Fields) -> Result<(NewSale, Option<String>), Problem> {
    const KNOWN: [&str; 15] = [
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
        "queue",
        "reason",
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
        paused_until: None,
        room: None,
    };
    terms.rate = match (fields.number("rate_per_s")?, fields.number("burst")?) {
        (Given::Value(per_s), burst) => Some(Rate { per_s, burst: burst.unwrap_or(per_s) }),
        (_, Given::Value(_)) => return Err(Problem::field("burst", "needs rate_per_s")),
        _ => None,
    };
    if let Some(room) = waiting_room::read_edit(&mut fields)? {
        terms.room = Some(room.apply(None)?);
    }
    let reason = fields.reason()?.value();
    fields.finish(&KNOWN)?;
    Ok((NewSale { key, terms, stock }, reason))
}

/// The currency with this code, if it is one whose amounts can be told: ISO 4217 also has codes of metals, funds and tests
/// that have no minor unit. Sales that are stored already keep whatever code they were made with.
fn currency_of(code: &str) -> Result<Currency, Problem> {
    let known = iso_currency::Currency::from_code(code).filter(|known| known.exponent().is_some());
    known.and_then(|known| Currency::parse(known.code())).ok_or_else(|| {
        Problem::field("currency", "must be a code of ISO 4217 that has minor units, such as EUR or JPY")
    })
}

/// What a `PATCH` asks for, and why.
fn parse_edit(mut fields: Fields) -> Result<(SaleEdit, Option<String>), Problem> {
    const KNOWN: [&str; 13] = [
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
        "queue",
        "reason",
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
        rate_per_s: fields.number("rate_per_s")?.cleared(),
        burst: fields.number("burst")?.cleared(),
        per_buyer_limit: set("per_buyer_limit", fields.number("per_buyer_limit")?)?,
        title: set("title", fields.text("title")?)?,
        price: set("price_cents", fields.number("price_cents")?)?.map(Cents),
        paused: set("paused", fields.flag("paused")?)?,
        pay_within_s: set("pay_within_s", fields.number("pay_within_s")?)?,
        room: waiting_room::read_edit(&mut fields)?,
        ..SaleEdit::default()
    };
    let reason = fields.reason()?.value();
    fields.finish(&KNOWN)?;
    Ok((edit, reason))
}

/// A field that may be left out and has no "none".
fn set<T>(field: &str, given: Given<T>) -> Result<Option<T>, Problem> {
    match given {
        Given::Absent => Ok(None),
        Given::Null => Err(Problem::field(field, "cannot be null")),
        Given::Value(value) => Ok(Some(value)),
    }
}

/// What the trail calls a sale.
pub(super) fn sale_name(key: &SaleKey) -> String {
    format!("{}/{}", key.campaign(), key.sku())
}

/// The terms and the stock of a sale as the API and the trail show them.
fn sale_fields(sale: &Sale) -> Map<String, Value> {
    let SaleTerms { title, price, currency, per_buyer_limit, starts_at, ends_at, .. } = &sale.terms;
    let fields = [
        ("title", json!(title)),
        ("price_cents", json!(price.0)),
        ("currency", json!(currency.as_str())),
        ("stock", json!(sale.total)),
        ("per_buyer_limit", json!(per_buyer_limit)),
        ("starts_at", json!(rfc3339(*starts_at))),
        ("ends_at", json!((*ends_at < SaleTerms::NO_END).then(|| rfc3339(*ends_at)))),
        ("pay_within_s", json!(sale.terms.pay_within_s)),
        ("rate_per_s", json!(sale.terms.rate.map(|rate| rate.per_s))),
        ("burst", json!(sale.terms.rate.map(|rate| rate.burst))),
        ("paused", json!(sale.terms.paused)),
        ("paused_until", json!(sale.terms.paused_until.map(rfc3339))),
        ("queue", waiting_room::terms_json(sale.terms.room.as_ref())),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
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
    /// The sale of this tenant that is on the board. One that is archived changes no more, and says so.
    pub(super) async fn live_sale(
        &self,
        tenant: &str,
        campaign: &str,
        sku: &str,
    ) -> Result<Arc<LiveSale>, Problem> {
        let live = self.admission.board().sales().by_name(tenant, campaign, sku).cloned();
        match live {
            Some(live) => Ok(live),
            None if self.archived_sale(tenant, campaign, sku).await?.is_some() => {
                Err(SaleError::Archived.into())
            }
            None => Err(Problem::unknown_sale()),
        }
    }

    /// The sale of this tenant, on the board or archived.
    pub(super) async fn any_sale(
        &self,
        tenant: &str,
        campaign: &str,
        sku: &str,
    ) -> Result<Arc<LiveSale>, Problem> {
        let live = self.admission.board().sales().by_name(tenant, campaign, sku).cloned();
        match live {
            Some(live) => Ok(live),
            None => {
                let archived = self.archived_sale(tenant, campaign, sku).await?;
                archived.map(|sale| Arc::new(LiveSale::off_board(sale))).ok_or_else(Problem::unknown_sale)
            }
        }
    }

    async fn archived_sale(&self, tenant: &str, campaign: &str, sku: &str) -> Result<Option<Sale>, Problem> {
        // A name that breaks the rule is no sale's.
        let Ok(key) = SaleKey::new(tenant, campaign, sku) else { return Ok(None) };
        Ok(self.limited(self.desk.archived_sale(&key)).await?)
    }

    /// Changes a sale that has one of the versions that `If-Match` names, and answers with it.
    pub(super) async fn change_sale(
        &self,
        live: &LiveSale,
        headers: &HeaderMap,
        edit: SaleEdit,
        act: Act,
    ) -> Result<Response, Problem> {
        let if_version = versions(headers, live.id).map_err(|NotEntityTags| {
            Problem::malformed("If-Match must be *, or entity tags as ETag gives them.")
        })?;
        let kind = act.kind;
        let (desk, key, act) =
            (Arc::clone(&self.sales), live.key.clone(), SaleAct { act, show: sale_fields });
        let changed =
            self.acted(async move { desk.change(&key, edit, if_version, Some(act)).await }).await??;
        tracing::info!(
            sale = %changed.key, stock = changed.total, terms = ?changed.terms, act = kind.as_str(),
            "a campaign was changed"
        );
        Ok(tagged(&changed, Json(self.describe(&changed))))
    }

    /// A sale as the API shows it.
    pub(super) fn describe(&self, sale: &Sale) -> Value {
        let sales = self.admission.board().sales();
        let live = sales.by_id(sale.id);
        let remaining = live.map_or(0, |live| live.remaining_everywhere());
        let is_sold_out = live.is_none_or(|live| live.is_sold_out());
        let now = self.now();
        let phase = live.map_or_else(|| sale.terms.phase(now), |live| self.admission.phase(live, now));
        let state = if sale.archived_at.is_some() { "archived" } else { state_word(phase, is_sold_out) };
        let mut fields = sale_fields(sale);
        let is_stopped = sales.stops().concern(sale.key.tenant());
        let is_paused = sale.terms.is_paused(now);
        let more = [
            ("paused", json!(is_paused)),
            ("paused_until", json!(sale.terms.paused_until.filter(|_| is_paused).map(rfc3339))),
            ("tenant", json!(sale.key.tenant())),
            ("campaign", json!(sale.key.campaign())),
            ("sku", json!(sale.key.sku())),
            ("stopped", json!(is_stopped)),
            ("state", json!(state)),
            ("sold", json!(sale.sold)),
            ("remaining", json!(remaining)),
            ("etag", json!(etag(sale))),
        ];
        fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
        if let Some(at) = sale.archived_at {
            fields.insert("archived_at".into(), json!(rfc3339(at)));
        }
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_sale_needs_four_fields() {
        let parse = |text: &str| parse_new("default", EpochMs(0), Fields::parse(text.as_bytes()).unwrap());
        let (new, _) = parse(r#"{"campaign":"c","sku":"s","price_cents":5,"stock":7}"#).unwrap();
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
