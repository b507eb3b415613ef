//! Giving back what an order paid: what will happen, where to say so, and what was given back before.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::super::acting::Acting;
use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::problem::Problem;
use super::super::refund;
use super::super::rfc3339::rfc3339;
use super::super::role::Role;
use super::form::{Form, answer, sent};
use super::html::{Page, Text, act_form, moment};
use crate::domain::{Cents, Currency, Order, OrderStatus, RefundRefusal, RefundRequest, Restock};
use crate::orders::{RefundRecord, in_units};

/// What must be typed before money is given back.
const WORD: &str = "refund";

/// What is to be given back, as the page's own form says it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::admin) struct Asked {
    amount_cents: String,
    restock: String,
}

/// What the page of an order shows of its refunds: the way to another one, and those that were.
pub(super) fn part(
    body: &mut String,
    caller: &Caller,
    order: &Order,
    currency: &Currency,
    refunds: &[RefundRecord],
) {
    if !refunds.is_empty() {
        body.push_str(
            "<h2>Refunds</h2>\n<table><thead><tr><th scope=\"col\">Number</th><th scope=\"col\">State</th>\
             <th scope=\"col\">Amount</th><th scope=\"col\">Units back on sale</th><th scope=\"col\">Begun</th>\
             <th scope=\"col\">Ended</th><th scope=\"col\">Reason</th><th scope=\"col\">What was said</th></tr></thead><tbody>\n",
        );
        for refund in refunds {
            let _ = writeln!(
                body,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                refund.number,
                refund.state.as_str().replace('_', " "),
                in_units(refund.amount, currency),
                refund.restock,
                moment(&rfc3339(refund.begun_at)),
                refund.ended_at.map_or("not yet".into(), |at| moment(&rfc3339(at))),
                Text(&refund.reason),
                Text(refund.why.as_deref().unwrap_or_default())
            );
        }
        body.push_str("</tbody></table>\n");
    }
    if order.status == OrderStatus::Paid && caller.role >= Role::Admin {
        let _ = writeln!(
            body,
            "<p><a class=\"danger\" href=\"/orders/{}/refund\">Give money back</a></p>",
            order.placed.id
        );
    }
}

/// `GET /orders/{id}/refund`: what a refund will do, and where to say so.
pub(in crate::admin) async fn confirm(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let (order, _) = plane.order_seen_by(&caller, &id).await?;
    let currency = plane.currency_of(&order).await?;
    let (left, held) = (order.refundable(), order.units_held());
    let mut body = format!(
        "<table class=\"facts\"><tbody>\n\
         <tr><th scope=\"row\">status</th><td>{}</td></tr>\n<tr><th scope=\"row\">buyer</th><td>{}</td></tr>\n\
         <tr><th scope=\"row\">paid</th><td>{}</td></tr>\n\
         <tr><th scope=\"row\">given back before</th><td>{}</td></tr>\n\
         <tr><th scope=\"row\">can be given back</th><td>{}</td></tr>\n\
         <tr><th scope=\"row\">units that the order has</th><td>{held}</td></tr>\n</tbody></table>\n\
         <form class=\"act\" method=\"get\" action=\"/orders/{id}/refund\">\
         <label>Amount, in minor units of {currency} (empty: all) <input name=\"amount_cents\" inputmode=\"numeric\" \
         pattern=\"[0-9]*\" value=\"{}\"></label><label>Units back on sale <input name=\"restock\" inputmode=\"numeric\" \
         pattern=\"[0-9]*\" value=\"{}\"></label><button>Look what it does</button></form>\n",
        order.status,
        Text(order.placed.buyer.as_str()),
        in_units(order.placed.amount, &currency),
        in_units(order.refunds.refunded, &currency),
        in_units(left, &currency),
        Text(&asked.amount_cents),
        Text(&asked.restock),
        id = Text(&id),
    );
    match asked
        .request()
        .and_then(|request| order.refund_terms(&request).map_err(|refusal| said(refusal, &order)))
    {
        Ok((amount, restock)) => {
            body.push_str(&what_happens(&plane, &order, &in_units(amount, &currency), amount, restock));
            let fields = format!(
                "<input type=\"hidden\" name=\"number\" value=\"{}\"><input type=\"hidden\" name=\"amount_cents\" value=\"{}\">\
                 <input type=\"hidden\" name=\"restock\" value=\"{restock}\"><label>How <select name=\"by_hand\">\
                 <option value=\"\">the gateway gives it back</option><option value=\"true\">it was given back by another way\
                 </option></select></label><label>Type <b>{WORD}</b> <input name=\"confirm\" required autocomplete=\"off\">\
                 </label>",
                order.refunds.begun + 1,
                amount.0
            );
            let button = format!("Give back {}", in_units(amount, &currency));
            body.push_str(&act_form(&format!("/orders/{id}/refund"), &button, "danger", "", &fields));
        }
        Err(said) => {
            let _ = writeln!(body, "<p role=\"status\" class=\"wrong\">{}</p>", Text(&said));
        }
    }
    let title = format!("Refund order {id}");
    Ok(Page::new(&plane, &caller, &title, body).answer())
}

/// What a buyer and the books see afterwards.
fn what_happens(plane: &ControlPlane, order: &Order, shown: &str, amount: Cents, restock: u32) -> String {
    let is_whole = order.refunds.refunded.0 + amount.0 >= order.placed.amount.0;
    let status = if is_whole { OrderStatus::Refunded } else { OrderStatus::Paid };
    let gateway = match &order.payment.gateway {
        Some(name) => name.as_str(),
        None => plane.checkout.current_gateway(),
    };
    let units = match restock {
        0 => "No unit goes back on sale, and the buyer may buy no more than before.".to_owned(),
        units => format!(
            "{units} of the order's units go back on sale, and the buyer may buy as many again while the sale lasts."
        ),
    };
    format!(
        "<h2>What will happen</h2>\n<ul><li>{shown} go back to {} through the gateway {}. This cannot be taken back.</li>\
         <li>The order is {status} then; its buyer sees that, and how much was given back.</li><li>{units}</li></ul>\n",
        Text(order.placed.buyer.as_str()),
        Text(gateway)
    )
}

fn said(refusal: RefundRefusal, order: &Order) -> String {
    match refusal {
        RefundRefusal::NotPaid => format!("The order is {}: there is nothing to give back.", order.status),
        RefundRefusal::UnderWay => "A refund is under way; its end stands on the order's page.".into(),
        RefundRefusal::NothingLeft => "All that was paid is given back already.".into(),
        RefundRefusal::OtherNumber { .. } => "The order had another refund meanwhile.".into(),
        RefundRefusal::TooMany => "The order had as many refunds as one may have.".into(),
        RefundRefusal::Amount { left } => format!("The amount must be 1 to {}.", left.0),
        RefundRefusal::Units { held } => format!("The units must be at most {held}."),
    }
}

impl Asked {
    fn request(&self) -> Result<RefundRequest, String> {
        let number = |text: &str, what: &str| {
            let text = text.trim();
            if text.is_empty() {
                return Ok(None);
            }
            text.parse::<u64>().map(Some).map_err(|_| format!("{what} must be a whole number."))
        };
        let units = number(&self.restock, "The units")?.unwrap_or(0);
        Ok(RefundRequest {
            number: None,
            amount: number(&self.amount_cents, "The amount")?.map(Cents),
            restock: Restock::Units(u32::try_from(units).unwrap_or(u32::MAX)),
        })
    }
}

/// `POST /orders/{id}/refund`
pub(in crate::admin) async fn act(
    State(plane): State<Arc<ControlPlane>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (caller, extensions, body) = sent(request, &plane).await;
    let done = async {
        let (_, tenant) = plane.order_seen_by(&caller, &id).await?;
        let (acting, form) = (Acting::of(&extensions, Some(&tenant)), Form::of_body(body)?);
        if form.field("confirm") != Some(WORD) {
            return Err(Problem::field("confirm", format!("must be {WORD}")));
        }
        let body = form.body(&["reason"], &["number", "amount_cents", "restock", "by_hand"]);
        refund::refund(State(Arc::clone(&plane)), acting, Path(id.clone()), body).await.map(drop)
    };
    answer(done.await, &plane, &caller, &format!("/orders/{id}"))
}
