//! What the engine tells others: endpoints of webhooks and the search index, how each fares, and what can be done about it.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::Value;

use super::super::acting::Acting;
use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::problem::Problem;
use super::super::role::Role;
use super::super::{search, webhooks};
use super::form::{Form, answer, sent};
use super::html::{Page, Text, act_form, may_act, moment, word};

/// Where this is.
const PLACE: &str = "/integrations";

/// `GET /integrations`
pub(super) async fn page(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let Json(told) = plane.show_webhooks(&caller).await?;
    let mut body = String::from("<h2>Webhooks</h2>\n");
    let endpoints = told["webhooks"].as_array().map_or(&[][..], Vec::as_slice);
    if endpoints.is_empty() {
        body.push_str(
            "<p>No endpoint is configured; they stand in <code>[[webhooks.endpoints]]</code>.</p>\n",
        );
    }
    for endpoint in endpoints {
        show_endpoint(&mut body, endpoint, may_act(&caller));
    }
    body.push_str("<h2>Search index</h2>\n");
    if plane.search.is_some() {
        let Json(index) = plane.show_search().await?;
        show_index(&mut body, &index, caller.role >= Role::Admin && caller.tenant.is_none());
    } else {
        body.push_str("<p>No search server is configured; it stands in <code>[search]</code>.</p>\n");
    }
    Ok(Page::new(&plane, &caller, "Integrations", body).at(PLACE).answer())
}

fn show_endpoint(body: &mut String, endpoint: &Value, may_act: bool) {
    let name = endpoint["name"].as_str().unwrap_or_default();
    let why = |told: &Value| match told {
        Value::Null => "never".to_owned(),
        told => format!("{}: {}", at(&told["at"]), word(&told["why"])),
    };
    let log = |log: &Value| {
        let held = log["held_sales"].as_array().map_or(0, Vec::len);
        let behind = format!("{} of {}", word(&log["lag_events"]), word(&log["end"]));
        if held == 0 { behind } else { format!("{behind}; {held} sales are held, whose events it refuses") }
    };
    let of_node = &endpoint["by_this_node"];
    let events: Vec<_> = endpoint["events"].as_array().into_iter().flatten().map(word).collect();
    let _ = writeln!(body, "<section data-endpoint=\"{0}\"><h3>{0}</h3>", Text(name));
    facts(
        body,
        &[
            ("state", word(&endpoint["state"])),
            ("disabled", why(&endpoint["disabled"])),
            ("address", word(&endpoint["url"])),
            ("is told", events.join(", ")),
            ("events of orders that wait", log(&endpoint["orders"])),
            ("acts on sales that wait", log(&endpoint["sales"])),
            ("last delivery", at(&endpoint["last_delivery_at"])),
            ("last failure", why(&endpoint["last_failure"])),
            ("takes nothing since", at(&endpoint["failing_since"])),
            ("next try", at(&endpoint["next_try_at"])),
            (
                "by this node",
                format!("{} taken, {} failed", word(&of_node["taken"]), word(&of_node["failed"])),
            ),
        ],
    );
    if may_act {
        let path = |act: &str| format!("{PLACE}/webhooks/{name}/{act}");
        body.push_str(&if endpoint["disabled"].is_null() {
            act_form(&path("disable"), "Tell it nothing", "danger", "", "")
        } else {
            act_form(&path("enable"), "Tell it again", "go", "it is mended", "")
        });
        let fields = "<label>From event <input name=\"from\" required inputmode=\"numeric\" pattern=\"[0-9]+\"></label>\
                      <label>Of <select name=\"log\"><option value=\"orders\">orders</option><option value=\"sales\">sales\
                      </option></select></label>";
        body.push_str(&act_form(&path("replay"), "Tell it once more", "", "", fields));
    }
    body.push_str("</section>\n");
}

fn show_index(body: &mut String, index: &Value, may_rebuild: bool) {
    let failure = &index["last_failure"];
    let failure = match failure {
        Value::Null => "none".to_owned(),
        failure => format!("{}: {}", at(&failure["at"]), word(&failure["why"])),
    };
    let rebuild = &index["rebuild"];
    let rebuild = match rebuild {
        Value::Null => "never".to_owned(),
        rebuild => format!("{}, asked for {}", word(&rebuild["state"]), at(&rebuild["asked_at"])),
    };
    body.push_str("<section id=\"search\">");
    facts(
        body,
        &[
            ("server", word(&index["kind"])),
            ("index", word(&index["index"])),
            ("this node", if index["writer"] == true { "writes" } else { "does not write" }.into()),
            ("documents that are late", word(&index["pending"])),
            ("seconds late", word(&index["lag_s"])),
            ("documents it does not take", word(&index["refused"])),
            ("last written", at(&index["last_written_at"])),
            ("last failure", failure),
            ("last rebuild", rebuild),
        ],
    );
    if may_rebuild {
        body.push_str(&act_form(&format!("{PLACE}/search/rebuild"), "Build it anew", "", "", ""));
    }
    body.push_str("</section>\n");
}

/// Each label with its value, which is HTML.
fn facts(body: &mut String, rows: &[(&str, String)]) {
    body.push_str("<table class=\"facts\"><tbody>\n");
    for (label, value) in rows {
        let _ = writeln!(body, "<tr><th scope=\"row\">{label}</th><td>{value}</td></tr>");
    }
    body.push_str("</tbody></table>\n");
}

/// A moment as a person reads it: HTML.
fn at(time: &Value) -> String {
    time.as_str().map_or_else(|| "never".to_owned(), moment)
}

/// `POST /integrations/webhooks/{name}/{act}`
pub(super) async fn act_on_webhook(
    State(plane): State<Arc<ControlPlane>>,
    Path((name, act)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (caller, extensions, body) = sent(request, &plane).await;
    let done = async {
        let form = Form::of_body(body)?;
        let acting = Acting::of(&extensions, caller.tenant.as_deref());
        let body = form.body(&["reason", "log"], &["from"]);
        let (of, who) = (State(Arc::clone(&plane)), Extension(caller.clone()));
        match act.as_str() {
            "enable" => webhooks::enable((of, who, acting, Path(name)), body).await,
            "disable" => webhooks::disable((of, who, acting, Path(name)), body).await,
            "replay" => webhooks::replay((of, who, acting, Path(name)), body).await,
            _ => Err(Problem::not_found()),
        }
    };
    answer(done.await, &plane, &caller, PLACE)
}

/// `POST /integrations/search/rebuild`
pub(in crate::admin) async fn rebuild(State(plane): State<Arc<ControlPlane>>, request: Request) -> Response {
    let (caller, extensions, body) = sent(request, &plane).await;
    let done = async {
        let form = Form::of_body(body)?;
        let acting = Acting::of(&extensions, None);
        search::rebuild(State(Arc::clone(&plane)), acting, form.body(&["reason"], &[])).await
    };
    answer(done.await, &plane, &caller, PLACE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_receivers_say_cannot_leave_its_place_and_moments_are_for_people() {
        let failure = json!({ "at": "2030-01-31T12:00:05.000Z", "why": "<script>" });
        let mut body = String::new();
        let other = json!({ "what": "<img>" });
        let told = json!({
            "name": "erp",
            "last_failure": failure,
            "state": other,
            "events": [other],
            "orders": { "end": [other] },
        });
        show_endpoint(&mut body, &told, false);
        let moment = moment("2030-01-31T12:00:05.000Z");
        assert!(body.contains(&format!("<td>{moment}: &lt;script&gt;</td>")), "{body}");
        assert!(body.contains("<th scope=\"row\">next try</th><td>never</td>"), "{body}");
        assert!(!body.contains("<img>") && body.matches("&lt;img&gt;").count() == 3, "{body}");
    }
}
