//! Sales followed into a search server that keeps to the documented rules of each kind: late perhaps, lost never.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::engine::Engine;
use testbed::search::{Reply, SearchServer};
use testbed::until;

fn both() -> [SearchServer; 2] {
    [SearchServer::elastic(), SearchServer::meili()]
}

fn act(engine: &Engine, method: &str, path: &str, body: &str) {
    let answer = engine.admin(method, &format!("/api/v1/campaigns/test/{path}"), body);
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
}

fn standing(engine: &Engine) -> Value {
    engine.read("/api/v1/search").json()
}

/// So many more buy one each.
fn buy(engine: &Engine, sku: &str, from: u32, to: u32) {
    for buyer in from..to {
        assert_eq!(engine.buy(sku, &format!("buyer-{buyer}")).status, 201);
    }
}

/// What was written of a sale, in order.
fn written(server: &SearchServer, sku: &str) -> Vec<Value> {
    let writes =
        server.requests().into_iter().filter(|it| it.header("content-type") == Some("application/x-ndjson"));
    let lines = writes.flat_map(|it| it.body.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()).filter(|it| it["sku"] == sku).collect()
}

/// Something that somebody else has left there.
fn leave_behind(server: &SearchServer) {
    server.put(&json!({ "id": "999999", "sku": "gone", "version": 1 }));
}

#[test]
fn s1_a_document_follows_its_sale_from_the_beginning_to_the_end() {
    for server in both() {
        let engine = Engine::start(&server.keys());
        let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        engine.sale("phone", 20, &format!(r#","starts_at":"{later}""#));
        until("it is announced", || server.shows("phone", "upcoming", "plenty"));
        let document = server.sale("phone").unwrap();
        for (member, value) in [
            ("tenant", json!("default")),
            ("campaign", json!("test")),
            ("title", json!("A test")),
            ("price_cents", json!(1999)),
            ("ends_at", Value::Null),
        ] {
            assert_eq!(document[member], value, "{member}");
        }
        let of_member = |member: &str| document[member].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(of_member("updated_at") <= of_member("as_of") && of_member("as_of") < later, "{document}");

        act(&engine, "PATCH", "phone", &format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now()));
        until("it opens", || server.shows("phone", "open", "plenty"));
        buy(&engine, "phone", 0, 12);
        until("it sells", || server.shows("phone", "open", "some"));
        buy(&engine, "phone", 12, 18);
        until("few are left", || server.shows("phone", "open", "few"));
        act(&engine, "POST", "phone/pause", r#"{"reason":"a test"}"#);
        until("it stands still", || server.shows("phone", "paused", "few"));
        act(&engine, "POST", "phone/resume", r#"{"reason":"a test"}"#);
        buy(&engine, "phone", 18, 20);
        until("nothing is left", || server.shows("phone", "sold_out", "none"));
        let stop =
            |word: &str| engine.admin("POST", &format!("/api/v1/{word}"), r#"{"reason":"a test"}"#).status;
        assert_eq!(stop("stop"), 200);
        until("everything stands still", || server.shows("phone", "paused", "none"));
        assert_eq!(stop("go"), 200);
        act(&engine, "PATCH", "phone", r#"{"stock":40,"price_cents":999}"#);
        until("there are more", || {
            server.shows("phone", "open", "plenty") && server.sale("phone").unwrap()["price_cents"] == 999
        });

        // Each of them says something new, in versions that grow.
        let written = written(&server, "phone");
        for pair in written.windows(2) {
            assert!(pair[0]["version"].as_u64() < pair[1]["version"].as_u64(), "{pair:#?}");
            let said = |document: &Value| {
                let mut said = document.clone();
                for member in ["version", "as_of", "updated_at"] {
                    said.as_object_mut().unwrap().remove(member);
                }
                said
            };
            // Terms that are not shown may have changed.
            assert!(said(&pair[0]) != said(&pair[1]), "{pair:#?}");
        }

        engine.sale("ring", 5, "");
        engine.sale("watch", 5, "");
        engine.sale("load-test", 5, "");
        until("both are found", || server.sale("ring").is_some() && server.sale("watch").is_some());
        act(&engine, "POST", "ring/end", r#"{"reason":"a test"}"#);
        until("it is over", || server.shows("ring", "ended", "plenty"));
        act(&engine, "POST", "ring/archive", r#"{"reason":"a test"}"#);
        let deleted = engine.admin("DELETE", "/api/v1/campaigns/test/watch", r#"{"reason":"a test"}"#);
        assert!(deleted.status < 300, "{}", deleted.body);
        until("both are gone", || server.sale("ring").is_none() && server.sale("watch").is_none());
        assert!(server.sale("load-test").is_none(), "a load tester's sales are no goods");
        until("nothing waits", || standing(&engine)["pending"] == 0);
        assert_eq!(standing(&engine)["writer"], true);
        server.check_rules();
    }
}

#[test]
fn s2_a_server_that_is_away_or_overtaxed_makes_documents_late_and_loses_none() {
    for server in both() {
        let mut keys = server.keys();
        keys.push(("SEARCH__BEHIND_S", "1"));
        server.set_away(true);
        let engine = testbed::engine::Launch::new(&keys).start();
        for number in 0..30 {
            engine.sale(&format!("sku-{number}"), 10, "");
        }
        engine.sale("phone", 10, "");
        buy(&engine, "phone", 0, 5);
        engine.logged("search-behind");
        // Nobody else is hurt by it.
        let health = engine.read("/healthz");
        assert!(!health.body.contains("search") && engine.read("/readyz").status == 200, "{}", health.body);
        let page = engine.read("/metrics").body;
        assert!(!page.contains("\nseckill_search_pending_documents 0\n"), "they wait");
        let engine = engine.kill().start();
        buy(&engine, "phone", 5, 10);
        until("its next life has as many", || standing(&engine)["pending"].as_u64() >= Some(31));

        // It comes back, busy, and takes little at once.
        let mut busy = 0;
        server.trouble(move |request| {
            busy += u32::from(request.method == "POST");
            let reply = Reply::new(429, json!({ "error": { "type": "busy", "reason": "later" } }));
            (busy <= 3 && request.method == "POST").then_some(Reply { retry_after_s: Some(0), ..reply })
        });
        server.set_bytes_max(4_000);
        server.set_away(false);
        until("the newest is found", || server.shows("phone", "sold_out", "none"));
        until("all are found", || {
            server.documents().values().filter(|it| it["campaign"] == "test").count() == 31
        });
        until("that is told", || standing(&engine)["pending"] == 0 && standing(&engine)["lag_s"] == 0.0);
        assert!(standing(&engine)["by_this_node"]["failures"].as_u64() >= Some(3));

        // Killed with a request under way whose answer nobody hears.
        server.set_bytes_max(1 << 20);
        let last = standing(&engine)["last_written_at"].clone();
        assert!(last.is_string(), "{last}");
        server.trouble(|request| {
            let is_write = request.header("content-type") == Some("application/x-ndjson");
            is_write.then(Reply::closed)
        });
        act(&engine, "POST", "phone/end", r#"{"reason":"a test"}"#);
        until("it is tried", || written(&server, "phone").iter().any(|it| it["state"] == "ended"));
        let engine = engine.kill().start();
        server.trouble(|_| None);
        until("it is found", || server.shows("phone", "ended", "none"));
        until("nothing waits", || standing(&engine)["pending"] == 0);
        server.check_rules();
    }
}

#[test]
fn s3_a_document_that_is_refused_holds_up_no_other() {
    for server in both() {
        let is_elastic = server.keys().contains(&("SEARCH__KIND", "elasticsearch"));
        let mut turns = 0;
        server.judge(move |document| {
            // One hears now and then that it is not its turn, where there is a word for that.
            turns += 1;
            let is_late = is_elastic && document["sku"] == "late" && turns % 3 != 0;
            let is_bad = document["sku"] == "bad" && document["price_cents"] == 1999;
            if is_bad { Some(400) } else { is_late.then_some(429) }
        });
        let engine = Engine::start(&server.keys());
        for sku in ["bad", "good", "late", "other"] {
            engine.sale(sku, 10, "");
        }
        until("the others are found", || {
            ["good", "late", "other"].iter().all(|sku| server.shows(sku, "open", "plenty"))
        });
        until("that one is told", || standing(&engine)["refused"] == 1 && standing(&engine)["pending"] == 0);
        assert!(engine.read("/metrics").body.contains("\nseckill_search_refused_documents 1\n"));
        engine.logged("search-refused");
        act(&engine, "PATCH", "bad", r#"{"price_cents":5}"#);
        until("another is taken", || server.shows("bad", "open", "plenty"));
        until("nothing is refused", || standing(&engine)["refused"] == 0);
        server.check_rules();
    }
}

#[test]
fn s4_what_is_left_behind_is_removed_and_an_index_is_built_anew_on_demand() {
    for server in both() {
        let engine = Engine::start(&server.keys());
        engine.sale("phone", 10, "");
        until("it is found", || server.sale("phone").is_some());
        leave_behind(&server);
        // A new life compares everything.
        let engine = engine.kill().start();
        until("what is of no sale is gone", || {
            server.sale("gone").is_none() && server.sale("phone").is_some()
        });
        until("nothing waits", || standing(&engine)["pending"] == 0);
        let before = server.indices();
        assert_eq!(before.len(), 1, "{before:?}");

        leave_behind(&server);
        // Asked for while nobody can do it, and the engine dies.
        server.set_away(true);
        let asked = engine.admin("POST", "/api/v1/search/rebuild", r#"{"reason":"a test"}"#);
        assert_eq!(
            (asked.status, &asked.json()["rebuild"]["state"]),
            (202, &"asked".into()),
            "{}",
            asked.body
        );
        let mut cut = 0;
        server.trouble(move |request| {
            // The exchange is cut off for a while, too.
            cut += 1;
            let is_exchange = request.path == "/_aliases" || request.path == "/swap-indexes";
            (is_exchange && cut < 40).then(Reply::closed)
        });
        let engine = engine.kill().start();
        server.set_away(false);
        until("it is done", || standing(&engine)["rebuild"]["state"] == "done");
        until("it is as the sales are", || server.sale("phone").is_some() && server.sale("gone").is_none());
        let after = server.indices();
        assert_eq!(after.len(), 1, "{after:?}");
        assert!(after != before || after == ["sales"], "{after:?}");
        buy(&engine, "phone", 0, 10);
        until("it is followed on", || server.shows("phone", "sold_out", "none"));

        let trail = engine.read("/api/v1/trail?limit=1000").body;
        let told: BTreeMap<String, Value> = trail
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|entry| (entry["act"].as_str().unwrap().to_owned(), entry))
            .collect();
        assert_eq!(told["search.rebuild-asked"]["reason"], "a test");
        let rebuilt = &told["search.rebuilt"];
        assert_eq!((&rebuilt["who"], &rebuilt["object"]), (&"engine".into(), &"sales".into()));
        assert_eq!(rebuilt["to"]["rebuild"], told["search.rebuild-asked"]["seq"]);
        server.check_rules();
    }
}

#[test]
fn s5_a_calendar_that_went_back_does_not_leave_old_documents() {
    for server in both() {
        let engine = Engine::start(&server.keys());
        engine.sale("phone", 10, "");
        until("it is found", || server.sale("phone").is_some());
        // A document of a writer whose calendar was far ahead.
        let mut ahead = server.sale("phone").unwrap();
        ahead["version"] = 9_000_000_000_000_u64.into();
        ahead["state"] = "ended".into();
        server.put_version(&ahead, 9_000_000_000_000);
        let engine = engine.kill().start();
        until("the sale is told anew", || server.shows("phone", "open", "plenty"));
        if server.keys().contains(&("SEARCH__KIND", "elasticsearch")) {
            assert!(server.sale("phone").unwrap()["version"].as_u64() > Some(9_000_000_000_000));
        }
        buy(&engine, "phone", 0, 10);
        until("it is followed on", || server.shows("phone", "sold_out", "none"));
        server.check_rules();
    }
}

#[test]
fn s6_a_document_that_is_refused_keeps_nothing_that_is_gone() {
    for server in both() {
        let engine = Engine::start(&server.keys());
        for sku in ["bad", "good"] {
            engine.sale(sku, 10, "");
        }
        until("both are found", || server.sale("bad").is_some() && server.sale("good").is_some());
        let launch = engine.kill();
        leave_behind(&server);
        server.judge(|document| (document["sku"] == "bad").then_some(400));
        // A new life compares everything, and is refused one of it.
        let engine = launch.start();
        until("that one is told", || standing(&engine)["refused"] == 1);
        until("what is of no sale is gone", || server.sale("gone").is_none());
        assert!(server.shows("bad", "open", "plenty"), "what was taken of it before stays");
        assert!(server.shows("good", "open", "plenty"));
        server.check_rules();
    }
}
