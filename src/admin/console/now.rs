//! `GET /`: whether it goes well, in one glance.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::grouped::grouped;
use super::super::live;
use super::assets::SCRIPT;
use super::html::{Page, Text, may_act, moment, span, word};
use super::sale::{acts, link};
use super::waiting_room;

/// Sales that the page shows with all their figures; the others are on the list.
const SALES_SHOWN: usize = 20;

/// Acts that the page lists; the others are in the trail.
const ACTS_SHOWN: usize = 10;

/// Without a script the page renews itself; with it, the live feed keeps it fresh.
const WITHOUT_SCRIPT: &str = "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>";

/// `GET /`
pub(super) async fn page(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let snapshot = live::newest(&plane).await;
    let mut body = String::new();
    // Writing to a text does not fail.
    let _ = write(&mut body, &plane, &caller, &snapshot);
    let head = SCRIPT.script() + WITHOUT_SCRIPT;
    Page::new(&plane, &caller, "Now", body).at("/").with_head(&head).answer()
}

fn write(body: &mut String, plane: &ControlPlane, caller: &Caller, snapshot: &Value) -> std::fmt::Result {
    writeln!(
        body,
        "<p class=\"about\">node {} · version {} · as of <span id=\"age\">{}</span></p>",
        plane.node.number(),
        env!("CARGO_PKG_VERSION"),
        moment(text(&snapshot["at"]))
    )?;
    let troubles = snapshot["health"].as_array().map_or(&[][..], Vec::as_slice);
    if troubles.is_empty() {
        body.push_str("<p class=\"well\" id=\"health\">Nothing is wrong that the engine knows of.</p>\n");
    } else {
        body.push_str("<ul class=\"wrong\" id=\"health\">");
        for trouble in troubles {
            write!(
                body,
                "<li><b>{}</b> {}</li>",
                Text(text(&trouble["code"])),
                Text(text(&trouble["said"]))
            )?;
        }
        body.push_str("</ul>\n");
    }
    switches(body, plane, caller)?;
    let sales = snapshot["sales"].as_array().map_or(&[][..], Vec::as_slice);
    let seen = sales.iter().filter(|sale| caller.sees(text(&sale["tenant"])));
    let mut shown = 0;
    let mut is_test = false;
    for sale in seen.take(SALES_SHOWN) {
        // They come last.
        if sale["load_test"] == true && !std::mem::replace(&mut is_test, true) {
            body.push_str("<h2 id=\"tests\">Load tests</h2>\n");
        }
        card(body, plane, caller, sale, text(&snapshot["at"]))?;
        shown += 1;
    }
    if shown == 0 {
        body.push_str("<p>There is no sale yet.</p>\n");
    }
    figures(body, snapshot)?;
    lately(body, caller, snapshot)
}

/// What operators did lately.
fn lately(body: &mut String, caller: &Caller, snapshot: &Value) -> std::fmt::Result {
    body.push_str("<h2>Who did what</h2>\n<ul id=\"acts\">");
    let acts = snapshot["acts"].as_array().map_or(&[][..], Vec::as_slice);
    let is_seen = |act: &&Value| match act["tenant"].as_str() {
        Some(tenant) => caller.sees(tenant),
        None => caller.tenant.is_none(),
    };
    for act in acts.iter().filter(is_seen).take(ACTS_SHOWN) {
        write!(
            body,
            "<li>{} {} {} {} {}</li>",
            moment(text(&act["at"])),
            Text(text(&act["who"])),
            Text(text(&act["act"])),
            Text(text(&act["object"])),
            Text(text(&act["reason"]))
        )?;
    }
    body.push_str("</ul>\n<p>The last five minutes; the rest is in the <a href=\"/trail\">trail</a>.</p>\n");
    Ok(())
}

/// Stopping everything, and going on.
fn switches(body: &mut String, plane: &ControlPlane, caller: &Caller) -> std::fmt::Result {
    let board = plane.admission.board().sales();
    let stops = board.stops();
    let tenants: Vec<_> = stops.tenants.iter().filter(|tenant| caller.sees(tenant)).collect();
    if stops.all || !tenants.is_empty() {
        let what =
            if stops.all { "All sales are stopped.".to_owned() } else { format!("Stopped: {tenants:?}") };
        writeln!(
            body,
            "<p class=\"wrong\" role=\"status\">{} Buyers are told: sale-paused.</p>",
            Text(&what)
        )?;
    }
    if !may_act(caller) {
        return Ok(());
    }
    body.push_str("<p class=\"switches\"><a class=\"danger\" href=\"/stop\">Stop sales at once</a></p>\n");
    if stops.all && caller.tenant.is_none() {
        body.push_str(&super::switches::go_form(None));
    }
    tenants.into_iter().try_for_each(|tenant| write!(body, "{}", super::switches::go_form(Some(tenant))))
}

/// The figures of a sale that the script keeps fresh: the member of the snapshot, and its name.
const UNITS: [(&str, &str); 5] =
    [("total", "total"), ("held", "held"), ("paid", "paid"), ("available", "left"), ("refunded", "refunded")];
const RATES: [(&str, &str); 2] = [("arrivals_per_s", "arrivals a second"), ("wins_per_s", "wins a second")];
/// Those of a node, in the order in which the script writes them.
const NODE_FIGURES: [(&str, &str); 4] =
    [RATES[0], RATES[1], ("queue_depth", "orders that wait"), ("uptime_s", "runs for, s")];

fn card(
    body: &mut String,
    plane: &ControlPlane,
    caller: &Caller,
    sale: &Value,
    at: &str,
) -> std::fmt::Result {
    let part = |name: &str| text(&sale[name]).to_owned();
    let (tenant, campaign, sku, state) = (part("tenant"), part("campaign"), part("sku"), part("state"));
    let path = link(&tenant, &campaign, &sku);
    writeln!(
        body,
        "<section class=\"sale\" data-sale=\"{}\"><h2><a href=\"{}\">{}</a> <span class=\"state {}\" data-f=\"state\">{}</span></h2>",
        Text(&path),
        Text(&path),
        Text(&part("title")),
        Text(&state),
        Text(&state)
    )?;
    writeln!(
        body,
        "<p>{} / {} of {} · opens {} · ends {}</p>\n<p class=\"countdown\">{}</p>",
        Text(&campaign),
        Text(&sku),
        Text(&tenant),
        moment(text(&sale["starts_at"])),
        sale["ends_at"].as_str().map_or_else(|| "never".into(), moment),
        countdown(sale, at)
    )?;
    body.push_str("<dl>");
    for (name, label) in UNITS.into_iter().chain(RATES) {
        write!(body, "<div><dt>{label}</dt><dd data-f=\"{name}\">{}</dd></div>", number(&sale[name]))?;
    }
    let books = match sale["conserved"].as_bool() {
        Some(true) => "agree",
        Some(false) => "DO NOT AGREE",
        None => "not counted yet",
    };
    write!(body, "<div><dt>books</dt><dd data-f=\"conserved\">{books}</dd></div>")?;
    write!(
        body,
        "<div><dt>sold out in</dt><dd data-f=\"sold_out_in_s\">{}</dd></div></dl>",
        sale["sold_out_in_s"].as_i64().map_or_else(|| "–".into(), |s| span(s.saturating_mul(1_000)))
    )?;
    if sale["waiting_room"].is_object() {
        let words = waiting_room::words(&sale["waiting_room"]);
        writeln!(body, "<p data-f=\"waiting_room\">{}</p>", Text(&words))?;
    }
    let refused = refusals(&sale["refusals_per_s"]);
    let (class, words) = match &refused {
        Some(refused) => ("refusals", refused.as_str()),
        None => ("", "nobody is refused"),
    };
    writeln!(body, "<p class=\"{class}\" data-f=\"refusals_per_s\">{}</p>", Text(words))?;
    writeln!(
        body,
        "<svg class=\"chart\" role=\"img\" aria-label=\"Arrivals, wins and refusals a second\"></svg>\
         <p class=\"legend\">Five minutes, logarithmic: <span class=\"arrivals\">arrivals</span>, <span class=\"wins\">wins</span>, \
         <span class=\"refusals\">refusals (dashed)</span>; upright lines: what operators did. \
         <span class=\"scale\"></span></p>"
    )?;
    if may_act(caller)
        && let Some(live) = plane.admission.board().sales().by_name(&tenant, &campaign, &sku)
    {
        body.push_str(&acts(plane, live, &path));
    }
    body.push_str("</section>\n");
    Ok(())
}

/// How long it is until a sale opens or ends, by its own times and the snapshot's.
fn countdown(sale: &Value, at: &str) -> String {
    let ms = |time: &str| time.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond());
    let until = |name: &str| Some(ms(text(&sale[name]))? - ms(at)?);
    match text(&sale["state"]) {
        "upcoming" => until("starts_at").map(|ms| format!("opens in {}", span(ms))),
        "ended" => None,
        _ => until("ends_at").map(|ms| format!("ends in {}", span(ms))),
    }
    .unwrap_or_default()
}

/// Refusals by code, the most frequent first; `None` while there are none.
fn refusals(by_code: &Value) -> Option<String> {
    let mut ranked: Vec<_> = by_code
        .as_object()
        .into_iter()
        .flatten()
        .map(|(code, rate)| (code, rate.as_f64().unwrap_or(0.0)))
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let ranked: Vec<_> = ranked.into_iter().map(|(code, rate)| format!("{code} {rate}/s")).collect();
    (!ranked.is_empty()).then(|| format!("refused: {}", ranked.join(", ")))
}

fn figures(body: &mut String, snapshot: &Value) -> std::fmt::Result {
    body.push_str(
        "<h2>How fast</h2><table><thead><tr><th scope=\"col\">Path</th><th scope=\"col\">a second</th>\
         <th scope=\"col\">P50, ms</th><th scope=\"col\">P99, ms</th><th scope=\"col\">P99 of the minute, ms</th></tr></thead><tbody>\n",
    );
    for (path, of_path) in snapshot["paths"].as_object().into_iter().flatten() {
        let ms = |window: &str, name: &str| of_path[window][name].as_f64().unwrap_or(0.0) / 1_000.0;
        let path = Text(path);
        writeln!(
            body,
            "<tr data-path=\"{path}\"><th scope=\"row\">{path}</th><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td></tr>",
            number(&of_path["second"]["count"]),
            ms("second", "p50_us"),
            ms("second", "p99_us"),
            ms("minute", "p99_us")
        )?;
    }
    body.push_str("</tbody></table>\n<h2>What it stands on</h2><table id=\"dependencies\"><tbody>\n");
    for part in snapshot["dependencies"].as_array().into_iter().flatten() {
        let class = if part["state"] == "wrong" { " class=\"wrong\"" } else { "" };
        let (name, said) = (Text(text(&part["name"])), Text(text(&part["said"])));
        writeln!(
            body,
            "<tr data-dependency=\"{name}\"><th scope=\"row\">{name}</th><td{class}>{said}</td></tr>"
        )?;
    }
    writeln!(body, "</tbody></table>\n<p>Live sales: {}.</p>", number(&snapshot["sales_live"]))?;
    body.push_str(
        "<h2>Nodes</h2><p>The sales above are of all nodes, speed and what it stands on of this one.</p><table id=\"nodes\"><thead><tr>\
         <th scope=\"col\">Node</th>",
    );
    for (_, label) in NODE_FIGURES {
        write!(body, "<th scope=\"col\">{label}</th>")?;
    }
    body.push_str("</tr></thead><tbody>\n");
    for node in snapshot["nodes"].as_array().into_iter().flatten() {
        // A name, not a count.
        write!(body, "<tr><th scope=\"row\">{}</th>", word(&node["node"]))?;
        for (name, _) in NODE_FIGURES {
            write!(body, "<td>{}</td>", number(&node[name]))?;
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody></table>\n");
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A count as a person reads it: HTML.
fn number(value: &Value) -> String {
    match value.as_u64() {
        Some(count) => grouped(count),
        None if value.is_null() => "–".into(),
        None => word(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sale_says_how_long_it_is_until_it_opens_or_ends() {
        let sale = |state: &str| json!({"state": state, "starts_at": "2030-01-31T12:00:00.000Z", "ends_at": "2030-01-31T15:10:00.000Z"});
        let at = "2030-01-31T11:59:01.500Z";
        assert_eq!(countdown(&sale("upcoming"), at), "opens in 58 seconds");
        assert_eq!(countdown(&sale("paused"), at), "ends in 3 hours and 10 minutes");
        assert_eq!(countdown(&sale("ended"), at), "");
        assert_eq!(countdown(&json!({"state": "open", "ends_at": null}), at), "");
    }

    #[test]
    fn no_figure_can_leave_its_place() {
        let other = json!(["<b>"]);
        let snapshot = json!({
            "paths": { "<b>": { "second": { "count": other } } },
            "sales_live": other,
            "nodes": [{ "node": other, "uptime_s": other }],
        });
        let mut body = String::new();
        figures(&mut body, &snapshot).unwrap();
        assert!(!body.contains("<b>") && body.contains("<tr data-path=\"&lt;b&gt;\">"), "{body}");
        assert_eq!(body.matches("[&quot;&lt;b&gt;&quot;]").count(), 4, "{body}");
    }

    #[test]
    fn what_it_stands_on_is_said_as_the_feed_says_it() {
        let dependencies = json!([
            {"name": "store", "state": "ok", "said": "answers; P99 1.20 ms"},
            {"name": "gateway", "state": "wrong", "said": "is left alone"},
            {"name": "relay", "state": "off", "said": "not used: <alone>"},
        ]);
        let mut body = String::new();
        figures(&mut body, &json!({ "dependencies": dependencies })).unwrap();
        for (name, cell) in [
            ("store", "<td>answers; P99 1.20 ms</td>"),
            ("gateway", "<td class=\"wrong\">is left alone</td>"),
            ("relay", "<td>not used: &lt;alone&gt;</td>"),
        ] {
            let row = format!("<tr data-dependency=\"{name}\"><th scope=\"row\">{name}</th>{cell}</tr>");
            assert!(body.contains(&row), "{row} in {body}");
        }
    }
}
