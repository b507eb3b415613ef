//! One order, looked up and given up by an operator.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header;
use serde_json::Value;

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::problem::{Code, Problem};
use super::refund::refund_json;
use super::sale_acts::only_reason;
use super::tenant::Tenant;
use crate::checkout::CancelAnswer;
use crate::orders::ActKind;

/// `GET /api/v1/orders/{id}`
pub(super) async fn show(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let order = plane.limited(plane.order_of_tenant(&tenant, &id)).await?;
    let mut shown = plane.shown(&order).await?;
    if order.refunds.begun > 0 {
        let refunds = plane.limited(plane.desk.refunds(order.placed.id)).await?;
        shown["refund_history"] = refunds.iter().map(refund_json).collect();
    }
    Ok(Json(shown))
}

/// `POST /api/v1/orders/{id}/cancel` with `{"reason"}`: as if its buyer gave it up.
pub(super) async fn cancel(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let reason = only_reason(body)?;
    let order = plane.order_of_tenant(&acting.tenant, &id).await?;
    let act = acting.act(&plane, ActKind::OrderCancelled, order.placed.id.to_string(), Some(reason));
    let checkout = plane.checkout.clone();
    let cancelling = plane.acted(async move { checkout.cancel_for(order, act).await });
    Err(match cancelling.await? {
        CancelAnswer::Cancelled(order) => return plane.shown(&order).await.map(Json),
        CancelAnswer::AlreadyPaid => {
            Problem::new(Code::OrderPaid, "The order is paid and cannot be cancelled.")
        }
        CancelAnswer::Refunded => {
            Problem::new(Code::OrderRefunded, "The order was paid and its money given back.")
        }
        CancelAnswer::PaymentInProgress => {
            let detail =
                "A payment is under way; the order can be cancelled when it is known to have failed.";
            Problem::new(Code::PaymentInProgress, detail).header(header::RETRY_AFTER, "1")
        }
        CancelAnswer::Expired => {
            Problem::new(Code::OrderExpired, "The time to pay is over and the units are back on sale.")
        }
        CancelAnswer::Rejected => {
            Problem::new(Code::OrderRejected, "The order was not accepted by the store and holds no units.")
        }
        CancelAnswer::Pending => {
            Problem::new(Code::OrderPending, "The order is not durable yet.").header(header::RETRY_AFTER, "1")
        }
        CancelAnswer::Unavailable { .. } => {
            let detail = "The order store does not answer; nothing has changed yet. Try again.";
            Problem::new(Code::StoreUnavailable, detail).header(header::RETRY_AFTER, "1")
        }
    })
}
