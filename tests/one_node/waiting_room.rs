//! The waiting room, from registration to the order: who is admitted, who is not, and that the draw can be checked.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::PATIENCE;
use testbed::client::{Answer, Client};
use testbed::engine::Engine;
use testbed::servers::engine::binary;

pub const QUEUE: &str = "/seckill/test/phone/queue";

pub fn register(engine: &Engine, buyer: &str, pass: &str) -> Answer {
    let line = if pass.is_empty() { String::new() } else { format!("X-Sale-Pass: {pass}\r\n") };
    engine.ask("POST", QUEUE, buyer, &line, "")
}

pub fn document(engine: &Engine) -> Value {
    let answer = engine.ask("GET", QUEUE, "nobody", "", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.len() < 400, "{} bytes", answer.body.len());
    assert_eq!(answer.field("cache-control"), Some("public, s-maxage=1, stale-while-revalidate=2"));
    answer.json()
}

pub fn buy(engine: &Engine, sku: &str, buyer: &str, pass: &str) -> Answer {
    engine.ask("POST", &format!("/seckill/test/{sku}"), buyer, &format!("X-Sale-Pass: {pass}\r\n"), "")
}

/// Waits until the document says what is expected.
fn until(engine: &Engine, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = document(engine);
        if holds(&shown) {
            return shown;
        }
        assert!(Instant::now() < deadline, "not {what}: {shown}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the buyer with this pass is admitted.
pub fn until_admitted(engine: &Engine, buyer: &str, pass: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let place = register(engine, buyer, pass);
        assert_eq!(place.status, 201, "{}", place.body);
        if place.json()["admitted"] == true {
            return;
        }
        assert!(Instant::now() < deadline, "{buyer} is not admitted: {}", place.body);
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub fn change(engine: &Engine, body: &str) {
    let changed = engine.admin("PATCH", "/api/v1/campaigns/test/phone", body);
    assert_eq!(changed.status, 200, "{}", changed.body);
}

pub fn verify(engine: &Engine) -> (bool, String) {
    let admin = format!("http://{}", engine.admin_addr());
    let checked =
        Command::new(binary()).args(["verify-draw", "test/phone", "--admin", &admin]).output().unwrap();
    let said =
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    (checked.status.success(), said)
}

#[test]
fn who_is_admitted_buys_and_who_is_not_hears_where_to_wait() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 10, r#","queue":{"mode":"fifo","rate_per_s":1000}"#);
    let refused = engine.buy("phone", "ann");
    assert_eq!((refused.status, refused.member("code")), (403, "waiting-room".into()), "{}", refused.body);
    assert_eq!((refused.member("reason"), refused.member("queue")), ("no-pass".into(), QUEUE.into()));
    assert!(refused.field("retry-after").is_some());

    let joined = register(&engine, "ann", "");
    assert_eq!(joined.status, 201, "{}", joined.body);
    let place = joined.json();
    for member in
        ["pass", "joined_at", "position", "of", "eta_s", "admitted", "expires_at", "status_url", "poll_s"]
    {
        assert!(!place[member].is_null(), "{member} in {place}");
    }
    assert_eq!(place["status_url"], QUEUE);
    let pass = place["pass"].as_str().unwrap().to_owned();
    assert!(pass.len() <= 160);
    let again = register(&engine, "ann", "").json();
    assert_eq!((&again["joined_at"], &again["position"]), (&place["joined_at"], &place["position"]));

    until_admitted(&engine, "ann", &pass);
    let bought = buy(&engine, "phone", "ann", &pass);
    assert_eq!(bought.status, 201, "{}", bought.body);
    // Who holds an order hears of it, whatever else there is to say.
    let repeated = engine.buy("phone", "ann");
    assert_eq!((repeated.status, repeated.member("code")), (409, "already-purchased".into()));
    assert_eq!(repeated.member("order_id"), bought.member("order_id"));

    // The cookie that was set does as well.
    let joined = register(&engine, "bob", "");
    let cookie = joined.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let pass = joined.member("pass");
    assert_eq!(cookie, format!("sale_pass={pass}"));
    until_admitted(&engine, "bob", &pass);
    let lines = format!("Cookie: theme=dark; {cookie}\r\n");
    assert_eq!(engine.ask("POST", "/seckill/test/phone", "bob", &lines, "").status, 201);
    let (in_order, said) = verify(&engine);
    assert!(in_order, "{said}");
}

#[test]
fn a_pass_that_is_forged_copied_foreign_or_over_admits_nobody() {
    let engine = Engine::start(&[]);
    let terms = r#","queue":{"mode":"fifo","rate_per_s":1000}"#;
    engine.sale("phone", 10, terms);
    engine.sale("watch", 10, terms);
    let pass = register(&engine, "ann", "").member("pass");
    until_admitted(&engine, "ann", &pass);
    let other = engine.ask("POST", "/seckill/test/watch/queue", "ann", "", "").member("pass");
    let mut forged = pass.clone();
    let last = if forged.ends_with('A') { "B" } else { "A" };
    forged.replace_range(60..61, if &forged[60..61] == "x" { "y" } else { "x" });
    let flipped = format!("{}{last}", &pass[..pass.len() - 1]);
    for (what, buyer, pass, reason) in [
        ("none", "ann", "", "invalid-pass"),
        ("forged", "ann", forged.as_str(), "invalid-pass"),
        ("forged at its end", "ann", &flipped, "invalid-pass"),
        ("cut", "ann", &pass[..90], "invalid-pass"),
        ("long", "ann", &"A".repeat(4_000), "invalid-pass"),
        ("copied", "bob", &pass, "invalid-pass"),
        ("of another sale", "ann", &other, "invalid-pass"),
    ] {
        let answer = buy(&engine, "phone", buyer, pass);
        assert_eq!((answer.status, answer.member("reason")), (403, reason.into()), "{what}: {}", answer.body);
    }
    assert_eq!(buy(&engine, "phone", "ann", &pass).status, 201, "and the true one still does");

    // A pass never outlives the sale as it was when the pass was issued, also where that goes on for longer afterwards.
    let short = loop {
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
        change(&engine, &format!(r#"{{"ends_at":"{soon}"}}"#));
        let joined = register(&engine, "cat", "");
        change(&engine, r#"{"ends_at":null}"#);
        // On a busy machine the sale may have ended before she came.
        if joined.status == 201 {
            break joined.json();
        }
    };
    let expires_at: jiff::Timestamp = short["expires_at"].as_str().unwrap().parse().unwrap();
    until(&engine, "over", |shown| {
        shown["server_time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() >= expires_at
    });
    let short = short["pass"].as_str().unwrap();
    let refused = buy(&engine, "phone", "cat", short);
    assert_eq!((refused.status, refused.member("reason")), (403, "expired-pass".into()), "{}", refused.body);
    let renewed = register(&engine, "cat", short).member("pass");
    until_admitted(&engine, "cat", &renewed);
    assert_eq!(buy(&engine, "phone", "cat", &renewed).status, 201, "with the place that she had");
}

#[test]
fn a_draw_is_committed_to_shown_and_in_order() {
    let engine = Engine::start(&[]);
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    engine.sale("phone", 30, &format!(r#","starts_at":"{later}","queue":{{"mode":"draw","rate_per_s":20}}"#));
    let before = document(&engine);
    assert_eq!((&before["state"], &before["seed"]), (&"registering".into(), &Value::Null));
    let commit = before["seed_commit"].as_str().unwrap().to_owned();
    let buyers: Vec<String> = (0..40).map(|n| format!("buyer-{n}")).collect();
    let passes: Vec<String> = buyers
        .iter()
        .map(|buyer| {
            let place = register(&engine, buyer, "").json();
            assert_eq!((&place["admitted"], &place["position"]), (&false.into(), &Value::Null), "{place}");
            place["pass"].as_str().unwrap().to_owned()
        })
        .collect();
    let early = buy(&engine, "phone", &buyers[0], &passes[0]);
    assert_eq!(early.member("code"), "sale-not-started");
    until(&engine, "registered", |shown| shown["registered"] == 40);

    change(&engine, &format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now()));
    let late = register(&engine, "late", "");
    let open = until(&engine, "open", |shown| shown["state"] == "open");
    let seed: Vec<u8> = bytes(open["seed"].as_str().unwrap());
    assert_eq!(hex(ring::digest::digest(&ring::digest::SHA256, &seed).as_ref()), commit);
    let places: Vec<(u64, u64)> = buyers
        .iter()
        .zip(&passes)
        .map(|(buyer, pass)| {
            (priority(&seed, buyer), register(&engine, buyer, pass).json()["position"].as_u64().unwrap())
        })
        .collect();
    let mut by_priority = places.clone();
    by_priority.sort_unstable();
    assert!(
        by_priority.is_sorted_by_key(|(_, position)| *position),
        "positions follow the draw: {by_priority:?}"
    );

    // Whoever the document admits buys, and nobody else does. The mark is read before and after: it only rises.
    for (buyer, pass) in buyers.iter().zip(&passes) {
        let priority = priority(&seed, buyer);
        let before = document(&engine)["draw_mark"].as_u64().unwrap();
        let answer = buy(&engine, "phone", buyer, pass);
        let after = document(&engine)["draw_mark"].as_u64().unwrap();
        match (answer.status, answer.member("code").as_str()) {
            (201, _) => assert!(priority < after, "{buyer} bought before its turn"),
            (403, "waiting-room") => assert!(priority >= before, "{buyer} was turned away after its turn"),
            (409, "sold-out") => {}
            _ => panic!("{}", answer.body),
        }
    }
    assert_eq!(late.status, 201);
    until(&engine, "over", |shown| shown["admitted"].as_u64() >= Some(40));
    for (buyer, pass) in buyers.iter().zip(&passes) {
        let answer = buy(&engine, "phone", buyer, pass);
        assert!([201, 409].contains(&answer.status), "{}", answer.body);
    }
    assert_eq!(engine.audit("phone").available, 0);
    assert_eq!(document(&engine)["state"], "sold_out");
    assert_eq!(register(&engine, "later-still", "").member("code"), "sold-out");
    let (in_order, said) = verify(&engine);
    assert!(in_order && said.contains("40 of them drawn"), "{said}");
}

#[test]
fn a_registration_counts_from_when_it_is_whole() {
    let engine = Engine::start(&[("EDGE__BODY_READ_TIMEOUT_MS", "600000")]);
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    engine.sale(
        "phone",
        9,
        &format!(r#","starts_at":"{later}","queue":{{"mode":"draw","rate_per_s":1000}}"#),
    );
    let mut late = Client::connect(engine.edge());
    late.send(format!("POST {QUEUE} HTTP/1.1\r\nHost: shop\r\nX-User-ID: late\r\nContent-Length: 2\r\n\r\n"));
    (0..20).for_each(|n| assert_eq!(register(&engine, &format!("b{n}"), "").status, 201));
    until(&engine, "registered", |shown| shown["registered"] == 20);
    change(&engine, &format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now()));
    let sale = engine.admin("GET", "/api/v1/campaigns/test/phone", "").json();
    let place = late.send("{}").answer().expect("an answer").json();
    let time = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time(&place["joined_at"]) >= time(&sale["starts_at"]), "{place} {sale}");
    until(&engine, "all admitted", |shown| shown["admitted"] == 21);
    let (in_order, said) = verify(&engine);
    assert!(in_order && said.contains("20 of them drawn"), "{said}");
}

/// In the public document, as soon as it is as expected.
fn until_shown(engine: &Engine, sku: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut shown = Value::Null;
    testbed::until(what, || {
        shown = engine.ask("GET", &format!("/seckill/test/{sku}/queue"), "nobody", "", "").json();
        holds(&shown)
    });
    shown
}

#[test]
fn a_draw_waits_for_the_beacon_that_was_named_and_is_mixed_with_its_value() {
    let engine = Engine::start(&[]);
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let known = r#"{"source":"drand-quicknet","round":1000}"#;
    let beacon = r#"{"source":"nist-chain-2","round":7,"wait_s":3600}"#;
    let terms = |beacon: &str| {
        format!(r#","starts_at":"{later}","queue":{{"mode":"draw","rate_per_s":1000,"beacon":{beacon}}}"#)
    };
    let refused = engine.try_sale("phone", 30, &terms(known)).unwrap();
    assert_eq!(
        (refused.status, refused.member("field")),
        (422, "queue.beacon.round".into()),
        "{}",
        refused.body
    );
    engine.sale("phone", 30, &terms(beacon));
    let give = |value: &str| {
        let value = if value.is_empty() { "null".into() } else { format!("\"{value}\"") };
        let body = format!(r#"{{"value":{value},"reason":"pulse 7"}}"#);
        engine.admin("POST", "/api/v1/campaigns/test/phone/queue/beacon", &body)
    };
    let (value, other) = ("ab".repeat(64), "cd".repeat(64));
    let named = until_shown(&engine, "phone", "registering", |shown| shown["state"] == "registering");
    assert_eq!((&named["beacon"]["source"], &named["beacon"]["round"]), (&"nist-chain-2".into(), &7.into()));
    assert_eq!((&named["beacon"]["state"], &named["beacon"]["value"]), (&"awaited".into(), &Value::Null));
    assert_eq!(give(&value).member("code"), "beacon-not-due");
    let buyers: Vec<String> = (0..20).map(|n| format!("buyer-{n}")).collect();
    let passes: Vec<String> =
        buyers.iter().map(|buyer| register(&engine, buyer, "").member("pass")).collect();
    until_shown(&engine, "phone", "registered", |shown| shown["registered"] == 20);
    let start = jiff::Timestamp::now();
    change(&engine, &format!(r#"{{"starts_at":"{start}"}}"#));
    let changed = r#"{"queue":{"beacon":{"source":"nist-chain-2","round":8}}}"#;
    let late = engine.admin("PATCH", "/api/v1/campaigns/test/phone", changed);
    assert_eq!((late.status, late.member("field")), (422, "queue.beacon".into()), "{}", late.body);

    // By now it would have been drawn.
    let waiting = until_shown(&engine, "phone", "later than a draw begins", |shown| {
        let now: jiff::Timestamp = shown["server_time"].as_str().unwrap().parse().unwrap();
        now > start + jiff::SignedDuration::from_millis(2_500)
    });
    assert_eq!((&waiting["state"], &waiting["seed"]), (&"drawing".into(), &Value::Null), "{waiting}");
    let short = give(&value[..64]);
    assert_eq!((short.status, short.member("field")), (422, "value".into()), "{}", short.body);
    let given = give(&value);
    assert_eq!((given.status, &given.json()["beacon"]["state"]), (200, &"mixed".into()), "{}", given.body);
    assert_eq!(give(&value.to_uppercase()).status, 200, "the same again is the same");
    for late in [&other, ""] {
        assert_eq!(give(late).member("code"), "draw-decided");
    }

    // Anybody computes the draw from what is public.
    let open = until_shown(&engine, "phone", "open", |shown| shown["admitted"] == 20);
    let seed = bytes(open["seed"].as_str().unwrap());
    assert_eq!(
        hex(ring::digest::digest(&ring::digest::SHA256, &seed).as_ref()),
        named["seed_commit"].as_str().unwrap()
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &seed);
    let mixed = [&b"seckill-draw-1\0nist-chain-2\x007\0"[..], &bytes(&value)].concat();
    let mixed = ring::hmac::sign(&key, &mixed).as_ref()[..16].to_vec();
    assert_eq!(open["beacon"]["seed"], hex(&mixed));
    let mut places: Vec<(u64, u64)> = buyers
        .iter()
        .zip(&passes)
        .map(|(buyer, pass)| {
            (priority(&mixed, buyer), register(&engine, buyer, pass).json()["position"].as_u64().unwrap())
        })
        .collect();
    places.sort_unstable();
    assert!(places.is_sorted_by_key(|(_, position)| *position), "{places:?}");
    assert_eq!(buy(&engine, "phone", &buyers[0], &passes[0]).status, 201);
    let (in_order, said) = verify(&engine);
    assert!(in_order && said.contains(&format!("pulse/7 has to say {value}")), "{said}");
    let trail = engine.admin("GET", "/api/v1/trail", "").body;
    let told: Vec<&str> = trail.lines().filter(|line| line.contains("campaign.beacon")).collect();
    assert!(told.len() == 1 && told[0].contains("pulse 7") && told[0].contains(&value), "{trail}");
}

#[test]
fn a_draw_goes_on_with_its_seed_alone_when_nobody_gives_the_value_or_somebody_says_so() {
    let engine = Engine::start(&[]);
    let sale = |sku: &str, wait_s: u32| {
        let soon = jiff::Timestamp::now();
        let beacon = format!(r#"{{"source":"nist-chain-2","round":7,"wait_s":{wait_s}}}"#);
        engine.sale(sku, 5, &format!(r#","starts_at":"{soon}","queue":{{"mode":"draw","beacon":{beacon}}}"#));
    };
    sale("phone", 3_600);
    sale("watch", 0);
    let drawn = until_shown(&engine, "watch", "drawn in time", |shown| shown["state"] == "open");
    assert_eq!(
        (&drawn["beacon"]["state"], &drawn["beacon"]["seed"]),
        (&"plain".into(), &drawn["seed"]),
        "{drawn}"
    );
    let without = r#"{"value":null,"reason":"the beacon is away"}"#;
    assert_eq!(engine.admin("POST", "/api/v1/campaigns/test/phone/queue/beacon", without).status, 200);
    let drawn = until_shown(&engine, "phone", "drawn", |shown| shown["state"] == "open");
    assert_eq!(
        (&drawn["beacon"]["state"], &drawn["beacon"]["value"]),
        (&"plain".into(), &Value::Null),
        "{drawn}"
    );
    let (in_order, said) = verify(&engine);
    assert!(in_order && said.contains("drawn with the seed alone"), "{said}");
}

#[test]
fn who_registered_at_a_sale_that_is_deleted_is_forgotten() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 10, r#","queue":{"mode":"fifo","rate_per_s":1}"#);
    (0..50).for_each(|n| assert_eq!(register(&engine, &format!("b{n}"), "").status, 201));
    until(&engine, "written down", |shown| shown["registered"] == 50);
    assert_eq!(engine.admin("DELETE", "/api/v1/campaigns/test/phone", "").status, 204);
    let file = engine.launch().folder().join("orders.sqlite");
    testbed::until("nothing is left", || {
        let store =
            rusqlite::Connection::open_with_flags(&file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        ["registrations", "room_moves", "waiting_rooms"].iter().all(|table| {
            store.query_row(&format!("SELECT count(*) = 0 FROM {table}"), [], |row| row.get(0)).unwrap()
        })
    });
}

#[test]
fn marks_survive_a_crash_and_a_pause_and_never_fall() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 100, r#","queue":{"mode":"fifo","rate_per_s":5}"#);
    let passes: Vec<String> =
        (0..30).map(|n| register(&engine, &format!("b{n}"), "").member("pass")).collect();
    let before = until(&engine, "five admitted", |shown| shown["admitted"].as_u64() >= Some(5));
    until_admitted(&engine, "b0", &passes[0]);
    let engine = engine.kill().start();
    let after = document(&engine);
    assert!(after["admitted"].as_u64() >= before["admitted"].as_u64(), "{before} {after}");
    assert!(after["fifo_mark"].as_str() >= before["fifo_mark"].as_str(), "{before} {after}");
    assert_eq!(
        buy(&engine, "phone", "b0", &passes[0]).status,
        201,
        "the first is admitted since before the crash"
    );

    engine.admin("POST", "/api/v1/campaigns/test/phone/pause", r#"{"reason":"a look"}"#);
    let paused = until(&engine, "paused", |shown| shown["state"] == "paused");
    let place = register(&engine, "b29", &passes[29]);
    assert_eq!(place.status, 201, "places are kept: {}", place.body);
    std::thread::sleep(Duration::from_millis(600));
    let still = document(&engine);
    let admitted = |shown: &Value| shown["admitted"].as_u64().unwrap();
    // A move that was under way when the pause began may have come after the look.
    assert!(admitted(&still) <= admitted(&paused) + 5, "{paused} {still}");
    engine.admin("POST", "/api/v1/campaigns/test/phone/resume", r#"{"reason":"go on"}"#);
    until(&engine, "all admitted", |shown| shown["admitted"].as_u64() >= Some(30));
    assert_eq!(buy(&engine, "phone", "b29", &passes[29]).status, 201);
}

#[test]
fn terms_are_checked_and_shown_and_a_sale_without_a_room_says_so() {
    let engine = Engine::start(&[]);
    engine.sale("plain", 5, "");
    let none = engine.ask("POST", "/seckill/test/plain/queue", "ann", "", "");
    assert_eq!((none.status, none.member("code")), (404, "no-queue".into()));
    assert_eq!(engine.ask("GET", "/seckill/test/plain/queue", "ann", "", "").status, 404);
    assert_eq!(engine.ask("GET", "/seckill/test/none/queue", "ann", "", "").member("code"), "unknown-sale");
    assert_eq!(engine.buy("plain", "ann").status, 201);
    for (terms, field) in [
        (r#","queue":{"rate_per_s":5}"#, "queue.mode"),
        (r#","queue":{"mode":"lottery"}"#, "queue.mode"),
        (r#","queue":{"mode":"fifo","rate_per_s":0}"#, "queue.rate_per_s"),
        (r#","queue":{"mode":"draw","opens_at":"2900-01-01T00:00:00Z"}"#, "queue.opens_at"),
        (r#","queue":{"mode":"fifo","grace_s":100000}"#, "queue.grace_s"),
    ] {
        let answer = engine.try_sale("phone", 5, terms).unwrap();
        assert_eq!((answer.status, answer.member("field")), (422, field.into()), "{terms}: {}", answer.body);
    }
    let opens = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    engine.sale("phone", 5, &format!(r#","queue":{{"mode":"fifo","opens_at":"{opens}"}}"#));
    let sale = engine.admin("GET", "/api/v1/campaigns/test/phone", "").json();
    assert_eq!((&sale["queue"]["mode"], &sale["queue"]["grace_s"]), (&"fifo".into(), &180.into()), "{sale}");
    // By arrival from the start on: the room opens with the sale where it opens later, too.
    change(&engine, r#"{"queue":{"mode":"off"}}"#);
    assert_eq!(engine.buy("phone", "ann").status, 201, "without a room whoever comes buys");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// As a buyer's own device computes it.
fn priority(seed: &[u8], buyer: &str) -> u64 {
    let name = format!("default\0test\0phone\0{buyer}");
    let who = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, seed);
    let tag = ring::hmac::sign(&key, &who.as_ref()[..16]);
    u64::from_be_bytes(tag.as_ref()[..8].try_into().unwrap()) >> 11
}
