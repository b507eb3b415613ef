//! `GET /orders`: what a buyer has, and nobody else.

use serde_json::Value;
use testbed::engine::Engine;

fn ids(list: &Value) -> Vec<String> {
    let orders = list["orders"].as_array().expect("a list").iter();
    orders.map(|order| order["order_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_buyer_sees_its_own_orders_newest_first_also_after_a_crash() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 10, r#","per_buyer_limit":5"#);
    engine.sale("case", 10, "");
    let list = |engine: &Engine, query: &str, buyer: &str| {
        let answer = engine.ask("GET", &format!("/orders{query}"), buyer, "", "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        answer.json()
    };
    assert_eq!(list(&engine, "", "ann"), serde_json::json!({ "orders": [], "before": null }));
    let mut bought = Vec::new();
    for sku in ["phone", "case", "phone", "phone"] {
        bought.push(engine.buy(sku, "ann").member("order_id"));
    }
    engine.buy("phone", "bob");
    // One is let go: it is shown as what it is.
    assert_eq!(engine.ask("DELETE", &format!("/orders/{}", bought[2]), "ann", "", "").status, 200);
    bought.reverse();
    let check = |engine: &Engine| {
        let all = list(engine, "", "ann");
        assert_eq!(ids(&all), bought);
        let states: Vec<_> = all["orders"].as_array().unwrap().iter().map(|order| &order["status"]).collect();
        assert_eq!(states, ["pre_pay", "cancelled", "pre_pay", "pre_pay"]);
        assert_eq!(ids(&list(engine, "?campaign=test&sku=case", "ann")), bought[2..3]);
        assert_eq!(ids(&list(engine, "?campaign=none", "ann")), [""; 0]);
        let first = list(engine, "?limit=3", "ann");
        assert_eq!(ids(&first), bought[..3]);
        let rest = list(engine, &format!("?limit=3&before={}", first["before"].as_str().unwrap()), "ann");
        assert_eq!((ids(&rest), &rest["before"]), (bought[3..].to_vec(), &Value::Null));
        assert_eq!(ids(&list(engine, "", "bob")).len(), 1);
        assert_eq!(ids(&list(engine, "", "eve")), [""; 0]);
    };
    check(&engine);
    let engine = engine.kill().start();
    check(&engine);
    for (query, buyer, status) in
        [("?limit=0", "ann", 400), ("?limit=1000", "ann", 400), ("?x=1", "ann", 400), ("", "", 401)]
    {
        assert_eq!(engine.ask("GET", &format!("/orders{query}"), buyer, "", "").status, status, "{query}");
    }
    assert_eq!(engine.ask("POST", "/orders", "ann", "", "").field("allow"), Some("GET, HEAD"));
    let other = engine.ask("GET", "/orders", "ann", "X-Tenant-ID: another\r\n", "");
    assert_eq!(ids(&other.json()), [""; 0]);
}

#[test]
fn looks_at_the_list_have_the_rate_of_lookups() {
    let engine = Engine::start(&[("ADMISSION__LOOKUP_RATE_PER_S", "1"), ("ADMISSION__LOOKUP_BURST", "2")]);
    let statuses: Vec<_> = (0..5).map(|_| engine.ask("GET", "/orders", "ann", "", "").status).collect();
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(engine.ask("GET", "/orders", "bob", "", "").status, 200);
}
