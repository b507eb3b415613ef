//! The figures, as a real Prometheus takes them from real engines under load.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use testbed::client::request;
use testbed::engine::Engine;
use testbed::pages::{fenced, in_code, of_today, read};
use testbed::receiver::{Receiver, SECRET};
use testbed::search::SearchServer;
use testbed::servers::cluster::{Cluster, ClusterPlan};
use testbed::servers::engine::binary;
use testbed::servers::prometheus::Prometheus;
use testbed::until;

use super::{dashboard_expressions, figures_named_in, text_of};

/// A day at a shop: buyers win, are refused, pay, and one of them has the money back.
fn a_day_at(engine: &Engine) {
    engine.sale("phone", 30, "");
    engine.sale("radio", 5, r#","currency":"JPY""#);
    let mut orders = Vec::new();
    for buyer in 0..200 {
        let answer = engine.buy("phone", &format!("buyer-{buyer}"));
        if answer.status == 201 {
            orders.push((buyer, answer.member("order_id")));
        }
    }
    assert_eq!(orders.len(), 30);
    for (buyer, order) in &orders[..10] {
        let pays = format!("/orders/{order}/checkout");
        let answer = engine.ask("POST", &pays, &format!("buyer-{buyer}"), "", r#"{"payment_method":"card"}"#);
        assert!([200, 202].contains(&answer.status), "{}", answer.body);
    }
    let is_paid = |(buyer, order): &(i32, String)| {
        let seen = engine.ask("GET", &format!("/orders/{order}"), &format!("buyer-{buyer}"), "", "");
        seen.member("status") == "paid"
    };
    until("ten have paid", || orders[..10].iter().all(is_paid));
    let refund = format!("/api/v1/orders/{}/refund", orders[0].1);
    let answer = engine.admin("POST", &refund, r#"{"reason":"arrived broken"}"#);
    assert!([200, 202].contains(&answer.status), "{}", answer.body);
    until("one has the money back", || {
        engine.read(&format!("/api/v1/orders/{}", orders[0].1)).member("status") == "refunded"
    });
}

fn page_of(admin: SocketAddr) -> String {
    let answer = request(admin, "GET", "/metrics", "", "");
    assert_eq!(answer.status, 200);
    answer.body
}

/// The engine's page once the sale's units are counted as they are now.
fn counted_page(engine: &Engine) -> String {
    let paid = r#"seckill_sale_paid_units{tenant="default",campaign="test",sku="phone"} 10"#;
    let refunded = r#"seckill_sale_refunded_units{tenant="default",campaign="test",sku="phone"} 1"#;
    let mut page = String::new();
    until("the units are counted", || {
        page = page_of(engine.admin_addr());
        [paid, refunded].iter().all(|line| page.lines().any(|is| is == *line))
    });
    page
}

fn samples(page: &str) -> BTreeMap<&str, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

/// Every name under which a page has samples, or would have them.
fn told_by(page: &str) -> BTreeSet<String> {
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names = families.flat_map(|(name, kind)| match kind {
        "histogram" => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec(),
        _ => vec![name.to_owned()],
    });
    names.collect()
}

/// The figures that a page of the project names in code and no engine tells. A histogram may be named as a whole, and a figure
/// by its beginning (`seckill_clock_`) or its end (`…_busy_seconds_total`).
fn unknown_to(told: &BTreeSet<String>, page: &str) -> Vec<String> {
    let is_told = |name: &&str| match name {
        beginning if beginning.ends_with('_') => told.iter().any(|told| told.starts_with(*beginning)),
        name => told.contains(*name) || told.contains(&format!("{name}_count")),
    };
    let ends = in_code(page).map(|code| code.trim_start_matches('…')).filter(|code| {
        // Shorter ones are units.
        code.starts_with('_') && code.len() > 4 && code.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    });
    let ends = ends.filter(|end| !told.iter().any(|told| told.ends_with(*end)));
    let whole = in_code(page).chain(fenced(page)).flat_map(figures_named_in);
    whole.filter(|name| !is_told(name)).chain(ends).map(str::to_owned).collect()
}

fn check_metrics(page: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: cargo xtask test installs it");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let judged = promtool.wait_with_output().unwrap();
    let said = [judged.stdout, judged.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(judged.status.success() && said.concat().trim().is_empty(), "{}", said.concat());
}

#[test]
fn every_figure_that_rules_dashboard_and_pages_name_is_told_by_real_engines() {
    let receiver = Receiver::start();
    let endpoints =
        format!("[{{name=\"erp\",url=\"{}\",secrets=[\"{SECRET}\"],allow_http=true}}]", receiver.url());
    let search = SearchServer::elastic();
    let webhooks = [
        ("ADMISSION__BUYER_RATE_PER_S", "0"),
        ("WEBHOOKS__ENDPOINTS", endpoints.as_str()),
        ("WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]"),
    ];
    let keys = search.keys();
    let engine = Engine::start(&[&webhooks[..], &keys[..]].concat());
    a_day_at(&engine);
    until("the day is told", || receiver.count() > 30);
    let alone = counted_page(&engine);
    let cluster = Cluster::start(&ClusterPlan {
        engine: binary().to_owned(),
        nodes: 1,
        keys: Vec::new(),
        is_proxied: false,
        first_edge: None,
        first_admin: None,
    });
    let shared = page_of(cluster.running().next().expect("its engine").admin());
    check_metrics(&alone);
    check_metrics(&shared);

    let told = &told_by(&alone) | &told_by(&shared);
    let dashboard = dashboard_expressions().join("\n");
    for (place, text) in [("rules", text_of("prometheus/seckill.rules.yml")), ("dashboard", dashboard)] {
        let named = figures_named_in(&text);
        assert!(named.len() > 20, "{place}: {named:?}");
        let missing: Vec<_> = named.into_iter().filter(|name| !told.contains(*name)).collect();
        assert!(missing.is_empty(), "no engine tells what the {place} name: {missing:?}");
    }
    for page in of_today() {
        let missing = unknown_to(&told, &read(&page));
        assert!(missing.is_empty(), "no engine tells what {page} names: {missing:?}");
    }

    let samples = samples(&alone);
    let of = |name: &str, more: &str| {
        samples[&*format!("{name}{{tenant=\"default\",campaign=\"test\",sku=\"phone\"{more}}}")]
    };
    assert_eq!(of("seckill_sale_stock_units", ""), 30.0);
    assert_eq!(of("seckill_sale_held_units", ""), 20.0);
    assert_eq!(of("seckill_sale_revenue_minor_units", ",currency=\"USD\""), 9.0 * 1999.0);
    assert_eq!(of("seckill_sale_requests_total", ",outcome=\"won\""), 30.0);
    assert_eq!(of("seckill_sale_requests_total", ",outcome=\"sold-out\""), 170.0);
    let radio = "seckill_sale_revenue_minor_units{tenant=\"default\",campaign=\"test\",sku=\"radio\",currency=\"JPY\"}";
    assert_eq!(samples[radio], 0.0);
    let paid = "seckill_checkout_call_duration_seconds_count{service=\"gateway\",result=\"answered\"}";
    assert!(samples[paid] >= 10.0);
}

#[test]
fn a_real_prometheus_and_the_engine_have_the_same_p99() {
    let engine = Engine::start(&[("ADMISSION__BUYER_RATE_PER_S", "0")]);
    a_day_at(&engine);
    counted_page(&engine);
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [seckill.rules.yml]\n\
         scrape_configs:\n  - job_name: seckill\n    static_configs: [{{targets: [\"{}\"]}}]\n",
        engine.admin_addr()
    );
    let rules = text_of("prometheus/seckill.rules.yml");
    let prometheus = Prometheus::start(&config, &[("seckill.rules.yml", &rules)]);

    // Nobody buys any more: both look at the same samples.
    for path in ["seckill", "order", "checkout"] {
        let own = engine.read("/api/v1/stats").json()["paths"][path].clone();
        let of_path = format!("sum(seckill_request_duration_seconds{{path=\"{path}\"}})");
        let count = own["count"].as_f64().unwrap();
        let counted = format!("histogram_count({of_path})");
        until("Prometheus has every sample", || prometheus.value(&counted) == Some(count));
        assert!(count >= 10.0, "{path}: {count}");
        let p99 = prometheus.value(&format!("histogram_quantile(0.99, {of_path}) * 1e6")).unwrap();
        let own = own["p99_us"].as_f64().unwrap();
        assert!((p99 - own).abs() <= own * 0.05, "{path}: Prometheus says {p99} µs, the engine {own} µs");
    }
    let refused = r#"sum(seckill_sale_requests_total{sku="phone",outcome="sold-out"})"#;
    assert_eq!(prometheus.value(refused), Some(170.0));

    // It takes every rule, and every expression of the dashboard; no alarm of a healthy shop is up.
    let is_well = |rule: &serde_json::Value| rule["health"] == "ok";
    let groups = || prometheus.ask("/api/v1/rules")["groups"].as_array().cloned().unwrap();
    let rules = || {
        groups().into_iter().flat_map(|group| group["rules"].as_array().cloned().unwrap()).collect::<Vec<_>>()
    };
    until("each rule was judged", || rules().iter().all(is_well));
    for expression in dashboard_expressions() {
        prometheus.query(&expression);
    }
    let critical = prometheus.query(r#"ALERTS{alertstate="firing",severity="critical"}"#);
    assert!(critical.is_empty(), "{critical:?}");
}

#[test]
fn figures_of_many_sales_stay_within_a_bound() {
    let engine = Engine::start(&[("ADMIN__METRICS_SALES_MAX", "3"), ("ADMISSION__BUYER_RATE_PER_S", "0")]);
    let series =
        |page: &str| page.lines().filter(|line| line.starts_with("seckill_sale_requests_total{")).count();
    let sum_of = |page: &str, outcome: &str| {
        let name = format!(
            "seckill_sale_requests_total{{tenant=\"(others)\",campaign=\"(others)\",sku=\"(others)\",outcome=\"{outcome}\"}}"
        );
        samples(page).get(&*name).copied()
    };
    // With the demo sale three.
    engine.sale("a", 5, "");
    engine.sale("b", 5, "");
    let page = page_of(engine.admin_addr());
    assert_eq!((sum_of(&page, "won"), series(&page)), (None, 3 * 13));

    for (number, sku) in (1..).zip(["c", "d", "e", "f"]) {
        engine.sale(sku, 5, "");
        (0..number).for_each(|buyer| assert_eq!(engine.buy(sku, &format!("buyer-{buyer}")).status, 201));
    }
    let page = page_of(engine.admin_addr());
    assert_eq!((sum_of(&page, "won"), series(&page)), (Some(10.0), 4 * 13));
    assert!(page.contains("sku=\"a\"") && page.contains("sku=\"b\"") && !page.contains("sku=\"c\""));

    // A sale that is over gives its place up; what the sum has counted stays, and nothing is counted twice.
    let end = engine.admin("POST", "/api/v1/campaigns/test/a/end", r#"{"reason":"over"}"#);
    assert_eq!(end.status, 200, "{}", end.body);
    until("another one has its place", || !page_of(engine.admin_addr()).contains("sku=\"a\""));
    let page = page_of(engine.admin_addr());
    assert!(page.contains("sku=\"b\"") && series(&page) == 4 * 13);
    assert_eq!(sum_of(&page, "won"), Some(10.0));

    // Archived sales have no figures.
    let archived = engine.admin("POST", "/api/v1/campaigns/test/a/archive", r#"{"reason":"over"}"#);
    assert_eq!(archived.status, 200, "{}", archived.body);
    assert_eq!(sum_of(&page_of(engine.admin_addr()), "won"), Some(10.0));
}
