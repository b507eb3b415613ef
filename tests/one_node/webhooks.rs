//! Webhooks of the real engine, received and verified with the standard's own library: nothing is lost, whatever is killed, and
//! each sale comes in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use testbed::crowd::BuyerClient;
use testbed::engine::{Engine, Launch};
use testbed::receiver::{Delivery, Receiver, SECRET, check_order};
use testbed::until;

/// An ed25519 key pair, of which the second half is public.
const PAIR: &str =
    "whsk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwfqSmxj4pxSCr71UHsTLsX5lUd2rr6+e5JCHuppFEbSLA==";
/// The exit code of a configuration that cannot work.
const EXIT_CONFIG: i32 = 78;
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// The endpoint `erp` at the receiver, with more members of its table.
fn endpoint(receiver: &Receiver, secrets: &[&str], more: &str) -> String {
    let secrets: Vec<_> = secrets.iter().map(|secret| format!("{secret:?}")).collect();
    format!(
        "[{{name=\"erp\",url=\"{}\",secrets=[{}],allow_http=true{more}}}]",
        receiver.url(),
        secrets.join(",")
    )
}

/// Settings of an engine that is quick to try again.
fn keys(endpoints: &str) -> Vec<(&str, &str)> {
    vec![
        ("LOG__LEVEL", "info"),
        ("WEBHOOKS__ENDPOINTS", endpoints),
        ("WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]"),
        ("WEBHOOKS__RETRY_MS", "20"),
        ("WEBHOOKS__RETRY_MS_MAX", "200"),
        ("WEBHOOKS__IDLE_MS", "20"),
        ("WEBHOOKS__SAVE_MS", "50"),
        ("ADMISSION__BUYER_RATE_PER_S", "0"),
    ]
}

fn launch(receiver: &Receiver, more: &str) -> Launch {
    Launch::new(&keys(&endpoint(receiver, &[SECRET], more)))
}

/// All events of orders.
fn events(engine: &Engine) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = engine.read(&format!("/api/v1/events?after={after}&limit=10000")).body;
        let page: Vec<Value> = page.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let Some(last) = page.last() else { return all };
        after = last["seq"].as_u64().unwrap();
        all.extend(page);
    }
}

fn numbers<'a>(events: impl IntoIterator<Item = &'a Value>) -> BTreeSet<u64> {
    events.into_iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn of_orders(taken: &[Delivery]) -> BTreeSet<u64> {
    numbers(taken.iter().filter(|it| it.kind().starts_with("order.")).map(|it| &it.event))
}

fn state(engine: &Engine) -> Value {
    engine.read("/api/v1/webhooks/erp").json()
}

fn act(engine: &Engine, act: &str, body: &str) -> Value {
    let answer = engine.admin("POST", &format!("/api/v1/webhooks/erp/{act}"), body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// The endpoint has everything that happened to orders.
fn until_all_are_told(engine: &Engine, receiver: &Receiver) -> Vec<Delivery> {
    let all = numbers(&events(engine));
    until("everything is told", || of_orders(&receiver.taken()).is_superset(&all));
    receiver.taken()
}

#[test]
fn w1_nothing_is_lost_by_kills_under_load_and_each_sale_comes_in_order() {
    let receiver = Receiver::start();
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut moments = SmallRng::seed_from_u64(seed);
    // Now and then the receiver fails, too.
    let calls = AtomicU64::new(0);
    receiver.answer(move |_| match calls.fetch_add(1, Ordering::SeqCst) % 50 {
        7 => 500,
        23 => 0,
        _ => 200,
    });
    let mut engine = launch(&receiver, "").start();
    for sku in ["phone", "watch", "ring"] {
        engine.sale(sku, 1_000_000, "");
    }
    let bought = AtomicU64::new(0);
    for life in 1..=4 {
        let (edge, bought) = (engine.edge(), &bought);
        let moment = Duration::from_millis(moments.random_range(50..600));
        let launch = std::thread::scope(|scope| {
            for client in 0..3_u32 {
                scope.spawn(move || {
                    let mut buyer = BuyerClient::at(edge);
                    for number in 0.. {
                        let name = format!("buyer-{life}-{client}-{number}");
                        let sku = ["phone", "watch", "ring"][number % 3];
                        let Some(answer) = buyer.buy(sku, &name, 1, None) else { return };
                        if answer.status != 201 {
                            continue;
                        }
                        bought.fetch_add(1, Ordering::SeqCst);
                        if number % 4 == 0 && buyer.pay(&name, &answer.order_id).is_none() {
                            return;
                        }
                    }
                });
            }
            std::thread::sleep(moment);
            until("some have bought in this life", || bought.load(Ordering::SeqCst) >= life * 20);
            engine.kill()
        });
        engine = launch.start();
    }
    let taken = until_all_are_told(&engine, &receiver);
    check_order(&taken);
    assert!(receiver.deliveries().iter().all(|it| it.status != 401), "all were rightly signed");
    // Each is told as the feed shows it, in an envelope.
    let shown = events(&engine);
    let shown: BTreeMap<u64, &Value> =
        shown.iter().map(|event| (event["seq"].as_u64().unwrap(), event)).collect();
    for delivery in taken.iter().filter(|it| it.kind().starts_with("order.")) {
        let envelope: Value = serde_json::from_str(&delivery.text).unwrap();
        assert_eq!((&envelope["specversion"], &envelope["id"]), (&json!("1.0"), &json!(delivery.id)));
        let event = shown[&delivery.seq()];
        for member in ["order_id", "type", "sku", "buyer", "amount_cents", "at"] {
            assert_eq!(delivery.event[member], event[member], "{member}");
        }
    }
    until("the position is written down", || state(&engine)["orders"]["lag_events"] == 0);
}

#[test]
fn w2_two_keys_sign_at_once_and_either_verifies() {
    let receiver = Receiver::start();
    let engine = Launch::new(&keys(&endpoint(&receiver, &[OTHER, SECRET, PAIR], ""))).start();
    engine.sale("phone", 10, "");
    assert_eq!(engine.buy("phone", "ann").status, 201);
    until("it is told", || receiver.taken().iter().any(|it| it.kind() == "order.created"));
    for delivery in receiver.taken() {
        assert!(delivery.is_signed_with(SECRET) && delivery.is_signed_with(OTHER));
        assert!(!delivery.is_signed_with("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
        let signatures = delivery.headers["webhook-signature"].to_str().unwrap();
        let versions: Vec<_> = signatures.split(' ').filter_map(|it| Some(it.split_once(',')?.0)).collect();
        assert_eq!(versions, ["v1", "v1", "v1a"]);
        let pair = STANDARD.decode(PAIR.strip_prefix("whsk_").unwrap()).unwrap();
        let signature = STANDARD.decode(signatures.rsplit_once("v1a,").unwrap().1).unwrap();
        let timestamp = delivery.headers["webhook-timestamp"].to_str().unwrap();
        let signed = format!("{}.{timestamp}.{}", delivery.id, delivery.text);
        let public = UnparsedPublicKey::new(&ED25519, &pair[32..]);
        assert!(public.verify(signed.as_bytes(), &signature).is_ok());
    }
}

#[test]
fn w3_a_private_address_is_not_connected_to_whatever_name_leads_there() {
    let receiver = Receiver::start();
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let endpoints = format!("[{{name=\"erp\",url=\"{url}\",secrets=[\"{SECRET}\"],allow_http=true}}]");
    let keys: Vec<_> =
        keys(&endpoints).into_iter().filter(|(key, _)| !key.ends_with("ALLOWED_NETWORKS")).collect();
    let engine = Launch::new(&keys).start();
    engine.sale("phone", 10, "");
    until("it is refused", || state(&engine)["state"] == "failing");
    let why = state(&engine)["last_failure"]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("private address"), "{why}");
    assert!(receiver.deliveries().is_empty());
    // An address in the configuration is refused at the start already.
    let endpoints = endpoint(&receiver, &[SECRET], "");
    let (code, said) = engine.launch().with(&[("WEBHOOKS__ENDPOINTS", endpoints.as_str())]).start_refused();
    assert_eq!(code, Some(EXIT_CONFIG));
    assert!(said.contains("webhooks.allowed_networks"), "{said}");
}

#[test]
fn w4_an_endpoint_that_takes_nothing_for_long_is_disabled_and_misses_nothing() {
    let receiver = Receiver::start();
    receiver.answer(|_| 503);
    let endpoints = endpoint(&receiver, &[SECRET], "");
    let mut keys = keys(&endpoints);
    keys.push(("WEBHOOKS__DISABLE_AFTER_S", "1"));
    let engine = Launch::new(&keys).start();
    engine.sale("phone", 100, "");
    for buyer in ["ann", "bob", "cid"] {
        assert_eq!(engine.buy("phone", buyer).status, 201);
    }
    until("it is given up", || state(&engine)["state"] == "disabled");
    let shown = state(&engine);
    assert!(shown["disabled"]["why"].as_str().unwrap().contains("503"), "{shown}");
    assert_eq!(
        shown["url"],
        receiver.url().trim_end_matches("/hooks/of-the-shop"),
        "its path may be a secret"
    );
    let trail = |engine: &Engine, act: &str| {
        let trail = engine.read("/api/v1/trail?limit=1000").body;
        let entries = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries.filter(|entry| entry["act"] == act).collect::<Vec<_>>()
    };
    let told = trail(&engine, "webhook.disabled");
    assert_eq!((told.len(), &told[0]["who"], &told[0]["object"]), (1, &"engine".into(), &"erp".into()));
    until("health says so", || {
        engine.read("/healthz").json()["reasons"]["webhooks-disabled"]
            .as_str()
            .is_some_and(|it| it.contains("erp"))
    });
    assert!(engine.read("/metrics").body.contains("seckill_webhook_disabled{endpoint=\"erp\"} 1"));

    // Nothing is tried, also not by a next life.
    receiver.answer(|_| 200);
    let engine = engine.kill().start();
    assert_eq!(engine.buy("phone", "dan").status, 201);
    receiver.forget();
    assert_eq!(state(&engine)["state"], "disabled");
    assert_eq!(
        engine.admin("POST", "/api/v1/webhooks/erp/enable", "{}").status,
        422,
        "a reason is asked for"
    );
    assert_eq!(engine.admin("POST", "/api/v1/webhooks/crm/enable", r#"{"reason":"r"}"#).status, 404);
    assert!(receiver.deliveries().is_empty());
    assert_ne!(act(&engine, "enable", r#"{"reason":"the disk is mended"}"#)["state"], "disabled");
    check_order(&until_all_are_told(&engine, &receiver));
    assert_eq!(trail(&engine, "webhook.enabled")[0]["reason"], "the disk is mended");

    // Told again from a number on, under the same ids.
    let before: BTreeSet<String> = receiver.taken().into_iter().map(|it| it.id).collect();
    until("it is written down", || state(&engine)["orders"]["lag_events"] == 0);
    receiver.forget();
    let too_far = engine.admin("POST", "/api/v1/webhooks/erp/replay", r#"{"from":1000,"reason":"r"}"#);
    assert_eq!((too_far.status, &too_far.json()["oldest"]), (422, &json!(1)), "{}", too_far.body);
    act(&engine, "replay", r#"{"from":2,"reason":"lost a day"}"#);
    let again = BTreeSet::from([2, 3, 4]);
    until("the others are told again", || of_orders(&receiver.taken()).is_superset(&again));
    check_order(&receiver.taken());
    assert!(!of_orders(&receiver.taken()).contains(&1));
    let known = receiver.taken().into_iter().filter(|it| again.contains(&it.seq()));
    assert!(known.filter(|it| it.kind() == "order.created").all(|it| before.contains(&it.id)));
    act(&engine, "replay", r#"{"from":1,"log":"sales","reason":"new here"}"#);
    until("the sale is told", || receiver.taken().iter().any(|it| it.kind() == "sale.created"));
    assert_eq!(trail(&engine, "webhook.replayed").len(), 2);

    act(&engine, "disable", r#"{"reason":"maintenance"}"#);
    until("it is quiet", || state(&engine)["state"] == "disabled");
    // Who wants to hear nothing any more says 410.
    receiver.answer(|_| 410);
    act(&engine, "enable", r#"{"reason":"back"}"#);
    assert_eq!(engine.buy("phone", "eve").status, 201);
    until("it is given up at once", || {
        state(&engine)["disabled"]["why"].as_str().is_some_and(|why| why.contains("410"))
    });
}

#[test]
fn w5_a_sale_that_the_endpoint_chokes_on_holds_up_no_other() {
    let receiver = Receiver::start();
    receiver.answer(|it| if it.sku() == "bad" && it.kind() == "order.created" { 500 } else { 200 });
    let engine = launch(&receiver, r#",events=["order.*"]"#).start();
    engine.sale("bad", 1_000, "");
    engine.sale("good", 1_000, "");
    for number in 0..40 {
        for sku in ["bad", "good"] {
            assert_eq!(engine.buy(sku, &format!("{sku}-{number}")).status, 201);
        }
    }
    until("all of the other are told", || receiver.count() == 40);
    until("it is shown which is held", || {
        let held = state(&engine)["orders"]["held_sales"].clone();
        held == json!([{ "sale": "default:test/bad", "from": 1 }])
    });
    // A next life knows it, too.
    let engine = engine.kill().start();
    assert_eq!(engine.buy("good", "one-more").status, 201);
    let is_told = |buyer: &str| receiver.taken().iter().any(|it| it.event["buyer"] == buyer);
    until("that one is told", || is_told("one-more"));
    assert!(!is_told("bad-0"));
    receiver.answer(|_| 200);
    let taken = until_all_are_told(&engine, &receiver);
    check_order(&taken);
    assert!(taken.iter().all(|it| it.kind().starts_with("order.")), "of sales it wants to hear nothing");
    until("nothing is held any more", || state(&engine)["orders"]["held_sales"] == json!([]));
}

#[test]
fn w6_what_operators_do_to_sales_is_told_without_who_and_why() {
    let receiver = Receiver::start();
    let engine = launch(&receiver, r#",events=["sale.*","sales.*"],envelope="plain""#).start();
    engine.sale("phone", 10, "");
    let path = "/api/v1/campaigns/test/phone";
    for (method, path, body) in [
        ("POST", format!("{path}/pause"), r#"{"reason":"hush"}"#),
        ("POST", format!("{path}/resume"), r#"{"reason":"hush"}"#),
        ("PATCH", path.to_owned(), r#"{"stock":20}"#),
        ("POST", "/api/v1/stop".to_owned(), r#"{"reason":"hush"}"#),
        ("POST", "/api/v1/go".to_owned(), r#"{"reason":"hush"}"#),
        ("POST", format!("{path}/end"), r#"{"reason":"hush"}"#),
    ] {
        let answer = engine.admin(method, &path, body);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
    }
    let expected = [
        "sale.created",
        "sale.paused",
        "sale.resumed",
        "sale.changed",
        "sales.stopped",
        "sales.resumed",
        "sale.ended",
    ];
    until("all are told", || receiver.count() == expected.len());
    let mut taken = receiver.taken();
    taken.sort_by_key(Delivery::seq);
    let kinds: Vec<&str> = taken.iter().map(Delivery::kind).collect();
    assert_eq!(kinds, expected);
    assert_eq!((&taken[3].event["from"]["stock"], &taken[3].event["to"]["stock"]), (&10.into(), &20.into()));
    assert!(taken.iter().all(|it| !it.text.contains("hush")));
    assert_eq!(taken[0].headers["content-type"], "application/json");
}

#[test]
fn w7_address_and_key_change_while_the_engine_runs_and_nothing_is_lost() {
    let (old, new) = (Receiver::start(), Receiver::start());
    let folder = tempfile::tempdir().unwrap();
    let (url, secrets) = (folder.path().join("url"), folder.path().join("secrets"));
    std::fs::write(&url, old.url()).unwrap();
    std::fs::write(&secrets, SECRET).unwrap();
    let endpoints = format!(
        "[{{name=\"erp\",url_file=\"{}\",secrets_file=\"{}\",allow_http=true}}]",
        url.display(),
        secrets.display()
    );
    let engine = Launch::new(&keys(&endpoints)).start();
    engine.sale("phone", 100, "");
    assert_eq!(engine.buy("phone", "ann").status, 201);
    until("it is told", || old.taken().iter().any(|it| it.kind() == "order.created"));
    old.answer(|_| 503);
    assert_eq!(engine.buy("phone", "bob").status, 201);
    until("it is refused", || state(&engine)["state"] == "failing");
    std::fs::write(&url, new.url()).unwrap();
    std::fs::write(&secrets, format!("{OTHER}\n{SECRET}\n")).unwrap();
    let reloaded = engine.admin("POST", "/api/v1/config/reload", "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    assert_eq!(engine.buy("phone", "cid").status, 201);
    let told = |buyer: &str| new.taken().iter().any(|it| it.event["buyer"] == buyer);
    until("what waited and what is new is told", || told("bob") && told("cid"));
    assert!(new.taken().iter().all(|it| it.is_signed_with(OTHER)), "by the new key, too");
    assert!(!told("ann"), "what was taken is not told again");
}
