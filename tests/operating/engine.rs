//! An engine that has no edge: purchases go straight to admission.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use seckill::admin::{
    AdminServer, AdminSettings, AdminTokens, BulkReads, ControlPlane, ControlPlaneParts, Readiness,
    ReloadRefused,
};
use seckill::admission::{Accepted, Admission, Moment, OrderIds, Purchase, Resolution};
use seckill::checkout::{
    Checkout, CheckoutParts, CheckoutSettings, Gateways, NamedGateway, SimulatedGateway,
    SimulatedGatewaySettings, SimulatedRisk, SimulatedRiskSettings,
};
use seckill::domain::{BuyerName, EpochMs, Nanos, NodeId, OrderAction, OrderId, SaleLimits, Units};
use seckill::ledger::{EmbeddedLedger, SaleDesk};
use seckill::orders::sqlite::{self, SqliteSettings};
use seckill::orders::{
    Applied, OrderDesk, Pipeline, PipelineParts, StoreError, StoreReader, Transition, WriterSettings,
    WriterWatch,
};
use seckill::telemetry::{IntervalLog, Telemetry};
use serde_json::{Value, json};
use testbed::client::Answer;
use testbed::{PATIENCE, described};
use tokio::runtime::Handle;
use tokio::sync::watch;

const NODE: NodeId = NodeId::new(3).unwrap();

pub struct Engine {
    _folder: tempfile::TempDir,
    pub admin: String,
    pub http: Client,
    pub admission: Arc<Admission>,
    pub desk: OrderDesk,
    pub telemetry: Arc<Telemetry>,
    pub intervals: Arc<IntervalLog>,
    pub readiness: Arc<Readiness>,
    pub tokens: Arc<AdminTokens>,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
    writers: Vec<JoinHandle<Result<(), StoreError>>>,
}

impl Engine {
    pub async fn start() -> Self {
        Self::start_with(AdminSettings::default()).await
    }

    pub async fn start_with(settings: AdminSettings) -> Self {
        let settings = AdminSettings { listen: "127.0.0.1:0".parse().unwrap(), ..settings };
        let folder = tempfile::tempdir().unwrap();
        let (store, reader) = sqlite::open(folder.path(), &SqliteSettings::default()).unwrap();
        let identity = reader.identity().unwrap();
        let settings_of_writers =
            WriterSettings { queue_orders_max: 100, steps_max: 100, ..WriterSettings::default() };
        let telemetry = Arc::new(Telemetry::new(1));
        let pipeline = Pipeline::new(PipelineParts {
            watch: Arc::clone(&telemetry) as Arc<dyn WriterWatch>,
            ..PipelineParts::new(
                vec![Box::new(store)],
                Arc::new(reader),
                OrderIds::after(NODE, None),
                settings_of_writers,
            )
        });
        let Pipeline { admission, desk, writers } = pipeline;
        let writers = writers.into_iter().map(|writer| std::thread::spawn(move || writer.run())).collect();
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
                needs_restart: true,
                detail: "node.id can only change with a restart".into(),
                keys: vec!["node.id".into()],
            }),
        };
        let server =
            AdminServer::bind(settings.clone(), Arc::clone(&readiness), settings.certificates().unwrap())
                .await
                .unwrap();
        let tokens = Arc::new(AdminTokens::new(&settings));
        server.opening().open(ControlPlane::new(ControlPlaneParts {
            node: NODE,
            tokens: Arc::clone(&tokens),
            settings,
            admission: Arc::clone(&admission),
            desk: desk.clone(),
            sales: Arc::new(sales),
            checkout,
            telemetry: Arc::clone(&telemetry),
            intervals: Arc::clone(&intervals),
            readiness: Arc::clone(&readiness),
            reload: Arc::new(reload),
            certificates: Vec::new(),
            store_concerns: Arc::default(),
            webhooks: None,
            search: None,
            relay: None,
            bulk_reads: BulkReads::start().unwrap(),
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
            tokens,
            stop,
            server: tokio::spawn(server.serve(stopped)),
            writers,
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.admin))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub async fn get_json(&self, path: &str) -> Value {
        let answer = held(Method::GET, path, self.get(path).await).await;
        assert_eq!(answer.status, 200, "{path}");
        answer.json()
    }

    pub async fn lines(&self, path: &str) -> Vec<Value> {
        let answer = held(Method::GET, path, self.get(path).await).await;
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (200, Some("application/x-ndjson")),
            "{path}"
        );
        answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let answer = self.request(method.clone(), path).body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        (status, held(method, path, answer).await.json())
    }

    pub async fn create(&self, sku: &str, stock: Units) {
        let body = json!({"campaign": "c", "sku": sku, "price_cents": 250, "stock": stock});
        let (status, answer) = self.send(Method::POST, "/api/v1/campaigns", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// Buys one unit of `c`/`sku` and waits until the order is durable.
    pub async fn buy(&self, sku: &str, buyer: &str) -> OrderId {
        self.buy_of("default", sku, buyer).await
    }

    /// The same of a tenant's sale.
    pub async fn buy_of(&self, tenant: &str, sku: &str, buyer: &str) -> OrderId {
        let sale = self.admission.board().sales().by_name(tenant, "c", sku).cloned().unwrap();
        let purchase = Purchase {
            buyer: BuyerName::new(buyer).unwrap(),
            quantity: 1,
            idempotency_key: None,
            pass: None,
        };
        let now = Moment { wall: wall_now(), mono: Nanos(1) };
        let Accepted::Placed(placed) = self.admission.purchase(&sale, &purchase, 0, now).unwrap() else {
            panic!("{buyer} had an order");
        };
        assert_eq!(placed.ticket.resolved().await, Resolution::Durable);
        placed.order_id
    }

    /// Tries to buy one unit of `c`/`sku`, which is refused.
    pub fn refused(&self, sku: &str, buyer: &str) {
        let sale = self.admission.board().sales().by_name("default", "c", sku).cloned().unwrap();
        let purchase = Purchase {
            buyer: BuyerName::new(buyer).unwrap(),
            quantity: 1,
            idempotency_key: None,
            pass: None,
        };
        let now = Moment { wall: wall_now(), mono: Nanos(1) };
        self.admission.purchase(&sale, &purchase, 0, now).expect_err("it is refused");
    }

    pub async fn step(&self, order: OrderId, action: OrderAction) {
        let transition = Transition {
            payment_method: Some("card".into()),
            payment_attempt: Some(1),
            ..Transition::plain(order, action, wall_now())
        };
        let applied = self.desk.apply(transition).await.unwrap();
        assert!(matches!(applied, Applied::Done(_)), "{applied:?}");
    }

    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.server).await.unwrap().unwrap();
        let (desk, writers) = (self.desk, self.writers);
        let stopped = tokio::task::spawn_blocking(move || desk.stop(PATIENCE)).await.unwrap();
        assert!(stopped);
        writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
    }
}

/// The answer, which has to be one that the plane's document describes.
async fn held(method: Method, path: &str, answer: Response) -> Answer {
    let status = answer.status().as_u16();
    let fields = answer.headers().iter();
    let fields =
        fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    let answer = Answer { status, fields: fields.collect(), body: answer.text().await.unwrap() };
    described::admin().hold(method.as_str(), path, &answer);
    answer
}

pub fn wall_now() -> EpochMs {
    EpochMs(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64)
}
