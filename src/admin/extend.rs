//! More time to pay, as operators give it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::fields::{Fields, required};
use super::problem::{Code, Problem};
use super::rfc3339::rfc3339;
use super::sales::sale_name;
use crate::domain::SaleLimits;
use crate::orders::{ActKind, Applied, Grace};

/// `POST /api/v1/orders/{id}/extend` with `{"pay_before","reason"}`: the order has at least until then.
pub(super) async fn extend(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let order = plane.order_of_tenant(&acting.tenant, &id).await?;
    let mut fields = Fields::of_body(body)?;
    let pay_before = required("pay_before", fields.time("pay_before")?)?;
    let reason = fields.reason()?.value();
    fields.finish(&["pay_before", "reason"])?;
    let now = plane.now();
    if pay_before <= now {
        return Err(Problem::field("pay_before", format!("must be later than now, {}", rfc3339(now))));
    }
    let latest = now.plus_ms(extension_ms_max());
    if pay_before > latest {
        return Err(Problem::field("pay_before", format!("must not be later than {}", rfc3339(latest))));
    }
    let mut act = acting.act(&plane, ActKind::OrderExtended, order.placed.id.to_string(), reason.clone());
    act.from = json!({ "pay_before": rfc3339(order.placed.pay_before) });
    act.to = json!({ "pay_before": rfc3339(pay_before.max(order.placed.pay_before)) });
    let desk = plane.desk.clone();
    match plane.acted(async move { desk.extend(order.placed.id, pay_before, Some(act)).await }).await?? {
        Applied::Done(order) => {
            tracing::info!(order = %order.placed.id, reason, "the deadline of an order was moved by an operator");
            plane.shown(&order).await.map(Json)
        }
        Applied::Refused(order) => Err(Problem::new(
            Code::OrderEnded,
            "Only an order that waits to be paid, or is being paid, can be given more time.",
        )
        .with("order_status", order.status.as_str())),
        Applied::UnknownOrder => Err(Problem::unknown_order()),
    }
}

/// `POST /api/v1/campaigns/{campaign}/{sku}/extend` with `{"by_s","reason"}`: all orders of the sale that wait to be paid
/// have so much more time.
pub(super) async fn extend_sale(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path((campaign, sku)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let sale = plane.live_sale(&acting.tenant, &campaign, &sku).await?;
    let mut fields = Fields::of_body(body)?;
    let by_s: u32 = required("by_s", fields.number("by_s")?)?;
    let reason = fields.reason()?.value();
    fields.finish(&["by_s", "reason"])?;
    let by_ms = i64::from(by_s) * 1_000;
    if by_ms == 0 || by_ms > extension_ms_max() {
        return Err(Problem::field("by_s", format!("must be 1 to {}", extension_ms_max() / 1_000)));
    }
    let at = plane.now();
    let mut act = acting.act(&plane, ActKind::CampaignExtended, sale_name(&sale.key), reason.clone());
    act.to = json!({ "by_s": by_s });
    let gift = Grace::gift(Some(sale.id), at, by_ms, reason.clone().unwrap_or_default());
    let desk = plane.desk.clone();
    plane.acted(async move { desk.grant(gift, Some(act)).await }).await??;
    tracing::info!(sale = %sale.key, by_s, reason, "the deadlines of a sale were moved by an operator");
    Ok(Json(json!({ "campaign": campaign, "sku": sku, "by_s": by_s, "at": rfc3339(at) })))
}

/// As long as a sale may give from the start.
fn extension_ms_max() -> i64 {
    i64::from(SaleLimits::default().pay_within_s_max) * 1_000
}
