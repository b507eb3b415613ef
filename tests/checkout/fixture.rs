//! What these tests sell from: the real store with its writer, a sale, and lives of checkout that come and go over it.

use std::sync::Arc;
use std::time::Duration;

use seckill::admission::{Accepted, Admission, LiveSale, Moment, OrderIds, Purchase, Resolution};
use seckill::checkout::{
    AttemptId, Checkout, CheckoutParts, CheckoutSettings, Gateways, NamedGateway, PaymentGateway, PaymentKey,
    ProcessingSettings, RecoverySettings, RetrySettings, RiskService, expire, recover,
};
use seckill::clock::{ClockSettings, Sighting};
use seckill::domain::{
    BuyerName, Cents, Currency, EpochMs, Nanos, NodeId, Order, OrderId, OrderStatus, Sale, SaleId, SaleKey,
    SaleTerms, StoreIdentity, Units,
};
use seckill::orders::postgres::{self, Exclusivity, Follower, FollowerParts, PostgresSettings};
use seckill::orders::{
    Deadlines, OrderDesk, Pipeline, PipelineParts, StoreReader, StoreWriter, WriterSettings, sqlite,
};
use tempfile::TempDir;
use testbed::PATIENCE;
use tokio::runtime::{Builder, Runtime};

pub struct Fixture {
    pub admission: Arc<Admission>,
    pub desk: OrderDesk,
    pub sale: SaleId,
    pub stock: Units,
    identity: StoreIdentity,
    /// Of the embedded store.
    _folder: Option<TempDir>,
}

impl Fixture {
    /// Opens with `stock` units of one sale, whose orders must be paid within `pay_within_s`.
    pub async fn open(stock: Units, pay_within_s: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, reader) = sqlite::open(folder.path(), &sqlite::SqliteSettings::default()).unwrap();
        let sale = store.create_sale(&sale_key(), &terms(pay_within_s), stock, None).unwrap().unwrap();
        let ids = OrderIds::after(NodeId::new(1).unwrap(), None);
        let settings = WriterSettings::default();
        let identity = reader.identity().unwrap();
        let parts = PipelineParts::new(vec![Box::new(store)], Arc::new(reader), ids, settings);
        Self::over(Pipeline::new(parts), sale, identity, Some(folder))
    }

    /// Opens as node `number` of several on one database, all of which sell the same `stock` units for longer than a test
    /// lasts, and follows the others.
    pub fn open_node(number: u16, settings: &PostgresSettings, stock: Units) -> (Self, Follower) {
        let node = NodeId::new(number).unwrap();
        let mut store = postgres::open(settings, node, 2, Exclusivity::Alone).unwrap();
        let made = store.writers[0].create_sale(&sale_key(), &terms(3_600), stock, None).unwrap();
        let sale = made.unwrap_or_else(|| store.reader.sales().unwrap().remove(0));
        let identity = store.reader.identity().unwrap();
        let stores = store.writers.into_iter().map(|store| Box::new(store) as Box<dyn StoreWriter>);
        let deadlines = Arc::new(Deadlines::default());
        // Units that come back are the lease agent's, and there is none here.
        let (lease_agent, _) = flume::unbounded();
        let ids = OrderIds::after(node, None);
        let settings = WriterSettings::default();
        let pipeline = Pipeline::new(PipelineParts {
            deadlines: Arc::clone(&deadlines),
            lease_agent: Some(lease_agent),
            ..PipelineParts::new(stores.collect(), Arc::new(store.reader), ids, settings)
        });
        let follower = Follower::new(FollowerParts {
            feed: store.feed,
            admission: Arc::clone(&pipeline.admission),
            deadlines,
            after_event: 0,
            after_change: 0,
            shards: 1,
            sales_max: 1,
        });
        (Self::over(pipeline, sale, identity, None), follower)
    }

    fn over(pipeline: Pipeline, sale: Sale, identity: StoreIdentity, folder: Option<TempDir>) -> Self {
        let Pipeline { admission, desk, writers } = pipeline;
        for writer in writers {
            std::thread::spawn(move || writer.run().expect("the store works"));
        }
        let (id, stock) = (sale.id, sale.total);
        admission.board().publish(LiveSale::open(sale, 1));
        Self { admission, desk, sale: id, stock, identity, _folder: folder }
    }

    /// Buys one unit; the order is durable.
    pub async fn buy(&self, buyer: &str) -> Order {
        self.buy_at(buyer, now()).await
    }

    /// Buys one unit at that moment; the order is durable.
    pub async fn buy_at(&self, buyer: &str, wall: EpochMs) -> Order {
        let sale = self.admission.board().sales().by_id(self.sale).unwrap().clone();
        let request = Purchase {
            buyer: BuyerName::new(buyer).unwrap(),
            quantity: 1,
            idempotency_key: None,
            pass: None,
        };
        let moment = Moment { wall, mono: Nanos(0) };
        let accepted = self.admission.purchase(&sale, &request, 0, moment).unwrap();
        let Accepted::Placed(placed) = accepted else { panic!("{buyer} bought before: {accepted:?}") };
        assert_eq!(placed.ticket.resolved().await, Resolution::Durable);
        self.order(placed.order_id).await
    }

    pub async fn order(&self, id: OrderId) -> Order {
        self.desk.order(id).await.unwrap().expect("a durable order")
    }

    pub async fn status(&self, id: OrderId) -> OrderStatus {
        self.order(id).await.status
    }

    /// Waits until the order has this status.
    pub async fn until(&self, id: OrderId, status: OrderStatus) {
        let reached = async {
            while self.status(id).await != status {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("order {id} is {} and does not become {status}", self.status(id).await);
        }
    }

    /// Lets the engine's calendar jump to that moment, as if everybody had waited for it.
    pub fn pass_time(&self, until: EpochMs) {
        let clock = self.desk.clock();
        let mut calendar = clock.guarded(&ClockSettings::default());
        calendar.take(Sighting { calendar: until, at: clock.stopwatch(), blur_ms: 0 });
        clock.follow(&calendar);
    }

    /// Units on sale in memory.
    pub fn remaining(&self) -> Units {
        self.admission.board().sales().by_id(self.sale).unwrap().remaining()
    }

    pub async fn orders(&self) -> Vec<Order> {
        self.desk.orders_after(Some(self.sale), None, 100_000).await.unwrap()
    }

    /// Checks that memory and store agree: every unit is either on sale or in an order that holds it.
    pub async fn check_conserved(&self) {
        let audit = self.desk.audit(self.sale).await.unwrap().unwrap();
        assert!(audit.conserved(0), "{audit:?}");
        assert_eq!(u64::from(self.remaining()) + audit.sold(), u64::from(self.stock), "{audit:?}");
    }

    /// Starts checkout over what the store holds, with its loops, on a runtime of its own.
    pub async fn live(
        &self,
        gateway: Arc<dyn PaymentGateway>,
        risk: Arc<dyn RiskService>,
        settings: CheckoutSettings,
    ) -> Life {
        let current = NamedGateway::new(settings.gateway.full_name(), gateway, &settings.gateway);
        self.live_with(Gateways::new(current, Vec::new()), risk, settings).await
    }

    /// The key of an attempt that was begun with this store.
    pub fn key(&self, order: OrderId, attempt: u32) -> PaymentKey {
        PaymentKey { store: Some(self.identity), attempt: AttemptId { order, attempt } }
    }

    /// As [`Fixture::live`], with several gateways.
    pub async fn live_with(
        &self,
        gateways: Gateways,
        risk: Arc<dyn RiskService>,
        settings: CheckoutSettings,
    ) -> Life {
        settings.check().unwrap();
        let unfinished: Vec<AttemptId> = (self.orders().await.iter())
            .filter(|order| matches!(order.status, OrderStatus::Paying | OrderStatus::Refunding))
            .map(AttemptId::latest)
            .collect();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let parts = CheckoutParts {
            desk: self.desk.clone(),
            admission: Arc::clone(&self.admission),
            gateways,
            identity: self.identity,
            risk,
            settings,
            runtime: runtime.handle().clone(),
        };
        let checkout = Checkout::new(parts, unfinished);
        runtime.spawn(recover(checkout.clone()));
        runtime.spawn(expire(checkout.clone()));
        Life { checkout, runtime: Some(runtime) }
    }
}

/// One life of checkout. Ends, wherever it is, when dropped: as in a crash, the store keeps what is durable.
pub struct Life {
    pub checkout: Checkout,
    runtime: Option<Runtime>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn sale_key() -> SaleKey {
    SaleKey::new("default", "demo", "widget").unwrap()
}

fn terms(pay_within_s: u32) -> SaleTerms {
    SaleTerms {
        title: "Widget".into(),
        price: Cents(1_999),
        currency: Currency::USD,
        per_buyer_limit: 1,
        starts_at: EpochMs(0),
        ends_at: EpochMs(i64::MAX),
        pay_within_s,
        rate: None,
        paused: false,
        paused_until: None,
        room: None,
    }
}

pub fn now() -> EpochMs {
    EpochMs(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64)
}

/// Settings under which everything that fails is tried again soon. What is only slow, as everything is on a busy machine,
/// has all the time it needs: a call that hangs is given up where a test asks for that.
pub fn impatient() -> CheckoutSettings {
    let retry = RetrySettings { tries_max: 2, try_ms: 20_000, backoff_ms: 1, backoff_ms_max: 2 };
    let mut settings = CheckoutSettings {
        wait_ms: 60_000,
        try_within_ms: 60_000,
        settle_within_ms: 60_000,
        recovery: RecoverySettings { backoff_ms: 10, backoff_ms_max: 40, ..RecoverySettings::default() },
        ..CheckoutSettings::default()
    };
    settings.risk.retry = retry.clone();
    settings.gateway.retry = retry;
    settings.gateway.processing = ProcessingSettings { poll_ms: 10, poll_ms_max: 40 };
    settings.expiry.tick_ms = 5;
    // The breakers have tests of their own.
    settings.gateway.breaker.calls_min = 1_000_000;
    settings.risk.breaker.calls_min = 1_000_000;
    settings
}

/// The same, where calls that hang are given up.
pub fn giving_up() -> CheckoutSettings {
    let mut settings = impatient();
    settings.gateway.retry.try_ms = 2_000;
    settings
}
