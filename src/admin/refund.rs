//! What was paid, given back by an operator.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::fields::{Fields, required};
use super::problem::{Code, Problem};
use super::rfc3339::rfc3339;
use crate::checkout::{RefundAnswer, WantedRefund};
use crate::domain::{Cents, Order, RefundRefusal, RefundRequest, Restock};
use crate::ledger::SaleError;
use crate::orders::{ActKind, RefundRecord};

/// `POST /api/v1/orders/{id}/refund` with `{"amount_cents","restock","number","by_hand","reason"}`: gives back what is left of
/// the amount, or so much, and puts no unit, so many or all of them (`true`) back on sale.
pub(super) async fn refund(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wanted = parse(Fields::of_body(body)?)?;
    let order = plane.order_of_tenant(&acting.tenant, &id).await?;
    // Money is given back all the same, but no unit.
    let sale = plane.desk.sale(order.placed.sale).await?;
    let is_archived = sale.is_some_and(|sale| sale.archived_at.is_some());
    if is_archived && wanted.request.restock != Restock::Units(0) {
        return Err(SaleError::Archived.into());
    }
    let reason = wanted.reason.clone();
    let act = acting.act(&plane, ActKind::OrderRefunded, order.placed.id.to_string(), Some(reason));
    let checkout = plane.checkout.clone();
    let refunding = plane.acted(async move { checkout.refund(order, wanted, Some(act)).await });
    Err(match refunding.await? {
        RefundAnswer::Refunded(order) => return Ok(Json(plane.shown(&order).await?).into_response()),
        RefundAnswer::Refunding(order) => {
            let told = (StatusCode::ACCEPTED, [(header::RETRY_AFTER, "1")], Json(plane.shown(&order).await?));
            return Ok(told.into_response());
        }
        RefundAnswer::NotTaken(order, refusal) => not_taken(&order, refusal),
        RefundAnswer::Refused { reason } => {
            Problem::new(Code::RefundRefused, "The gateway refuses the refund; nothing was given back.")
                .with("reason", reason)
        }
        RefundAnswer::NotPossible { error } => Problem::new(Code::RefundNotPossible,
            "The gateway does not do refunds as src/checkout/GATEWAY.md has them; nothing was given back. Give the money \
             back there by another way, then say so here with by_hand.",
        )
        .with("gateway", error),
        RefundAnswer::NoGateway { name } => Problem::new(Code::GatewayNotConfigured,
            "The gateway that has the payment is not configured here; see checkout.former_gateways.",
        )
        .with("gateway", name),
        RefundAnswer::OlderEngines => Problem::new(Code::OlderEngines,
            "An engine of the version before, which knows no refunds, runs on the same store; try again when all are \
             upgraded.",
        ),
        RefundAnswer::Unavailable { .. } => {
            let detail = "The gateway or the order store does not answer; nothing was given back yet. Try again.";
            Problem::new(Code::PaymentUnavailable, detail)
                .header(header::RETRY_AFTER, "1")
        }
    })
}

fn not_taken(order: &Order, refusal: RefundRefusal) -> Problem {
    let conflict =
        |code, detail: &str| Problem::new(code, detail).with("order_status", order.status.as_str());
    match refusal {
        RefundRefusal::NotPaid => {
            conflict(Code::OrderNotPaid, "The order is not paid: there is nothing to give back.")
        }
        RefundRefusal::UnderWay => conflict(
            Code::RefundInProgress,
            "A refund of the order is under way; try again when it has ended.",
        )
        .header(header::RETRY_AFTER, "1"),
        RefundRefusal::NothingLeft => {
            conflict(Code::OrderRefunded, "All that was paid is given back already.")
        }
        RefundRefusal::OtherNumber { next } => conflict(
            Code::RefundNumber,
            "The next refund of the order has another number; look at the order again.",
        )
        .with("next", next),
        RefundRefusal::TooMany => {
            conflict(Code::TooManyRefunds, "The order had as many refunds as one may have.")
        }
        RefundRefusal::Amount { left } => {
            Problem::field("amount_cents", format!("must be 1 to {}, which is left of what was paid", left.0))
                .with("refundable_cents", left.0)
        }
        RefundRefusal::Units { held } => {
            Problem::field("restock", format!("must be at most {held}, the units that the order still has"))
                .with("units", held)
        }
    }
}

fn parse(mut fields: Fields) -> Result<WantedRefund, Problem> {
    let request = RefundRequest {
        number: fields.number("number")?.value(),
        amount: fields.number("amount_cents")?.value().map(Cents),
        restock: match fields.number_or_flag("restock")?.value() {
            None | Some(Err(false)) => Restock::Units(0),
            Some(Err(true)) => Restock::All,
            Some(Ok(units)) => Restock::Units(units),
        },
    };
    let by_hand = fields.flag("by_hand")?.unwrap_or(false);
    let reason = required("reason", fields.reason()?)?;
    fields.finish(&["amount_cents", "restock", "number", "by_hand", "reason"])?;
    Ok(WantedRefund { request, by_hand, reason })
}

/// A refund as the API shows it.
pub(super) fn refund_json(refund: &RefundRecord) -> Value {
    json!({
        "number": refund.number,
        "state": refund.state.as_str(),
        "amount_cents": refund.amount.0,
        "restock": refund.restock,
        "begun_at": rfc3339(refund.begun_at),
        "ended_at": refund.ended_at.map(rfc3339),
        "reason": refund.reason,
        "why": refund.why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<WantedRefund, Problem> {
        parse(Fields::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn a_refund_needs_a_reason_and_may_say_how_much_and_what_goes_back_on_sale() {
        let whole = read(r#"{"reason":"broken"}"#).unwrap();
        assert_eq!(whole.request, RefundRequest { number: None, amount: None, restock: Restock::Units(0) });
        assert!(!whole.by_hand);
        let part = read(r#"{"reason":"x","amount_cents":7,"restock":2,"number":3,"by_hand":true}"#).unwrap();
        let expected = RefundRequest { number: Some(3), amount: Some(Cents(7)), restock: Restock::Units(2) };
        assert_eq!((part.request, part.by_hand), (expected, true));
        for (word, restock) in [("true", Restock::All), ("false", Restock::Units(0))] {
            let read = read(&format!(r#"{{"reason":"x","restock":{word}}}"#)).unwrap();
            assert_eq!(read.request.restock, restock);
        }
        for (body, field) in [
            (r#"{}"#, "reason"),
            (r#"{"reason":"x","restock":"all"}"#, "restock"),
            (r#"{"reason":"x","amount_cents":-1}"#, "amount_cents"),
            (r#"{"reason":"x","amount":1}"#, "amount"),
        ] {
            let problem = read(body).unwrap_err().body("");
            assert!(problem.contains(&format!("\"field\":\"{field}\"")), "{body}: {problem}");
        }
    }
}
