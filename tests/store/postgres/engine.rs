//! The writers' threads in front of the store: what buyers hear while the server comes and goes.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use seckill::admission::{
    Accepted, Admission, Intake, LiveSale, Moment, OrderIds, OrderInFlight, Purchase, Resolution, Ticket,
};
use seckill::domain::{
    BuyerName, EpochMs, Nanos, NodeId, OrderAction, OrderId, Rejection, Sale, SaleId, Units,
};
use seckill::orders::postgres::{
    self, Exclusivity, Follower, FollowerParts, PgLeaseStore, PgReader, PostgresSettings,
};
use seckill::orders::{
    Applied, Deadlines, LeaseStore, OrderDesk, Pipeline, PipelineParts, StockNotice, StoreError, StoreReader,
    StoreWriter, Transition, WriterSettings,
};
use testbed::PATIENCE;
use testbed::servers::postgres::Postgres;

use super::node::{NOW, key, number_events, settings, terms};

const WRITERS: usize = 3;
/// Sales that a node may sell.
pub const SALES_MAX: usize = 3;

/// Admission, queue and several writers over one sale.
pub struct Engine {
    pub admission: Arc<Admission>,
    pub desk: OrderDesk,
    pub reader: Arc<PgReader>,
    pub lease_store: PgLeaseStore,
    url: String,
    pub follower: Follower,
    notices: flume::Receiver<StockNotice>,
    writers: Vec<std::thread::JoinHandle<Result<(), StoreError>>>,
    pub sale: SaleId,
}

impl Engine {
    pub fn open(node: u16, url: &str, stock: Units, is_lent: bool) -> Self {
        let settings = PostgresSettings { statement_wait_ms: 5_000, lock_wait_ms: 4_000, ..settings(url) };
        Self::open_with(node, &settings, stock, is_lent)
    }

    pub fn open_with(node: u16, settings: &PostgresSettings, stock: Units, is_lent: bool) -> Self {
        let node = NodeId::new(node).unwrap();
        let url = settings.url.expose().to_owned();
        let mut store = postgres::open(settings, node, WRITERS, Exclusivity::Alone).unwrap();
        let made = store.writers[0].create_sale(&key("a"), &terms(1), stock, None).unwrap();
        let sale = made.unwrap_or_else(|| store.reader.sales().unwrap().remove(0));
        let id = sale.id;
        let reader = Arc::new(store.reader);
        let stores = store.writers.into_iter().map(|store| Box::new(store) as Box<dyn StoreWriter>);
        let deadlines = Arc::new(Deadlines::default());
        let (lease_agent, notices) = flume::unbounded();
        let settings = WriterSettings {
            queue_orders_max: 10_000,
            steps_max: 100,
            batch_orders_max: 20,
            retry_pause_ms_max: 20,
            ..WriterSettings::default()
        };
        let Pipeline { admission, desk, writers } = Pipeline::new(PipelineParts {
            deadlines: Arc::clone(&deadlines),
            lease_agent: is_lent.then_some(lease_agent),
            ..PipelineParts::new(
                stores.collect(),
                Arc::clone(&reader) as Arc<dyn StoreReader>,
                OrderIds::after(node, None),
                settings,
            )
        });
        admission.board().publish(LiveSale::open(sale, 2));
        let follower = Follower::new(FollowerParts {
            feed: store.feed,
            admission: Arc::clone(&admission),
            deadlines,
            after_event: 0,
            after_change: 0,
            shards: 2,
            sales_max: SALES_MAX,
        });
        let writers = writers.into_iter().map(|writer| std::thread::spawn(move || writer.run())).collect();
        let lease_store = store.lease_store;
        Self { admission, desk, reader, lease_store, url, follower, notices, writers, sale: id }
    }

    pub fn live(&self) -> Arc<LiveSale> {
        self.admission.board().sales().by_id(self.sale).cloned().unwrap()
    }

    /// Takes over everything that has happened.
    pub fn catch_up(&mut self) -> usize {
        number_events(&self.url);
        self.follower.catch_up().unwrap()
    }

    fn buy(&self, buyer: &str) -> Result<(OrderId, Arc<Ticket>), Rejection> {
        self.buy_at(buyer, NOW)
    }

    fn buy_at(&self, buyer: &str, wall: EpochMs) -> Result<(OrderId, Arc<Ticket>), Rejection> {
        let sale = self.live();
        let request = Purchase {
            buyer: BuyerName::new(buyer).unwrap(),
            quantity: 1,
            idempotency_key: None,
            pass: None,
        };
        let moment = Moment { wall, mono: Nanos(0) };
        match self.admission.purchase(&sale, &request, 0, moment)? {
            Accepted::Placed(placed) => Ok((placed.order_id, placed.ticket)),
            Accepted::InFlight(OrderInFlight { order_id, ticket, .. }) => Ok((order_id, ticket)),
            Accepted::Replay(order_id) => panic!("{order_id} was made without a key"),
        }
    }

    /// Sells, one buyer after the other, while `things_break`. Answers with the orders that were acknowledged.
    pub fn sell_while(&self, things_break: impl FnOnce()) -> HashSet<OrderId> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let selling = scope.spawn(|| self.sell_until(&over));
            let broken = catch_unwind(AssertUnwindSafe(things_break));
            over.store(true, Ordering::SeqCst);
            let acknowledged = selling.join().unwrap();
            broken.map_or_else(|panic| resume_unwind(panic), |()| acknowledged)
        })
    }

    fn sell_until(&self, over: &AtomicBool) -> HashSet<OrderId> {
        let mut tickets = Vec::new();
        let mut refused = 0;
        for number in 0.. {
            if over.load(Ordering::SeqCst) {
                break;
            }
            match self.buy(&format!("buyer-{number}")) {
                Ok(placed) => tickets.push(placed),
                Err(Rejection::Overloaded) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        assert!(refused > 0, "while the server is away, buyers hear 503");
        let durable = tickets.iter().filter(|(_, ticket)| resolved(ticket) == Resolution::Durable);
        durable.map(|(id, _)| *id).collect()
    }

    /// Waits until the intake stalls, or opens again.
    pub fn until_intake_is(&self, wanted: Intake) {
        let deadline = Instant::now() + PATIENCE;
        while self.admission.queue().intake() != wanted {
            assert!(Instant::now() < deadline, "the intake does not become {wanted:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What was acknowledged is there and nothing else, and no unit is stranded.
    pub fn check_sold(&self, acknowledged: &HashSet<OrderId>) {
        let stored = patiently(|| self.reader.orders_after(None, None, 1_000_000));
        let stored: HashSet<_> = stored.into_iter().map(|order| order.placed.id).collect();
        assert!(acknowledged.len() > 100, "{}", acknowledged.len());
        assert_eq!(&stored, acknowledged);
        let audit = patiently(|| self.reader.audit(self.sale)).unwrap();
        assert!(audit.conserved(0));
        assert_eq!(u64::from(self.live().remaining()), audit.available(), "no unit is stranded");
    }

    /// Why nothing can be bought.
    pub fn refusal(&self, buyer: &str) -> Rejection {
        self.buy(buyer).unwrap_err()
    }

    pub fn stored_sales(&self) -> Vec<Sale> {
        self.reader.sales().unwrap()
    }

    /// Buys one and waits until it is durable.
    pub fn own(&self, buyer: &str) -> OrderId {
        self.own_since(buyer, NOW)
    }

    /// Buys one at that moment and waits until it is durable.
    pub fn own_since(&self, buyer: &str, wall: EpochMs) -> OrderId {
        let (order, ticket) = self.buy_at(buyer, wall).unwrap();
        assert_eq!(resolved(&ticket), Resolution::Durable);
        order
    }

    pub fn stop(self) {
        assert!(self.desk.stop(PATIENCE), "all writers stop");
        self.writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
    }
}

fn resolved(ticket: &Ticket) -> Resolution {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(resolution) = ticket.resolution() {
            return resolution;
        }
        assert!(Instant::now() < deadline, "an order is never settled");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_server_that_is_killed_again_and_again_under_load_costs_no_acknowledged_order_and_no_unit() {
    let mut postgres = Postgres::start("");
    let url = postgres.new_database();
    let engine = Engine::open(1, &url, 100_000, false);
    let acknowledged = engine.sell_while(|| {
        for round in 0..3 {
            std::thread::sleep(Duration::from_millis(400));
            if round == 1 {
                postgres.stop()
            } else {
                postgres.crash()
            }
            engine.until_intake_is(Intake::Stalled);
            postgres.restart();
            engine.until_intake_is(Intake::Open);
        }
    });
    engine.check_sold(&acknowledged);
    engine.stop();
}

#[test]
fn a_buyer_of_another_node_hears_of_the_order_made_there() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (one, two) = (Engine::open(1, &url, 10, false), Engine::open(2, &url, 10, false));
    let (first, ticket) = one.buy("ann").unwrap();
    assert_eq!(resolved(&ticket), Resolution::Durable);
    let (_, ticket) = two.buy("ann").unwrap();
    let already = Rejection::AlreadyPurchased { order_id: first };
    assert_eq!(resolved(&ticket), Resolution::Rejected(already));
    let sale = two.live();
    assert_eq!(sale.remaining(), 10, "the unit is on sale again");
    assert_eq!(two.buy("ann").unwrap_err(), already, "and the next click is answered from memory");
    one.stop();
    two.stop();
}

#[test]
fn a_node_that_follows_the_others_knows_their_buyers_and_when_they_are_free_again() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (one, mut two) = (Engine::open(1, &url, 10, false), Engine::open(2, &url, 10, false));
    two.catch_up();
    let (first, ticket) = one.buy("ann").unwrap();
    assert_eq!(resolved(&ticket), Resolution::Durable);
    let (own, ticket) = two.buy("bob").unwrap();
    assert_eq!(resolved(&ticket), Resolution::Durable);
    assert_eq!(two.catch_up(), 2);
    assert_eq!(two.buy("ann").unwrap_err(), Rejection::AlreadyPurchased { order_id: first });
    // Both are given up at the other node.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for order in [first, own] {
        let cancel = Transition::plain(order, OrderAction::Cancel, NOW);
        assert!(matches!(runtime.block_on(one.desk.apply(cancel)).unwrap(), Applied::Done(_)));
    }
    assert!(matches!(two.buy("bob"), Err(Rejection::AlreadyPurchased { .. })), "not known yet");
    assert_eq!(two.catch_up(), 2);
    for buyer in ["ann", "bob"] {
        assert_eq!(resolved(&two.buy(buyer).unwrap().1), Resolution::Durable);
    }
    one.stop();
    two.stop();
}

#[test]
fn a_node_that_was_fenced_drops_its_stock_and_tells_its_lease_agent() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let engine = Engine::open(1, &url, 10, true);
    let (_, ticket) = engine.buy("ann").unwrap();
    assert_eq!(resolved(&ticket), Resolution::Durable);
    let life = engine.lease_store.incarnation();
    assert!(engine.lease_store.end_life(NodeId::new(1).unwrap(), life).unwrap().is_some());
    let (lost, ticket) = engine.buy("bob").unwrap();
    assert_eq!(resolved(&ticket), Resolution::Refused);
    assert_eq!(engine.notices.recv_timeout(PATIENCE), Ok(StockNotice::Fenced { life }));
    assert_eq!(engine.admission.queue().intake(), Intake::Stalled);
    assert_eq!(engine.reader.order(lost).unwrap(), None);
    let sale = engine.live();
    assert_eq!(sale.remaining(), 0);
    // As the lease agent does it.
    engine.lease_store.begin_life(0).unwrap();
    sale.state.stock().add_spread(9);
    engine.admission.queue().set_intake(Intake::Open);
    let (_, ticket) = engine.buy("bob").unwrap();
    assert_eq!(resolved(&ticket), Resolution::Durable);
    engine.stop();
}

#[test]
fn a_fenced_step_says_in_which_life_it_was_written_and_takes_nothing_off_sale() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let engine = Engine::open(1, &url, 10, true);
    let (order, ticket) = engine.buy("ann").unwrap();
    assert_eq!(resolved(&ticket), Resolution::Durable);
    let life = engine.lease_store.incarnation();
    assert!(engine.lease_store.end_life(NodeId::new(1).unwrap(), life).unwrap().is_some());
    // The answer of a step may come when the next life sells: what is on sale is not the writer's to drop.
    let cancel = Transition::plain(order, OrderAction::Cancel, NOW);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let refused = runtime.block_on(engine.desk.apply(cancel)).unwrap_err();
    assert!(refused.is_transient(), "{refused}");
    assert_eq!(engine.notices.recv_timeout(PATIENCE), Ok(StockNotice::Fenced { life }));
    assert_eq!((engine.live().remaining(), engine.admission.queue().intake()), (9, Intake::Open));
    engine.stop();
}

/// What the store answers, at last: a test's limits may be shorter than a busy machine needs.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, StoreError>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}
