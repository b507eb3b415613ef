//! `GET /`: one page for people. It needs no script and nothing from any other address, and renews itself.

use std::fmt::{self, Write};
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

use super::control_plane::ControlPlane;
use super::rfc3339::rfc3339;
use super::sales::state_word;
use super::stats::micros;
use crate::telemetry::Path;

/// Sales that the page shows; more are only counted.
const SALES_SHOWN: usize = 200;
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>seckill</title><style>
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:68rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:2rem 0 .5rem}
p{margin:.2rem 0;opacity:.75}
table{border-collapse:collapse;width:100%}
th,td{padding:.35rem .75rem .35rem 0;text-align:left;border-bottom:1px solid #8884;font-variant-numeric:tabular-nums}
th{font-weight:600;opacity:.75}td.n,th.n{text-align:right}
progress{width:8rem;vertical-align:middle}
</style></head><body>
"#;

/// A text in HTML.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

pub(super) async fn show(State(plane): State<Arc<ControlPlane>>) -> Response {
    let mut page = String::from(HEAD);
    // Writing to a text does not fail.
    let _ = write_body(&mut page, &plane);
    let headers = [(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-store")];
    (headers, Html(page)).into_response()
}

fn write_body(page: &mut String, plane: &ControlPlane) -> fmt::Result {
    let (queue, uptime) = (plane.admission.queue(), plane.started.elapsed().as_secs());
    writeln!(
        page,
        "<h1>seckill</h1><p>node {} · version {} · up {uptime} s</p>",
        plane.node.number(),
        env!("CARGO_PKG_VERSION")
    )?;

    page.push_str("<h2>Sales</h2>\n");
    let board = plane.admission.board().sales();
    let mut sales: Vec<_> = board.iter().collect();
    sales.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    page.push_str(
        "<table><tr><th>Tenant<th>Campaign<th>SKU<th>Title<th>State<th class=n>On sale here<th class=n>On the way<th>Opens</tr>\n",
    );
    for sale in sales.iter().take(SALES_SHOWN) {
        let (key, remaining) = (&sale.key, sale.remaining());
        writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td class=n>{remaining}<td class=n>{}<td>{}</tr>",
            Text(key.tenant()),
            Text(key.campaign()),
            Text(key.sku()),
            Text(&sale.terms.title),
            state_word(plane.admission.phase(sale, plane.now()), sale.is_sold_out()),
            sale.state.units_in_flight(),
            rfc3339(sale.terms.starts_at),
        )?;
    }
    page.push_str("</table>\n");
    if sales.len() > SALES_SHOWN {
        writeln!(page, "<p>and {} more</p>", sales.len() - SALES_SHOWN)?;
    }

    page.push_str("<h2>Paths</h2>\n<table><tr><th>Path<th class=n>Now, a second<th class=n>P99 now, µs");
    page.push_str(
        "<th class=n>Since the start<th class=n>P50, µs<th class=n>P99, µs<th class=n>Longest, µs</tr>\n",
    );
    for path in Path::ALL {
        let (recent, all) = (plane.intervals.recent(path), plane.telemetry.path(path));
        let at = |quantile| {
            if all.count() == 0 { 0.0 } else { micros(all.histogram.value_at_quantile(quantile) as f64) }
        };
        writeln!(
            page,
            "<tr><td>{}<td class=n>{:.0}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}</tr>",
            path.name(),
            recent.per_s,
            micros(recent.p99_nanos as f64),
            all.count(),
            at(0.5),
            at(0.99),
            micros(all.histogram.max() as f64),
        )?;
    }
    page.push_str("</table>\n");

    let (depth, capacity) = (queue.depth(), queue.capacity());
    writeln!(
        page,
        "<h2>Queue</h2>\n<p><progress max={capacity} value={depth}></progress> {depth} of {capacity} orders wait for the store</p>"
    )?;
    let commit = plane.telemetry.writers.commit();
    let p99 = if commit.count() == 0 { 0.0 } else { micros(commit.histogram.value_at_quantile(0.99) as f64) };
    writeln!(page, "<p>{} commits, P99 {p99} µs</p></body></html>", commit.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_leave_its_place() {
        assert_eq!(Text("<b a=\"x\" b='y'>&").to_string(), "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
    }
}
