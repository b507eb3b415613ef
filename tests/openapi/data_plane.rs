//! Every operation of the data plane, and every problem of it that can be provoked from outside.

use std::time::Duration;

use testbed::client::{Answer, Client, request};
use testbed::described;
use testbed::engine::Engine;

/// Codes that no request alone brings about, each with where it is tested.
const NOT_HERE: [(&str, &str); 11] = [
    ("body-timeout", "takes its time: tests/http/limits.rs"),
    ("expectation-failed", "of the front end `may` alone: tests/http/framing.rs"),
    ("overloaded", "needs a store that stands or a crowd: tests/one_node/overload.rs"),
    ("order-pending", "needs a store that stands: tests/checkout/buyers.rs"),
    ("order-rejected", "needs a store that refuses: tests/store/writer.rs"),
    (
        "order-refunded",
        "needs a refund: the_money_of_an_order_that_was_refunded below, on an engine of its own",
    ),
    ("payment-in-progress", "needs a gateway that takes its time: tests/checkout/outcome.rs"),
    ("payment-unavailable", "needs a gateway that is away: tests/checkout/failures.rs"),
    ("registration-refused", "needs somebody at the door: tests/one_node/gatekeeper.rs"),
    ("registration-unavailable", "needs somebody at the door who is away: tests/one_node/gatekeeper.rs"),
    ("tenant-missing", "needs another configuration: tests/http/callers.rs"),
];

const LIMITS: [(&str, &str); 4] = [
    ("ADMISSION__RELEASES_MAX", "1"),
    ("CHECKOUT__ATTEMPTS_PER_ORDER_MAX", "1"),
    ("CHECKOUT__RISK__SIMULATED__DENIED_METHODS", "[\"stolen\"]"),
    ("ADMISSION__BUYER_RATE_PER_S", "0"),
];

/// The answer to a request with these header lines, held against the document.
fn ask(engine: &Engine, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    let answer = request(engine.edge(), method, path, lines, body);
    described::edge().hold(method, path, &answer);
    answer
}

#[track_caller]
fn hears(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.member("code").as_str()), (status, code), "{}", answer.body);
    assert_eq!(answer.member("type"), format!("/problems/{code}"));
}

#[test]
fn what_buyers_do_is_described() {
    let engine = Engine::start(&LIMITS);
    engine.sale("phone", 50, r#","per_buyer_limit":9"#);
    engine.sale("one", 1, "");
    engine.sale("later", 9, r#","starts_at":"2999-01-01T00:00:00Z","ends_at":"2999-01-02T00:00:00Z""#);
    engine.sale("over", 9, r#","starts_at":"2001-01-01T00:00:00Z","ends_at":"2001-01-02T00:00:00Z""#);
    engine.sale("paused", 9, r#","paused":true"#);
    engine.sale("slow", 9, r#","rate_per_s":1,"burst":1"#);
    engine.sale("room", 9, r#","queue":{"mode":"fifo","rate_per_s":1}"#);
    engine.sale(
        "shut",
        9,
        r#","queue":{"mode":"draw","opens_at":"2998-01-01T00:00:00Z"},"starts_at":"2999-01-01T00:00:00Z","ends_at":null"#,
    );
    let buy = |sku: &str, buyer: &str, lines: &str, body: &str| {
        engine.ask("POST", &format!("/seckill/test/{sku}"), buyer, lines, body)
    };
    let (key, two) = ("Idempotency-Key: k\r\n", r#"{"quantity":2}"#);
    let bought = buy("phone", "ann", key, "");
    assert_eq!((bought.status, buy("phone", "ann", key, "").status), (201, 200));
    hears(&buy("phone", "ann", key, two), 422, "idempotency-key-reused");
    hears(&buy("phone", "ann", "", r#"{"quantity":10}"#), 422, "quantity-not-allowed");
    hears(&buy("phone", "ann", "", "{"), 400, "bad-request");
    hears(&buy("phone", "ann", "", &format!("{{}}{}", " ".repeat(17 << 10))), 413, "body-too-large");
    hears(&buy("phone", "ann", "Origin: https://elsewhere.example\r\n", ""), 403, "cross-site");
    hears(&buy("none", "ann", "", ""), 404, "unknown-sale");
    hears(&ask(&engine, "POST", "/seckill/test/phone", "", ""), 401, "unauthorized");
    assert_eq!(buy("one", "ann", "", "").status, 201);
    hears(&buy("one", "ann", "", ""), 409, "already-purchased");
    hears(&buy("one", "bob", "", ""), 409, "sold-out");
    hears(&buy("later", "ann", "", ""), 409, "sale-not-started");
    hears(&buy("over", "ann", "", ""), 410, "sale-ended");
    hears(&buy("paused", "ann", "", ""), 409, "sale-paused");
    assert_eq!(buy("slow", "ann", "", "").status, 201);
    hears(&buy("slow", "bob", "", ""), 429, "rate-limited");
    hears(&buy("room", "ann", "", ""), 403, "waiting-room");

    let join = |sku: &str| engine.ask("POST", &format!("/seckill/test/{sku}/queue"), "ann", "", "");
    assert_eq!(join("room").status, 201);
    hears(&join("shut"), 409, "queue-closed");
    hears(&join("phone"), 404, "no-queue");
    for sku in ["phone", "later", "over", "paused", "one", "room"] {
        assert_eq!(engine.look(&format!("/seckill/test/{sku}"), "X-Platform: miniapp\r\n").status, 200);
    }
    for sku in ["room", "shut"] {
        assert_eq!(engine.look(&format!("/seckill/test/{sku}/queue"), "").status, 200);
    }
    hears(&engine.look("/seckill/test/phone/queue", ""), 404, "no-queue");

    let order = format!("/orders/{}", bought.member("order_id"));
    let pay = |path: &str, method: &str| {
        let body = format!(r#"{{"payment_method":"{method}"}}"#);
        engine.ask("POST", &format!("{path}/checkout"), "ann", "", &body)
    };
    assert_eq!(engine.ask("GET", &order, "ann", "", "").status, 200);
    assert_eq!(engine.ask("GET", "/orders?limit=1", "ann", "", "").status, 200);
    hears(&engine.ask("GET", &order, "bob", "", ""), 404, "unknown-order");
    hears(&engine.ask("PATCH", &order, "ann", "", ""), 405, "method-not-allowed");
    hears(&engine.ask("GET", "/orders/a/b", "ann", "", ""), 404, "not-found");
    hears(&pay(&order, ""), 422, "payment-method-not-allowed");
    hears(&pay(&order, "stolen"), 403, "risk-rejected");
    hears(&pay(&order, "card"), 409, "too-many-attempts");
    let second = buy("phone", "ann", "", two);
    let second = format!("/orders/{}", second.member("order_id"));
    assert_eq!(pay(&second, "card").status, 200);
    hears(&engine.ask("DELETE", &second, "ann", "", ""), 409, "order-paid");
    assert_eq!(engine.ask("DELETE", &order, "ann", "", "").status, 200);
    hears(&pay(&order, "card"), 409, "order-cancelled");
    hears(&buy("phone", "ann", "", ""), 409, "too-many-releases");

    every_code_was_heard_of();
    let seen = described::edge().seen();
    let good = |operation: &String| {
        seen.iter().any(|seen| seen.operation.as_ref() == Some(operation) && seen.status < 400)
    };
    for path in ["/openapi.json", "/problems", "/problems/sold-out"] {
        assert_eq!(engine.look(path, "").status, 200);
    }
    let shown = ["getDescription", "listProblems", "getProblem"];
    let missing: Vec<_> = described::edge()
        .operations()
        .into_iter()
        .filter(|operation| !good(operation) && !shown.contains(&operation.as_str()))
        .collect();
    assert!(missing.is_empty(), "no good answer of {missing:?}");
}

/// Those that need engines of their own, then the comparison with all that there are.
fn every_code_was_heard_of() {
    let engine = Engine::start(&[
        ("CHECKOUT__GATEWAY__SIMULATED__DECLINE_RATE", "1.0"),
        ("EDGE__TENANT__FROM", "fixed"),
    ]);
    engine.sale("phone", 9, r#","pay_within_s":1"#);
    let order = format!("/orders/{}", engine.buy("phone", "ann").member("order_id"));
    let pay = || engine.ask("POST", &format!("{order}/checkout"), "ann", "", r#"{"payment_method":"card"}"#);
    let declined = pay();
    // A busy machine may be late for the payment.
    assert!([402, 409].contains(&declined.status), "{}", declined.body);
    testbed::until("the order expires", || {
        std::thread::sleep(Duration::from_millis(50));
        pay().member("code") == "order-expired"
    });
    hears(
        &ask(&engine, "GET", "/seckill/test/phone", "X-Tenant-ID: other\r\n", ""),
        403,
        "tenant-not-allowed",
    );

    let engine = Engine::start(&[("CHECKOUT__GATEWAY__SIMULATED__DECLINE_RATE", "1.0")]);
    engine.sale("phone", 9, "");
    let order = format!("/orders/{}", engine.buy("phone", "ann").member("order_id"));
    let declined =
        engine.ask("POST", &format!("{order}/checkout"), "ann", "", r#"{"payment_method":"card"}"#);
    hears(&declined, 402, "payment-declined");

    let engine = Engine::start(&[("EDGE__AUTH__ORIGIN_SECRET", "sixteen-bytes-ok")]);
    hears(&ask(&engine, "GET", "/orders", "X-User-ID: ann\r\n", ""), 403, "forbidden");

    let seen = described::edge().seen();
    let mut missing = described::edge().codes();
    seen.iter().filter_map(|seen| seen.code.as_ref()).for_each(|code| {
        missing.remove(code);
    });
    for (code, elsewhere) in NOT_HERE {
        missing.remove(code);
        assert!(described::edge().codes().contains(code), "{code} is no code any more: {elsewhere}");
    }
    assert!(missing.is_empty(), "nobody has provoked {missing:?}");
}

#[test]
fn the_money_of_an_order_that_was_refunded() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 9, "");
    let id = engine.buy("phone", "ann").member("order_id");
    let order = format!("/orders/{id}");
    let pay = || engine.ask("POST", &format!("{order}/checkout"), "ann", "", r#"{"payment_method":"card"}"#);
    assert_eq!(pay().status, 200);
    let refunded = engine.admin("POST", &format!("/api/v1/orders/{id}/refund"), r#"{"reason":"broken"}"#);
    assert_eq!(refunded.status, 200, "{}", refunded.body);
    hears(&pay(), 409, "order-refunded");
    hears(&engine.ask("DELETE", &order, "ann", "", ""), 409, "order-refunded");
}

/// What cannot be read as a request at all is answered in the same words.
#[test]
fn what_is_no_request_is_answered_by_a_problem_of_the_plane() {
    let engine = Engine::start(&[]);
    let lines = ["X-User-ID: ann\r\nX-User-ID: eve\r\n", "Content-Length: 3\r\n"];
    for line in lines {
        let sent = format!("GET /orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{line}\r\nabc");
        let mut client = Client::connect(engine.edge());
        let Some(answer) = client.send(sent).answer() else { panic!("no answer to {line:?}") };
        described::edge().hold("GET", "/orders", &answer);
        assert!(answer.status >= 400, "{}", answer.status);
    }
}
