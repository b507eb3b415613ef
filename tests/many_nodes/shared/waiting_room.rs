//! One waiting room of several nodes: whoever is admitted is admitted everywhere, and another node moves the marks where the
//! one that did is gone.

use serde_json::Value;
use testbed::engine::Engine;

use super::fixture::{Fixture, known_to_all, until};

const QUEUE: &str = "/seckill/test/phone/queue";

fn register(engine: &Engine, buyer: &str) -> Value {
    let joined = engine.ask("POST", QUEUE, buyer, "", "");
    assert_eq!(joined.status, 201, "{}", joined.body);
    joined.json()
}

fn document(engine: &Engine) -> Value {
    engine.ask("GET", QUEUE, "nobody", "", "").json()
}

fn buy(engine: &Engine, buyer: &str, pass: &Value) -> u16 {
    let line = format!("X-Sale-Pass: {}\r\n", pass["pass"].as_str().unwrap());
    engine.ask("POST", "/seckill/test/phone", buyer, &line, "").status
}

#[test]
fn nodes_agree_on_every_admission_and_another_moves_the_marks_on() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    one.sale("phone", 40, &format!(r#","starts_at":"{later}","queue":{{"mode":"draw","rate_per_s":10}}"#));
    known_to_all(&[&one, &two], "phone");
    let buyers: Vec<String> = (0..30).map(|n| format!("buyer-{n}")).collect();
    let places: Vec<Value> = buyers
        .iter()
        .zip([&one, &two].into_iter().cycle())
        .map(|(buyer, node)| register(node, buyer))
        .collect();
    // Another device, at the other node: it changes nothing.
    buyers
        .iter()
        .zip([&two, &one].into_iter().cycle())
        .take(10)
        .for_each(|(buyer, node)| drop(register(node, buyer)));
    until("the log has them all", || document(&one)["registered"].as_u64() >= Some(30));
    let now = format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now());
    assert_eq!(two.admin("PATCH", "/api/v1/campaigns/test/phone", &now).status, 200);
    until("some are admitted", || document(&two)["admitted"].as_u64() >= Some(10));

    // Nobody watches, and still each tells how full it is: the release of a measured rate follows the fullest.
    let told = "SELECT count(*) FROM seckill.node_figures WHERE figures LIKE '%load_permille%'";
    until("both nodes tell of their load", || fixture.query(told) == "2");

    // Whichever of them moves the marks: the other goes on without it.
    let before = document(&two);
    drop(one.kill());
    until("the others are admitted, too", || document(&two)["admitted"].as_u64() >= Some(30));
    let after = document(&two);
    assert_eq!((&after["seed"], &after["seed_commit"]), (&before["seed"], &before["seed_commit"]));
    let three = fixture.start(3);
    known_to_all(&[&two, &three], "phone");
    until("the new node shows the same marks", || document(&three)["draw_mark"] == after["draw_mark"]);
    for (buyer, place) in buyers.iter().zip(&places) {
        let told = [&two, &three].map(|node| {
            let line = format!("X-Sale-Pass: {}\r\n", place["pass"].as_str().unwrap());
            let told = node.ask("POST", QUEUE, buyer, &line, "").json();
            (told["admitted"].clone(), told["position"].clone())
        });
        assert_eq!(told[0], told[1], "{buyer}");
        assert_eq!(told[0].0, true, "{buyer}");
    }
    // A pass of a node that is gone is as good on any other; the units of the dead one come back in time.
    until("everybody buys", || {
        buyers.iter().zip(&places).all(|(buyer, place)| match buy(&three, buyer, place) {
            201 | 202 | 409 => true,
            503 => false,
            other => panic!("{other}"),
        })
    });
    until("all have an order", || two.audit("phone").held == 30);
}
