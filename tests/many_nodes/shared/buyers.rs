//! What a buyer is told, and what an operator says, is the same on every node.

use serde_json::Value;
use testbed::client::request;
use testbed::engine::Engine;

use super::fixture::{Fixture, known_to_all, until};
use super::starts::Holding;

const PAY: &str = r#"{"payment_method":"card"}"#;

/// The order of a buyer who buys one here, once this node has units.
fn buys(engine: &Engine, buyer: &str, lines: &str) -> String {
    let mut order = String::new();
    until("the node has units", || {
        let answer = engine.ask("POST", "/seckill/test/phone", buyer, lines, "");
        order = answer.member("order_id");
        assert!(matches!(answer.status, 201 | 503), "{} {}", answer.status, answer.body);
        answer.status == 201
    });
    order
}

/// Status and order of a click that is no first one, once this node has units.
fn clicks_again(engine: &Engine, buyer: &str, lines: &str) -> (u16, String) {
    let mut told = (503, String::new());
    until("the node has units", || {
        let answer = engine.ask("POST", "/seckill/test/phone", buyer, lines, "");
        told = (answer.status, answer.member("order_id"));
        answer.status != 503
    });
    told
}

/// Two nodes of which the second never looks at what the first does: what it knows of it is the store's word.
fn one_node_and_one_that_does_not_look(fixture: &Fixture, stock: u32, terms: &str) -> (Engine, Engine) {
    let patient = ("POSTGRES__SILENT_MS_MAX", "3600000");
    let one = fixture.launch(1, &[patient]).start();
    one.sale("phone", stock, terms);
    let two = fixture.launch(2, &[patient, ("POSTGRES__FOLLOW_MS", "60000")]).start();
    (one, two)
}

#[test]
fn a_node_that_has_not_looked_yet_tells_a_buyer_of_the_order_made_elsewhere() {
    let fixture = Fixture::open();
    let (one, two) = one_node_and_one_that_does_not_look(&fixture, 1_000, "");
    let key = "Idempotency-Key: k\r\n";
    let ann = buys(&one, "ann", key);
    assert_eq!(two.ask("GET", &format!("/orders/{ann}"), "ann", "", "").member("status"), "pre_pay");
    let list = two.ask("GET", "/orders", "ann", "", "").json();
    assert_eq!((&list["orders"][0]["order_id"], &list["before"]), (&ann.clone().into(), &Value::Null));
    assert_eq!(clicks_again(&two, "ann", key), (200, ann.clone()), "the same request, the same order");
    assert_eq!(clicks_again(&two, "ann", ""), (409, ann.clone()));
    let bob = buys(&one, "bob", "");
    assert_eq!(clicks_again(&two, "bob", ""), (409, bob.clone()));
    // It takes money for the one and lets go of the other; the first node knows at once.
    let paid = two.ask("POST", &format!("/orders/{ann}/checkout"), "ann", "", PAY);
    assert_eq!((paid.status, paid.member("status").as_str()), (200, "paid"), "{}", paid.body);
    assert_eq!(one.ask("DELETE", &format!("/orders/{ann}"), "ann", "", "").member("code"), "order-paid");
    assert_eq!(two.ask("DELETE", &format!("/orders/{bob}"), "bob", "", "").status, 200);
    assert_eq!(one.ask("GET", &format!("/orders/{bob}"), "bob", "", "").member("status"), "cancelled");
    let checkout = one.ask("POST", &format!("/orders/{bob}/checkout"), "bob", "", PAY);
    assert_eq!(checkout.member("code"), "order-cancelled");
    let again = buys(&two, "bob", "");
    until("the first node knows of bob's second order", || {
        clicks_again(&one, "bob", "") == (409, again.clone())
    });
}

#[test]
fn a_buyer_who_clicks_at_two_nodes_at_once_has_one_order_and_hears_of_it_at_both() {
    let fixture = Fixture::open();
    let (one, two) = one_node_and_one_that_does_not_look(&fixture, 1_000, "");
    for number in 0..30 {
        let buyer = format!("buyer-{number}");
        let (here, there) = std::thread::scope(|scope| {
            let here = scope.spawn(|| clicks_again(&one, &buyer, ""));
            let there = clicks_again(&two, &buyer, "");
            (here.join().unwrap(), there)
        });
        assert_eq!(here.1, there.1, "one order");
        let mut statuses = [here.0, there.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
        // And paying for it at both at once takes the money once.
        let path = format!("/orders/{}/checkout", here.1);
        let (here, there) = std::thread::scope(|scope| {
            let here = scope.spawn(|| one.ask("POST", &path, &buyer, "", PAY));
            let there = two.ask("POST", &path, &buyer, "", PAY);
            (here.join().unwrap(), there)
        });
        for answer in [&here, &there] {
            assert!(matches!(answer.status, 200 | 202), "{} {}", answer.status, answer.body);
        }
        assert!(here.status == 200 || there.status == 200, "one of them paid");
    }
    assert_eq!(one.audit("phone").paid, 30);
}

#[test]
fn what_an_operator_changes_at_one_node_is_in_force_at_the_others() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 100, "");
    known_to_all(&[&one, &two], "phone");
    let path = "/api/v1/campaigns/test/phone";
    let changed = one.admin("PATCH", path, r#"{"paused":true,"title":"New"}"#);
    assert_eq!(changed.status, 200, "{}", changed.body);
    until("the other node pauses", || two.sale_state("phone")["state"] == "paused");
    assert_eq!(two.sale_state("phone")["title"], "New");
    assert_eq!(two.buy("phone", "ann").member("code"), "sale-paused");
    // What the other node is told to change leaves the rest as the first was told.
    let changed = two.admin("PATCH", path, r#"{"paused":false}"#);
    assert_eq!((changed.status, changed.member("title").as_str()), (200, "New"), "{}", changed.body);
    until("the first node goes on", || one.sale_state("phone")["state"] == "open");
    let more = two.admin("PATCH", path, r#"{"stock":101}"#);
    assert_eq!(more.status, 200, "{}", more.body);
    assert_eq!(one.audit("phone").total, 101);
    buys(&two, "ann", "");
}

#[test]
fn orders_of_a_node_that_was_killed_expire_and_their_units_are_sold() {
    let fixture = Fixture::open();
    let quick = [("POSTGRES__BEAT_MS", "200"), ("POSTGRES__SILENT_MS_MAX", "2000")];
    let (one, two) = (fixture.launch(1, &quick).start(), fixture.launch(2, &quick).start());
    one.sale("phone", 1, r#","pay_within_s":1"#);
    known_to_all(&[&one, &two], "phone");
    let order = buys(&one, "ann", "");
    let _killed = one.kill();
    until("the order expires at the other node", || {
        two.ask("GET", &format!("/orders/{order}"), "ann", "", "").member("status") == "expired"
    });
    until("its unit is sold again", || two.buy("phone", "bob").status == 201);
}

#[test]
fn a_buyer_who_holds_the_last_unit_hears_of_it_on_every_node_and_never_of_sold_out() {
    let fixture = Fixture::open();
    let patient = ("POSTGRES__SILENT_MS_MAX", "3600000");
    let one = fixture.launch(1, &[patient]).start();
    one.sale("phone", 1, "");
    // It looks so rarely that the ledger says that the sale is over long before it knows who bought.
    let two = fixture.launch(2, &[patient, ("POSTGRES__FOLLOW_MS", "3000")]).start();
    let ann = buys(&one, "ann", "");
    until("the other node knows of ann's order", || {
        let answer = two.ask("POST", "/seckill/test/phone", "ann", "", "");
        assert_ne!(answer.member("code"), "sold-out", "ann holds {ann}");
        answer.member("order_id") == ann
    });
    until("the other node knows that it is over", || {
        two.ask("POST", "/seckill/test/phone", "bob", "", "").member("code") == "sold-out"
    });
}

#[test]
fn an_order_that_one_node_has_accepted_is_being_written_down_on_the_page_of_another() {
    let fixture = Fixture::open();
    // Whatever waits for the store: no node ends the life of the other.
    let keys = [
        ("EDGE__PAGE", "true"),
        ("EDGE__ACK_WAIT_MS", "200"),
        ("LEDGER__SILENT_MS_MAX", "600000"),
        ("POSTGRES__SILENT_MS_MAX", "3600000"),
    ];
    let (one, two) = (fixture.launch(1, &keys).start(), fixture.launch(2, &keys).start());
    one.sale("phone", 1_000, "");
    known_to_all(&[&one, &two], "phone");
    let ask = |engine: &Engine, method: &str, path: &str, buyer: &str, form: &str| {
        let lines = format!("X-User-ID: {buyer}\r\nSec-Fetch-Site: same-origin\r\n");
        request(engine.edge(), method, path, &lines, form)
    };
    let (mut number, mut accepted) = (0, None);
    // On a machine that is too busy to look in time, and while the node has no units, another buyer comes.
    until("the other node tells of it", || {
        number += 1;
        let buyer = format!("ann-{number}");
        let holding = Holding::of(&fixture.database_url, "LOCK TABLE seckill.orders IN EXCLUSIVE MODE");
        let bought = ask(&one, "POST", "/seckill/test/phone/page", &buyer, "act=buy&key=k");
        let place = bought.field("location").unwrap_or_default().to_owned();
        let shown = (bought.status == 303).then(|| ask(&two, "GET", &place, &buyer, ""));
        holding.end();
        let Some(shown) = shown else { return false };
        assert!(place.ends_with("&pending"), "nothing could be written: {place}");
        let is_told = shown.body.contains("tabindex=\"-1\">Your order is being written down</h2>")
            && shown.body.contains("http-equiv=\"refresh\" content=\"3\"");
        accepted = is_told.then_some((buyer, place));
        is_told
    });
    let (buyer, place) = accepted.expect("it was told of");
    until("it is certain there", || {
        ask(&two, "GET", &place, &buyer, "").body.contains("tabindex=\"-1\">Reserved for you</h2>")
    });
}

#[test]
fn a_buyer_who_gives_an_order_up_hears_in_time_that_the_store_takes_no_writes() {
    let fixture = Fixture::open();
    let one = fixture.launch(1, &[("CHECKOUT__WAIT_MS", "300")]).start();
    one.sale("phone", 1, "");
    let order = buys(&one, "ann", "");
    let give_up = || one.ask("DELETE", &format!("/orders/{order}"), "ann", "", "");
    std::thread::scope(|scope| {
        let hold = "BEGIN; LOCK TABLE seckill.orders IN EXCLUSIVE MODE; SELECT pg_sleep(600); COMMIT";
        let held = scope.spawn(|| fixture.query(hold));
        let holds = "SELECT count(*) FROM pg_locks WHERE relation = 'seckill.orders'::regclass AND granted \
                     AND mode = 'ExclusiveLock'";
        until("nobody can write", || fixture.query(holds) == "1");
        let told = give_up();
        assert_eq!((told.status, told.member("code").as_str()), (503, "overloaded"), "{}", told.body);
        assert!(told.field("retry-after").is_some());
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
        assert_eq!(fixture.query(end), "1");
        assert!(held.join().is_err(), "it was ended");
    });
    until("it is given up", || give_up().status == 200);
    assert_eq!(one.audit("phone").held, 0);
}
