//! The trail: who did what, newest first, with a filter, and the same as a file.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::problem::Problem;
use super::super::rfc3339::rfc3339;
use super::super::trail::entry_json;
use super::form::Form;
use super::html::{Page, Text, moment, moment_or_text, word};
use crate::orders::{ActKind, TrailEntry, TrailFilter};

/// Entries of a page.
const ENTRIES_SHOWN: usize = 100;
/// Entries of a file at most, and of one read of the store.
const ENTRIES_EXPORTED: usize = 20_000;
const ENTRIES_READ: usize = 1_000;

/// `GET /trail?who=&act=&object=&tenant=&before=`
pub(super) async fn page(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let form = Form::of_pairs(asked);
    let filter = filter(&caller, &form)?;
    // One more than is shown tells whether there is more.
    let wanted = TrailFilter { limit: ENTRIES_SHOWN + 1, ..filter };
    let mut entries = plane.limited(plane.desk.trail_page(wanted)).await?;
    let has_more = entries.len() > ENTRIES_SHOWN;
    entries.truncate(ENTRIES_SHOWN);
    let mut body = inputs(&caller, &form);
    let _ =
        writeln!(body, "<p><a href=\"/trail.ndjson?{}\">Save as a file</a></p>", Text(&query(&form, None)));
    table(&mut body, &entries);
    if let Some(last) = entries.last().filter(|_| has_more) {
        let _ = writeln!(
            body,
            "<p><a href=\"/trail?{}\">Older ones</a></p>",
            Text(&query(&form, Some(last.seq)))
        );
    }
    Ok(Page::new(&plane, &caller, "Trail", body).at("/trail").answer())
}

/// `GET /trail.ndjson`: all that pass the filter, the newest first.
pub(super) async fn export(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let mut filter = filter(&caller, &Form::of_pairs(asked))?;
    filter.limit = ENTRIES_READ;
    let (mut text, mut left) = (String::new(), ENTRIES_EXPORTED);
    while left > 0 {
        let entries = plane.limited(plane.desk.trail_page(filter.clone())).await?;
        for entry in entries.iter().take(left) {
            text.push_str(&entry_json(entry).to_string());
            text.push('\n');
        }
        left = left.saturating_sub(entries.len());
        match entries.last() {
            Some(last) if entries.len() == ENTRIES_READ => filter.before = Some(last.seq),
            _ => break,
        }
    }
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"trail.ndjson\""),
    ];
    Ok((headers, text).into_response())
}

/// What is asked for, of what the caller sees. Who is bound to a tenant sees that one's only.
fn filter(caller: &Caller, form: &Form) -> Result<TrailFilter, Problem> {
    let text = |name: &str| form.field(name).map(str::to_owned);
    let before = form.field("before").map(str::parse).transpose();
    Ok(TrailFilter {
        tenant: caller.tenant.as_deref().map(str::to_owned).or_else(|| text("tenant")),
        who: text("who"),
        kind: text("act"),
        object: text("object"),
        before: before.map_err(|_| Problem::field("before", "must be the seq of an entry"))?,
        limit: ENTRIES_SHOWN,
    })
}

/// The query of the same filter, for entries before this one.
fn query(form: &Form, before: Option<u64>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["who", "act", "object", "tenant"] {
        query.extend_pairs(form.field(name).map(|value| (name, value)));
    }
    query.extend_pairs(before.map(|seq| ("before", seq.to_string())));
    query.finish()
}

fn inputs(caller: &Caller, form: &Form) -> String {
    let mut text = String::from("<form class=\"act\" method=\"get\" action=\"/trail\">");
    let mut input = |name: &str, label: &str| {
        let value = Text(form.field(name).unwrap_or_default()).to_string();
        let _ = write!(text, "<label>{label} <input name=\"{name}\" value=\"{value}\"></label>");
    };
    input("who", "Who");
    input("object", "Sale or order");
    if caller.tenant.is_none() {
        input("tenant", "Tenant");
    }
    text.push_str("<label>What <select name=\"act\"><option value=\"\">anything</option>");
    for kind in ActKind::ALL {
        let selected = if form.field("act") == Some(kind.as_str()) { " selected" } else { "" };
        let _ = write!(text, "<option{selected}>{}</option>", kind.as_str());
    }
    text.push_str("</select></label><button>Look</button></form>\n");
    text
}

fn table(body: &mut String, entries: &[TrailEntry]) {
    if entries.is_empty() {
        body.push_str("<p role=\"status\">Nothing of this kind was done.</p>\n");
        return;
    }
    body.push_str(
        "<table><thead><tr><th scope=\"col\">When</th><th scope=\"col\">Who</th><th scope=\"col\">What</th>\
         <th scope=\"col\">To what</th><th scope=\"col\">From</th><th scope=\"col\">To</th><th scope=\"col\">Why</th>\
         <th scope=\"col\">From where</th></tr></thead><tbody>\n",
    );
    for entry in entries {
        let _ = writeln!(
            body,
            "<tr><th scope=\"row\">{}</th><td>{} {}</td><td>{}</td><td>{} {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            moment(&rfc3339(entry.at)),
            Text(&entry.actor.who),
            Text(&entry.actor.role),
            Text(&entry.kind),
            Text(&entry.object),
            entry.tenant.as_deref().map_or(String::new(), |tenant| format!("of {}", Text(tenant))),
            told(&entry.from),
            told(&entry.to),
            Text(entry.reason.as_deref().unwrap_or_default()),
            Text(&entry.actor.address)
        );
    }
    body.push_str("</tbody></table>\n");
}

/// What changed, as a line of HTML.
fn told(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{} {}", Text(name), single(value));
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        other => single(other),
    }
}

fn single(value: &Value) -> String {
    match value {
        Value::String(text) => moment_or_text(text),
        other => word(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changed_is_a_line_whose_moments_are_for_people() {
        let at = "2030-01-31T12:00:05.000Z";
        let changed = json!({ "ends_at": at, "queue": null, "stock": 5, "title": "<b>" });
        assert_eq!(told(&changed), format!("ends_at {}, queue null, stock 5, title &lt;b&gt;", moment(at)));
        assert_eq!(told(&json!(at)), moment(at));
        assert_eq!(told(&Value::Null), "");
    }
}
