//! Webhooks of several nodes on one store: one of them delivers, another goes on where that one is gone, and each shows how it
//! stands and can be asked to act.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testbed::engine::Engine;
use testbed::receiver::{Receiver, SECRET, check_order};

use super::fixture::{Fixture, known_to_all, sell, until};

fn shown(engine: &Engine) -> Value {
    engine.read("/api/v1/webhooks").json()["webhooks"][0].clone()
}

/// Whether this node delivers.
fn delivers(engine: &Engine) -> bool {
    shown(engine)["by_this_node"]["taken"].as_u64() > Some(0)
}

fn created(engine: &Engine) -> BTreeSet<u64> {
    let events = engine.read("/api/v1/events?limit=10000").body;
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event["type"] == "order.created")
        .map(|event| event["seq"].as_u64().unwrap())
        .collect()
}

#[test]
fn w10_another_node_goes_on_with_deliveries_where_one_is_gone() {
    let receiver = Receiver::start();
    let fixture = Fixture::open();
    let endpoints =
        format!("[{{name=\"erp\",url=\"{}\",secrets=[\"{SECRET}\"],allow_http=true}}]", receiver.url());
    let keys = [
        ("WEBHOOKS__ENDPOINTS", endpoints.as_str()),
        ("WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]"),
        ("WEBHOOKS__RETRY_MS", "20"),
        ("WEBHOOKS__RETRY_MS_MAX", "200"),
        ("WEBHOOKS__IDLE_MS", "50"),
        ("RELAY__ENVELOPE", "cloudevents"),
    ];
    let (one, two) = (fixture.launch(1, &keys).start(), fixture.launch(2, &keys).start());
    one.sale("phone", 1_000, "");
    one.sale("watch", 1_000, "");
    known_to_all(&[&one, &two], "phone");
    known_to_all(&[&one, &two], "watch");
    let told = || -> BTreeSet<u64> {
        let taken = receiver.taken();
        taken.iter().filter(|it| it.kind() == "order.created").map(|it| it.seq()).collect()
    };
    for sku in ["phone", "watch"] {
        sell(&[&one, &two], sku, 30);
    }
    until("those are told", || told().len() == 60);
    assert!(delivers(&one) != delivers(&two), "one of them delivers");
    let (gone, left) = if delivers(&one) { (one, two) } else { (two, one) };

    // It dies in the middle of its work, with a receiver that is away.
    receiver.answer(|_| 503);
    sell(&[&gone, &left], "phone", 30);
    until("it tries", || shown(&left)["state"] == "failing");
    drop(gone.kill());
    receiver.answer(|_| 200);
    sell(&[&left], "watch", 10);
    until("all are told, by the other one", || created(&left).len() == 100 && told() == created(&left));
    assert!(delivers(&left));
    check_order(&receiver.taken());

    // A node that has not delivered can be asked, too.
    let three = fixture.launch(3, &keys).start();
    receiver.forget();
    let replay =
        three.admin("POST", "/api/v1/webhooks/erp/replay", r#"{"from":1,"reason":"a new receiver"}"#);
    assert_eq!(replay.status, 200, "{}", replay.body);
    until("all are told again", || told() == created(&left));
    check_order(&receiver.taken());
    until("both show it", || [&left, &three].iter().all(|node| shown(node)["orders"]["lag_events"] == 0));

    // The stream has the same envelope, and the same ids.
    let stream = fixture.redis.command("XRANGE seckill:events - + COUNT 1");
    let wrapped = stream.lines().find(|line| line.contains("specversion")).expect("an event in its envelope");
    let wrapped: Value = serde_json::from_str(wrapped.trim()).unwrap();
    let first =
        receiver.taken().into_iter().find(|it| it.seq() == 1 && it.kind() == "order.created").unwrap();
    assert_eq!((&wrapped["id"], &wrapped["data"]["seq"]), (&json!(first.id), &json!(1)));
}
