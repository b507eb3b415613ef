//! Orders: looked up by number or buyer, and what is done to one.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::acting::Acting;
use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::problem::Problem;
use super::super::rfc3339::rfc3339;
use super::super::{extend, order_acts, settle};
use super::form::{Form, answer, sent};
use super::html::{Page, Text, act_form, may_act, moment};
use super::refunds;
use super::sale::link;
use crate::admission::LiveSale;
use crate::domain::{Currency, Order, OrderId, OrderStatus};
use crate::orders::{OrderFilter, RefundRecord, StoreError, TenantSales, in_units};

/// Orders of a buyer that are shown.
const ORDERS_SHOWN: usize = 200;

/// What is looked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    q: String,
}

/// `GET /orders?q=`: an order's number leads to its page, a buyer's name to the buyer's orders.
pub(super) async fn search(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Query(Wanted { q }): Query<Wanted>,
) -> Result<Response, Problem> {
    let q = q.trim();
    if let Ok(id) = q.parse::<OrderId>()
        && plane.order_seen_by(&caller, q).await.is_ok()
    {
        return Ok(Redirect::to(&format!("/orders/{id}")).into_response());
    }
    let mut body = format!(
        "<form class=\"act\" method=\"get\" action=\"/orders\"><label>Number of an order, or name of a buyer \
         <input name=\"q\" value=\"{}\" required></label><button>Look</button></form>\n",
        Text(q)
    );
    if !q.is_empty() {
        let mut orders = Vec::new();
        for order in orders_of(&plane, &caller, q).await? {
            if let Some(sale) = plane.desk.sale_of(order.placed.sale).await? {
                orders.push((sale, order));
            }
        }
        if orders.is_empty() {
            let _ = writeln!(
                body,
                "<p role=\"status\">No order has this number, and no buyer this name: {}</p>",
                Text(q)
            );
        } else {
            table(&mut body, &orders);
        }
    }
    Ok(Page::new(&plane, &caller, "Orders", body).at("/orders").answer())
}

/// The first orders of the buyer among those that the caller sees.
async fn orders_of(plane: &ControlPlane, caller: &Caller, buyer: &str) -> Result<Vec<Order>, StoreError> {
    let seen = |tenant: &Arc<str>| TenantSales { tenant: tenant.to_string(), campaign: None, sku: None };
    let filter = OrderFilter {
        sales: caller.tenant.as_ref().map(seen),
        buyer: Some(buyer.to_owned()),
        ..OrderFilter::default()
    };
    let (mut orders, mut after) = (Vec::new(), None);
    loop {
        let left = ORDERS_SHOWN - orders.len();
        let found = plane.limited(plane.desk.complete_orders(filter.clone(), after, left)).await?;
        orders.extend(found.orders);
        if orders.len() >= ORDERS_SHOWN || found.looked_through >= found.through {
            return Ok(orders);
        }
        after = Some(found.looked_through);
    }
}

fn table(body: &mut String, orders: &[(Arc<LiveSale>, Order)]) {
    body.push_str(
        "<table><thead><tr><th scope=\"col\">Order</th><th scope=\"col\">Sale</th><th scope=\"col\">Units</th>\
         <th scope=\"col\">Amount</th><th scope=\"col\">Status</th><th scope=\"col\">Made</th></tr></thead><tbody>\n",
    );
    for (sale, order) in orders {
        let placed = &order.placed;
        let id = placed.id;
        let _ = writeln!(
            body,
            "<tr><th scope=\"row\"><a href=\"/orders/{id}\">{id}</a></th><td>{}/{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Text(sale.key.campaign()),
            Text(sale.key.sku()),
            placed.quantity,
            in_units(placed.amount, &sale.terms.currency),
            order.status,
            moment(&rfc3339(placed.created_at))
        );
    }
    body.push_str("</tbody></table>\n");
}

/// What the order is.
fn facts(body: &mut String, sale: &LiveSale, order: &Order) {
    let (key, currency) = (&sale.key, &sale.terms.currency);
    let name = format!("{} / {} of {}", key.campaign(), key.sku(), key.tenant());
    let path = link(key.tenant(), key.campaign(), key.sku());
    let rows = [
        ("status", order.status.to_string()),
        ("buyer", Text(order.placed.buyer.as_str()).to_string()),
        (
            "sale",
            // One that is archived has no page.
            if sale.is_archived {
                Text(&name).to_string()
            } else {
                format!("<a href=\"{}\">{}</a>", Text(&path), Text(&name))
            },
        ),
        ("units", order.placed.quantity.to_string()),
        ("amount", in_units(order.placed.amount, currency)),
        ("given back", in_units(order.refunds.refunded, currency)),
        ("units put back on sale", order.refunds.restocked.to_string()),
    ];
    body.push_str("<table class=\"facts\"><tbody>\n");
    for (label, value) in rows {
        let _ = writeln!(body, "<tr><th scope=\"row\">{label}</th><td>{value}</td></tr>");
    }
    body.push_str("</tbody></table>\n");
}

/// What became of the order, in the order of time. When one was cancelled or ran out of time is in the feed of events, not in its row.
fn life(body: &mut String, order: &Order, currency: &Currency, refunds: &[RefundRecord]) {
    // One that the store did not take never held a unit.
    let begun = if order.status == OrderStatus::Rejected { "asked for" } else { "reserved" };
    let mut steps = vec![(order.placed.created_at, begun.to_owned())];
    steps.extend(order.paid_at.map(|at| (at, "paid".to_owned())));
    for refund in refunds {
        let what = format!("refund {} of {}", refund.number, in_units(refund.amount, currency));
        steps.push((refund.begun_at, format!("{what} begun")));
        let state = refund.state.as_str().replace('_', " ");
        steps.extend(refund.ended_at.map(|at| (at, format!("{what} {state}"))));
    }
    steps.sort_by_key(|(at, _)| *at);
    // As it stands, or stood, with the time that was given.
    if order.status.is_open() {
        steps.push((order.placed.pay_before, "to be paid before".to_owned()));
    } else if order.status == OrderStatus::Expired {
        steps.push((order.placed.pay_before, "was to be paid before".to_owned()));
    }
    body.push_str("<h2>Its life</h2>\n<ol class=\"life\">");
    for (at, what) in steps {
        let _ = write!(body, "<li>{what} {}</li>", moment(&rfc3339(at)));
    }
    if !order.status.is_open() && order.paid_at.is_none() {
        let _ = write!(body, "<li>{}</li>", order.status);
    }
    body.push_str("</ol>\n");
}

/// `GET /orders/{id}`
pub(super) async fn page(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (order, _) = plane.order_seen_by(&caller, &id).await?;
    let sale = plane.desk.sale_of(order.placed.sale).await?.ok_or_else(Problem::unknown_order)?;
    let refunds = match order.refunds.begun {
        0 => Vec::new(),
        _ => plane.limited(plane.desk.refunds(order.placed.id)).await?,
    };
    let mut body = String::new();
    facts(&mut body, &sale, &order);
    life(&mut body, &order, &sale.terms.currency, &refunds);
    refunds::part(&mut body, &caller, &order, &sale.terms.currency, &refunds);
    if may_act(&caller) {
        let path = format!("/orders/{id}");
        let is_open = matches!(order.status, OrderStatus::PrePay | OrderStatus::Paying);
        if order.status == OrderStatus::PrePay {
            body.push_str("<h2>Cancel</h2><p>The units go back on sale; the buyer is told <code>order-cancelled</code>.</p>\n");
            body.push_str(&act_form(&format!("{path}/cancel"), "Cancel the order", "danger", "", ""));
        }
        if is_open {
            body.push_str("<h2>More time to pay</h2>\n");
            let fields = "<label>Until <input name=\"pay_before\" placeholder=\"2030-01-31T12:00:00Z\" required></label>";
            body.push_str(&act_form(&format!("{path}/extend"), "Give time", "", "", fields));
        }
        if order.status == OrderStatus::Paying {
            body.push_str("<h2>Settle by hand</h2><p>Only when the gateway never tells, and you have seen what became of the money.</p>\n");
            let fields = "<label>It was <select name=\"outcome\"><option value=\"voided\">not taken</option>\
                          <option value=\"paid\">taken</option></select></label>";
            body.push_str(&act_form(&format!("{path}/settle"), "Settle", "danger", "", fields));
        }
        if order.status == OrderStatus::Refunding {
            body.push_str("<h2>Settle the refund by hand</h2><p>Only when the gateway never tells, and you have seen what became of the money.</p>\n");
            let fields = "<label>It was <select name=\"outcome\"><option value=\"not_refunded\">not given back</option>\
                          <option value=\"refunded\">given back</option></select></label>";
            body.push_str(&act_form(&format!("{path}/settle"), "Settle", "danger", "", fields));
        }
    }
    Ok(Page::new(&plane, &caller, &format!("Order {id}"), body).answer())
}

/// `POST /orders/{id}/{act}`
pub(super) async fn act(
    State(plane): State<Arc<ControlPlane>>,
    Path((id, act)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (caller, extensions, body) = sent(request, &plane).await;
    let done = async {
        let (_, tenant) = plane.order_seen_by(&caller, &id).await?;
        let (acting, form) = (Acting::of(&extensions, Some(&tenant)), Form::of_body(body)?);
        let (plane, id) = (State(Arc::clone(&plane)), Path(id.clone()));
        match act.as_str() {
            "cancel" => order_acts::cancel(plane, acting, id, form.body(&["reason"], &[])).await.map(drop),
            "extend" => {
                extend::extend(plane, acting, id, form.body(&["reason", "pay_before"], &[])).await.map(drop)
            }
            "settle" => {
                settle::settle(plane, acting, id, form.body(&["reason", "outcome"], &[])).await.map(drop)
            }
            _ => Err(Problem::not_found()),
        }
    };
    answer(done.await, &plane, &caller, &format!("/orders/{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BuyerId, Cents, EpochMs, NewOrder, NodeId, SaleId};

    #[test]
    fn an_order_that_the_store_did_not_take_was_never_reserved() {
        let placed = NewOrder {
            id: OrderId::from_tick(1, NodeId::new(0).unwrap()),
            sale: SaleId(1),
            buyer: BuyerId::new("ann").unwrap(),
            quantity: 1,
            amount: Cents(5),
            created_at: EpochMs(1_000),
            pay_before: EpochMs(2_000),
            idempotency_key: None,
        };
        let told = |status| {
            let order = Order { status, ..Order::persisted(placed.clone()) };
            let mut body = String::new();
            life(&mut body, &order, &Currency::USD, &[]);
            body
        };
        let rejected = told(OrderStatus::Rejected);
        assert!(rejected.contains("<li>asked for ") && rejected.contains("<li>rejected</li>"), "{rejected}");
        assert!(!rejected.contains("reserved"), "{rejected}");
        for status in [OrderStatus::PrePay, OrderStatus::Cancelled, OrderStatus::Expired] {
            assert!(told(status).contains("<li>reserved "), "{status}");
        }
    }
}
