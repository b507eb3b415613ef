//! What a refusal tells its buyer beside the refusal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testbed::client::Client;
use testbed::engine::Engine;

use super::h2_client::Http2;
use super::server::{BOTH, COOKIES, Server};

#[test]
fn a3_a_known_moment_is_told_as_it_is() {
    let engine = Engine::start(&[]);
    let starts_at = SystemTime::now() + Duration::from_secs(180);
    let whole_s = starts_at.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let starts_at = jiff::Timestamp::from_second(whole_s).unwrap();
    engine.sale("later", 9, &format!(r#","starts_at":"{starts_at}""#));
    for buyer in 0..20 {
        let early = engine.buy("later", &format!("buyer-{buyer}"));
        assert_eq!((early.status, early.member("code").as_str()), (409, "sale-not-started"));
        let asked: jiff::Timestamp = early.member("server_time").parse().unwrap();
        let left_ms = starts_at.as_millisecond() - asked.as_millisecond();
        let told: i64 = early.field("retry-after").unwrap().parse().unwrap();
        assert_eq!(told, (left_ms + 999) / 1_000, "{}", early.body);
    }
}

#[test]
fn a5_who_holds_an_order_hears_of_it_with_every_refusal() {
    let engine = Engine::start(&[("ADMISSION__BUYER_RATE_PER_S", "1"), ("ADMISSION__BUYER_BURST", "3")]);
    engine.sale("two", 2, r#","per_buyer_limit":2"#);
    let held = engine.buy("two", "b1").member("order_id");
    assert_eq!(engine.buy("two", "b2").status, 201);
    let refused = |lines: &str, body: &str, code: &str| {
        let answer = engine.ask("POST", "/seckill/test/two", "b1", lines, body);
        assert_eq!(
            (answer.member("code").as_str(), answer.member("order_id")),
            (code, held.clone()),
            "{}",
            answer.body
        );
    };
    refused("", "", "sold-out");
    refused("", r#"{"quantity":3}"#, "quantity-not-allowed");
    refused("", r#"{"quantity":2}"#, "already-purchased");
    let patch = |body: &str| {
        let changed = engine.admin("PATCH", "/api/v1/campaigns/test/two", body);
        assert_eq!(changed.status, 200, "{}", changed.body);
    };
    patch(r#"{"stock":20}"#);
    patch(r#"{"paused":true}"#);
    refused("", "", "sale-paused");
    patch(r#"{"paused":false,"starts_at":"2999-01-01T00:00:00Z"}"#);
    refused("", "", "sale-not-started");
    patch(r#"{"starts_at":"2001-01-01T00:00:00Z","ends_at":"2001-01-02T00:00:00Z"}"#);
    refused("", "", "sale-ended");
    patch(r#"{"ends_at":null}"#);
    let stranger = engine.ask("POST", "/seckill/test/two", "b9", "", r#"{"quantity":3}"#);
    assert!(!stranger.body.contains("order_id"), "{}", stranger.body);
    // The buyer's own rate ends at some click; until then there is nothing left to buy.
    patch(r#"{"stock":2}"#);
    let limited = (0..50).map(|_| engine.buy("two", "b1")).find(|answer| answer.status != 409);
    if let Some(limited) = limited {
        assert_eq!((limited.status, limited.member("order_id")), (429, held), "{}", limited.body);
    }
}

#[test]
fn a6_what_only_serves_tracing_refuses_nobody() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        for name in ["X-Request-ID", "traceparent", "X-B3-TraceId"] {
            for lines in
                [format!("{name}: a\r\n{name}: b\r\n"), format!("{name}: a b\r\n"), format!("{name}: \r\n")]
            {
                let sent = format!("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}\r\n");
                let answer = Client::connect(server.addr).send(sent).answer().unwrap();
                assert_eq!(answer.status, 200, "{front_end:?} {lines}");
                if front_end == BOTH[0] {
                    let made = answer.field(&name.to_ascii_lowercase()).unwrap();
                    assert!(made.len() >= 16 && made.bytes().all(|byte| byte.is_ascii_graphic()), "{made}");
                }
            }
        }
    }
}

#[test]
fn a7_names_that_paths_lose_and_titles_that_command_are_refused() {
    let engine = Engine::start(&[]);
    let create = |campaign: &str, sku: &str, title: &str| {
        let body = serde_json::json!({
            "campaign": campaign, "sku": sku, "title": title, "price_cents": 1, "stock": 1,
        });
        let answer = engine.admin("POST", "/api/v1/campaigns", &body.to_string());
        (answer.status, answer.member("field"))
    };
    for (campaign, sku, title, field) in [
        (".", "a", "t", "campaign"),
        ("..", "a", "t", "campaign"),
        ("a", ".", "t", "sku"),
        ("a", "..", "t", "sku"),
        ("a", "a", "nul\0", "title"),
        ("a", "a", "\u{1b}[2J", "title"),
        ("a", "a", "two\r\nlines", "title"),
        ("a", "a", "\u{202e}enohp", "title"),
    ] {
        assert_eq!(create(campaign, sku, title), (422, field.into()), "{campaign}/{sku} {title:?}");
    }
    assert_eq!(create("a..b", "...", "Ein Gerät — 15″").0, 201);
    let changed = engine.admin("PATCH", "/api/v1/campaigns/a..b/...", "{\"title\":\"\\u001b\"}");
    assert_eq!((changed.status, changed.member("field").as_str()), (422, "title"));
}

#[test]
fn each_cookie_of_one_answer_arrives_on_every_protocol() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let ask = |lines: &str| {
            let sent = format!("GET /cookies HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
            Client::connect(server.addr).send(sent).answer().unwrap()
        };
        // The second is one that hyper sees itself.
        let mut answers = vec![ask(""), ask("Connection: close\r\n")];
        if front_end == BOTH[0] {
            answers.push(Http2::connect(server.addr).ask("GET", "/cookies", &[], ""));
        }
        for answer in answers {
            let set = answer.fields.iter().filter(|(name, _)| name == "set-cookie");
            let set: Vec<_> = set.map(|(_, value)| value.as_str()).collect();
            assert_eq!(set, COOKIES, "{front_end:?}");
        }
    }
}
