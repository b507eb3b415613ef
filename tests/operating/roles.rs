//! Who may do what: every cell of the table in src/admin/ROLES.md, asked for over HTTP. A unit test holds that page against the
//! descriptions that the routes are made of, so that a route without a row fails there, and a row that is not true here.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use testbed::described;

use super::identities::{PEOPLE, asked, start};

const PAGE: &str = include_str!("../../src/admin/ROLES.md");

/// A row of the table.
struct Row {
    method: Method,
    path: &'static str,
    /// Whether they may: who shows no token, a viewer, an operator, an admin.
    may: [bool; 4],
    /// What of it a token has that is bound to a tenant.
    with_tenant: &'static str,
}

fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let cells: Vec<&'static str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [request, _, may @ .., with_tenant] = &cells[..] else { panic!("{line}") };
        let (method, path) = request.trim_matches('`').split_once(' ').expect("a method and a path");
        let may = <[&str; 4]>::try_from(may).expect("four columns");
        assert!(may.iter().all(|cell| ["yes", "–"].contains(cell)), "{line}");
        Row { method: method.parse().unwrap(), path, may: may.map(|cell| cell == "yes"), with_tenant }
    };
    PAGE.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

/// The path of something that there is not: whoever may ask is told so, and nothing comes about.
fn example(path: &str) -> String {
    let names =
        [("campaign", "c"), ("sku", "none"), ("id", "0000000000000"), ("name", "none"), ("code", "internal")];
    let filled =
        names.iter().fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
    filled.replace("{file}", "order.hgrm")
}

/// The status, and the code of a problem. All is read, so that its connection serves again, but the live feed: it has no end.
async fn heard(request: RequestBuilder) -> (StatusCode, String) {
    let answer = request.body("{}").send().await.unwrap();
    let status = answer.status();
    let is_feed = answer.headers().get("content-type").is_some_and(|kind| *kind == "text/event-stream");
    let text = if is_feed { String::new() } else { answer.text().await.unwrap() };
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cell_of_the_table_is_true() {
    let (engine, rows) = (start().await, rows());
    let told: BTreeSet<_> = rows.iter().map(|row| format!("{} {}", row.method, row.path)).collect();
    let paths = described::admin().document()["paths"].as_object().unwrap();
    let routes = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
    });
    assert_eq!(told, routes.collect::<BTreeSet<_>>(), "a row for each route");

    for Row { method, path, may, with_tenant } in &rows {
        let example = example(path);
        let (status, code) = heard(engine.request(method.clone(), &example)).await;
        assert_eq!(
            status != StatusCode::UNAUTHORIZED,
            may[0],
            "{method} {path} without a token: {status} {code}"
        );
        for (name, role, own) in PEOPLE {
            for tenant in [None, Some("one"), Some("two")] {
                let (status, code) = heard(asked(&engine, name, method.clone(), &example, tenant)).await;
                let is_foreign = match (own, *with_tenant) {
                    (None, _) | (Some(_), "all") => false,
                    (Some(_), "–") => true,
                    (Some(own), "its own") => tenant.is_some_and(|tenant| tenant != own),
                    (Some(_), other) => panic!("{path}: {other}"),
                };
                let what = format!("{name} {method} {path} for {tenant:?}: {status} {code}");
                let refused = match () {
                    () if !may[1 + role as usize] => Some("role-too-low"),
                    () if is_foreign => Some("foreign-tenant"),
                    () => None,
                };
                if let Some(refused) = refused {
                    assert_eq!((status, &*code), (StatusCode::FORBIDDEN, refused), "{what}");
                } else {
                    let is_let_in = ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
                    assert!(is_let_in && !["not-found", "method-not-allowed"].contains(&&*code), "{what}");
                }
            }
        }
    }
    engine.stop().await;
}
