//! The data plane's contract, asked of the real engine through either front end.

use testbed::client::request;
use testbed::engine::Engine;

const FRONT_ENDS: [&str; 2] = ["hyper", "may"];

fn engine(front_end: &str) -> Engine {
    Engine::start(&[("EDGE__FRONT_END", front_end), ("EDGE__THREADS", "2")])
}

#[test]
fn an_order_from_the_purchase_to_the_payment() {
    for front_end in FRONT_ENDS {
        let engine = engine(front_end);
        engine.sale("phone", 2, "");
        let bought = engine.buy("phone", "ann");
        assert_eq!(bought.status, 201, "{front_end}: {}", bought.body);
        let id = bought.member("order_id");
        let order = format!("/orders/{id}");
        assert_eq!(bought.field("location"), Some(order.as_str()));
        let body: serde_json::Value = serde_json::from_str(&bought.body).unwrap();
        let expected = [
            ("tenant", "default"),
            ("campaign", "test"),
            ("sku", "phone"),
            ("buyer", "ann"),
            ("currency", "USD"),
            ("status", "pre_pay"),
        ];
        for (member, value) in expected {
            assert_eq!(body[member], value, "{member}");
        }
        assert_eq!((&body["quantity"], &body["amount_cents"]), (&1.into(), &1999.into()));
        assert!(body["paid_at"].is_null() && body.as_object().unwrap().len() == 13, "{body}");

        assert_eq!(engine.ask("GET", &order, "ann", "", "").body, bought.body);
        for (buyer, lines) in [("bob", ""), ("ann", "X-Tenant-ID: other\r\n")] {
            let other = engine.ask("GET", &order, buyer, lines, "");
            assert_eq!((other.status, other.member("code").as_str()), (404, "unknown-order"), "{buyer}");
        }

        let pay = |body: &str| engine.ask("POST", &format!("{order}/checkout"), "ann", "", body);
        assert_eq!(pay("").status, 400);
        for _repeat in 0..2 {
            let paid = pay(r#"{"payment_method":"card"}"#);
            assert_eq!((paid.status, paid.member("status").as_str()), (200, "paid"), "{}", paid.body);
            assert!(!paid.member("paid_at").is_empty());
        }
        let cancelled = engine.ask("DELETE", &order, "ann", "", "");
        assert_eq!((cancelled.status, cancelled.member("code").as_str()), (409, "order-paid"));
    }
}

#[test]
fn a_sale_with_a_waiting_room_has_its_queue() {
    const QUEUE: &str = "/seckill/test/phone/queue";
    for front_end in FRONT_ENDS {
        let engine = engine(front_end);
        engine.sale("phone", 2, r#","queue":{"mode":"fifo","rate_per_s":1}"#);
        let refused = engine.buy("phone", "ann");
        assert_eq!((refused.status, refused.member("code").as_str()), (403, "waiting-room"), "{front_end}");
        assert_eq!(refused.member("queue"), QUEUE);
        for body in ["", "{}"] {
            let joined = engine.ask("POST", QUEUE, "ann", "", body);
            assert_eq!(joined.status, 201, "{front_end}: {}", joined.body);
            assert_eq!(joined.field("cache-control"), Some("no-store"));
        }
        assert_eq!(engine.ask("POST", QUEUE, "ann", "", "[1]").status, 400);
        assert_eq!(request(engine.edge(), "POST", QUEUE, "", "").status, 401);
        let document = request(engine.edge(), "GET", QUEUE, "", "");
        assert_eq!((document.status, document.json()["remaining"].as_u64()), (200, Some(2)));
        assert_eq!(engine.ask("DELETE", QUEUE, "ann", "", "").field("allow"), Some("GET, HEAD, POST"));
    }
}

#[test]
fn a_cancelled_orders_unit_is_on_sale_again() {
    for front_end in FRONT_ENDS {
        let engine = engine(front_end);
        engine.sale("one", 1, "");
        let id = engine.buy("one", "ann").member("order_id");
        let sold_out = engine.buy("one", "bob");
        assert_eq!((sold_out.status, sold_out.member("code").as_str()), (409, "sold-out"), "{front_end}");
        let order = format!("/orders/{id}");
        assert_eq!(engine.ask("DELETE", &order, "bob", "", "").status, 404, "not the buyer's order");
        for _repeat in 0..2 {
            let cancelled = engine.ask("DELETE", &order, "ann", "", "");
            assert_eq!((cancelled.status, cancelled.member("status").as_str()), (200, "cancelled"));
        }
        let pay = engine.ask("POST", &format!("{order}/checkout"), "ann", "", r#"{"payment_method":"card"}"#);
        assert_eq!((pay.status, pay.member("code").as_str()), (409, "order-cancelled"));
        assert_eq!(engine.buy("one", "bob").status, 201);
    }
}

#[test]
fn each_refusal_says_what_it_is_and_what_cures_it() {
    for front_end in FRONT_ENDS {
        let engine = engine(front_end);
        engine.sale("open", 9, r#","per_buyer_limit":2"#);
        engine.sale("later", 9, r#","starts_at":"2999-01-01T00:00:00Z","ends_at":"2999-01-02T00:00:00Z""#);
        engine.sale("over", 9, r#","starts_at":"2001-01-01T00:00:00Z","ends_at":"2001-01-02T00:00:00Z""#);
        engine.sale("slow", 9, r#","rate_per_s":1,"burst":1"#);
        let refused = |sku: &str, buyer: &str, lines: &str, body: &str, status: u16, code: &str| {
            let answer = engine.ask("POST", &format!("/seckill/test/{sku}"), buyer, lines, body);
            assert_eq!((answer.status, answer.member("code").as_str()), (status, code), "{}", answer.body);
            assert_eq!(answer.field("content-type"), Some("application/problem+json"));
            assert!(!answer.member("instance").is_empty());
            assert_eq!(answer.field("x-request-id"), Some(answer.member("instance").as_str()));
            answer
        };

        let early = refused("later", "ann", "", "", 409, "sale-not-started");
        assert_eq!(early.member("starts_at"), "2999-01-01T00:00:00.000Z");
        assert!(!early.member("server_time").is_empty() && early.field("retry-after").is_some());
        refused("over", "ann", "", "", 410, "sale-ended");
        for body in [r#"{"quantity":0}"#, r#"{"quantity":3}"#] {
            let answer = refused("open", "ann", "", body, 422, "quantity-not-allowed");
            assert!(answer.body.contains(r#""per_buyer_limit":2"#), "{}", answer.body);
        }
        let bought = engine.ask("POST", "/seckill/test/open", "ann", "", r#"{"quantity":2}"#);
        assert_eq!(bought.status, 201, "{}", bought.body);
        let again = refused("open", "ann", "", "", 409, "already-purchased");
        assert_eq!(again.member("order_id"), bought.member("order_id"));

        assert_eq!(engine.buy("slow", "ann").status, 201);
        let limited = refused("slow", "bob", "", "", 429, "rate-limited");
        assert!(limited.field("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
        assert!(limited.field("ratelimit").unwrap().starts_with("\"sale\";r=0;t="));
        assert_eq!(limited.field("ratelimit-policy"), Some("\"sale\";q=1;w=1"));
    }
}

#[test]
fn the_same_key_is_the_same_purchase() {
    for front_end in FRONT_ENDS {
        let engine = engine(front_end);
        engine.sale("phone", 9, r#","per_buyer_limit":2"#);
        let buy = |key: &str, body: &str| {
            engine.ask("POST", "/seckill/test/phone", "ann", &format!("Idempotency-Key: {key}\r\n"), body)
        };
        let first = buy("k1", "");
        assert_eq!(first.status, 201, "{front_end}: {}", first.body);
        let repeat = buy("k1", r#"{"quantity":1}"#);
        assert_eq!((repeat.status, &repeat.body), (200, &first.body));
        let reused = buy("k1", r#"{"quantity":2}"#);
        assert_eq!((reused.status, reused.member("code").as_str()), (422, "idempotency-key-reused"));
        assert_eq!(buy("k2", "").status, 201);
        assert_eq!(buy("k1", "").status, 200, "told of the first order, not that there is no third");
    }
}

#[test]
fn a_winner_who_is_not_waited_for_polls() {
    for front_end in FRONT_ENDS {
        let engine = Engine::start(&[("EDGE__FRONT_END", front_end), ("EDGE__ACK_WAIT_MS", "0")]);
        engine.sale("phone", 9, "");
        let bought = engine.buy("phone", "ann");
        let order = format!("/orders/{}", bought.member("order_id"));
        match bought.status {
            202 => {
                assert_eq!(bought.member("status"), "pending", "{front_end}");
                assert!(bought.field("retry-after").is_some());
                assert!(bought.field("location") == Some(&order));
            }
            // The store may be quicker than no time at all.
            status => assert_eq!(status, 201, "{}", bought.body),
        }
        let durable = (0..1_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let polled = engine.ask("GET", &order, "ann", "", "");
            assert_eq!(polled.status, 200, "{}", polled.body);
            let status = polled.member("status");
            assert!(status == "pending" || status == "pre_pay", "{status}");
            status == "pre_pay"
        });
        assert!(durable, "{front_end}");
    }
}

/// Who is not heard at all, then malformed, then unknown, then who asks, then the sale's own answer.
#[test]
fn what_is_wrong_is_told_in_one_order() {
    for front_end in FRONT_ENDS {
        let keys = [("EDGE__FRONT_END", front_end), ("EDGE__AUTH__ORIGIN_SECRET", "sixteen-bytes-ok")];
        let engine = Engine::start(&keys);
        engine.sale("phone", 0, "");
        let (known, unknown) = ("/seckill/test/phone", "/seckill/test/none");
        let origin = "X-Origin-Secret: sixteen-bytes-ok\r\n";
        let cases = [
            (unknown, "", "{", 400, "bad-request"),
            (unknown, "X-Tenant-ID: a/b\r\n", "", 400, "bad-request"),
            (unknown, "Idempotency-Key: a b\r\n", "", 400, "bad-request"),
            (unknown, "", "", 404, "unknown-sale"),
            (known, "X-Tenant-ID: other\r\n", "", 404, "unknown-sale"),
            (known, "", "", 401, "unauthorized"),
            (known, "X-User-ID: ann\r\n", "", 409, "sold-out"),
            ("/seckill/test", "X-User-ID: ann\r\n", "", 404, "not-found"),
            ("/orders/0000000000000", "X-User-ID: ann\r\n", "", 405, "method-not-allowed"),
        ];
        for (path, lines, body, status, code) in cases {
            for other in ["", "X-Origin-Secret: sixteen-bytes-no\r\n"] {
                let stranger = request(engine.edge(), "POST", path, &format!("{other}{lines}"), body);
                assert_eq!((stranger.status, stranger.member("code").as_str()), (403, "forbidden"), "{path}");
            }
            let answer = request(engine.edge(), "POST", path, &format!("{origin}{lines}"), body);
            let told = (answer.status, answer.member("code"));
            assert_eq!(told, (status, code.to_owned()), "{front_end}: {path} {lines:?} {body}");
            if status == 405 {
                assert_eq!(answer.field("allow"), Some("DELETE, GET, HEAD"));
            }
        }
    }
}

#[test]
fn a_sales_state_is_public_and_fit_for_a_cache() {
    for front_end in FRONT_ENDS {
        let engine = engine(front_end);
        engine.sale("phone", 3, "");
        engine.buy("phone", "ann");
        let look = |lines: &str| request(engine.edge(), "GET", "/seckill/test/phone?from=page", lines, "");
        let state = look("");
        assert_eq!((state.status, state.member("state").as_str()), (200, "open"), "{front_end}");
        assert!(
            state.body.contains(r#""remaining":2"#) && state.body.contains("price_cents"),
            "{}",
            state.body
        );
        assert_eq!(state.field("cache-control"), Some("public, s-maxage=1, stale-while-revalidate=2"));
        assert_eq!(state.field("vary"), Some("x-tenant-id, x-platform"));
        let trimmed = look("X-Platform: miniapp\r\n");
        assert!(
            !trimmed.body.contains("price_cents") && trimmed.body.contains("remaining"),
            "{}",
            trimmed.body
        );
        assert_eq!(request(engine.edge(), "GET", "/seckill/test/none", "", "").status, 404);
    }
}
