//! Every operation of the admin plane, and every problem of it that can be provoked from outside.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::GzDecoder;
use testbed::client::{Answer, Client, request};
use testbed::described;
use testbed::engine::Engine;
use testbed::receiver::{Receiver, SECRET};
use testbed::search::SearchServer;

/// Codes that no request to one engine brings about, each with where it is tested.
const NOT_HERE: [(&str, &str); 19] = [
    ("client-certificate-required", "needs TLS: tests/http/tls_identities.rs"),
    ("too-many-campaigns", "needs a thousand sales: tests/store/contract.rs"),
    ("older-engines", "needs another engine: tests/store/postgres/older.rs"),
    ("order-rejected", "needs a store that refuses"),
    ("order-pending", "needs a store that stands"),
    ("payment-in-progress", "needs a gateway that takes its time: tests/checkout/operator.rs"),
    ("payment-captured", "needs a gateway that knows better: tests/checkout/operator.rs"),
    ("refund-in-progress", "needs a gateway that takes its time: tests/checkout/refunds.rs"),
    ("too-many-refunds", "needs a hundred refunds: src/domain/order_refund.rs"),
    ("refund-refused", "needs a gateway that refuses: tests/checkout/refunds.rs"),
    ("refund-not-possible", "needs a gateway without refunds: tests/checkout/refunds.rs"),
    ("gateway-not-configured", "needs another gateway: tests/checkout/gateway_change.rs"),
    ("internal", "needs a fault of the engine"),
    ("store-unavailable", "needs a store that stands: tests/one_node/overload.rs"),
    ("orders-in-flight", "needs a node that is silent: tests/many_nodes"),
    ("payment-unavailable", "needs a gateway that is away: tests/checkout/refunds.rs"),
    ("overloaded", "needs a crowd: tests/one_node/overload.rs"),
    ("timeout", "needs a store that stands"),
    ("starting", "needs a start that takes long: tests/one_node/life.rs"),
];

#[track_caller]
fn hears(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.member("code").as_str()), (status, code), "{}", answer.body);
    assert_eq!(answer.member("type"), format!("/problems/{code}"));
}

#[test]
fn what_operators_do_is_described() {
    let engine = Engine::start(&[("ADMIN__LIVE_VIEWERS_MAX", "1"), ("ADMIN__UNKNOWN_CONNECTIONS_MAX", "4")]);
    let get = |path: &str| {
        let answer = engine.admin("GET", path, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer
    };
    let post = |path: &str, body: &str| engine.admin("POST", path, body);
    campaigns(&engine);
    orders(&engine);
    let files = ["seckill.hgrm", "order.hgrm?code=durable", "checkout.hgrm"]
        .map(|file| format!("/api/v1/latency/{file}"));
    let paths = [
        "/livez",
        "/readyz",
        "/healthz",
        "/metrics",
        "/api/v1/stats",
        "/api/v1/latency.hlog",
        "/api/v1/allocator",
        "/api/v1/reconcile",
    ];
    for path in paths
        .into_iter()
        .chain(files.iter().map(String::as_str))
        .chain(["/api/v1/stop", "/api/v1/trail?limit=3"])
    {
        get(path);
    }
    for path in [
        "/openapi.json",
        "/problems",
        "/problems/bad-request",
        "/api/v1/events",
        "/api/v1/orders",
        "/api/v1/campaigns",
    ] {
        get(path);
    }
    for word in ["stop", "go"] {
        assert_eq!(post(&format!("/api/v1/{word}"), r#"{"reason":"a test","all":true}"#).status, 200);
    }
    let nobody = "X-Tenant-ID: nobody\r\n";
    let unknown = request(engine.admin_addr(), "POST", "/api/v1/stop", nobody, r#"{"reason":"a slip"}"#);
    described::admin().hold("POST", "/api/v1/stop", &unknown);
    hears(&unknown, 404, "unknown-tenant");
    assert_eq!(post("/api/v1/config/reload", "").status, 200);
    hears(&engine.admin("GET", "/api/v1/latency/none.hgrm", ""), 404, "not-found");
    hears(&engine.admin("GET", "/api/v1/nothing", ""), 404, "not-found");
    hears(&engine.admin("PUT", "/api/v1/stats", ""), 405, "method-not-allowed");
    hears(&post("/api/v1/campaigns", "{"), 400, "bad-request");
    hears(&post("/api/v1/campaigns", &" ".repeat(65 << 10)), 413, "body-too-large");
    hears(&post("/api/v1/campaigns", "{}"), 422, "invalid-field");
    webhooks();
    search(&engine);
    profiles(&engine);
    live(&engine);
    refused_callers(&engine);

    let seen = described::admin().seen();
    let good = |operation: &String| {
        seen.iter().any(|seen| seen.operation.as_ref() == Some(operation) && seen.status < 400)
    };
    let missing: Vec<_> =
        described::admin().operations().into_iter().filter(|operation| !good(operation)).collect();
    assert!(missing.is_empty(), "no good answer of {missing:?}");
    let mut missing = described::admin().codes();
    seen.iter().filter_map(|seen| seen.code.as_ref()).for_each(|code| {
        missing.remove(code);
    });
    for (code, elsewhere) in NOT_HERE {
        missing.remove(code);
        assert!(described::admin().codes().contains(code), "{code} is no code any more: {elsewhere}");
    }
    assert!(missing.is_empty(), "nobody has provoked {missing:?}");
}

/// What is behind an address, which may be no text.
fn download(url: &str) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { reqwest::get(url).await.unwrap().bytes().await.unwrap().to_vec() })
}

fn profiles(engine: &Engine) {
    let path = |seconds: &str| format!("/api/v1/profiles/cpu?seconds={seconds}");
    for seconds in ["0", "21", "1.5", ""] {
        hears(&engine.admin("GET", &path(seconds), ""), 422, "invalid-field");
    }
    let mut long = None;
    testbed::until("one is under way, and no other", || {
        // Which of the two comes first nobody says.
        let client = long.insert(Client::connect(engine.admin_addr()));
        client.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", path("20")));
        let second = engine.admin("GET", &path("1"), "");
        second.status == 409 && second.member("code") == "profile-under-way"
    });
    // Who goes away ends it.
    drop(long);
    testbed::until("the next one can be taken", || engine.admin("GET", &path("1"), "").status == 200);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                engine.look("/seckill/test/none", "");
            }
        });
        testbed::until("the edge is seen at work", || {
            let file = download(&format!("http://{}{}", engine.admin_addr(), path("1")));
            let mut profile = Vec::new();
            GzDecoder::new(&file[..]).read_to_end(&mut profile).expect("it is compressed");
            let tells = |text: &str| profile.windows(text.len()).any(|part| part == text.as_bytes());
            tells("nanoseconds") && tells("edge-0") && tells("seckill::edge::")
        });
        is_over.store(true, Ordering::Relaxed);
    });
    let trail = engine.read("/api/v1/trail?limit=1000").body;
    assert!(trail.contains(r#""act":"profile.taken""#), "{trail}");
}

fn campaigns(engine: &Engine) {
    let ask = |method: &str, path: &str, body: &str| {
        engine.admin(method, &format!("/api/v1/campaigns/test/{path}"), body)
    };
    let done = |method: &str, path: &str, body: &str| {
        let answer = ask(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {}", answer.body);
        answer
    };
    engine.sale("phone", 9, r#","queue":{"mode":"fifo","rate_per_s":100}"#);
    engine.sale("gone", 9, "");
    engine.sale("old", 9, r#","queue":{"mode":"draw"},"rate_per_s":5"#);
    hears(&engine.try_sale("phone", 1, "").unwrap(), 409, "campaign-exists");
    for path in ["phone", "phone/audit", "phone/queue", "phone/registrations", "phone/marks"] {
        done("GET", path, "");
    }
    hears(&ask("GET", "none", ""), 404, "unknown-sale");
    hears(&ask("GET", "gone/queue", ""), 404, "no-queue");
    let joined = engine.ask("POST", "/seckill/test/phone/queue", "ann", "", "");
    assert_eq!(joined.status, 201, "{}", joined.body);
    let given = |digits: &str| format!(r#"{{"value":"{digits}","reason":"a test"}}"#);
    hears(&ask("POST", "phone/queue/beacon", &given(&"ab".repeat(64))), 409, "no-beacon");
    let round = r#"{"source":"nist-chain-2","round":7}"#;
    let terms = format!(r#","starts_at":"{}","queue":{{"mode":"draw","beacon":{round}}}"#, in_an_hour());
    engine.sale("mixed", 9, &terms);
    hears(&ask("POST", "mixed/queue/beacon", &given(&"ab".repeat(64))), 409, "beacon-not-due");
    done("PATCH", "mixed", &format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now()));
    done("POST", "mixed/queue/beacon", &given(&"ab".repeat(64)));
    hears(&ask("POST", "mixed/queue/beacon", &given(&"cd".repeat(64))), 409, "draw-decided");
    done("GET", "mixed/queue", "");
    testbed::until("the registration is exported", || {
        !done("GET", "phone/registrations", "").body.is_empty()
    });
    done("PATCH", "phone", r#"{"queue":null,"stock_delta":1,"title":"A phone"}"#);
    done("POST", "phone/pause", r#"{"for_s":60,"reason":"a test"}"#);
    done("POST", "phone/resume", r#"{"reason":"a test"}"#);
    done("POST", "phone/extend", r#"{"by_s":60,"reason":"a test"}"#);
    let other = request(
        engine.admin_addr(),
        "PATCH",
        "/api/v1/campaigns/test/phone",
        "If-Match: \"0-0\"\r\n",
        r#"{"title":"x"}"#,
    );
    described::admin().hold("PATCH", "/api/v1/campaigns/test/phone", &other);
    hears(&other, 412, "changed-meanwhile");
    assert_eq!(engine.buy("phone", "eve").status, 201);
    hears(&ask("PATCH", "phone", r#"{"stock":0}"#), 409, "stock-in-use");
    hears(&ask("DELETE", "phone", ""), 409, "campaign-has-orders");
    hears(&ask("POST", "phone/archive", ""), 409, "campaign-not-over");
    done("DELETE", "gone", "");
    done("POST", "old/end", r#"{"reason":"a test"}"#);
    done("POST", "old/archive", r#"{"reason":"a test"}"#);
    hears(&ask("PATCH", "old", r#"{"title":"x"}"#), 409, "campaign-archived");
    for path in
        ["/api/v1/campaigns?archived=true", "/api/v1/campaigns/test/old", "/api/v1/campaigns/test/old/audit"]
    {
        assert_eq!(engine.admin("GET", path, "").status, 200, "{path}");
    }
    engine.sale("open", 9, "");
    assert_eq!(engine.buy("open", "ann").status, 201);
    done("POST", "open/end", r#"{"reason":"a test"}"#);
    hears(&ask("POST", "open/archive", ""), 409, "orders-open");
}

fn orders(engine: &Engine) {
    engine.sale("book", 50, r#","per_buyer_limit":9"#);
    let buy = || engine.buy("book", "ann").member("order_id");
    let ask =
        |id: &str, act: &str, body: &str| engine.admin("POST", &format!("/api/v1/orders/{id}/{act}"), body);
    let paid = |id: &str| {
        let answer =
            engine.ask("POST", &format!("/orders/{id}/checkout"), "ann", "", r#"{"payment_method":"card"}"#);
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let because = r#"{"reason":"a test"}"#;
    let (first, second) = (buy(), buy());
    hears(&ask("0000000000000", "cancel", because), 404, "unknown-order");
    hears(&ask(&first, "refund", because), 409, "order-not-paid");
    hears(&ask(&first, "settle", r#"{"outcome":"paid","reason":"a test"}"#), 409, "no-payment-under-way");
    let in_an_hour = in_an_hour();
    assert_eq!(ask(&first, "extend", &format!(r#"{{"pay_before":"{in_an_hour}"}}"#)).status, 200);
    paid(&first);
    hears(&ask(&first, "cancel", because), 409, "order-paid");
    let ended = ask(&first, "extend", &format!(r#"{{"pay_before":"{in_an_hour}"}}"#));
    hears(&ended, 409, "order-ended");
    assert_eq!((ended.member("order_status").as_str(), &ended.json()["status"]), ("paid", &409.into()));
    hears(&ask(&first, "refund", r#"{"reason":"a test","number":7}"#), 409, "refund-number");
    assert_eq!(ask(&first, "refund", r#"{"reason":"a test","amount_cents":9,"restock":false}"#).status, 200);
    assert_eq!(ask(&first, "refund", r#"{"reason":"a test","restock":true}"#).status, 200);
    hears(&ask(&first, "refund", because), 409, "order-refunded");
    assert_eq!(ask(&second, "cancel", because).status, 200);
    for id in [&first, &second] {
        assert_eq!(engine.admin("GET", &format!("/api/v1/orders/{id}"), "").status, 200);
    }
    engine.sale("brief", 9, r#","pay_within_s":1"#);
    let late = engine.buy("brief", "ann").member("order_id");
    testbed::until("the order expires", || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        engine.admin("GET", &format!("/api/v1/orders/{late}"), "").member("status") == "expired"
    });
    hears(&ask(&late, "cancel", because), 409, "order-expired");
    settled();
}

/// A payment whose gateway never tells, ended by an operator.
fn settled() {
    let engine = Engine::start(&[
        ("CHECKOUT__GATEWAY__SIMULATED__UNKNOWN_RATE", "1.0"),
        ("CHECKOUT__WAIT_MS", "100"),
        ("CHECKOUT__GATEWAY__RETRY__TRIES_MAX", "1"),
        ("CHECKOUT__GATEWAY__RETRY__TRY_MS", "100"),
    ]);
    engine.sale("book", 5, "");
    let id = engine.buy("book", "ann").member("order_id");
    let paying =
        engine.ask("POST", &format!("/orders/{id}/checkout"), "ann", "", r#"{"payment_method":"card"}"#);
    assert!([202, 503].contains(&paying.status), "{}", paying.body);
    testbed::until("the payment can be settled", || {
        let body = r#"{"outcome":"voided","reason":"the bank called"}"#;
        engine.admin("POST", &format!("/api/v1/orders/{id}/settle"), body).status == 200
    });
}

/// An endpoint that takes everything, looked at and acted on.
fn webhooks() {
    let receiver = Receiver::start();
    let url = receiver.url();
    let endpoints = format!("[{{name=\"erp\",url=\"{url}\",secrets=[\"{SECRET}\"],allow_http=true}}]");
    let engine = Engine::start(&[
        ("WEBHOOKS__ENDPOINTS", &endpoints),
        ("WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]"),
        ("WEBHOOKS__IDLE_MS", "20"),
        ("WEBHOOKS__SAVE_MS", "50"),
    ]);
    engine.sale("book", 5, "");
    assert_eq!(engine.buy("book", "ann").status, 201);
    testbed::until("the order is told", || receiver.count() > 0);
    for path in ["/api/v1/webhooks", "/api/v1/webhooks/erp"] {
        assert_eq!(engine.admin("GET", path, "").status, 200, "{path}");
    }
    hears(&engine.admin("GET", "/api/v1/webhooks/none", ""), 404, "unknown-webhook");
    let act = |act: &str, body: &str| engine.admin("POST", &format!("/api/v1/webhooks/erp/{act}"), body);
    for word in ["disable", "enable"] {
        assert_eq!(act(word, r#"{"reason":"a test"}"#).status, 200, "{word}");
    }
    assert_eq!(act("replay", r#"{"from":1,"log":"orders","reason":"a test"}"#).status, 200);
    hears(&act("replay", r#"{"from":1000000,"reason":"a test"}"#), 422, "invalid-field");
}

/// A search index that is followed and built anew.
fn search(without: &Engine) {
    hears(&without.admin("GET", "/api/v1/search", ""), 404, "no-search");
    let server = SearchServer::elastic();
    let engine = Engine::start(&server.keys());
    engine.sale("book", 5, "");
    testbed::until("the sale is found", || server.sale("book").is_some());
    assert_eq!(engine.admin("GET", "/api/v1/search", "").status, 200);
    let rebuild = engine.admin("POST", "/api/v1/search/rebuild", r#"{"reason":"a test"}"#);
    assert_eq!(rebuild.status, 202, "{}", rebuild.body);
}

fn in_an_hour() -> String {
    let now = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
    jiff::Timestamp::try_from(now).expect("a time of these years").to_string()
}

/// One viewer is shown pictures, and another one that there is no place.
fn live(engine: &Engine) {
    let get = "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut viewer = Client::connect(engine.admin_addr());
    let mut answer = viewer.send(get).headed().expect("an answer");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("text/event-stream")));
    // The first second has no figures of a second before it.
    for _picture in 0..3 {
        answer.body = viewer.chunk().expect("a picture");
        described::admin().hold("GET", "/api/v1/live", &answer);
    }
    hears(&engine.admin("GET", "/api/v1/live", ""), 503, "too-many-viewers");
}

/// Who may not ask, or not for this.
fn refused_callers(engine: &Engine) {
    let ask = |addr, method: &str, path: &str, lines: &str| {
        let answer = request(addr, method, path, lines, "");
        described::admin().hold(method, path, &answer);
        answer
    };
    let foreign = "Origin: https://elsewhere.example\r\n";
    hears(&ask(engine.admin_addr(), "GET", "/api/v1/stats", foreign), 403, "forbidden");
    let mut stranger = Client::connect(engine.admin_addr());
    let sent = "GET /api/v1/stats HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n";
    let answer = stranger.send(sent).answer().expect("an answer");
    described::admin().hold("GET", "/api/v1/stats", &answer);
    hears(&answer, 403, "foreign-host");

    let tokens = r#"[{name="eve",role="viewer",tenant="shop",token="the-token-of-a-viewer"}]"#;
    let bound = Engine::start(&[("ADMIN__TOKEN", "a-token-of-some-length"), ("ADMIN__TOKENS", tokens)]);
    let viewer = "Authorization: Bearer the-token-of-a-viewer\r\n";
    hears(&ask(bound.admin_addr(), "GET", "/api/v1/stats", ""), 401, "unauthorized");
    hears(&ask(bound.admin_addr(), "POST", "/api/v1/stop", viewer), 403, "role-too-low");
    let other = format!("{viewer}X-Tenant-ID: default\r\n");
    hears(&ask(bound.admin_addr(), "GET", "/api/v1/campaigns", &other), 403, "foreign-tenant");
    let full = Engine::start(&[("ADMIN__CONNECTIONS_MAX", "1")]);
    let mut known = None;
    // Those of the start may not be gone yet.
    testbed::until("the one place is taken", || {
        let mut client = Client::connect(full.admin_addr());
        let answer = client.send("GET /api/v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n").answer();
        let is_known = answer.expect("an answer").status == 200;
        known = is_known.then_some(client);
        is_known
    });
    hears(&ask(full.admin_addr(), "GET", "/api/v1/stats", ""), 503, "too-many-connections");
    drop(known);
    testbed::until("too many wrong tokens", || {
        let wrong =
            ask(bound.admin_addr(), "GET", "/api/v1/stats", "Authorization: Bearer not-the-token\r\n");
        wrong.status == 429
    });

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seckill.toml");
    let reload = |engine: &Engine| ask(engine.admin_addr(), "POST", "/api/v1/config/reload", "");
    std::fs::write(&file, "").unwrap();
    let launch = testbed::engine::Launch::new(&[])
        .with_environment(vec![("SECKILL_CONFIG".into(), file.to_str().unwrap().into())]);
    let engine = launch.start();
    for (text, code) in [("[node]\nid = 9\n", "restart-required"), ("[node]\nidd = 9\n", "invalid-config")] {
        std::fs::write(&file, text).unwrap();
        hears(&reload(&engine), 422, code);
    }
}
