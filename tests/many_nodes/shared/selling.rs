//! One stock sold by three engines.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use testbed::engine::Engine;

use super::fixture::{Fixture, known_to_all, sell, sell_out, until};

#[test]
fn three_nodes_sell_one_stock_exactly() {
    let fixture = Fixture::open();
    let engines = [fixture.start(0), fixture.start(1), fixture.start(2)];
    let all: Vec<&Engine> = engines.iter().collect();
    engines[1].sale("phone", 300, "");
    known_to_all(&all, "phone");
    let won = sell_out(&all, "phone");
    assert_eq!(won.len(), 300);
    for engine in &engines {
        let audit = engine.audit("phone");
        assert_eq!((audit.total, audit.held, audit.durable_orders), (300, 300, 300));
    }
    // An order is the buyer's on every node, whichever it was bought at.
    let (buyer, order) = &won[0];
    for engine in &engines {
        let shown = engine.ask("GET", &format!("/orders/{order}"), buyer, "", "");
        assert_eq!((shown.status, shown.member("buyer")), (200, buyer.clone()), "{}", shown.body);
        let again = engine.buy("phone", buyer);
        assert_eq!(again.status, 409, "{}", again.body);
    }
    let paid = engines[2].ask(
        "POST",
        &format!("/orders/{order}/checkout"),
        buyer,
        "",
        r#"{"payment_method":"card"}"#,
    );
    assert_eq!((paid.status, paid.member("status").as_str()), (200, "paid"), "{}", paid.body);
    // A unit that is given up on one node is sold by another.
    let (buyer, order) = &won[1];
    let cancelled = engines[0].ask("DELETE", &format!("/orders/{order}"), buyer, "", "");
    assert_eq!(cancelled.status, 200, "{}", cancelled.body);
    until("the unit is on sale at another node", || engines[1].buy("phone", "late").status == 201);
}

#[test]
fn a_killed_node_comes_back_to_its_units() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 200, "");
    known_to_all(&[&one, &two], "phone");
    until("both nodes sell", || {
        static BUYERS: AtomicUsize = AtomicUsize::new(0);
        let early = |engine: &Engine| {
            engine.buy("phone", &format!("early-{}", BUYERS.fetch_add(1, Ordering::Relaxed))).status == 201
        };
        early(&one) && early(&two)
    });
    let sold = one.audit("phone").held;
    let two = two.kill().start();
    let won = sell_out(&[&one, &two], "phone");
    assert_eq!(sold + won.len() as u64, 200);
    assert_eq!(one.audit("phone").held, 200);
}

#[test]
fn a_node_that_leaves_hands_its_units_back_at_once() {
    let fixture = Fixture::open();
    // Nobody would miss this node for an hour.
    let slow = [("LEDGER__SILENT_MS_MAX", "600000")];
    let (one, two) = (fixture.launch(1, &slow).start(), fixture.launch(2, &slow).start());
    one.sale("phone", 100, "");
    known_to_all(&[&one, &two], "phone");
    until("the second node has units", || two.buy("phone", "ann").status == 201);
    let (status, _) = two.terminate();
    assert!(status.success());
    let won = sell_out(&[&one], "phone");
    assert_eq!(won.len(), 99);
    // A sale that is made later does not wait for the node that left.
    one.sale("book", 5, "");
    assert_eq!(sell_out(&[&one], "book").len(), 5);
}

#[test]
fn events_reach_the_stream_in_order_and_once() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 20, "");
    known_to_all(&[&one, &two], "phone");
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 20);
    let client = redis::Client::open(fixture.redis.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut entries: Vec<(String, Vec<String>)> = Vec::new();
    until("all events are relayed", || {
        entries =
            redis::cmd("XRANGE").arg("seckill:events").arg("-").arg("+").query(&mut connection).unwrap();
        entries.len() >= 20
    });
    let ids: Vec<_> = entries.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids, (1..=20).map(|seq| format!("{seq}-0")).collect::<Vec<_>>());
    let event: Value = serde_json::from_str(&entries[0].1[1]).unwrap();
    assert_eq!(
        (&event["type"], &event["sku"], &event["seq"]),
        (&"order.created".into(), &"phone".into(), &1.into())
    );
}

#[test]
fn a4_a_node_that_has_not_heard_of_a_sale_leaves_none_of_its_events_out() {
    let fixture = Fixture::open();
    let one = fixture.start(1);
    // It looks once a minute for what the others do.
    let two = fixture.launch(2, &[("POSTGRES__FOLLOW_MS", "60000")]).start();
    one.sale("phone", 3, "");
    let mut orders: Vec<String> = sell(&[&one], "phone", 3).into_iter().map(|(_, order)| order).collect();
    orders.sort_unstable();
    let (mut seen, mut after) = (Vec::new(), String::new());
    until("the other node has shown all of them", || {
        let page = two.admin("GET", &format!("/api/v1/events?limit=1&after={after}"), "");
        assert_eq!(page.status, 200, "{}", page.body);
        for row in page.body.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            after = row["seq"].to_string();
            seen.push(row["order_id"].as_str().unwrap().to_owned());
        }
        seen.len() == orders.len()
    });
    seen.sort_unstable();
    assert_eq!(seen, orders);
}
