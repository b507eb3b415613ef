//! The control plane over real HTTP, with an engine behind it that has no edge: purchases go straight to admission.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use seckill::admin::{
    AdminServer, AdminSettings, ControlPlane, ControlPlaneParts, Lifecycle, Question, Readiness,
    ReloadRefused, probe,
};
use seckill::admission::{
    Accepted, Admission, Board, Intake, LiveSale, Moment, OrderIds, Purchase, Queue, Settlement,
};
use seckill::checkout::{
    Checkout, CheckoutParts, CheckoutSettings, Gateways, NamedGateway, SimulatedGateway,
    SimulatedGatewaySettings, SimulatedRisk, SimulatedRiskSettings,
};
use seckill::domain::{
    BuyerName, EpochMs, Nanos, NodeId, OrderAction, OrderId, Sale, SaleEdit, SaleKey, SaleLimits, StockEdit,
    Units,
};
use seckill::ledger::redis::RedisFault;
use seckill::ledger::{Awaited, EmbeddedLedger, Ledger, SaleDesk, StockAudit, ThreeBooks, Withdrawal};
use seckill::orders::sqlite::{self, SqliteSettings};
use seckill::orders::{
    Applied, Deadlines, OrderDesk, OrderWriter, StoreError, StoreReader, Transition, WriterSettings,
    WriterWatch,
};
use seckill::telemetry::{IntervalLog, Outcome, Path, Telemetry};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::watch;

const NODE: NodeId = NodeId::new(3).unwrap();
const PATIENCE: Duration = Duration::from_secs(120);

struct Figures(Arc<Telemetry>);

impl WriterWatch for Figures {
    fn committed(&self, orders: usize, steps: usize, took: Duration) {
        self.0.writers.record_batch(orders + steps, took.as_nanos() as u64);
    }

    fn stalled(&self) {
        self.0.writers.failed_batches.increment();
    }
}

struct Engine {
    _folder: tempfile::TempDir,
    admin: String,
    http: Client,
    admission: Arc<Admission>,
    desk: OrderDesk,
    telemetry: Arc<Telemetry>,
    intervals: Arc<IntervalLog>,
    readiness: Arc<Readiness>,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
    writer: JoinHandle<Result<(), StoreError>>,
}

impl Engine {
    async fn start() -> Self {
        Self::start_with(AdminSettings::default()).await
    }

    async fn start_with(settings: AdminSettings) -> Self {
        let settings = AdminSettings { listen: "127.0.0.1:0".parse().unwrap(), ..settings };
        let folder = tempfile::tempdir().unwrap();
        let (store, reader) = sqlite::open(folder.path(), &SqliteSettings::default()).unwrap();
        let identity = reader.identity().unwrap();
        let (queue, arrivals) = Queue::bounded(100);
        let admission = Arc::new(Admission::new(queue, OrderIds::after(NODE, None), None, None));
        let (step_sender, steps) = flume::bounded(100);
        let (deadlines, telemetry) = (Arc::new(Deadlines::default()), Arc::new(Telemetry::new(1)));
        let desk =
            OrderDesk::new(Arc::clone(&admission), step_sender, Arc::new(reader), Arc::clone(&deadlines), 1);
        let writer = OrderWriter {
            store: Box::new(store),
            admission: Arc::clone(&admission),
            arrivals,
            steps,
            deadlines,
            lender: None,
            counting: Arc::default(),
            settings: WriterSettings::default(),
            watch: Figures(Arc::clone(&telemetry)),
        };
        let ledger = Arc::new(EmbeddedLedger::new(desk.clone(), 2));
        let sales = SaleDesk::new(Arc::clone(&admission), desk.clone(), ledger, 3, SaleLimits::default());
        let simulated = Arc::new(SimulatedGateway::new(SimulatedGatewaySettings::default()));
        let current = NamedGateway::new("simulated".into(), simulated, &CheckoutSettings::default().gateway);
        let checkout = Checkout::new(
            CheckoutParts {
                desk: desk.clone(),
                admission: Arc::clone(&admission),
                gateways: Gateways::new(current, Vec::new()),
                identity,
                risk: Arc::new(SimulatedRisk::new(SimulatedRiskSettings::default())),
                settings: CheckoutSettings::default(),
                runtime: Handle::current(),
            },
            [],
        );
        let intervals = Arc::new(IntervalLog::new(SystemTime::now(), 1 << 20));
        let readiness = Arc::new(Readiness::default());
        let reloads = AtomicU64::new(0);
        let reload = move || match reloads.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(vec!["log.level".into()]),
            _ => Err(ReloadRefused {
                code: "restart-required",
                detail: "node.id can only change with a restart".into(),
                keys: vec!["node.id".into()],
            }),
        };
        let server = AdminServer::bind(settings.clone(), Arc::clone(&readiness)).await.unwrap();
        server.opening().open(ControlPlane::new(ControlPlaneParts {
            node: NODE,
            settings,
            admission: Arc::clone(&admission),
            desk: desk.clone(),
            sales: Arc::new(sales),
            checkout,
            telemetry: Arc::clone(&telemetry),
            intervals: Arc::clone(&intervals),
            readiness: Arc::clone(&readiness),
            reload: Arc::new(reload),
        }));
        let admin = format!("http://{}", server.address().unwrap());
        let (stop, stopped) = watch::channel(false);
        Self {
            _folder: folder,
            admin,
            http: Client::builder().timeout(PATIENCE).build().unwrap(),
            admission,
            desk,
            telemetry,
            intervals,
            readiness,
            stop,
            server: tokio::spawn(server.serve(stopped)),
            writer: std::thread::spawn(move || writer.run()),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.admin))
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn get_json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    async fn lines(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        let text = answer.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let answer = self.request(method, path).body(body.to_string()).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn create(&self, sku: &str, stock: Units) {
        let body = json!({"campaign": "c", "sku": sku, "price_cents": 250, "stock": stock});
        let (status, answer) = self.send(Method::POST, "/api/v1/campaigns", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// Buys one unit of `c`/`sku` and waits until the order is durable.
    async fn buy(&self, sku: &str, buyer: &str) -> OrderId {
        let sale = self.admission.board().sales().by_name("default", "c", sku).cloned().unwrap();
        let purchase = Purchase { buyer: BuyerName::new(buyer).unwrap(), quantity: 1, idempotency_key: None };
        let now = Moment { wall: wall_now(), mono: Nanos(1) };
        let Accepted::Placed(placed) = self.admission.purchase(&sale, &purchase, 0, now).unwrap() else {
            panic!("{buyer} had an order");
        };
        assert_eq!(placed.ticket.settled().await, Settlement::Durable);
        placed.order_id
    }

    async fn step(&self, order: OrderId, action: OrderAction) {
        let transition = Transition {
            payment_method: Some("card".into()),
            payment_attempt: Some(1),
            ..Transition::plain(order, action, wall_now())
        };
        let applied = self.desk.apply(transition).await.unwrap();
        assert!(matches!(applied, Applied::Done(_)), "{applied:?}");
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.server).await.unwrap().unwrap();
        let (desk, writer) = (self.desk, self.writer);
        let stopped = tokio::task::spawn_blocking(move || desk.stop(PATIENCE)).await.unwrap();
        assert!(stopped);
        writer.join().unwrap().unwrap();
    }
}

fn wall_now() -> EpochMs {
    EpochMs(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_made_listed_and_shown() {
    let engine = Engine::start().await;
    let body = json!({
        "campaign": "summer", "sku": "phone", "title": "A <phone>", "price_cents": 49900, "currency": "EUR",
        "stock": 50, "per_buyer_limit": 2, "starts_at": "2020-01-01T00:00:00Z",
        "ends_at": "2090-01-01T01:00:00+01:00", "pay_within_s": 600, "rate_per_s": 100, "burst": 10,
    });
    let answer =
        engine.request(Method::POST, "/api/v1/campaigns").body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["location"], "/api/v1/campaigns/summer/phone");
    let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let created: Value = answer.json().await.unwrap();
    let expected = json!({
        "tenant": "default", "campaign": "summer", "sku": "phone", "title": "A <phone>", "price_cents": 49900,
        "currency": "EUR", "stock": 50, "per_buyer_limit": 2, "starts_at": "2020-01-01T00:00:00.000Z",
        "ends_at": "2090-01-01T00:00:00.000Z", "pay_within_s": 600, "rate_per_s": 100, "burst": 10,
        "paused": false, "state": "open", "sold": 0, "remaining": 50, "etag": etag,
    });
    assert_eq!(created, expected);
    assert_eq!(engine.get_json("/api/v1/campaigns").await, json!({ "campaigns": [expected] }));
    assert_eq!(engine.get_json("/api/v1/campaigns/summer/phone").await, expected);

    let (status, problem) = engine.send(Method::POST, "/api/v1/campaigns", &body).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("campaign-exists")));

    let others = engine.request(Method::GET, "/api/v1/campaigns").header("x-tenant-id", "other");
    let others: Value = others.send().await.unwrap().json().await.unwrap();
    assert_eq!(others, json!({ "campaigns": [] }));
    let page = engine.get("/").await.text().await.unwrap();
    assert!(page.contains("A &lt;phone&gt;") && !page.contains("A <phone>"), "{page}");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_field_is_named() {
    let engine = Engine::start().await;
    let good = json!({"campaign": "c", "sku": "s", "price_cents": 5, "stock": 7});
    let wrong = [
        ("campaign", json!("a b")),
        ("sku", json!(7)),
        ("price_cents", json!(-1)),
        ("price_cents", Value::Null),
        ("stock", json!(1e12)),
        ("stock", json!("7")),
        ("currency", json!("euro")),
        ("currency", json!("ZZZ")),
        ("currency", json!("XAU")),
        ("per_buyer_limit", json!(0)),
        ("starts_at", json!("tomorrow")),
        ("ends_at", json!("2001-01-01T00:00:00Z")),
        ("pay_within_s", json!(0)),
        ("rate_per_s", json!(0)),
        ("burst", json!(5)),
        ("title", json!("x".repeat(201))),
        ("colour", json!("red")),
    ];
    for (field, value) in wrong {
        let mut body = good.clone();
        body[field] = value;
        let (status, problem) = engine.send(Method::POST, "/api/v1/campaigns", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {problem}");
        assert_eq!(problem["field"], field, "{problem}");
        assert_eq!(problem["code"], "invalid-field");
    }
    assert_eq!(engine.get_json("/api/v1/campaigns").await, json!({ "campaigns": [] }));

    for body in ["", "[]", "{", "\u{1}"] {
        let request = engine.request(Method::POST, "/api/v1/campaigns").body(body);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::BAD_REQUEST, "{body:?}");
    }
    let large = engine.request(Method::POST, "/api/v1/campaigns").body("x".repeat(100_000));
    assert_eq!(large.send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_and_stock_change_while_the_sale_runs() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    engine.buy("s", "ada").await;
    let path = "/api/v1/campaigns/c/s";
    let change = json!({
        "stock": 20, "paused": true, "rate_per_s": 5, "title": "New", "price_cents": 9, "per_buyer_limit": 4,
        "pay_within_s": 60, "ends_at": "2090-01-01T00:00:00Z",
    });
    let (status, changed) = engine.send(Method::PATCH, path, &change).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!((changed["stock"].as_u64(), changed["remaining"].as_u64()), (Some(20), Some(19)));
    assert_eq!((changed["state"].as_str(), changed["burst"].as_u64()), (Some("paused"), Some(5)));
    assert_eq!(engine.get_json(path).await, changed);

    let none = json!({"rate_per_s": null, "ends_at": null, "paused": false});
    let (status, changed) = engine.send(Method::PATCH, path, &none).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(
        (&changed["rate_per_s"], &changed["burst"], &changed["ends_at"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(changed["state"], "open");

    let (status, changed) = engine.send(Method::PATCH, path, &json!({"stock": 1})).await;
    assert_eq!((status, changed["state"].as_str()), (StatusCode::OK, Some("sold_out")));
    let (status, problem) = engine.send(Method::PATCH, path, &json!({"stock": 0})).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("stock-in-use")), "{problem}");
    let refused = [
        ("stock", json!(null)),
        ("currency", json!("EUR")),
        ("starts_at", json!("2091-02-30T00:00:00Z")),
        ("per_buyer_limit", json!(1)),
        ("burst", json!(1)),
    ];
    for (field, value) in refused {
        let (status, problem) = engine.send(Method::PATCH, path, &json!({ field: value })).await;
        assert_eq!(
            (status, problem["field"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(field)),
            "{problem}"
        );
    }
    let (status, problem) = engine.send(Method::PATCH, "/api/v1/campaigns/c/none", &json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::NOT_FOUND, Some("unknown-sale")));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_at_most_as_many_campaigns_as_may_be() {
    let engine = Engine::start().await;
    for sku in ["a", "b", "c"] {
        engine.create(sku, 1).await;
    }
    let body = json!({"campaign": "c", "sku": "d", "price_cents": 1, "stock": 1});
    let (status, problem) = engine.send(Method::POST, "/api/v1/campaigns", &body).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("too-many-campaigns")));
    engine.stop().await;
}

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
            "total": 10, "available": 8, "leased": 0, "held": 1, "paid": 1, "sold": 2, "durable_orders": 3,
            "buyers_over_limit": 0, "ledger": "embedded", "conserved": true,
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

    let events = engine.lines("/api/v1/events").await;
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
async fn feeds_are_read_page_by_page_without_gap_or_repeat() {
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

    // A2: every page but the last says where the next one is.
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
        ("orders?limit=x", "limit"),
        ("orders?after=x", "after"),
        ("events?after=-1", "after"),
        ("events?colour=red", "query"),
    ] {
        let answer = engine.get(&format!("/api/v1/{path}")).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["field"], field, "{path}");
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_told_in_every_format() {
    let engine = Engine::start().await;
    engine.create("s", 2).await;
    engine.buy("s", "ada").await;
    let recorder = engine.telemetry.recorder(0);
    for micros in 1..=100 {
        recorder.record(Path::Seckill, Outcome::SoldOut, micros * 1_000);
    }
    recorder.record(Path::Seckill, Outcome::Won, 5_000_000);
    recorder.record(Path::Order, Outcome::Durable, 7_000_000);
    engine.intervals.append(&engine.telemetry, Duration::from_secs(1));
    engine.get_json("/api/v1/campaigns/c/s/audit").await;

    let stats = engine.get_json("/api/v1/stats").await;
    assert_eq!(stats["node"], 3);
    let seckill = &stats["paths"]["seckill"];
    assert_eq!(seckill["count"], 101);
    for figure in ["mean_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"] {
        assert!(seckill[figure].as_f64().unwrap() > 0.0, "{figure}");
    }
    // A few slow wins are not hidden by many quick refusals.
    assert!(seckill["p50_us"].as_f64().unwrap() < 60.0);
    assert!(seckill["outcomes"]["won"]["p50_us"].as_f64().unwrap() >= 5_000.0);
    assert_eq!(seckill["recent"]["per_s"], 101.0);
    assert_eq!(stats["paths"]["checkout"]["count"], 0);
    assert_eq!((&stats["outcomes"]["sold-out"], &stats["outcomes"]["paid"]), (&json!(100), &json!(0)));
    assert_eq!((&stats["queue"]["depth"], &stats["queue"]["capacity"]), (&json!(0), &json!(100)));
    assert_eq!(stats["checkout"]["gateway"]["breaker"], "closed");
    assert!(stats["writer"]["commit"]["count"].as_u64().unwrap() >= 1);

    let store = &stats["store"];
    let uses = store["opened"].as_u64().unwrap() + store["reused"].as_u64().unwrap();
    assert!(uses > 0 && store["reuse_rate"].is_number() && store["broken"] == 0, "{store}");
    let metrics = engine.get("/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let metrics = metrics.text().await.unwrap();
    for sample in [
        "seckill_requests_total{path=\"seckill\",code=\"sold-out\"} 100",
        "seckill_request_duration_seconds_bucket{path=\"order\",code=\"durable\",le=\"0.005\"} 0",
        "seckill_request_duration_seconds_bucket{path=\"order\",code=\"durable\",le=\"0.01\"} 1",
        "seckill_sale_remaining_units{tenant=\"default\",campaign=\"c\",sku=\"s\"} 1",
        "seckill_queue_capacity 100",
        "seckill_checkout_ends_total{end=\"paid\"} 0",
        "seckill_checkout_breaker_open{service=\"gateway\"} 0",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "no {sample}");
    }

    let percentiles = engine.get("/api/v1/latency/seckill.hgrm").await.text().await.unwrap();
    assert!(percentiles.contains("Total count    =          101]"), "{percentiles}");
    let wins = engine.get("/api/v1/latency/seckill.hgrm?code=won").await.text().await.unwrap();
    assert!(wins.contains("Total count    =            1]"), "{wins}");
    for (path, status) in [
        ("seckill.hgrm?code=paid", StatusCode::UNPROCESSABLE_ENTITY),
        ("seckill.hgrm?colour=red", StatusCode::UNPROCESSABLE_ENTITY),
        ("sold.hgrm", StatusCode::NOT_FOUND),
        ("seckill", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(engine.get(&format!("/api/v1/latency/{path}")).await.status(), status, "{path}");
    }
    let log = engine.get("/api/v1/latency.hlog").await.text().await.unwrap();
    assert!(log.contains("Tag=seckill,0.000,1.000,") && log.contains("Tag=order,0.000,1.000,"), "{log}");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_engine() {
    let engine = Engine::start().await;
    let address = engine.admin.strip_prefix("http://").unwrap().parse().unwrap();
    let probed = || tokio::task::spawn_blocking(move || probe(address, Question::Ready, PATIENCE));
    assert_eq!(engine.get_json("/livez").await, json!({"status": "alive"}));

    let starting = engine.get("/readyz").await;
    assert_eq!(starting.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(starting.json::<Value>().await.unwrap()["checks"]["lifecycle"], "starting");
    assert!(probed().await.unwrap().unwrap_err().contains("starting"));

    engine.readiness.set(Lifecycle::Running);
    let ready = json!({"status": "ready", "checks": {"lifecycle": "ok", "writer": "ok", "store": "ok"}});
    assert_eq!(engine.get_json("/readyz").await, ready);
    assert_eq!(probed().await.unwrap(), Ok(()));
    let health = engine.get_json("/healthz").await;
    assert_eq!((&health["status"], &health["node"]), (&json!("ok"), &json!(3)));

    engine.admission.queue().set_intake(Intake::Stalled);
    let stalled = engine.get("/readyz").await;
    assert_eq!(stalled.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stalled.json::<Value>().await.unwrap()["checks"]["writer"], "stalled");
    engine.admission.queue().set_intake(Intake::Open);

    engine.readiness.set(Lifecycle::Draining);
    assert_eq!(engine.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(engine.get("/livez").await.status(), StatusCode::OK);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_only_the_probes_are_open() {
    let engine =
        Engine::start_with(AdminSettings { token: "t0ken".into(), ..AdminSettings::default() }).await;
    let status = |path: &'static str, authorization: Option<&'static str>| {
        let mut request = engine.request(Method::GET, path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        async { request.send().await.unwrap().status() }
    };
    for path in ["/livez", "/healthz"] {
        assert_ne!(status(path, None).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/", "/metrics", "/api/v1/stats", "/api/v1/orders", "/api/v1/campaigns", "/nowhere"] {
        assert_eq!(status(path, None).await, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(status(path, Some("Bearer wrong")).await, StatusCode::UNAUTHORIZED, "{path}");
        assert_ne!(status(path, Some("Bearer t0ken")).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_tells_what_changed_or_why_not() {
    let engine = Engine::start().await;
    let (status, answer) = engine.send(Method::POST, "/api/v1/config/reload", &Value::Null).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"status": "reloaded", "changed": ["log.level"]})));
    let (status, answer) = engine.send(Method::POST, "/api/v1/config/reload", &Value::Null).await;
    assert_eq!((status, &answer["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("restart-required")));
    assert_eq!(answer["keys"], json!(["node.id"]));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_carry_the_request_id() {
    let engine = Engine::start().await;
    let answer =
        engine.request(Method::GET, "/nowhere").header("x-request-id", "mine-1").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    assert_eq!(answer.json::<Value>().await.unwrap()["instance"], "mine-1");

    let answer = engine.request(Method::DELETE, "/api/v1/stats").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let made = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(
        (problem["instance"].as_str(), problem["code"].as_str()),
        (Some(&*made), Some("method-not-allowed"))
    );

    let tenant = engine.request(Method::GET, "/api/v1/campaigns").header("x-tenant-id", "a/b");
    assert_eq!(tenant.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let foreign =
        engine.request(Method::POST, "/api/v1/config/reload").header("origin", "http://elsewhere.example");
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_probes_and_operators_are_answered_beside_300_silent_connections() {
    let engine = Engine::start().await;
    let address = engine.admin.strip_prefix("http://").unwrap().to_owned();
    let mut silent = Vec::new();
    for round in 0..30 {
        for _ in 0..10 {
            silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
        }
        // On a connection of its own, each.
        let http = Client::builder().timeout(PATIENCE).pool_max_idle_per_host(0).build().unwrap();
        for path in ["/livez", "/api/v1/campaigns"] {
            let answer = http.get(format!("{}{path}", engine.admin)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path} in round {round}");
        }
    }
    drop(silent);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_a_known_connection_has_a_place_of_its_own_and_no_more_than_there_are() {
    let settings = AdminSettings {
        connections_max: 1,
        unknown_connections_max: 4,
        header_read_timeout_ms: 600_000,
        ..AdminSettings::default()
    };
    let engine = Engine::start_with(settings).await;
    let address = engine.admin.strip_prefix("http://").unwrap();
    let mut known = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut ask = async || {
        known.write_all(b"GET /api/v1/campaigns HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert_ne!(known.read_buf(&mut answer).await.unwrap(), 0, "it was closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    };
    ask().await;
    // It stays open; another one finds no place, but probes do.
    let other = Client::builder().timeout(PATIENCE).build().unwrap();
    let refused = other.get(format!("{}/api/v1/campaigns", engine.admin)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "too-many-connections");
    assert_eq!(other.get(format!("{}/livez", engine.admin)).send().await.unwrap().status(), StatusCode::OK);
    for _ in 0..10 {
        drop(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    ask().await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o8_without_a_token_the_host_names_this_machine() {
    let settings = AdminSettings { hosts: vec!["admin.internal".into()], ..AdminSettings::default() };
    let engine = Engine::start_with(settings).await;
    for path in ["/livez", "/healthz", "/", "/api/v1/campaigns", "/metrics", "/nowhere"] {
        let answer = engine.request(Method::GET, path).header("host", "evil.example").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "foreign-host", "{path}");
    }
    let stop = engine.request(Method::POST, "/api/v1/config/reload").header("host", "evil.example:9090");
    assert_eq!(stop.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    for host in ["localhost", "127.0.0.1:1", "admin.internal:9090"] {
        let answer =
            engine.request(Method::GET, "/api/v1/campaigns").header("host", host).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{host}");
    }
    let far = engine.request(Method::POST, "/api/v1/config/reload").header("sec-fetch-site", "cross-site");
    assert_eq!(far.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o1_a_change_names_the_version_that_it_was_made_from() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    let path = "/api/v1/campaigns/c/s";
    let etag = engine.get(path).await.headers()["etag"].clone();
    let change = |body: Value, if_match: Option<reqwest::header::HeaderValue>| {
        let mut request = engine.request(Method::PATCH, path).body(body.to_string());
        if let Some(tag) = if_match {
            request = request.header("if-match", tag);
        }
        async { request.send().await.unwrap() }
    };
    let paused = change(json!({"paused": true}), Some(etag.clone())).await;
    assert_eq!(paused.status(), StatusCode::OK);
    let paused_tag = paused.headers()["etag"].clone();
    assert_ne!(paused_tag, etag);

    let stale = change(json!({"price_cents": 1}), Some(etag)).await;
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
    let problem: Value = stale.json().await.unwrap();
    assert_eq!(
        (&problem["code"], &problem["etag"]),
        (&json!("changed-meanwhile"), &json!(paused_tag.to_str().unwrap()))
    );
    let now = engine.get_json(path).await;
    assert_eq!((&now["price_cents"], &now["paused"]), (&json!(250), &json!(true)), "nothing has changed");

    // Without a version, changes are merged; relative ones add up, also at the same moment.
    let both =
        tokio::join!(change(json!({"stock_delta": 500}), None), change(json!({"stock_delta": 500}), None));
    assert_eq!((both.0.status(), both.1.status()), (StatusCode::OK, StatusCode::OK));
    let (status, lower) =
        engine.send(Method::PATCH, path, &json!({"stock_delta": -10, "price_cents": 7})).await;
    assert_eq!(
        (status, &lower["stock"], &lower["remaining"]),
        (StatusCode::OK, &json!(1_000), &json!(1_000))
    );
    assert_eq!((&lower["paused"], &lower["price_cents"]), (&json!(true), &json!(7)));
    // Selling is no change of the sale.
    assert_eq!(change(json!({"paused": false}), None).await.status(), StatusCode::OK);
    let before = engine.get(path).await.headers()["etag"].clone();
    engine.buy("s", "ada").await;
    assert_eq!(engine.get(path).await.headers()["etag"], before);
    for (body, field) in [
        (json!({"stock": 1, "stock_delta": 1}), "stock_delta"),
        (json!({"stock_delta": -5_000}), "stock_delta"),
        (json!({"stock_delta": 0.5}), "stock_delta"),
    ] {
        let (status, problem) = engine.send(Method::PATCH, path, &body).await;
        assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{body}");
    }
    let malformed = change(json!({}), Some("17".parse().unwrap())).await;
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
    engine.stop().await;
}

/// A ledger whose other nodes never give a unit back.
#[derive(Debug)]
struct Stuck(EmbeddedLedger);

impl Ledger for Stuck {
    fn open(&self, board: &Board, sale: Sale) {
        self.0.open(board, sale);
    }

    fn withdraw<'a>(&'a self, _: &'a LiveSale, _: Units) -> Awaited<'a, Option<Withdrawal>> {
        Box::pin(std::future::pending())
    }

    fn grow(&self, sale: &LiveSale, units: Units) {
        self.0.grow(sale, units);
    }

    fn audit<'a>(&'a self, _: &'a LiveSale) -> Awaited<'a, Result<Option<StockAudit>, StoreError>> {
        panic!("no change reads all orders");
    }

    fn books<'a>(&'a self, sale: &'a LiveSale) -> Awaited<'a, Result<Option<ThreeBooks>, StoreError>> {
        self.0.books(sale)
    }

    fn redis_answers(&self) -> Awaited<'_, Option<Result<(), RedisFault>>> {
        self.0.redis_answers()
    }

    fn redis_commands(&self) -> Option<u64> {
        self.0.redis_commands()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o2_a_pause_waits_for_no_other_change() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    let ledger = Arc::new(Stuck(EmbeddedLedger::new(engine.desk.clone(), 2)));
    let desk =
        SaleDesk::new(Arc::clone(&engine.admission), engine.desk.clone(), ledger, 3, SaleLimits::default());
    let (desk, key) = (Arc::new(desk), SaleKey::new("default", "c", "s").unwrap());
    let lower = tokio::spawn({
        let (desk, key) = (Arc::clone(&desk), key.clone());
        let edit = SaleEdit { stock: Some(StockEdit::To(1)), ..SaleEdit::default() };
        async move { desk.change(&key, edit, None).await.map(drop) }
    });
    let edit = |paused| SaleEdit { paused: Some(paused), ..SaleEdit::default() };
    for paused in [true, false, true] {
        let changed = tokio::time::timeout(PATIENCE, desk.change(&key, edit(paused), None));
        assert_eq!(changed.await.expect("it waits for nobody").unwrap().terms.paused, paused);
    }
    assert!(!lower.is_finished(), "the units have not been given up");
    lower.abort();
    assert!(lower.await.unwrap_err().is_cancelled());
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
                    let purchase = Purchase { buyer, quantity: 1, idempotency_key: None };
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
