//! M4: a deadline counts time in which paying was possible, and operators can move it. D8: expiry leaves room.

use std::net::TcpListener;

use testbed::engine::Engine;
use testbed::until;

fn pay(engine: &Engine, order: &str, buyer: &str) -> String {
    let path = format!("/orders/{order}/checkout");
    let answer = engine.ask("POST", &path, buyer, "", r#"{"payment_method":"card"}"#);
    if answer.status < 300 { answer.member("status") } else { answer.member("code") }
}

fn order_at(engine: &Engine, order: &str, buyer: &str, member: &str) -> String {
    engine.ask("GET", &format!("/orders/{order}"), buyer, "", "").member(member)
}

fn time(text: &str) -> jiff::Timestamp {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

fn in_seconds(seconds: i64) -> String {
    format!("{:.3}", jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds))
}

#[test]
fn m4_no_order_expires_while_the_gateway_is_left_alone() {
    // Nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let engine = Engine::start(&[
        ("CHECKOUT__GATEWAY__KIND", "http"),
        ("CHECKOUT__GATEWAY__HTTP__URL", &format!("http://{closed}")),
        ("CHECKOUT__GATEWAY__RETRY__TRIES_MAX", "1"),
        ("CHECKOUT__GATEWAY__BREAKER__CALLS_MIN", "1"),
        ("CHECKOUT__GATEWAY__BREAKER__OPEN_MS", "3600000"),
        ("CHECKOUT__EXPIRY__TICK_MS", "10"),
    ]);
    // Long enough for a busy machine to sell five and to notice the outage.
    engine.sale("phone", 5, r#","pay_within_s":20"#);
    let ids: Vec<String> = (0..5).map(|n| engine.buy("phone", &format!("b{n}")).member("order_id")).collect();
    assert_eq!(pay(&engine, &ids[0], "b0"), "payment-unavailable");
    until("the outage is noticed", || {
        engine.admin("GET", "/metrics", "").body.contains("seckill_paying_impossible 1")
    });
    let promised =
        time(&order_at(&engine, &ids[1], "b1", "created_at")) + jiff::SignedDuration::from_secs(20);
    until("the time that was promised is long over", || {
        jiff::Timestamp::now() > promised + jiff::SignedDuration::from_secs(2)
    });
    for (n, id) in ids.iter().enumerate() {
        let buyer = format!("b{n}");
        assert_eq!(order_at(&engine, id, &buyer, "status"), "pre_pay");
        assert!(
            time(&order_at(&engine, id, &buyer, "pay_before")) > promised,
            "the buyer reads what is true"
        );
    }
    until("it is told", || {
        let events = engine.admin("GET", "/api/v1/events?limit=1000", "").body;
        events.lines().filter(|line| line.contains("order.extended")).count() >= 4
    });
}

#[test]
fn m4_an_operator_gives_an_order_or_a_sale_more_time() {
    let engine = Engine::start(&[("CHECKOUT__EXPIRY__TICK_MS", "10")]);
    // Long enough for a busy machine to ask for more.
    engine.sale("phone", 5, r#","pay_within_s":20"#);
    engine.sale("other", 1, r#","pay_within_s":3"#);
    let id = engine.buy("phone", "ann").member("order_id");
    let extend = |path: &str, body: &str| engine.admin("POST", path, body);
    let path = format!("/api/v1/orders/{id}/extend");
    let wanted = in_seconds(3_600);
    let moved = extend(&path, &format!(r#"{{"pay_before":"{wanted}","reason":"the bank was away"}}"#));
    assert_eq!((moved.status, moved.member("pay_before")), (200, wanted.clone()), "{}", moved.body);
    assert_eq!(order_at(&engine, &id, "ann", "pay_before"), wanted);

    let sale = "/api/v1/campaigns/test/phone/extend";
    let second = engine.buy("phone", "bob").member("order_id");
    let promised = time(&order_at(&engine, &second, "bob", "pay_before"));
    let given = extend(sale, r#"{"by_s":600,"reason":"sorry"}"#);
    assert_eq!(given.status, 200, "{}", given.body);
    let has = |order: &str, buyer: &str| time(&order_at(&engine, order, buyer, "pay_before"));
    assert_eq!(has(&second, "bob"), promised + jiff::SignedDuration::from_secs(600));
    assert_eq!(has(&id, "ann"), time(&wanted) + jiff::SignedDuration::from_secs(600));
    let later = engine.buy("phone", "cid");
    let created = time(&later.member("created_at"));
    assert_eq!(
        time(&later.member("pay_before")),
        created + jiff::SignedDuration::from_secs(20),
        "it is for those who wait"
    );

    // An order of another sale runs out, one that was given time does not, and a restart changes nothing.
    let other = engine.buy("other", "ann").member("order_id");
    until("the other sale's order expires", || order_at(&engine, &other, "ann", "status") == "expired");
    until("the later order expires", || {
        order_at(&engine, &later.member("order_id"), "cid", "status") == "expired"
    });
    assert_eq!(order_at(&engine, &second, "bob", "status"), "pre_pay");
    until("both are told", || {
        let events = engine.admin("GET", "/api/v1/events?campaign=test&sku=phone&limit=1000", "").body;
        let told =
            |order: &str| events.lines().any(|line| line.contains("order.extended") && line.contains(order));
        told(&id) && told(&second)
    });
    let before = has(&second, "bob");
    let engine = engine.kill().start();
    let after = time(&order_at(&engine, &second, "bob", "pay_before"));
    assert!(after >= before, "{after} after a restart, {before} before");
    assert_eq!(pay(&engine, &second, "bob"), "paid");
}

#[test]
fn m4_what_cannot_be_extended_is_refused_with_words() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 5, "");
    let id = engine.buy("phone", "ann").member("order_id");
    let path = format!("/api/v1/orders/{id}/extend");
    let ask = |path: &str, body: &str| {
        let answer = engine.admin("POST", path, body);
        (answer.status, answer.member("code"))
    };
    let hour = format!(r#"{{"pay_before":"{}"}}"#, in_seconds(3_600));
    let cases = [
        (path.as_str(), "{}", 422, "invalid-field"),
        (&path, r#"{"pay_before":"2020-01-01T00:00:00Z"}"#, 422, "invalid-field"),
        (&path, r#"{"pay_before":"9000-01-01T00:00:00Z"}"#, 422, "invalid-field"),
        (&path, r#"{"pay_before":"soon"}"#, 422, "invalid-field"),
        (&path, "", 400, "bad-request"),
        ("/api/v1/orders/nonsense/extend", &hour, 404, "unknown-order"),
        ("/api/v1/campaigns/test/phone/extend", r#"{"by_s":0}"#, 422, "invalid-field"),
        ("/api/v1/campaigns/test/phone/extend", r#"{"by_s":9999999}"#, 422, "invalid-field"),
        ("/api/v1/campaigns/test/nothing/extend", r#"{"by_s":5}"#, 404, "unknown-sale"),
    ];
    for (path, body, status, code) in cases {
        assert_eq!(ask(path, body), (status, code.into()), "{path} {body}");
    }
    assert_eq!(pay(&engine, &id, "ann"), "paid");
    assert_eq!(ask(&path, &hour), (409, "order-ended".into()));
}

#[test]
fn d8_a_crowd_that_expires_leaves_payments_their_room() {
    let engine = Engine::start(&[
        ("STORE__STEPS_MAX", "8"),
        ("CHECKOUT__EXPIRY__BATCH_MAX", "4"),
        ("CHECKOUT__RECOVERY__CONCURRENCY_MAX", "2"),
        ("CHECKOUT__EXPIRY__TICK_MS", "10"),
    ]);
    engine.sale("phone", 200, r#","pay_within_s":1"#);
    engine.sale("kept", 40, "");
    for n in 0..200 {
        assert_eq!(engine.buy("phone", &format!("b{n}")).status, 201);
    }
    for n in 0..40 {
        let buyer = format!("k{n}");
        let order = engine.buy("kept", &buyer).member("order_id");
        assert_eq!(pay(&engine, &order, &buyer), "paid");
    }
    until("all of them are back on sale", || engine.sale_state("phone")["remaining"] == 200);
    let log = std::fs::read_to_string(engine.launch().folder().join("log")).unwrap();
    assert!(!log.contains("could not be expired"), "{log}");
}
