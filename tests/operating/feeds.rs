//! What the store has is read as a whole, page by page, and while a crowd buys.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use seckill::admin::AdminSettings;
use seckill::admission::{Accepted, Moment, Purchase};
use seckill::domain::{BuyerName, Nanos, OrderAction};
use serde_json::{Value, json};
use testbed::PATIENCE;

use super::engine::{Engine, wall_now};
use super::identities::{asked, start};

#[tokio::test(flavor = "multi_thread")]
async fn audit_orders_and_events_tell_what_the_store_has() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    engine.create("t", 10).await;
    let ada = engine.buy("s", "ada").await;
    let bob = engine.buy("s", "bob").await;
    let eve = engine.buy("t", "eve").await;
    engine.step(ada, OrderAction::BeginPayment).await;
    engine.step(ada, OrderAction::ConfirmPayment).await;
    engine.step(bob, OrderAction::Cancel).await;
    engine.buy("s", "cat").await;

    assert_eq!(
        engine.get_json("/api/v1/campaigns/c/s/audit").await,
        json!({
            "total": 10, "available": 8, "leased": 0, "held": 1, "paid": 1, "refunded": 0,
            "refunded_cents": 0, "sold": 2, "durable_orders": 3, "buyers_over_limit": 0, "ledger": "embedded", "conserved": true,
        })
    );
    assert_eq!(engine.get("/api/v1/campaigns/c/none/audit").await.status(), StatusCode::NOT_FOUND);

    let orders = engine.lines("/api/v1/orders?campaign=c&sku=s").await;
    let seen: Vec<_> = orders
        .iter()
        .map(|order| (order["buyer"].as_str().unwrap(), order["status"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [("ada", "paid"), ("bob", "cancelled"), ("cat", "pre_pay")]);
    let first = orders[0].as_object().unwrap();
    let members: Vec<_> = first.keys().map(String::as_str).collect();
    let mut expected = [
        "order_id",
        "tenant",
        "campaign",
        "sku",
        "buyer",
        "quantity",
        "amount_cents",
        "currency",
        "status",
        "created_at",
        "pay_before",
        "paid_at",
        "refunded_cents",
        "refunds",
        "restocked",
    ];
    expected.sort_unstable();
    assert_eq!(members, expected);
    assert_eq!(
        (first["order_id"].as_str(), first["amount_cents"].as_u64()),
        (Some(&*ada.to_string()), Some(250))
    );
    assert!(first["paid_at"].is_string() && orders[2]["paid_at"].is_null());
    assert_eq!(engine.lines("/api/v1/orders").await.len(), 4);
    assert_eq!(engine.lines("/api/v1/orders?campaign=c&sku=t").await[0]["order_id"], eve.to_string());
    assert_eq!(engine.get("/api/v1/orders?campaign=c&sku=none").await.status(), StatusCode::NOT_FOUND);
    for (query, buyers) in [
        ("buyer=ada", &["ada"][..]),
        ("status=pre_pay", &["eve", "cat"]),
        ("status=pre_pay&sku=s", &["cat"]),
        ("buyer=bob&status=cancelled&campaign=c&sku=s", &["bob"]),
        ("buyer=bob&status=paid", &[]),
        ("buyer=nobody", &[]),
    ] {
        let found = engine.lines(&format!("/api/v1/orders?{query}")).await;
        let found: Vec<_> = found.iter().map(|order| order["buyer"].as_str().unwrap()).collect();
        assert_eq!(found, buyers, "{query}");
    }
    let page = engine.get("/api/v1/orders?status=pre_pay&limit=1").await;
    let next = page.headers()["link"].to_str().unwrap().to_owned();
    assert!(next.contains("&status=pre_pay>"), "{next}");

    let events = engine.lines("/api/v1/events").await;
    for event in &events {
        let status = event["status"].as_str().unwrap();
        let of_kind = ["pre_pay", "paid", "cancelled"].contains(&status);
        assert!(of_kind && event["amount_cents"].is_u64() && event["currency"] == "USD", "{event}");
    }
    let mut kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        ["order.cancelled", "order.created", "order.created", "order.created", "order.created", "order.paid"]
    );
    let seqs: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted() && seqs[0] == 1, "{seqs:?}");
    for member in ["order_id", "campaign", "sku", "tenant", "buyer", "quantity", "at"] {
        assert!(!events[0][member].is_null(), "{member}");
    }
    assert_eq!(engine.lines(&format!("/api/v1/events?after={}", seqs[5])).await, [] as [Value; 0]);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_feeds_are_read_page_by_page_without_gap_or_repeat() {
    let engine = Engine::start().await;
    engine.create("s", 2_000).await;
    engine.create("t", 2_000).await;
    // More than two of the pages in which the store is read, and of another sale in between.
    let (mut bought, mut others) = (Vec::new(), 0);
    for n in 0..1_100 {
        bought.push(engine.buy("s", &format!("buyer-{n}")).await.to_string());
        if n % 100 == 0 {
            engine.buy("t", &format!("buyer-{n}")).await;
            others += 1;
        }
    }
    let whole = engine.lines("/api/v1/orders?campaign=c&sku=s&limit=5000").await;
    let ids = |lines: &[Value]| {
        lines.iter().map(|l| l["order_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&whole), bought);
    assert_eq!(engine.lines("/api/v1/orders?campaign=c&sku=s").await.len(), 1_000);

    for feed in ["orders?", "events?", "events?campaign=c&sku=s&"] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = engine.lines(&format!("/api/v1/{feed}after={after}&limit=300")).await;
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 300);
            after = if feed == "orders?" {
                last["order_id"].as_str().unwrap().into()
            } else {
                last["seq"].to_string()
            };
            seen.extend(ids(&page));
        }
        let expected = if feed.contains("sku") { bought.len() } else { bought.len() + others };
        assert_eq!(seen.len(), expected, "{feed}");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), expected, "{feed}");
    }

    // Every page but the last says where the next one is.
    for feed in ["orders?limit=400", "events?campaign=c&sku=s&limit=400"] {
        let (mut seen, mut next) = (0, Some(format!("/api/v1/{feed}")));
        while let Some(path) = next {
            let answer = engine.get(&path).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            next = answer.headers().get("link").map(|link| {
                let link = link.to_str().unwrap().strip_suffix(">; rel=\"next\"").expect("one link");
                link.strip_prefix('<').unwrap().to_owned()
            });
            let lines = answer.text().await.unwrap().lines().count();
            assert!(lines == 400 || next.is_none(), "{path}: {lines}");
            seen += lines;
        }
        assert_eq!(seen, bought.len() + if feed.contains("sku") { 0 } else { others }, "{feed}");
    }

    let none = engine.request(Method::GET, "/api/v1/orders?limit=5000").header("x-tenant-id", "other");
    assert_eq!(none.send().await.unwrap().text().await.unwrap(), "");
    for (path, field) in [
        ("orders?limit=10001", "limit"),
        ("events?limit=100000", "limit"),
        ("orders?limit=0", "limit"),
        ("orders?campaign=a%20b", "campaign"),
        ("events?sku=", "sku"),
        ("reconcile?sku=%C3%BC", "sku"),
        ("orders?limit=x", "limit"),
        ("orders?after=x", "after"),
        ("orders?buyer=a%20b", "buyer"),
        ("orders?status=lost", "status"),
        ("events?buyer=ann", "buyer"),
        ("events?status=paid", "status"),
        ("events?after=-1", "after"),
        ("events?colour=red", "query"),
    ] {
        let answer = engine.get(&format!("/api/v1/{path}")).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["field"], field, "{path}");
    }
    engine.stop().await;
}

/// The events that a page of the quiet tenant shows, and the path of the next page.
async fn quiet_page(engine: &Engine, path: &str) -> (Vec<Value>, Option<String>) {
    let answer = engine.request(Method::GET, path).header("x-tenant-id", "quiet").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let next = answer
        .headers()
        .get("link")
        .map(|link| link.to_str().unwrap().trim_start_matches('<').split('>').next().unwrap().to_owned());
    let lines = answer.text().await.unwrap();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), next)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_tenant_gets_past_what_happens_to_others() {
    // An answer looks at ten times as many rows, and the store is read in pages of 512.
    let settings = AdminSettings { page_rows_max: 10, ..AdminSettings::default() };
    let engine = Engine::start_with(settings).await;
    engine.create("s", 2_000).await;
    let sale = json!({"campaign": "c", "sku": "s", "price_cents": 250, "stock": 9}).to_string();
    let make = engine.request(Method::POST, "/api/v1/campaigns").header("x-tenant-id", "quiet").body(sale);
    assert_eq!(make.send().await.unwrap().status(), StatusCode::CREATED);
    for n in 0..600 {
        engine.buy("s", &format!("buyer-{n}")).await;
    }
    let own = engine.buy_of("quiet", "s", "ada").await.to_string();

    // Who follows the links.
    let first = "/api/v1/events?limit=5&campaign=c";
    let (shown, next) = quiet_page(&engine, first).await;
    assert!(shown.is_empty(), "{shown:?}");
    let next = next.expect("it says that there is more");
    assert!(next.contains("after=512&") && next.contains("campaign=c"), "{next}");
    let (shown, next) = quiet_page(&engine, &next).await;
    assert_eq!((shown.len(), &shown[0]["order_id"], next), (1, &Value::from(own.clone()), None));
    // Who goes by the last line that he has seen, and asks for the same again and again.
    let again = "/api/v1/events?limit=5&after=0";
    assert_eq!(quiet_page(&engine, again).await.0, [] as [Value; 0]);
    assert_eq!(quiet_page(&engine, again).await.0[0]["order_id"], own);
    assert_eq!(quiet_page(&engine, again).await.0[0]["order_id"], own, "as often as it is asked for");
    // Orders are found at once, however many are others'.
    for path in ["/api/v1/orders?limit=5", "/api/v1/orders?limit=5&sku=s&buyer=ada"] {
        let (shown, next) = quiet_page(&engine, path).await;
        assert_eq!(
            (shown.len(), &shown[0]["order_id"], next),
            (1, &Value::from(own.clone()), None),
            "{path}"
        );
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_shows_a_bound_operator_a_buyer_who_has_bought_much_elsewhere() {
    let engine = start().await;
    for tenant in ["default", "one"] {
        let sale =
            json!({"campaign": "c", "sku": "s", "price_cents": 5, "stock": 300, "per_buyer_limit": 300});
        let make = asked(&engine, "root", Method::POST, "/api/v1/campaigns", Some(tenant));
        assert_eq!(make.body(sale.to_string()).send().await.unwrap().status(), StatusCode::CREATED);
    }
    for _ in 0..200 {
        engine.buy("s", "ada").await;
    }
    let own = engine.buy_of("one", "s", "ada").await.to_string();
    let page = asked(&engine, "ops-one", Method::GET, "/orders?q=ada", None).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains(&own), "{page}");
    assert_eq!(page.matches("<a href=\"/orders/").count(), 1, "and nobody else's: {page}");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_who_follows_the_orders_while_a_crowd_buys_is_given_each_once() {
    const BUYERS: usize = 4;
    const EACH: usize = 400;
    let engine = Arc::new(Engine::start().await);
    engine.create("s", 10_000).await;
    let crowd: Vec<_> = (0..BUYERS)
        .map(|home| {
            let engine = Arc::clone(&engine);
            // Threads of their own, as the edge has them: numbers are taken and queued in many orders.
            std::thread::spawn(move || {
                let sale = engine.admission.board().sales().by_name("default", "c", "s").cloned().unwrap();
                let mut made = Vec::new();
                let mut n = 0;
                while made.len() < EACH {
                    n += 1;
                    let buyer = format!("buyer-{home}-{n}");
                    let buyer = BuyerName::new(&buyer).unwrap();
                    let purchase = Purchase { buyer, quantity: 1, idempotency_key: None, pass: None };
                    let now = Moment { wall: wall_now(), mono: Nanos(1) };
                    // The queue is short on purpose: a refused purchase burns its number.
                    if let Ok(Accepted::Placed(placed)) =
                        engine.admission.purchase(&sale, &purchase, home, now)
                    {
                        made.push(placed.order_id.to_string());
                    } else {
                        std::thread::yield_now();
                    }
                }
                made
            })
        })
        .collect();
    let give_up_at = std::time::Instant::now() + PATIENCE;
    let (mut seen, mut after) = (Vec::new(), String::new());
    while seen.len() < BUYERS * EACH {
        assert!(
            std::time::Instant::now() < give_up_at,
            "{} orders were passed over",
            BUYERS * EACH - seen.len()
        );
        let page = engine.lines(&format!("/api/v1/orders?after={after}&limit=100")).await;
        if let Some(last) = page.last() {
            after = last["order_id"].as_str().unwrap().to_owned();
        }
        seen.extend(page.iter().map(|order| order["order_id"].as_str().unwrap().to_owned()));
    }
    let mut made: Vec<String> = crowd.into_iter().flat_map(|buyers| buyers.join().unwrap()).collect();
    made.sort_unstable();
    assert_eq!(seen, made);
    Arc::into_inner(engine).expect("the crowd is gone").stop().await;
}
