//! What an operator does and sees while several engines sell one stock.

use std::process::{Command, Output};

use seckill::domain::OrderStatus;
use serde_json::Value;
use testbed::engine::Engine;
use testbed::servers::engine::binary;

use super::fixture::{Fixture, known_to_all, sell_out, until};

fn patch(engine: &Engine, sku: &str, body: &str) -> (u16, Value) {
    let answer = engine.admin("PATCH", &format!("/api/v1/campaigns/test/{sku}"), body);
    (answer.status, answer.json())
}

fn audit(engine: &Engine, sku: &str) -> Value {
    engine.read(&format!("/api/v1/campaigns/test/{sku}/audit")).json()
}

/// `seckill reconcile --check` on the fixture.
fn reconcile(fixture: &Fixture, admins: &[&Engine]) -> Output {
    let mut command = Command::new(binary());
    command.args(["reconcile", "--check", "--node-id", "9", "--database-url", &fixture.database_url]);
    command.args(["--redis-url", &fixture.redis.url()]);
    for admin in admins {
        command.args(["--admin", &format!("http://{}", admin.admin_addr())]);
    }
    command.output().unwrap()
}

#[test]
fn the_stock_is_lowered_and_raised_whoever_holds_it() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 1_000, "");
    known_to_all(&[&one, &two], "phone");
    until("both nodes hold units", || {
        let nodes = &audit(&two, "phone")["leased"];
        nodes.as_u64() > Some(300) && audit(&one, "phone")["conserved"] == true
    });
    // Below what nobody holds, so that units of both nodes have to be gathered.
    let (status, sale) = patch(&two, "phone", r#"{"stock":40}"#);
    assert_eq!((status, &sale["stock"]), (200, &40.into()), "{sale}");
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 40);
    let (status, problem) = patch(&one, "phone", r#"{"stock":39}"#);
    assert_eq!((status, &problem["code"]), (409, &"stock-in-use".into()), "{problem}");
    let (status, _) = patch(&one, "phone", r#"{"stock":55}"#);
    assert_eq!(status, 200);
    until("the new units are on sale", || two.sale_state("phone")["state"] == "open");
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 15);
    assert_eq!(audit(&two, "phone")["conserved"], true);
}

#[test]
fn every_unit_is_shown_where_it_is() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 500, "");
    known_to_all(&[&one, &two], "phone");
    until("both nodes hold units", || {
        ["ann", "bob"].iter().zip([&one, &two]).all(|(buyer, node)| node.buy("phone", buyer).status != 503)
    });
    let seen = audit(&one, "phone");
    let units = |name: &str| seen[name].as_u64().unwrap();
    assert!(units("leased") > 0, "{seen}");
    assert_eq!(units("available") + units("leased") + units("sold"), 500, "{seen}");
    assert_eq!((&seen["conserved"], &seen["ledger"]), (&true.into(), &"shared".into()));
    for engine in [&one, &two] {
        until("the public state is of the whole sale", || engine.sale_state("phone")["remaining"] == 498);
        until("the three books agree", || {
            let books = engine.admin("GET", "/api/v1/reconcile?campaign=test&sku=phone", "").json();
            books["sales"][0]["equal"] == true
        });
        let stats = engine.admin("GET", "/api/v1/stats", "").json();
        assert!(stats["ledger"]["redis_commands"].as_u64() > Some(0), "{}", stats["ledger"]);
        let metrics = engine.admin("GET", "/metrics", "").body;
        let drift = r#"seckill_ledger_drift_units{tenant="default",campaign="test",sku="phone",kind="above_lease"} 0"#;
        assert!(metrics.contains(drift), "{metrics}");
    }
}

#[test]
fn books_that_differ_are_told_from_books_that_agree() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 30, "");
    known_to_all(&[&one, &two], "phone");
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 30);
    let agree = reconcile(&fixture, &[&one, &two]);
    let text = String::from_utf8(agree.stdout).unwrap();
    assert!(agree.status.success(), "{text} {}", String::from_utf8_lossy(&agree.stderr));
    for part in ["default:test/phone", "sold 30", "memory  node 1", "memory  node 2", "0 with drift"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Nobody is left to repair what is broken now.
    let (_, _) = (one.kill(), two.kill());
    let book = fixture.redis.command("KEYS seckill:*:{default:test:phone}:book");
    let book = book.trim();
    let broken = fixture.redis.command(&format!("HINCRBY {book} s:1 -1"));
    let differ = reconcile(&fixture, &[]);
    let text = String::from_utf8(differ.stdout).unwrap();
    assert_eq!(differ.status.code(), Some(1), "{text}");
    assert!(text.contains("unsettled 1"), "{text}");
    assert_eq!(fixture.redis.command(&format!("HGET {book} s:1")), broken, "the check writes nothing");
    // A node that comes back repairs it.
    let one = fixture.start(1);
    until("it is repaired", || reconcile(&fixture, &[&one]).status.success());
}

#[test]
fn without_redis_nodes_sell_what_they_hold_and_say_so() {
    let fixture = Fixture::open();
    let one = fixture.start(1);
    one.sale("phone", 400, "");
    one.sale("book", 3, "");
    assert_eq!(sell_out(&[&one], "book").len(), 3);
    until("it sells", || one.buy("phone", "first").status == 201);
    fixture.redis.pause();
    let mut sold = 1;
    until("nothing is left here", || {
        sold += 1;
        let answer = one.buy("phone", &format!("buyer-{sold}"));
        assert!([201, 503].contains(&answer.status), "{}", answer.body);
        answer.status == 503
    });
    assert!(sold > 100, "the lease is sold, {sold}");
    let again = one.buy("phone", "late");
    assert_eq!((again.status, again.member("code").as_str()), (503, "overloaded"));
    assert!(again.field("retry-after").is_some());
    assert_eq!(one.buy("book", "late").member("code"), "sold-out", "what was final is final");
    let ready = one.admin("GET", "/readyz", "");
    assert_eq!((ready.status, &ready.json()["checks"]["ledger"]), (200, &"away".into()), "{}", ready.body);
    assert_eq!(one.admin("GET", "/healthz", "").json()["status"], "degraded");
    let seen = audit(&one, "phone");
    assert_eq!((&seen["ledger"], &seen["conserved"]), (&"unavailable".into(), &true.into()), "{seen}");
    assert_eq!(seen["leased"].as_u64().unwrap() + seen["sold"].as_u64().unwrap(), 400, "{seen}");
    let books = one.admin("GET", "/api/v1/reconcile?campaign=test&sku=phone", "").json();
    assert_eq!(books["sales"][0]["ledger"]["state"], "unavailable", "{books}");
    fixture.redis.go_on();
    sell_out(&[&one], "phone");
    assert_eq!(one.audit("phone").held, 400);
}

#[test]
fn every_act_is_answered_in_time_while_the_store_takes_no_writes_and_comes_about_afterwards() {
    let fixture = Fixture::open();
    let one = fixture.launch(1, &[("CHECKOUT__WAIT_MS", "300"), ("ADMIN__ACT_WAIT_MS", "300")]).start();
    // A busy machine may be late as well; what was asked for comes about all the same.
    let act = |path: &str, body: &str, came_about: &dyn Fn() -> bool| {
        let told = one.admin("POST", path, body);
        assert!([200, 201, 503].contains(&told.status), "{path}: {}", told.body);
        until(path, came_about);
    };
    let state = |sku: &str| one.admin("GET", &format!("/api/v1/campaigns/test/{sku}"), "").member("state");
    for sku in ["phone", "book", "coat"] {
        let sale = format!(r#"{{"campaign":"test","sku":"{sku}","price_cents":100,"stock":5}}"#);
        act("/api/v1/campaigns", &sale, &|| state(sku) == "open");
    }
    let bought = |buyer: &str| {
        let mut order = String::new();
        until("it is bought", || {
            let answer = one.buy("phone", buyer);
            order = answer.member("order_id");
            answer.status == 201
        });
        order
    };
    let (waits, pays, paid) = (bought("ann"), bought("bob"), bought("carl"));
    let method = r#"{"payment_method":"card"}"#;
    until("carl has paid", || {
        one.ask("POST", &format!("/orders/{paid}/checkout"), "carl", "", method).status == 200
    });
    // A payment that nobody looks after.
    let paying = OrderStatus::Paying.code();
    fixture.query(&format!(
        "UPDATE seckill.orders SET status = {paying}, payment_attempt = 1, payment_journal_of = 1, payment_method = 'card' \
         WHERE buyer = 'bob'"
    ));
    act("/api/v1/campaigns/test/coat/end", r#"{"reason":"over"}"#, &|| state("coat") == "ended");
    let order = |order: &str| one.admin("GET", &format!("/api/v1/orders/{order}"), "");
    let because = r#"{"reason":"a test"}"#;
    let more_time = format!(r#"{{"pay_before":"{}"}}"#, order(&waits).member("pay_before"));
    let acts = [
        ("POST", "campaigns".to_owned(), r#"{"campaign":"test","sku":"new","price_cents":1,"stock":1}"#),
        ("PATCH", "campaigns/test/phone".into(), r#"{"stock_delta":1}"#),
        ("POST", "campaigns/test/phone/pause".into(), because),
        ("POST", "campaigns/test/phone/extend".into(), r#"{"by_s":60}"#),
        ("POST", "campaigns/test/coat/archive".into(), because),
        ("DELETE", "campaigns/test/book".into(), ""),
        ("POST", "stop".into(), because),
        ("POST", format!("orders/{waits}/extend"), more_time.as_str()),
        ("POST", format!("orders/{waits}/cancel"), because),
        ("POST", format!("orders/{pays}/settle"), r#"{"outcome":"paid","reason":"a test"}"#),
        ("POST", format!("orders/{paid}/refund"), r#"{"by_hand":true,"reason":"a test"}"#),
    ];
    std::thread::scope(|scope| {
        let hold = "BEGIN; LOCK TABLE seckill.orders, seckill.sales, seckill.graces, seckill.stops IN EXCLUSIVE MODE; \
                    SELECT pg_sleep(600); COMMIT";
        let held = scope.spawn(|| fixture.query(hold));
        let holds = "SELECT count(*) FROM pg_locks WHERE relation = 'seckill.stops'::regclass AND granted \
                     AND mode = 'ExclusiveLock'";
        until("nobody can write", || fixture.query(holds) == "1");
        for (method, path, body) in &acts {
            let told = one.admin(method, &format!("/api/v1/{path}"), body);
            let code = told.member("code");
            assert_eq!(
                (told.status, code.as_str()),
                (503, "store-unavailable"),
                "{method} {path}: {}",
                told.body
            );
            assert!(told.field("retry-after").is_some(), "{path}");
        }
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
        assert_eq!(fixture.query(end), "1");
        assert!(held.join().is_err(), "it was ended");
    });
    let states = [(&waits, "cancelled"), (&pays, "paid"), (&paid, "refunded")];
    until("all of it has come about", || {
        states.iter().all(|(id, status)| order(id).member("status") == *status)
            && one.admin("GET", "/api/v1/campaigns/test/new", "").status == 200
            && one.admin("GET", "/api/v1/campaigns/test/book", "").status == 404
            && state("coat") == "archived"
            && one.admin("GET", "/api/v1/stop", "").json()["stopped"] == true
    });
}
