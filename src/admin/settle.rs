//! Payments and refunds that never end, ended by an operator.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header;
use serde_json::{Value, json};

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::fields::{Fields, required};
use super::problem::{Code, Problem};
use crate::checkout::{SettleAnswer, SettleOutcome};
use crate::domain::Order;
use crate::orders::ActKind;

/// `POST /api/v1/orders/{id}/settle`
pub(super) async fn settle(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let (outcome, reason) = parse(Fields::of_body(body)?)?;
    let order = plane.order_of_tenant(&acting.tenant, &id).await?;
    let checkout = plane.checkout.clone();
    let because = reason.clone();
    let act = acting.act(&plane, ActKind::OrderSettled, order.placed.id.to_string(), Some(reason.clone()));
    match plane.acted(async move { checkout.settle(order, outcome, &because, Some(act)).await }).await? {
        SettleAnswer::Settled(order) => {
            let mut body = plane.shown(&order).await?;
            body["settled"] =
                json!({ "attempt": order.payment_attempt, "outcome": word(outcome), "reason": reason });
            Ok(Json(body))
        }
        SettleAnswer::Captured(order) => {
            let detail = "The gateway says that the money was taken: the order is paid.";
            Err(conflict(Code::PaymentCaptured, detail, &order))
        }
        SettleAnswer::NotPaying(order) => Err(conflict(
            Code::NoPaymentUnderWay,
            "The order has no payment, or no refund, under way that could be settled so.",
            &order,
        )),
        SettleAnswer::UnderWay { .. } => {
            let detail = "The payment is being made or recovered at this moment; try again.";
            let problem = Problem::new(Code::PaymentInProgress, detail);
            Err(problem.header(header::RETRY_AFTER, "1"))
        }
        SettleAnswer::Unavailable { .. } => {
            let detail = "The order store does not answer; nothing is settled yet. Try again.";
            let problem = Problem::new(Code::StoreUnavailable, detail);
            Err(problem.header(header::RETRY_AFTER, "1"))
        }
    }
}

fn parse(mut fields: Fields) -> Result<(SettleOutcome, String), Problem> {
    let outcome = match required("outcome", fields.text("outcome")?)?.as_str() {
        "paid" => SettleOutcome::Paid,
        "voided" => SettleOutcome::Voided,
        "refunded" => SettleOutcome::Refunded,
        "not_refunded" => SettleOutcome::NotRefunded,
        _ => {
            let rule = "must be \"paid\" or \"voided\", or of a refund \"refunded\" or \"not_refunded\"";
            return Err(Problem::field("outcome", rule));
        }
    };
    let reason = required("reason", fields.reason()?)?;
    fields.finish(&["outcome", "reason"])?;
    Ok((outcome, reason))
}

const fn word(outcome: SettleOutcome) -> &'static str {
    match outcome {
        SettleOutcome::Paid => "paid",
        SettleOutcome::Voided => "voided",
        SettleOutcome::Refunded => "refunded",
        SettleOutcome::NotRefunded => "not_refunded",
    }
}

fn conflict(code: Code, detail: &str, order: &Order) -> Problem {
    Problem::new(code, detail).with("order_status", order.status.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<(SettleOutcome, String), Problem> {
        parse(Fields::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn an_outcome_needs_a_reason() {
        let (outcome, reason) = read(r#"{"outcome":"voided","reason":" bank called "}"#).unwrap();
        assert_eq!((outcome, reason.as_str()), (SettleOutcome::Voided, "bank called"));
        let long = format!(r#"{{"outcome":"paid","reason":"{}"}}"#, "x".repeat(501));
        let bad = [
            (r#"{"outcome":"paid"}"#, "reason"),
            (r#"{"outcome":"paid","reason":"  "}"#, "reason"),
            (r#"{"outcome":"paid","reason":"a\nb"}"#, "reason"),
            (r#"{"outcome":"paid","reason":"a\n"}"#, "reason"),
            (long.as_str(), "reason"),
            (r#"{"outcome":"lost","reason":"x"}"#, "outcome"),
            (r#"{"reason":"x"}"#, "outcome"),
            (r#"{"outcome":"paid","reason":"x","force":true}"#, "force"),
        ];
        for (body, field) in bad {
            let problem = read(body).unwrap_err().body("");
            assert!(problem.contains(&format!("\"field\":\"{field}\"")), "{body}: {problem}");
        }
    }
}
