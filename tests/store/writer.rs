//! Admission, writer and store together, as the engine wires them, without HTTP: what becomes of a purchase when the
//! queue is full, the store is held by somebody else, or memory and store disagree.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use seckill::admission::{
    Accepted, Admission, Intake, LiveSale, Moment, OrderIds, OrderInFlight, Purchase, Resolution, Ticket,
};
use seckill::domain::{
    BuyerName, Cents, Currency, EpochMs, KeyName, Nanos, NodeId, OrderAction, OrderId, OrderStatus,
    Rejection, SaleKey, SaleLimits, SaleTerms, Units,
};
use seckill::orders::sqlite::SqliteSettings;
use seckill::orders::{
    Applied, Audit, Deadlines, OrderDesk, Pipeline, PipelineParts, Recovered, StoreError, Transition,
    WriterSettings,
};
use tempfile::TempDir;
use testbed::PATIENCE;

use crate::sqlite::open_store;

const SHARDS: usize = 2;
const NOW: EpochMs = EpochMs(1_800_000_000_000);

#[derive(Clone)]
pub struct Options {
    pub writer: WriterSettings,
    /// Longer than [`PATIENCE`] makes a held store look slow; 1 makes it look busy.
    pub lock_wait_ms: u32,
    pub per_buyer_limit: Units,
}

impl Default for Options {
    fn default() -> Self {
        Self { writer: WriterSettings::default(), lock_wait_ms: 1, per_buyer_limit: 1 }
    }
}

/// An engine without edge, checkout and admin, and one sale.
pub struct Fixture {
    pub runtime: tokio::runtime::Runtime,
    pub admission: Arc<Admission>,
    pub desk: OrderDesk,
    recovered: Recovered,
    pub writer: JoinHandle<Result<(), StoreError>>,
    pub folder: TempDir,
}

impl Fixture {
    pub fn with_sale(stock: Units, options: &Options) -> Self {
        let fixture = Self::open(TempDir::new().unwrap(), options);
        let key = SaleKey::new("default", "c", "s").unwrap();
        let terms = SaleTerms {
            title: String::new(),
            price: Cents(5),
            currency: Currency::USD,
            per_buyer_limit: options.per_buyer_limit,
            starts_at: EpochMs(0),
            ends_at: EpochMs(i64::MAX),
            pay_within_s: 60,
            rate: None,
            paused: false,
            paused_until: None,
            room: None,
        };
        let sale = fixture.wait(fixture.desk.create_sale(key, terms, stock, None)).unwrap().unwrap();
        fixture.admission.board().publish(LiveSale::open(sale, SHARDS));
        fixture
    }

    fn open(folder: TempDir, options: &Options) -> Self {
        let settings = SqliteSettings { lock_wait_ms: options.lock_wait_ms, ..SqliteSettings::default() };
        let (store, reader) = open_store(folder.path(), &settings);
        let deadlines = Arc::new(Deadlines::default());
        let mut recovered =
            Recovered::read(&reader, NodeId::new(0).unwrap(), SHARDS, &deadlines, &Default::default())
                .unwrap();
        let ids = OrderIds::after(NodeId::new(0).unwrap(), recovered.newest);
        let parts = PipelineParts::new(vec![Box::new(store)], Arc::new(reader), ids, options.writer.clone());
        let Pipeline { admission, desk, mut writers } = Pipeline::new(PipelineParts { deadlines, ..parts });
        admission.board().publish_all(std::mem::take(&mut recovered.sales));
        let writer = writers.remove(0);
        let writer = std::thread::spawn(move || writer.run());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, admission, desk, recovered, writer, folder }
    }

    /// Ends the writer; the folder stays.
    fn stop(self) -> TempDir {
        assert!(self.desk.stop(PATIENCE), "the writer stops");
        self.writer.join().unwrap().unwrap();
        self.folder
    }

    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await }).expect("nothing hangs")
    }

    fn sale(&self) -> Arc<LiveSale> {
        Arc::clone(self.admission.board().sales().iter().next().expect("there is a sale"))
    }

    fn buy(&self, buyer: &str, quantity: Units, key: Option<&str>) -> Result<Accepted, Rejection> {
        let idempotency_key = key.map(|key| KeyName::new(key).unwrap());
        let purchase =
            Purchase { buyer: BuyerName::new(buyer).unwrap(), quantity, idempotency_key, pass: None };
        let now = Moment { wall: NOW, mono: Nanos(1) };
        self.admission.purchase(&self.sale(), &purchase, buyer.len(), now).map_err(Rejection::from)
    }

    /// Buys one and does not wait for the store.
    pub fn place(&self, buyer: &str) -> (OrderId, Arc<Ticket>) {
        match self.buy(buyer, 1, None) {
            Ok(Accepted::Placed(placed)) => (placed.order_id, placed.ticket),
            other => panic!("{buyer} is admitted, not {other:?}"),
        }
    }

    /// Buys one and waits until it is durable.
    fn own(&self, buyer: &str) -> OrderId {
        let (order, ticket) = self.place(buyer);
        assert_eq!(self.wait(ticket.resolved()), Resolution::Durable);
        order
    }

    /// A step; a payment that ends is the first one.
    fn step(&self, order: OrderId, action: OrderAction) -> Transition {
        Transition { payment_attempt: Some(1), ..Transition::plain(order, action, NOW.plus_ms(1)) }
    }

    fn apply(&self, order: OrderId, action: OrderAction) -> Result<Applied, StoreError> {
        self.wait(self.desk.apply(self.step(order, action)))
    }

    fn audit(&self) -> Audit {
        let audit = self.wait(self.desk.audit(self.sale().id)).unwrap().unwrap();
        assert!(audit.conserved(0) && audit.buyers_over_limit == 0, "{audit:?}");
        audit
    }

    /// At rest every unit is either sold in the store or on sale in memory. Buyers hear of their orders before the
    /// writer has counted a sale anew, so rest may come a little later.
    fn assert_no_unit_stranded(&self) {
        let audit = self.audit();
        assert_eq!(self.sale().state.units_in_flight(), 0);
        until("every unit is sold or on sale", || {
            u64::from(self.sale().remaining()) + audit.sold() == u64::from(audit.total)
        });
    }

    fn status(&self, order: OrderId) -> Option<OrderStatus> {
        self.wait(self.desk.order(order)).unwrap().map(|order| order.status)
    }
}

/// Waits until `condition` holds.
fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "still waiting until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Another process that holds the store.
pub struct Held(pub Connection);

impl Held {
    pub fn by_a_stranger(folder: &Path) -> Self {
        let stranger = Connection::open(folder.join("orders.sqlite")).unwrap();
        stranger.busy_timeout(PATIENCE).unwrap();
        stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
        Self(stranger)
    }

    pub fn let_go(self) {
        self.0.execute_batch("COMMIT").unwrap();
    }
}

#[test]
fn a_repeated_key_hears_of_its_order_whatever_became_of_it() {
    let fixture = Fixture::with_sale(5, &Options { per_buyer_limit: 2, ..Options::default() });
    let Ok(Accepted::Placed(first)) = fixture.buy("ann", 1, Some("k1")) else {
        panic!("the first click is placed")
    };
    assert_eq!(fixture.wait(first.ticket.resolved()), Resolution::Durable);
    let hears_of_the_first = |fixture: &Fixture| {
        assert!(
            matches!(fixture.buy("ann", 1, Some("k1")), Ok(Accepted::Replay(order_id)) if order_id == first.order_id)
        );
        assert_eq!(fixture.buy("ann", 2, Some("k1")).unwrap_err(), Rejection::IdempotencyKeyReused);
    };
    hears_of_the_first(&fixture);
    let order_id = fixture.own("ann");
    assert_eq!(fixture.buy("ann", 1, Some("k2")).unwrap_err(), Rejection::AlreadyPurchased { order_id });
    hears_of_the_first(&fixture);
    assert!(matches!(fixture.apply(first.order_id, OrderAction::Cancel), Ok(Applied::Done(_))));
    hears_of_the_first(&fixture);
    let fixture = Fixture::open(fixture.stop(), &Options::default());
    hears_of_the_first(&fixture);
    fixture.assert_no_unit_stranded();
}

#[test]
fn clicks_that_come_while_the_order_is_on_its_way_wait_for_it() {
    let fixture = Fixture::with_sale(5, &Options::default());
    let held = Held::by_a_stranger(fixture.folder.path());
    let Ok(Accepted::Placed(first)) = fixture.buy("ann", 1, Some("k")) else {
        panic!("the first click is placed")
    };
    let mut tickets = vec![first.ticket];
    for (key, same_request) in [(Some("k"), true), (None, false), (Some("other"), false)] {
        match fixture.buy("ann", 1, key) {
            Ok(Accepted::InFlight(OrderInFlight { order_id, replay, ticket })) => {
                assert_eq!((order_id, replay), (first.order_id, same_request));
                tickets.push(ticket);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(tickets.iter().all(|ticket| ticket.resolution().is_none()));
    let pending = fixture.wait(fixture.desk.order_of("default", "ann", first.order_id)).unwrap().unwrap();
    assert_eq!((pending.status, pending.placed.quantity), (OrderStatus::Pending, 1));
    held.let_go();
    for ticket in tickets {
        assert_eq!(fixture.wait(ticket.resolved()), Resolution::Durable);
    }
    assert_eq!(fixture.audit().durable_orders, 1);
    fixture.assert_no_unit_stranded();
}

#[test]
fn a8_a_pending_order_says_what_it_will_say() {
    let fixture = Fixture::with_sale(5, &Options::default());
    let held = Held::by_a_stranger(fixture.folder.path());
    let Ok(Accepted::Placed(placed)) = fixture.buy("ann", 1, None) else {
        panic!("the first click is placed")
    };
    let mut sale = fixture.wait(fixture.desk.sales()).unwrap().remove(0);
    (sale.terms.price, sale.terms.pay_within_s, sale.version) = (Cents(500), 5, sale.version + 1);
    fixture.admission.board().change_terms(&sale);
    let order = || fixture.wait(fixture.desk.order_of("default", "ann", placed.order_id)).unwrap().unwrap();
    let pending = order();
    assert_eq!((pending.status, pending.placed.amount), (OrderStatus::Pending, Cents(5)));
    held.let_go();
    assert_eq!(fixture.wait(placed.ticket.resolved()), Resolution::Durable);
    assert_eq!(order().placed, pending.placed);
}

#[test]
fn a_queue_of_one_place_refuses_and_keeps_the_unit_on_sale() {
    // A held store looks slow, not busy: the intake stays open and the queue fills.
    let writer = WriterSettings { queue_orders_max: 1, ..WriterSettings::default() };
    let options = Options { writer, lock_wait_ms: 600_000, ..Options::default() };
    let fixture = Fixture::with_sale(10, &options);
    let queue = fixture.admission.queue();
    let held = Held::by_a_stranger(fixture.folder.path());
    let in_the_writers_hand = fixture.place("ann");
    until("the writer has taken the first", || queue.depth() == 0);
    let waiting = fixture.place("bob");
    for n in 0..50 {
        assert_eq!(fixture.buy(&format!("late-{n}"), 1, None).unwrap_err(), Rejection::Overloaded);
    }
    assert_eq!((queue.depth(), fixture.sale().remaining()), (1, 8));
    held.let_go();
    for (order, ticket) in [in_the_writers_hand, waiting] {
        assert_eq!(fixture.wait(ticket.resolved()), Resolution::Durable);
        assert_eq!(fixture.status(order), Some(OrderStatus::PrePay));
    }
    fixture.own("late-7");
    fixture.assert_no_unit_stranded();
}

#[test]
fn a_store_that_somebody_holds_stalls_the_intake_and_loses_nothing() {
    let fixture = Fixture::with_sale(30, &Options::default());
    let queue = fixture.admission.queue();
    let mut admitted = Vec::new();
    for round in 0..3 {
        let held = Held::by_a_stranger(fixture.folder.path());
        for n in 0..5 {
            match fixture.buy(&format!("buyer-{round}-{n}"), 1, None) {
                Ok(Accepted::Placed(placed)) => admitted.push((placed.order_id, placed.ticket)),
                Err(Rejection::Overloaded) => {}
                other => panic!("{other:?}"),
            }
        }
        until("the intake is stalled", || queue.intake() == Intake::Stalled);
        assert_eq!(fixture.buy("late", 1, None).unwrap_err(), Rejection::Overloaded);
        held.let_go();
        until("the intake is open again", || queue.intake() == Intake::Open);
    }
    assert!(admitted.len() >= 3, "each round admits somebody before the store is found busy");
    for (order, ticket) in &admitted {
        assert_eq!(fixture.wait(ticket.resolved()), Resolution::Durable);
        assert_eq!(fixture.status(*order), Some(OrderStatus::PrePay));
    }
    assert_eq!(fixture.audit().durable_orders, admitted.len() as u64);
    fixture.assert_no_unit_stranded();
}

#[test]
fn units_in_memory_that_the_store_does_not_have_are_refused_and_counted_anew() {
    let fixture = Fixture::with_sale(10, &Options::default());
    fixture.sale().state.stock().add(1, 5);
    let mut sold = 0;
    for n in 0..60 {
        match fixture.buy(&format!("buyer-{n}"), 1, None) {
            Ok(Accepted::Placed(placed)) => match fixture.wait(placed.ticket.resolved()) {
                Resolution::Durable => sold += 1,
                Resolution::Refused => {
                    assert_eq!(fixture.status(placed.order_id), Some(OrderStatus::Rejected));
                }
                other => panic!("{other:?}"),
            },
            Err(Rejection::SoldOut) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sold, 10);
    fixture.assert_no_unit_stranded();
}

#[test]
fn units_given_back_in_the_batch_that_is_refused_are_counted_once() {
    let fixture = Fixture::with_sale(3, &Options { lock_wait_ms: 600_000, ..Options::default() });
    let own = fixture.own("ann");
    let held = Held::by_a_stranger(fixture.folder.path());
    let alone = fixture.place("bob");
    until("the writer has taken bob's order", || fixture.admission.queue().depth() == 0);
    // What comes now is one batch: two orders above the total, and ann's unit back.
    fixture.sale().state.stock().add(0, 2);
    let over: Vec<_> = ["c", "d", "e"].map(|buyer| fixture.place(buyer)).into();
    let cancel = fixture.runtime.spawn({
        let (desk, step) = (fixture.desk.clone(), fixture.step(own, OrderAction::Cancel));
        async move { desk.apply(step).await }
    });
    until("the cancel waits, too", || fixture.desk.steps_waiting() == 1);
    held.let_go();
    assert!(matches!(fixture.wait(cancel).unwrap(), Ok(Applied::Done(_))));
    assert_eq!(fixture.wait(alone.1.resolved()), Resolution::Durable);
    let resolved: Vec<_> = over.iter().map(|(_, ticket)| fixture.wait(ticket.resolved())).collect();
    assert_eq!(resolved, [Resolution::Refused; 3], "the store takes all of a sale's orders or none");
    fixture.assert_no_unit_stranded();
    assert_eq!(fixture.audit().sold(), 1);
}

#[test]
fn an_engine_whose_store_breaks_leaves_nobody_waiting() {
    let writer = WriterSettings { batch_orders_max: 1, ..WriterSettings::default() };
    let fixture = Fixture::with_sale(10, &Options { writer, lock_wait_ms: 600_000, ..Options::default() });
    let own = fixture.own("zoe");
    let held = Held::by_a_stranger(fixture.folder.path());
    let placed: Vec<_> = ["ann", "bob", "cid"].map(|buyer| fixture.place(buyer)).into();
    until("the writer has taken the first", || fixture.admission.queue().depth() == 2);
    let steps: Vec<_> = [OrderAction::Cancel, OrderAction::Expire]
        .map(|action| {
            let (desk, step) = (fixture.desk.clone(), fixture.step(own, action));
            fixture.runtime.spawn(async move { desk.apply(step).await })
        })
        .into();
    until("both steps wait", || fixture.desk.steps_waiting() == 2);
    held.0.execute_batch("ALTER TABLE orders RENAME TO lost").unwrap();
    held.let_go();
    for (_, ticket) in &placed {
        assert_eq!(fixture.wait(ticket.resolved()), Resolution::Unknown);
    }
    for step in steps {
        assert!(!fixture.wait(step).unwrap().unwrap_err().is_transient());
    }
    assert!(fixture.writer.join().unwrap().is_err(), "the process must end");
    assert_eq!(fixture.admission.queue().intake(), Intake::Closed);
}

#[test]
fn a_count_that_would_fall_below_zero_ends_the_engine_instead_of_looping() {
    let fixture = Fixture::with_sale(10, &Options::default());
    let own = fixture.own("ann");
    let stranger = Connection::open(fixture.folder.path().join("orders.sqlite")).unwrap();
    stranger.execute("UPDATE sales SET sold = 0", []).unwrap();
    let error = fixture.apply(own, OrderAction::Cancel).unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert!(fixture.writer.join().unwrap().unwrap_err().message.contains("damaged"));
}

#[test]
fn a_restart_finds_what_was_there() {
    let options = Options { per_buyer_limit: 3, ..Options::default() };
    let fixture = Fixture::with_sale(40, &options);
    let mut orders = Vec::new();
    for n in 0..30 {
        let key = format!("key-{n}");
        let Ok(Accepted::Placed(placed)) =
            fixture.buy(&format!("buyer-{}", n % 15), 1, (n % 2 == 0).then_some(&key))
        else {
            panic!("two a buyer are allowed")
        };
        assert_eq!(fixture.wait(placed.ticket.resolved()), Resolution::Durable);
        for action in match n % 5 {
            0 => &[OrderAction::Cancel][..],
            1 => &[OrderAction::BeginPayment],
            2 => &[OrderAction::BeginPayment, OrderAction::ConfirmPayment],
            3 => &[OrderAction::BeginPayment, OrderAction::AbortPayment],
            _ => &[],
        } {
            assert!(matches!(fixture.apply(placed.order_id, *action), Ok(Applied::Done(_))));
        }
        orders.push(fixture.wait(fixture.desk.order(placed.order_id)).unwrap().unwrap());
    }
    let (audit, remaining, buyers) =
        (fixture.audit(), fixture.sale().remaining(), fixture.sale().state.claims().buyers());
    let terms = fixture.sale().terms.clone();

    let fixture = Fixture::open(fixture.stop(), &options);
    assert_eq!((fixture.audit(), fixture.sale().remaining()), (audit, remaining));
    assert_eq!(fixture.sale().state.claims().buyers(), buyers);
    assert_eq!(fixture.sale().terms, terms);
    assert_eq!(fixture.recovered.newest, orders.last().map(|order| order.placed.id));
    assert_eq!(fixture.recovered.orders, orders.len() as u64);
    let with_status = |status| orders.iter().filter(move |order| order.status == status);
    assert!(fixture.recovered.unfinished.iter().eq(with_status(OrderStatus::Paying)));
    assert_eq!(fixture.desk.deadlines().len(), with_status(OrderStatus::PrePay).count());
    assert_eq!(fixture.wait(fixture.desk.orders_after(None, None, 1_000)).unwrap(), orders);
    for order in &orders {
        let buyer = order.placed.buyer.as_str();
        let active = orders.iter().filter(|other| other.placed.buyer == order.placed.buyer);
        let holds = active.filter(|other| other.status.holds_units()).count() as Units;
        let refused = fixture.buy(buyer, 3 - holds + 1, None);
        assert!(
            matches!(
                refused,
                Err(Rejection::AlreadyPurchased { .. } | Rejection::QuantityNotAllowed { per_buyer_limit: 3 })
            ),
            "{refused:?}"
        );
    }
    let (next, ticket) = fixture.place("new");
    assert!(Some(next) > fixture.recovered.newest, "numbers go on");
    assert_eq!(fixture.wait(ticket.resolved()), Resolution::Durable);
    fixture.assert_no_unit_stranded();
}

/// A sale whose dearest order would not fit the column is refused where it is made, so that no buyer can break the store.
#[test]
fn the_dearest_order_that_terms_allow_fits_the_store() {
    let limits = SaleLimits::default();
    let mut terms = SaleTerms {
        title: String::new(),
        price: Cents::PRICE_MAX,
        currency: Currency::USD,
        per_buyer_limit: limits.stock_max,
        starts_at: EpochMs(0),
        ends_at: EpochMs(1),
        pay_within_s: 1,
        rate: None,
        paused: false,
        paused_until: None,
        room: None,
    };
    assert_eq!(terms.check(1, &limits).unwrap_err().field, "per_buyer_limit");
    terms.per_buyer_limit = 90_071;
    assert_eq!(terms.check(1, &limits), Ok(()));
    let amount = terms.price.times(terms.per_buyer_limit).0;
    assert!(amount <= 1 << 53, "a double holds it exactly");
}
