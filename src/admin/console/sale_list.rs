//! The list of sales: those for buyers, load tests apart from them, and what is archived.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::problem::Problem;
use super::super::rfc3339::rfc3339;
use super::html::{Page, Text, may_act, moment};
use super::sale::{link, state};
use crate::admission::LiveSale;
use crate::domain::{Sale, SaleKey};

/// Sales on the list.
const SALES_LISTED: usize = 1_000;

/// What is looked for in the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    q: String,
    /// Not empty: those that are archived, and not the others.
    archived: String,
    /// Whose archived sales, for who sees those of all.
    tenant: Option<String>,
}

impl Wanted {
    fn finds(&self, key: &SaleKey, title: &str) -> bool {
        [key.tenant(), key.campaign(), key.sku(), title].iter().any(|name| name.contains(&self.q))
    }
}

/// `GET /sales`, and with `?archived=1` those that are archived.
pub(super) async fn list(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    if !wanted.archived.is_empty() {
        return archived(&plane, &caller, &wanted).await;
    }
    let board = plane.admission.board().sales();
    let is_found = |sale: &&Arc<LiveSale>| {
        caller.sees(sale.key.tenant()) && !sale.is_archived && wanted.finds(&sale.key, &sale.terms.title)
    };
    let mut found: Vec<_> = board.iter().filter(is_found).collect();
    found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let (tests, sales): (Vec<_>, Vec<_>) = found.into_iter().partition(|sale| sale.key.is_load_test());
    let mut body = String::new();
    if may_act(&caller) {
        body.push_str("<p><a href=\"/sales/new\">New sale</a></p>\n");
    }
    let _ = writeln!(
        body,
        "<form class=\"act\" method=\"get\" action=\"/sales\"><label>Name <input name=\"q\" value=\"{}\"></label>\
         <button>Look</button></form>",
        Text(&wanted.q)
    );
    table(&mut body, &plane, "sales", &sales);
    if !tests.is_empty() {
        body.push_str("<h2>Load tests</h2>\n");
        table(&mut body, &plane, "tests", &tests);
    }
    body.push_str("<p><a href=\"/sales?archived=1\">Archived sales</a></p>\n");
    Ok(Page::new(&plane, &caller, "Sales", body).at("/sales").answer())
}

fn table(body: &mut String, plane: &ControlPlane, id: &str, sales: &[&Arc<LiveSale>]) {
    let row = |sale: &&Arc<LiveSale>| {
        let title = format!("<a href=\"{}\">{}</a>", Text(&path(&sale.key)), Text(&sale.terms.title));
        let opens = moment(&rfc3339(sale.terms.starts_at));
        row(&sale.key, &title, state(plane, sale), sale.remaining_everywhere(), &opens)
    };
    write_table(body, id, ["Left", "Opens"], sales.iter().map(row));
}

async fn archived(plane: &ControlPlane, caller: &Caller, wanted: &Wanted) -> Result<Response, Problem> {
    let asked = wanted.tenant.as_deref().filter(|tenant| !tenant.is_empty());
    let tenant = caller.tenant.as_deref().or(asked).unwrap_or(SaleKey::DEFAULT_TENANT);
    let mut sales = plane.limited(plane.desk.archived_sales(tenant)).await?;
    sales.retain(|sale| wanted.finds(&sale.key, &sale.terms.title));
    // The latest first.
    sales.sort_unstable_by_key(|sale| std::cmp::Reverse(sale.archived_at));
    let mut body = String::from(
        "<p>Over for good: their orders are found, exported and audited as before, and nothing of them changes. \
         <a href=\"/sales\">Live sales</a></p>\n",
    );
    let whose = match caller.tenant {
        Some(_) => String::new(),
        None => format!("<label>Tenant <input name=\"tenant\" value=\"{}\"></label>", Text(tenant)),
    };
    let _ = writeln!(
        body,
        "<form class=\"act\" method=\"get\" action=\"/sales\"><input type=\"hidden\" name=\"archived\" value=\"1\">{whose}\
         <label>Name <input name=\"q\" value=\"{}\"></label><button>Look</button></form>",
        Text(&wanted.q)
    );
    let row = |sale: &Sale| {
        let at = sale.archived_at.map(|at| moment(&rfc3339(at))).unwrap_or_default();
        row(&sale.key, &Text(&sale.terms.title).to_string(), "archived", sale.sold.into(), &at)
    };
    write_table(&mut body, "archived", ["Sold", "Archived"], sales.iter().map(row));
    Ok(Page::new(plane, caller, "Archived sales", body).at("/sales").answer())
}

fn path(key: &SaleKey) -> String {
    link(key.tenant(), key.campaign(), key.sku())
}

fn row(key: &SaleKey, title: &str, state: &str, units: u64, at: &str) -> String {
    format!(
        "<tr><th scope=\"row\">{title} {}/{}</th><td>{}</td><td>{state}</td><td>{units}</td><td>{at}</td></tr>\n",
        Text(key.campaign()),
        Text(key.sku()),
        Text(key.tenant())
    )
}

/// A table of sales with these two columns behind those that all have.
fn write_table(body: &mut String, id: &str, columns: [&str; 2], rows: impl ExactSizeIterator<Item = String>) {
    let more = rows.len().saturating_sub(SALES_LISTED);
    let [units, at] = columns;
    let _ = writeln!(
        body,
        "<table id=\"{id}\"><thead><tr><th scope=\"col\">Sale</th><th scope=\"col\">Tenant</th>\
         <th scope=\"col\">State</th><th scope=\"col\">{units}</th><th scope=\"col\">{at}</th></tr></thead><tbody>"
    );
    body.extend(rows.take(SALES_LISTED));
    body.push_str("</tbody></table>\n");
    if more > 0 {
        let _ = writeln!(body, "<p>and {more} more: look for a name</p>");
    }
}
