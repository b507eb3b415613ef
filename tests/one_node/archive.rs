//! Sales that end: archived, deleted, or archived by themselves; what of them is found as before, and what costs nothing any
//! more.

use std::time::Duration;

use rand::Rng;
use rusqlite::Connection;
use seckill::domain::OrderStatus;
use serde_json::Value;
use testbed::client::Answer;
use testbed::crowd::BuyerClient;
use testbed::engine::{Engine, Launch};
use testbed::servers::postgres::Postgres;
use testbed::until;

pub const REASON: &str = r#"{"reason":"it is over"}"#;

pub fn act(engine: &Engine, sku: &str, what: &str) -> Answer {
    engine.admin("POST", &format!("/api/v1/campaigns/test/{sku}/{what}"), REASON)
}

fn delete(engine: &Engine, sku: &str) -> Answer {
    engine.admin("DELETE", &format!("/api/v1/campaigns/test/{sku}"), "")
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.member("code"))
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn order_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.member("order_id")
}

/// The orders of a sale, but for their deadlines, which a restart moves.
pub fn exported(engine: &Engine, sku: &str) -> Vec<Value> {
    let mut orders = engine.orders(sku, "");
    orders.iter_mut().for_each(|order| drop(order.as_object_mut().unwrap().remove("pay_before")));
    orders
}

/// A line of `/metrics`.
fn metric(engine: &Engine, name: &str) -> Option<f64> {
    let page = engine.admin("GET", "/metrics", "").body;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The keys of an engine that keeps its orders in PostgreSQL, alone.
fn on_postgres(url: &str) -> Vec<(&str, &str)> {
    vec![("POSTGRES__URL", url), ("POSTGRES__CONNECT_WAIT_MS", "30000")]
}

/// Buys one unit of the phone by this key.
fn tap(engine: &Engine, buyer: &str, key: &str, quantity: u32) -> Answer {
    let body = format!(r#"{{"quantity":{quantity}}}"#);
    engine.ask("POST", "/seckill/test/phone", buyer, &format!("Idempotency-Key: {key}\r\n"), &body)
}

#[test]
fn o5_an_archived_sale_costs_nothing_and_is_found_as_before() {
    is_found_as_before(vec![]);
}

#[test]
fn o9_an_archived_sale_costs_nothing_and_is_found_as_before_on_postgresql() {
    let postgres = Postgres::shared();
    is_found_as_before(on_postgres(&postgres.new_database()));
}

fn is_found_as_before(mut keys: Vec<(&str, &str)>) {
    // Two at once, and perhaps the demo's.
    let sales_max = if keys.is_empty() { "3" } else { "2" };
    keys.push(("LEDGER__SALES_MAX", sales_max));
    let launch = Launch::new(&keys);
    let engine = launch.start();
    engine.sale("phone", 10, r#","per_buyer_limit":2"#);
    engine.sale("watch", 10, "");
    let paid = order_of(&tap(&engine, "ann", "tap-1", 2));
    let open = order_of(&engine.buy("phone", "bob"));
    let other = order_of(&engine.buy("watch", "ann"));
    let method = r#"{"payment_method":"card"}"#;
    let pay = |buyer: &str, order: &str| {
        engine.ask("POST", &format!("/orders/{order}/checkout"), buyer, "", method)
    };
    until("ann has paid", || pay("ann", &paid).status == 200);

    assert_eq!(told(&act(&engine, "phone", "archive")), (409, "campaign-not-over".into()));
    assert_eq!(act(&engine, "phone", "end").status, 200);
    let refused = act(&engine, "phone", "archive");
    assert_eq!((told(&refused), &refused.json()["units"]), ((409, "orders-open".into()), &1.into()));
    assert_eq!(told(&delete(&engine, "phone")), (409, "campaign-has-orders".into()));
    assert_eq!(engine.ask("DELETE", &format!("/orders/{open}"), "bob", "", "").status, 200);
    let (audit, orders) = (engine.audit("phone"), exported(&engine, "phone"));
    assert_eq!((audit.paid, audit.held, orders.len()), (2, 0, 2));

    let archived = act(&engine, "phone", "archive");
    assert_eq!(archived.status, 200, "{}", archived.body);
    let archived = json(&archived.body);
    assert_eq!((&archived["state"], &archived["sold"]), (&Value::from("archived"), &Value::from(2)));
    assert!(archived["archived_at"].is_string(), "{archived}");
    // Only live sales count.
    until("its orders have moved", || engine.try_sale("coat", 10, "").is_some_and(|made| made.status == 201));
    assert_eq!(
        engine.try_sale("hat", 1, "").map(|answer| told(&answer)),
        Some((409, "too-many-campaigns".into()))
    );

    let as_before = |engine: &Engine| {
        assert_eq!(engine.audit("phone"), audit);
        assert_eq!(exported(engine, "phone"), orders);
        let all = engine.admin("GET", "/api/v1/orders", "").body;
        assert_eq!(all.lines().count(), 3, "{all}");
        for (buyer, order, status) in
            [("ann", &paid, "paid"), ("bob", &open, "cancelled"), ("ann", &other, "pre_pay")]
        {
            let found = engine.ask("GET", &format!("/orders/{order}"), buyer, "", "");
            assert_eq!((found.status, found.member("status")), (200, status.into()), "{}", found.body);
            let shown = engine.admin("GET", &format!("/api/v1/orders/{order}"), "");
            assert_eq!((shown.status, shown.member("status")), (200, status.into()), "{}", shown.body);
            let stranger = engine.ask("GET", &format!("/orders/{order}"), "eve", "", "");
            assert_eq!(told(&stranger), (404, "unknown-order".into()));
        }
        let own = json(&engine.ask("GET", "/orders", "ann", "", "").body);
        let own: Vec<&str> = own["orders"]
            .as_array()
            .unwrap()
            .iter()
            .map(|order| order["order_id"].as_str().unwrap())
            .collect();
        assert_eq!(own, [other.as_str(), paid.as_str()], "the newest first");
        let of_phone = json(&engine.ask("GET", "/orders?sku=phone", "ann", "", "").body);
        assert_eq!(of_phone["orders"][0]["order_id"], paid.as_str(), "{of_phone}");
        until("two were made, one was paid, one given up", || {
            let events = engine.admin("GET", "/api/v1/events?campaign=test&sku=phone", "");
            assert_eq!(events.status, 200, "{}", events.body);
            events.body.lines().count() == 4
        });
        // A buyer hears of the sale, and of an order, as when it was on the board.
        let repeated = tap(engine, "ann", "tap-1", 2);
        assert_eq!((repeated.status, repeated.member("order_id")), (200, paid.clone()), "{}", repeated.body);
        assert_eq!(told(&tap(engine, "ann", "tap-1", 1)), (422, "idempotency-key-reused".into()));
        let another = engine.buy("phone", "ann");
        assert_eq!(told(&another), (409, "already-purchased".into()));
        assert_eq!(another.member("order_id"), paid);
        assert_eq!(told(&engine.buy("phone", "bob")), (410, "sale-ended".into()));
        assert_eq!(told(&engine.buy("phone", "cat")), (410, "sale-ended".into()));
        assert_eq!(engine.sale_state("phone")["state"], "ended");
        assert_eq!(told(&engine.buy("telephone", "cat")), (404, "unknown-sale".into()));
        // Who asks again for what was done hears the same.
        let again = engine.ask("POST", &format!("/orders/{paid}/checkout"), "ann", "", method);
        assert_eq!((again.status, again.member("status")), (200, "paid".into()), "{}", again.body);
        let again = engine.ask("DELETE", &format!("/orders/{open}"), "bob", "", "");
        assert_eq!((again.status, again.member("status")), (200, "cancelled".into()), "{}", again.body);
        // It is final: nothing of it changes.
        for what in ["pause", "end", "archive"] {
            assert_eq!(told(&act(engine, "phone", what)), (409, "campaign-archived".into()), "{what}");
        }
        let changed = engine.admin("PATCH", "/api/v1/campaigns/test/phone", r#"{"stock":20}"#);
        assert_eq!(told(&changed), (409, "campaign-archived".into()));
        let cancelled = engine.admin("POST", &format!("/api/v1/orders/{paid}/cancel"), REASON);
        assert_eq!(told(&cancelled), (409, "order-paid".into()));
        let live = json(&engine.admin("GET", "/api/v1/campaigns", "").body);
        assert!(live["campaigns"].as_array().unwrap().iter().all(|sale| sale["sku"] != "phone"), "{live}");
        let kept = json(&engine.admin("GET", "/api/v1/campaigns?archived=true", "").body);
        assert_eq!(
            (&kept["campaigns"][0]["sku"], &kept["campaigns"][0]["state"]),
            (&"phone".into(), &"archived".into())
        );
        assert_eq!(json(&engine.admin("GET", "/api/v1/campaigns/test/phone", "").body)["state"], "archived");
    };
    as_before(&engine);
    // There has to be a place for another one.
    assert_eq!(delete(&engine, "coat").status, 204);
    assert_eq!(
        engine.try_sale("phone", 1, "").map(|answer| told(&answer)),
        Some((409, "campaign-exists".into()))
    );
    engine.sale("coat", 10, "");
    let trail = engine.admin("GET", "/api/v1/trail", "").body;
    let archived = trail.lines().map(json).find(|entry| entry["act"] == "campaign.archived").unwrap();
    assert_eq!(
        (&archived["object"], &archived["reason"]),
        (&"test/phone".into(), &"it is over".into()),
        "{archived}"
    );

    engine.kill();
    let engine = launch.start();
    as_before(&engine);
    assert_eq!(engine.sale_state("coat")["remaining"], 10);
    // Money goes back all the same, and no unit.
    let refund = |body: &str| engine.admin("POST", &format!("/api/v1/orders/{paid}/refund"), body);
    assert_eq!(told(&refund(r#"{"restock":true,"reason":"broken"}"#)), (409, "campaign-archived".into()));
    until("it is given back", || refund(r#"{"number":1,"reason":"broken"}"#).member("status") == "refunded");
    let books = json(&engine.admin("GET", "/api/v1/campaigns/test/phone/audit", "").body);
    assert_eq!(
        (&books["refunded"], &books["paid"], &books["conserved"]),
        (&2.into(), &2.into(), &true.into())
    );
    until("that is told", || {
        engine.admin("GET", "/api/v1/events?campaign=test&sku=phone", "").body.contains("order.refunded")
    });
}

#[test]
fn o5_only_a_sale_without_orders_is_deleted_and_its_name_is_free() {
    frees_its_name(&[], |launch| {
        let store = Connection::open(launch.folder().join("orders.sqlite")).unwrap();
        store.execute(&late_refusal("", ""), []).unwrap();
    });
}

/// What the store writes down of a purchase that was under way when its sale was deleted.
fn late_refusal(schema: &str, node: &str) -> String {
    let (column, value) =
        if node.is_empty() { ("", String::new()) } else { (", step_node", format!(", {node}")) };
    format!(
        "INSERT INTO {schema}orders (order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, \
         pay_before_ms{column}) SELECT 5, sale_id, 'ann', 1, 5, {}, 0, 0{value} FROM {schema}sales WHERE sku LIKE 'phone/%'",
        OrderStatus::Rejected.code()
    )
}

#[test]
fn o9_only_a_sale_without_orders_is_deleted_and_its_name_is_free_on_postgresql() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    frees_its_name(&on_postgres(&url), |_| {
        postgres.query(url.rsplit('/').next().unwrap(), &late_refusal("seckill.", "0"));
    });
}

fn frees_its_name(keys: &[(&str, &str)], refuse_late: impl Fn(&Launch)) {
    let launch = Launch::new(keys);
    let engine = launch.start();
    engine.sale("phone", 10, "");
    let before = json(&engine.admin("GET", "/api/v1/campaigns/test/phone", "").body);
    assert_eq!(delete(&engine, "phone").status, 204);
    assert_eq!(told(&engine.buy("phone", "ann")), (404, "unknown-sale".into()));
    assert_eq!(told(&delete(&engine, "phone")), (404, "unknown-sale".into()));
    engine.kill();
    refuse_late(&launch);
    let engine = launch.start();
    // Who exports all orders is not held up by one of a sale that is no more.
    engine.sale("watch", 5, "");
    assert_eq!(engine.buy("watch", "ann").status, 201);
    let all = engine.admin("GET", "/api/v1/orders", "");
    assert_eq!((all.status, all.body.lines().count()), (200, 1), "{}", all.body);
    assert_eq!(told(&engine.admin("GET", "/api/v1/campaigns/test/phone", "")), (404, "unknown-sale".into()));
    engine.sale("phone", 5, "");
    let after = json(&engine.admin("GET", "/api/v1/campaigns/test/phone", "").body);
    assert_ne!(before["etag"], after["etag"], "another sale, with a number of its own");
    assert_eq!(engine.buy("phone", "ann").status, 201);
    let trail = engine.admin("GET", "/api/v1/trail", "").body;
    assert!(trail.contains("campaign.deleted"), "{trail}");
}

/// Orders that move in several transactions.
pub const MANY: usize = 600;

#[test]
fn o5_kills_while_orders_move_lose_none() {
    loses_none(&[]);
}

#[test]
fn o9_kills_while_orders_move_lose_none_on_postgresql() {
    let postgres = Postgres::shared();
    loses_none(&on_postgres(&postgres.new_database()));
}

fn loses_none(keys: &[(&str, &str)]) {
    let launch = Launch::new(keys);
    let mut engine = launch.start();
    for cycle in 0..4 {
        let sku = format!("sku-{cycle}");
        engine.sale(&sku, 1_000, r#","pay_within_s":1"#);
        let mut client = BuyerClient::at(engine.edge());
        for number in 0..MANY {
            let bought = client.buy(&sku, &format!("buyer-{cycle}-{number}"), 1, None).expect("an answer");
            assert_eq!(bought.status, 201, "{bought:?}");
        }
        assert_eq!(act(&engine, &sku, "end").status, 200);
        until("nothing of it is open", || engine.audit(&sku).held == 0);
        let (audit, orders) = (engine.audit(&sku), engine.orders(&sku, ""));
        assert_eq!(orders.len(), MANY);
        let archived = act(&engine, &sku, "archive");
        assert_eq!(archived.status, 200, "{}", archived.body);
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..30)));
        engine.kill();
        engine = launch.start();
        // Whatever has moved by then.
        let own =
            json(&engine.ask("GET", &format!("/orders?sku={sku}"), &format!("buyer-{cycle}-0"), "", "").body);
        assert_eq!(own["orders"].as_array().map(Vec::len), Some(1), "{own}");
        assert_eq!((engine.audit(&sku), engine.orders(&sku, "")), (audit, orders));
    }
}

#[test]
fn o5_a_sale_archives_itself_when_the_configuration_says_so() {
    archives_itself(vec![]);
}

#[test]
fn o9_a_sale_archives_itself_on_postgresql() {
    let postgres = Postgres::shared();
    archives_itself(on_postgres(&postgres.new_database()));
}

fn archives_itself(mut keys: Vec<(&str, &str)>) {
    let has_log = keys.is_empty();
    keys.push(("LEDGER__ARCHIVE_AFTER_S", "1"));
    let engine = Engine::start(&keys);
    engine.sale("phone", 10, "");
    engine.sale("watch", 10, "");
    let open = order_of(&engine.buy("watch", "ann"));
    assert_eq!(act(&engine, "phone", "end").status, 200);
    assert_eq!(act(&engine, "watch", "end").status, 200);
    let is_archived = |sku: &str| {
        let shown = engine.admin("GET", &format!("/api/v1/campaigns/test/{sku}"), "");
        json(&shown.body)["state"] == "archived"
    };
    until("the one without open orders is archived", || is_archived("phone"));
    assert!(!is_archived("watch"), "an order of it waits to be paid");
    let trail = engine.admin("GET", "/api/v1/trail", "").body;
    let archived = trail.lines().map(json).find(|entry| entry["act"] == "campaign.archived").unwrap();
    assert_eq!((&archived["who"], &archived["role"]), (&"engine".into(), &"policy".into()), "{archived}");
    let found = engine.ask("GET", &format!("/orders/{open}"), "ann", "", "");
    assert_eq!(found.member("status"), "pre_pay");
    assert_eq!(metric(&engine, "seckill_store_log_bytes ").is_some(), has_log);
}
