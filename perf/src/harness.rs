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
use seckill::orders::sqlite::{self, SqliteReader, SqliteSettings};
use seckill::orders::{Deadlines, OrderDesk, OrderWriter, StoreError, WriterSettings, WriterWatch};

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
    Purchase { buyer, quantity: 1, idempotency_key: None }
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
        let sale = Sale { id: SaleId(1), key, terms: terms(now, rate), total: stock, sold: 0 };
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
    fn committed(&self, orders: usize, _steps: usize, took: Duration) {
        self.0.commits.fetch_add(1, Ordering::Relaxed);
        self.0.busy_ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
        self.0.orders.fetch_add(orders as u64, Ordering::Release);
    }

    fn stalled(&self) {}
}

/// Admission, queue, writer and embedded store over one sale.
#[derive(Debug)]
pub struct Engine {
    /// What decides.
    pub admission: Arc<Admission>,
    /// The sale.
    pub sale: Arc<LiveSale>,
    /// The store's reading half.
    pub reader: Arc<SqliteReader>,
    /// What was committed.
    pub commits: CommitCounts,
    desk: OrderDesk,
    writer: JoinHandle<Result<(), StoreError>>,
}

impl Engine {
    /// Makes a sale of `stock` units in an empty `folder` and starts the writer.
    ///
    /// # Errors
    /// What the store says.
    pub fn start(
        folder: &Path,
        stock: Units,
        shards: usize,
        sqlite: &SqliteSettings,
        settings: WriterSettings,
    ) -> Result<Self, StoreError> {
        let (mut store, reader) = sqlite::open(folder, sqlite)?;
        let key = SaleKey::new("default", "demo", "widget").expect("the name keeps its rule");
        let sale = store.create_sale(&key, &terms(wall_now(), None), stock)?.expect("the folder is empty");
        let reader = Arc::new(reader);
        let (queue, arrivals) = Queue::bounded(settings.queue_orders_max);
        let node = NodeId::new(0).expect("0 is a node");
        let admission = Arc::new(Admission::new(queue, OrderIds::after(node, None), None, None));
        admission.board().publish(LiveSale::open(sale.clone(), shards));
        let live = admission.board().sales().by_id(sale.id).cloned().expect("it was just published");
        let deadlines = Arc::new(Deadlines::default());
        let (steps, steps_exit) = flume::bounded(settings.steps_max);
        let desk = OrderDesk::new(Arc::clone(&admission), steps, Arc::clone(&reader), Arc::clone(&deadlines));
        let commits = CommitCounts::default();
        let writer = OrderWriter {
            store,
            admission: Arc::clone(&admission),
            arrivals,
            steps: steps_exit,
            deadlines,
            settings,
            watch: commits.clone(),
        };
        let writer = std::thread::Builder::new()
            .name("order-writer".into())
            .spawn(move || writer.run())
            .expect("a thread can be started");
        Ok(Self { admission, sale: live, reader, commits, desk, writer })
    }

    /// Lets the writer finish and close the store.
    ///
    /// # Errors
    /// What the store says.
    pub fn stop(self) -> Result<(), StoreError> {
        self.desk.stop(Duration::from_secs(60));
        self.writer.join().expect("the writer does not panic")
    }
}
