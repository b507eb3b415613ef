//! One sale, and what is done to it.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::acting::Acting;
use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::problem::Problem;
use super::super::rfc3339::rfc3339;
use super::super::sales::state_word;
use super::super::{beacon_value, extend, sale_acts, sales};
use super::form::{Form, answer, sent};
use super::html::{Page, Text, act_form, may_act, moment};
use super::waiting_room;
use crate::admission::LiveSale;
use crate::domain::SaleTerms;
use crate::orders::in_units;

/// The path of a sale's page. Names of sales need no escaping in one.
pub(super) fn link(tenant: &str, campaign: &str, sku: &str) -> String {
    format!("/sales/{tenant}/{campaign}/{sku}")
}

pub(super) fn state(plane: &ControlPlane, sale: &LiveSale) -> &'static str {
    state_word(plane.admission.phase(sale, plane.now()), sale.is_sold_out())
}

/// What a buyer who clicks now is told.
fn buyers_hear(state: &str, has_room: bool) -> &'static str {
    match state {
        "open" if has_room => {
            "waiting-room, until it is the buyer's turn; then an order, while there are units"
        }
        "open" => "an order, while there are units",
        "paused" => "sale-paused, and to come back",
        "sold_out" => "sold-out",
        "upcoming" => "sale-not-started, with the time of the opening",
        _ => "sale-ended",
    }
}

/// The acts that are one click, and the way to those that are not.
pub(super) fn acts(plane: &ControlPlane, sale: &LiveSale, path: &str) -> String {
    let mut forms = match state(plane, sale) {
        "paused" if !sale.is_stopped => {
            act_form(&format!("{path}/resume"), "Resume", "go", "it is mended", "")
        }
        "open" | "sold_out" => {
            let fields = "<label>For <select name=\"for_s\"><option value=\"\">as long as I say</option>\
                          <option value=\"60\">1 minute</option><option value=\"300\">5 minutes</option>\
                          <option value=\"900\">15 minutes</option></select></label>";
            act_form(&format!("{path}/pause"), "Pause", "pause", "something is wrong", fields)
        }
        _ => String::new(),
    };
    if sale.terms.ends_at > plane.now() {
        let _ = writeln!(forms, "<p><a class=\"danger\" href=\"{}/end\">End this sale</a></p>", Text(path));
    }
    forms
}

type Name = (String, String, String);

/// The sale with this name, if the caller sees it.
async fn seen(
    plane: &ControlPlane,
    caller: &Caller,
    (tenant, campaign, sku): &Name,
) -> Result<Arc<LiveSale>, Problem> {
    if !caller.sees(tenant) {
        return Err(Problem::unknown_sale());
    }
    plane.live_sale(tenant, campaign, sku).await
}

/// `GET /sales/{tenant}/{campaign}/{sku}`
pub(super) async fn page(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<Name>,
) -> Result<Response, Problem> {
    let sale = seen(&plane, &caller, &name).await?;
    let audit = plane.in_bulk(plane.sales.ledger().audit(&sale)).await?.ok_or_else(Problem::unknown_sale)?;
    let path = link(&name.0, &name.1, &name.2);
    let state = state(&plane, &sale);
    let SaleTerms { price, currency, per_buyer_limit, starts_at, ends_at, pay_within_s, rate, .. } =
        &sale.terms;
    let ends = if *ends_at < SaleTerms::NO_END { moment(&rfc3339(*ends_at)) } else { "never".into() };
    let rate = rate.map_or("none".to_owned(), |rate| format!("{}/s, {} at once", rate.per_s, rate.burst));
    // Their values are HTML.
    let rows: [(&str, String); 15] = [
        ("state", state.into()),
        ("a buyer who clicks now hears", buyers_hear(state, sale.terms.waiting_room().is_some()).into()),
        ("total", audit.orders.total.to_string()),
        ("held", audit.orders.held.to_string()),
        ("paid", audit.orders.paid.to_string()),
        ("left", audit.orders.available().to_string()),
        ("books", if audit.conserved { "agree" } else { "DO NOT AGREE" }.into()),
        ("price", in_units(*price, currency)),
        ("units a buyer", per_buyer_limit.to_string()),
        ("rate", rate),
        ("opens", moment(&rfc3339(*starts_at))),
        ("ends", ends),
        ("seconds to pay", pay_within_s.to_string()),
        ("campaign and SKU", format!("{} / {}", Text(&name.1), Text(&name.2))),
        ("tenant", Text(&name.0).to_string()),
    ];
    let mut body = String::from("<table class=\"facts\"><tbody>\n");
    for (label, value) in &rows {
        let _ = writeln!(body, "<tr><th scope=\"row\">{label}</th><td>{value}</td></tr>");
    }
    body.push_str("</tbody></table>\n");
    if sale.terms.waiting_room().is_some() || may_act(&caller) {
        body.push_str(&waiting_room::section(&plane, &sale, &path, may_act(&caller)));
    }
    if may_act(&caller) {
        body.push_str(&acts(&plane, &sale, &path));
        let number = |name: &str, label: &str| {
            format!(
                "<label>{label} <input name=\"{name}\" inputmode=\"numeric\" pattern=\"-?[0-9]+\"></label>"
            )
        };
        let fields = [
            number("stock_delta", "Units more (or fewer, with a minus)"),
            number("price_cents", "Price, in minor units"),
            number("per_buyer_limit", "Units a buyer"),
            number("rate_per_s", "Purchases a second"),
            number("pay_within_s", "Seconds to pay"),
            "<label>Opens <input name=\"starts_at\" placeholder=\"2030-01-31T12:00:00Z\"></label>".into(),
            "<label>Ends <input name=\"ends_at\" placeholder=\"2030-01-31T13:00:00Z\"></label>".into(),
        ];
        body.push_str("<h2>Change</h2>\n<p>What is left empty stays as it is.</p>\n");
        body.push_str(&act_form(&format!("{path}/change"), "Change", "", "", &fields.concat()));
        body.push_str("<h2>More time to pay</h2>\n");
        let fields = number("by_s", "Seconds for everybody who waits");
        body.push_str(&act_form(&format!("{path}/extend"), "Give time", "", "", &fields));
    }
    let title = sale.terms.title.clone();
    Ok(Page::new(&plane, &caller, &title, body).answer())
}

/// `GET /sales/{tenant}/{campaign}/{sku}/end`: what will happen, and where to say so.
pub(super) async fn confirm(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Path((tenant, campaign, sku, act)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    let name = (tenant, campaign, sku);
    let sale = seen(&plane, &caller, &name).await?;
    if act != "end" {
        return Err(Problem::not_found());
    }
    let path = link(&name.0, &name.1, &name.2);
    let mut body = format!(
        "<p>The sale is over from then on and cannot be opened again: {} units stay unsold, buyers are told \
         <code>sale-ended</code>. Who holds an order may still pay it. To stop for a while, pause it instead.</p>\n",
        sale.remaining_everywhere()
    );
    if may_act(&caller) {
        let fields = format!(
            "<label>Type <b>{}</b> <input name=\"confirm\" required autocomplete=\"off\"></label>",
            Text(&name.2)
        );
        body.push_str(&act_form(&format!("{path}/end"), "End the sale", "danger", "", &fields));
    }
    let title = format!("End {}", sale.terms.title);
    Ok(Page::new(&plane, &caller, &title, body).answer())
}

/// `POST /sales/{tenant}/{campaign}/{sku}/{act}`
pub(super) async fn act(
    State(plane): State<Arc<ControlPlane>>,
    Path((tenant, campaign, sku, act)): Path<(String, String, String, String)>,
    request: Request,
) -> Response {
    let (caller, extensions, body) = sent(request, &plane).await;
    let back = link(&tenant, &campaign, &sku);
    let acting = Acting::of(&extensions, Some(&tenant));
    let done = async {
        let name = (tenant, campaign, sku);
        seen(&plane, &caller, &name).await?;
        let (_, campaign, sku) = name;
        let form = Form::of_body(body)?;
        let (plane, headers) = (State(Arc::clone(&plane)), HeaderMap::new());
        let only_reason = form.body(&["reason"], &[]);
        match act.as_str() {
            "pause" => {
                let body = form.body(&["reason"], &["for_s"]);
                sale_acts::pause(plane, acting, Path((campaign, sku)), headers, body).await.map(drop)
            }
            "resume" => {
                sale_acts::resume(plane, acting, Path((campaign, sku)), headers, only_reason).await.map(drop)
            }
            "end" if form.field("confirm") != Some(&sku) => {
                Err(Problem::field("confirm", format!("must be {sku}")))
            }
            "end" => {
                sale_acts::end(plane, acting, Path((campaign, sku)), headers, only_reason).await.map(drop)
            }
            "change" => {
                let numbers = ["stock_delta", "price_cents", "per_buyer_limit", "rate_per_s", "pay_within_s"];
                let body = form.body(&["reason", "starts_at", "ends_at"], &numbers);
                sales::change(plane, acting, Path((campaign, sku)), headers, body).await.map(drop)
            }
            "queue" => {
                let body = waiting_room::change(&form);
                sales::change(plane, acting, Path((campaign, sku)), headers, body).await.map(drop)
            }
            "beacon" | "plain-draw" => {
                let value =
                    if act == "beacon" { Some(form.field("value").unwrap_or_default()) } else { None };
                let body = waiting_room::beacon_value(&form, value);
                beacon_value::give(plane, acting, Path((campaign, sku)), body).await.map(drop)
            }
            "extend" => {
                let body = form.body(&["reason"], &["by_s"]);
                extend::extend_sale(plane, acting, Path((campaign, sku)), body).await.map(drop)
            }
            _ => Err(Problem::not_found()),
        }
    };
    answer(done.await, &plane, &caller, &back)
}
