//! One engine of the cluster, as far as stock goes: admission, a writer, the lease agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use seckill::admission::{
    Accepted, Admission, Arrival, Intake, LiveSale, Moment, OrderIds, Purchase, Queue, SaleState,
};
use seckill::domain::{
    BuyerName, Cents, Currency, EpochMs, Nanos, NodeId, Rejection, SaleId, SaleKey, SaleTerms,
};
use seckill::ledger::LedgerSettings;
use seckill::ledger::agent::{LeaseAgent, LeaseAgentParts, LeaseHandle, LeaseWatch};
use seckill::ledger::lease::Drift;
use seckill::ledger::redis::{RedisBooks, RedisLink, RedisSettings};
use seckill::orders::{LeaseStore, StockNotice};
use tokio::task::JoinHandle;

use crate::store::{Committed, MemoryStore, NodeStore};

pub const SALE: SaleId = SaleId(1);

pub fn sale_key() -> SaleKey {
    SaleKey::new("default", "launch", "phone").unwrap()
}

pub fn terms() -> SaleTerms {
    SaleTerms {
        title: "Phone".into(),
        price: Cents(100),
        currency: Currency::USD,
        per_buyer_limit: 1,
        starts_at: EpochMs(0),
        ends_at: EpochMs(i64::MAX),
        pay_within_s: 900,
        rate: None,
        paused: false,
        paused_until: None,
        room: None,
    }
}

/// A buyer whom nobody has seen clicks. `Ok` when the click was admitted.
pub fn click(admission: &Admission) -> Result<(), Rejection> {
    static BUYERS: AtomicU64 = AtomicU64::new(0);
    let buyer = format!("buyer-{}", BUYERS.fetch_add(1, Ordering::Relaxed));
    let sale = admission.board().sales().by_id(SALE).cloned().unwrap();
    let request =
        Purchase { buyer: BuyerName::new(&buyer).unwrap(), quantity: 1, idempotency_key: None, pass: None };
    let now = Moment { wall: EpochMs(1_750_000_000_000), mono: Nanos(1) };
    match admission.purchase(&sale, &request, 0, now) {
        Ok(Accepted::Placed(_) | Accepted::InFlight { .. } | Accepted::Replay { .. }) => Ok(()),
        Err(refusal) => Err(refusal.rejection),
    }
}

/// Counts what the agent tells.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub rebuilt: Arc<AtomicU64>,
    pub reclaimed: Arc<AtomicU64>,
    pub rejoined: Arc<AtomicU64>,
    pub drifting: Arc<AtomicU64>,
}

impl LeaseWatch for Counts {
    fn leased(&self, _: u64) {}
    fn handed_back(&self, _: u64) {}
    fn compared(&self, _: SaleId, drift: &Drift) {
        self.drifting.store(u64::from(!drift.is_none()), Ordering::SeqCst);
    }
    fn ended(&self, _: SaleId) {}
    fn repaired(&self, _: u64) {}
    fn rebuilt(&self, _: SaleId) {
        self.rebuilt.fetch_add(1, Ordering::SeqCst);
    }
    fn reclaimed(&self, _: NodeId) {
        self.reclaimed.fetch_add(1, Ordering::SeqCst);
    }
    fn rejoined(&self) {
        self.rejoined.fetch_add(1, Ordering::SeqCst);
    }
    fn cut_off(&self, _: bool) {}
    fn round_failed(&self, _: &str) {}
}

/// A running engine. Dropping it is a crash: nothing is flushed.
pub struct Node {
    pub admission: Arc<Admission>,
    pub counts: Counts,
    pub books: Arc<RedisBooks>,
    pub handle: LeaseHandle,
    pub store: Arc<NodeStore>,
    agent: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Node {
    /// Starts node `number` in a new life.
    pub fn start(number: u16, store: &Arc<MemoryStore>, redis_url: &str) -> Self {
        let node = NodeId::new(number).unwrap();
        let (queue, exit) = Queue::bounded(10_000);
        let ids = OrderIds::after(node, None);
        let admission = Arc::new(Admission::new(queue, ids, None, None));
        let state = Arc::new(SaleState::new(2, 0));
        state.set_more_may_come(true);
        admission.board().publish(LiveSale::new(SALE, sale_key(), terms(), state));

        let life = Arc::new(AtomicU64::new(store.begin_life(node, 0)));
        let is_away = Arc::new(AtomicBool::new(false));
        let (notify, notices) = flume::unbounded();
        let writer = tokio::spawn(write(
            exit,
            Arc::clone(&admission),
            Arc::clone(store),
            node,
            Arc::clone(&life),
            Arc::clone(&is_away),
            notify,
        ));
        let link = RedisSettings {
            url: redis_url.into(),
            answer_ms_max: 300,
            reconnect_pause_ms: 20,
            ..RedisSettings::default()
        };
        let books = Arc::new(RedisBooks::new(RedisLink::new(&link).unwrap()));
        let settings = LedgerSettings {
            reconcile_ms: 50,
            tail_pause_ms: 20,
            beat_ms: 50,
            silent_ms_max: 1_000,
            rebuild_patience_ms: 200,
            ..LedgerSettings::default()
        };
        let incarnation = life.load(Ordering::SeqCst);
        let ledger_store = Arc::new(NodeStore { store: Arc::clone(store), node, life, is_away });
        let counts = Counts::default();
        let agent = LeaseAgent::new(LeaseAgentParts {
            books: Arc::clone(&books),
            store: Arc::clone(&ledger_store) as Arc<dyn LeaseStore>,
            admission: Arc::clone(&admission),
            node,
            incarnation,
            settings,
            notices,
            watch: counts.clone(),
        });
        let handle = agent.handle();
        let agent = tokio::spawn(agent.run_until(std::future::pending()));
        Self { admission, counts, books, handle, store: ledger_store, agent, writer }
    }

    /// A buyer whom nobody has seen clicks.
    pub fn click(&self) -> Result<(), Rejection> {
        click(&self.admission)
    }

    /// Units on sale here.
    pub fn on_sale(&self) -> u64 {
        self.admission.board().sales().by_id(SALE).map_or(0, |sale| u64::from(sale.remaining()))
    }

    /// Units of orders on their way to the store.
    pub fn in_flight(&self) -> u64 {
        self.admission.board().sales().by_id(SALE).map_or(0, |sale| sale.state.units_in_flight())
    }

    /// Cuts the node's line to the store, or mends it.
    pub fn cut_from_store(&self, is_cut: bool) {
        self.store.is_away.store(is_cut, Ordering::SeqCst);
    }

    /// Stops the agent, as if the node were frozen but for its buyers.
    pub fn freeze_agent(&self) {
        self.agent.abort();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.agent.abort();
        self.writer.abort();
    }
}

/// The order writer: one order a batch.
async fn write(
    exit: flume::Receiver<Arrival>,
    admission: Arc<Admission>,
    store: Arc<MemoryStore>,
    node: NodeId,
    life: Arc<AtomicU64>,
    is_away: Arc<AtomicBool>,
    agent: flume::Sender<StockNotice>,
) {
    while let Ok(arrival) = exit.recv_async().await {
        let Arrival::Purchase(queued) = arrival else { continue };
        admission.queue().leave(1);
        while is_away.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let life = life.load(Ordering::SeqCst);
        match store.commit(node, life, u64::from(queued.order().quantity)) {
            Committed::Durable => queued.durable(),
            Committed::Fenced => {
                admission.queue().set_intake(Intake::Stalled);
                drain(&admission);
                queued.disowned();
                let _ = agent.send(StockNotice::Fenced { life });
            }
            Committed::Oversold => {
                let units = u64::from(queued.order().quantity) + drain(&admission);
                queued.disowned();
                let _ = agent.send(StockNotice::Refused(SALE, units));
            }
        }
    }
}

fn drain(admission: &Admission) -> u64 {
    admission.board().sales().iter().map(|sale| u64::from(sale.state.stock().drain())).sum()
}
