//! M9: every request that writes or calls out has the buyer's rate, and what fails or is let go of is limited.

use testbed::engine::Engine;

const CARD: &str = r#"{"payment_method":"card"}"#;

fn code(answer: &testbed::client::Answer) -> (u16, String) {
    (answer.status, answer.member("code"))
}

#[test]
fn m9_payments_of_one_order_are_limited() {
    let engine = Engine::start(&[
        ("CHECKOUT__GATEWAY__SIMULATED__DECLINE_RATE", "1.0"),
        ("CHECKOUT__ATTEMPTS_PER_ORDER_MAX", "3"),
    ]);
    engine.sale("phone", 1, "");
    let order = engine.buy("phone", "ann").member("order_id");
    let pay = || code(&engine.ask("POST", &format!("/orders/{order}/checkout"), "ann", "", CARD));
    for _ in 0..3 {
        assert_eq!(pay(), (402, "payment-declined".into()));
    }
    assert_eq!(pay(), (409, "too-many-attempts".into()));
    let metrics = engine.admin("GET", "/metrics", "").body;
    assert!(metrics.contains("seckill_orders_waiting 1\n"), "one deadline an order");
    let cancelled = engine.ask("DELETE", &format!("/orders/{order}"), "ann", "", "");
    assert_eq!(cancelled.member("status"), "cancelled");
    let metrics = engine.admin("GET", "/metrics", "").body;
    assert!(metrics.contains("seckill_orders_waiting 0\n"), "{metrics}");
}

#[test]
fn m9_every_request_that_writes_or_calls_out_has_the_buyers_rate() {
    let engine = Engine::start(&[
        ("ADMISSION__BUYER_RATE_PER_S", "1"),
        ("ADMISSION__BUYER_BURST", "1000"),
        ("ADMISSION__LOOKUP_RATE_PER_S", "1"),
        ("ADMISSION__LOOKUP_BURST", "1000"),
    ]);
    engine.sale("phone", 5, "");
    let order = engine.buy("phone", "ann").member("order_id");
    let path = format!("/orders/{order}");
    let wire = r#"{"payment_method":""}"#;
    let cases: [(&str, String, &str); 3] = [
        ("POST", format!("{path}/checkout"), wire),
        ("DELETE", "/orders/0000000000000".into(), ""),
        ("GET", path.clone(), ""),
    ];
    for (n, (method, path, body)) in cases.into_iter().enumerate() {
        // Each on a name of its own where the order's owner is not needed.
        let buyer = if n == 1 { "bob" } else { "ann" };
        let refused = (0..5_000)
            .map(|_| engine.ask(method, &path, buyer, "", body))
            .find(|answer| answer.status == 429)
            .unwrap_or_else(|| panic!("{method} {path} has no limit"));
        assert_eq!(refused.member("code"), "rate-limited");
        assert!(refused.field("retry-after").is_some(), "{method} {path}");
    }
    // Who has the same name with another tenant is somebody else.
    let other = engine.ask("GET", &path, "ann", "X-Tenant-ID: other\r\n", "");
    assert_eq!(code(&other), (404, "unknown-order".into()));
}

#[test]
fn m9_taking_units_and_letting_them_go_is_limited() {
    let keys = [("ADMISSION__RELEASES_MAX", "2")];
    let engine = Engine::start(&keys);
    engine.sale("phone", 5, "");
    let hold_and_cancel = |engine: &Engine| {
        let order = engine.buy("phone", "ann").member("order_id");
        let cancelled = engine.ask("DELETE", &format!("/orders/{order}"), "ann", "", "");
        assert_eq!(cancelled.member("status"), "cancelled");
    };
    hold_and_cancel(&engine);
    hold_and_cancel(&engine);
    let refused = |engine: &Engine| code(&engine.buy("phone", "ann"));
    assert_eq!(refused(&engine), (409, "too-many-releases".into()));
    assert_eq!(engine.buy("phone", "bob").status, 201, "others are not concerned");
    assert_eq!(engine.sale_state("phone")["remaining"], 4);
    let engine = engine.kill().start();
    assert_eq!(refused(&engine), (409, "too-many-releases".into()), "a restart forgets nothing");
}
