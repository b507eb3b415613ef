//! The engine's core without its servers: admission over one sale, and the order writer on a real folder.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seckill::admission::{Admission, Arrival, BuyerRates, LiveSale, Moment, OrderIds, Purchase, Queue};
use seckill::domain::{
    BuyerName, Cents, Currency, EpochMs, Nanos, NodeId, Rate, Sale, SaleId, SaleKey, SaleTerms, Units,
};
use seckill::orders::postgres::{self, Exclusivity, PostgresSettings};
use seckill::orders::sqlite::{self, SqliteSettings};
use seckill::orders::{
    Commit, OrderDesk, Pipeline, PipelineParts, StoreError, StoreReader, StoreWriter, WriterSettings,
    WriterWatch,
};

/// One unit a buyer, open for a year.
pub fn terms(now: EpochMs, rate: Option<Rate>) -> SaleTerms {
    SaleTerms {
        title: "Widget".into(),
        price: Cents(1999),
        currency: Currency::USD,
        per_buyer_limit: 1,
        starts_at: now.plus_ms(-1000),
        ends_at: now.plus_ms(365 * 24 * 3_600_000),
        pay_within_s: 900,
        rate,
        paused: false,
        paused_until: None,
        room: None,
    }
}

/// The calendar's time.
pub fn wall_now() -> EpochMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EpochMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A buyer's name, written in place: making a name is not part of what is measured.
#[derive(Debug, Default)]
pub struct BuyerText(String);

impl BuyerText {
    /// The name of buyer `number`, as long as a usual user id.
    pub fn set(&mut self, number: u64) -> BuyerName<'_> {
        self.0.clear();
        write!(self.0, "buyer-{number:09}").expect("writing to a string cannot fail");
        BuyerName::new(&self.0).expect("the name keeps its rule")
    }
}

/// A purchase of one unit.
pub fn one_unit(buyer: BuyerName<'_>) -> Purchase<'_> {
    Purchase { buyer, quantity: 1, idempotency_key: None, pass: None }
}

/// The same moment on both clocks, `mono` being counted from `start`.
pub fn moment(start: Instant) -> Moment {
    Moment { wall: wall_now(), mono: Nanos(start.elapsed().as_nanos() as u64) }
}

/// Admission over one sale without a writer behind it.
#[derive(Debug)]
pub struct Bench {
    /// What decides.
    pub admission: Admission,
    /// The sale.
    pub sale: Arc<LiveSale>,
    /// Where winners wait. Drain it, or the queue runs full.
    pub arrivals: flume::Receiver<Arrival>,
}

impl Bench {
    /// A sale of `stock` units in `shards` counters; `rate` is the sale's, `buyer_rate` each buyer's.
    pub fn new(stock: Units, shards: usize, rate: Option<Rate>, buyer_rate: Option<Rate>) -> Self {
        let now = wall_now();
        let key = SaleKey::new("default", "demo", "widget").expect("the name keeps its rule");
        let (queue, arrivals) = Queue::bounded(stock.max(1) as usize);
        let node = NodeId::new(0).expect("0 is a node");
        let rates = buyer_rate.map(|rate| BuyerRates::new(rate, 1 << 16));
        let admission = Admission::new(queue, OrderIds::after(node, None), rates, None);
        let sale = Sale {
            id: SaleId(1),
            key,
            terms: terms(now, rate),
            total: stock,
            sold: 0,
            version: 1,
            archived_at: None,
        };
        admission.board().publish(LiveSale::open(sale, shards));
        let sale = admission.board().sales().by_id(SaleId(1)).cloned().expect("it was just published");
        Self { admission, sale, arrivals }
    }

    /// Settles every waiting winner as durable, as an order writer does after its commit.
    pub fn settle_all(&self) {
        for arrival in self.arrivals.try_iter() {
            if let Arrival::Purchase(order) = arrival {
                self.admission.queue().leave(1);
                order.durable();
            }
        }
    }
}

/// Counts what the writer commits.
#[derive(Clone, Debug, Default)]
pub struct CommitCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    orders: AtomicU64,
    commits: AtomicU64,
    busy_ns: AtomicU64,
}

impl CommitCounts {
    /// Durable orders.
    pub fn orders(&self) -> u64 {
        self.0.orders.load(Ordering::Acquire)
    }

    /// Transactions.
    pub fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::Relaxed)
    }

    /// Time inside transactions.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.0.busy_ns.load(Ordering::Relaxed))
    }
}

impl WriterWatch for CommitCounts {
    fn committed(&self, Commit { orders, took, .. }: Commit<'_>) {
        self.0.commits.fetch_add(1, Ordering::Relaxed);
        self.0.busy_ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
        self.0.orders.fetch_add(orders as u64, Ordering::Release);
    }

    fn stalled(&self) {}
}

/// Admission, queue, writers and an order store over one sale.
#[derive(Debug)]
pub struct Engine {
    /// What decides.
    pub admission: Arc<Admission>,
    /// The sale.
    pub sale: Arc<LiveSale>,
    /// The store's reading half.
    pub reader: Arc<dyn StoreReader>,
    /// What was committed.
    pub commits: CommitCounts,
    desk: OrderDesk,
    writers: Vec<JoinHandle<Result<(), StoreError>>>,
}

impl Engine {
    /// Makes a sale of `stock` units in an empty `folder` and starts the writer of the embedded store.
    ///
    /// # Errors
    /// What the store says.
    pub fn embedded(
        folder: &Path,
        stock: Units,
        shards: usize,
        sqlite: &SqliteSettings,
        settings: WriterSettings,
    ) -> Result<Self, StoreError> {
        let (mut store, reader) = sqlite::open(folder, sqlite)?;
        let checkpointer = store.checkpointer(Arc::new(()))?;
        let thread = std::thread::Builder::new().name("checkpointer".into());
        // It ends with the writer.
        drop(thread.spawn(move || checkpointer.run()).expect("a thread can be started"));
        Self::start(vec![Box::new(store)], Arc::new(reader), stock, shards, settings)
    }

    /// Makes a sale of `stock` units in the empty database that `postgres` names and starts its writers.
    ///
    /// # Errors
    /// What the store says.
    pub fn on_postgres(
        postgres: &PostgresSettings,
        stock: Units,
        shards: usize,
        settings: WriterSettings,
    ) -> Result<Self, StoreError> {
        let store = postgres::open(
            postgres,
            NodeId::new(0).expect("0 is a node"),
            settings.writers,
            Exclusivity::Alone,
        )?;
        let writers = store.writers.into_iter().map(|writer| Box::new(writer) as Box<dyn StoreWriter>);
        Self::start(writers.collect(), Arc::new(store.reader), stock, shards, settings)
    }

    fn start(
        mut stores: Vec<Box<dyn StoreWriter>>,
        reader: Arc<dyn StoreReader>,
        stock: Units,
        shards: usize,
        settings: WriterSettings,
    ) -> Result<Self, StoreError> {
        let key = SaleKey::new("default", "demo", "widget").expect("the name keeps its rule");
        let sale = stores[0].create_sale(&key, &terms(wall_now(), None), stock, None)?;
        let sale = sale.expect("the store is empty");
        let order_ids = OrderIds::after(NodeId::new(0).expect("0 is a node"), None);
        let commits = CommitCounts::default();
        let Pipeline { admission, desk, writers } = Pipeline::new(PipelineParts {
            watch: Arc::new(commits.clone()),
            ..PipelineParts::new(stores, Arc::clone(&reader), order_ids, settings)
        });
        admission.board().publish(LiveSale::open(sale.clone(), shards));
        let live = admission.board().sales().by_id(sale.id).cloned().expect("it was just published");
        let writers = writers.into_iter().map(|writer| {
            let thread = std::thread::Builder::new().name("order-writer".into());
            thread.spawn(move || writer.run()).expect("a thread can be started")
        });
        let writers = writers.collect();
        Ok(Self { admission, sale: live, reader, commits, desk, writers })
    }

    /// Lets the writer finish and close the store.
    ///
    /// # Errors
    /// What the store says.
    pub fn stop(self) -> Result<(), StoreError> {
        self.desk.stop(Duration::from_secs(60));
        self.writers.into_iter().try_for_each(|writer| writer.join().expect("no writer panics"))
    }
}
