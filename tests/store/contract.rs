//! What every order store must do, whatever database is behind it: random histories against a small model in memory. The
//! model is written from the contract and not from the engine: it has a transition table of its own.

use std::collections::{BTreeMap, HashMap};

use crate::order_model::{self, held, noted, status_after};
use proptest::{prelude::*, sample::Index};
use seckill::domain::{
    BeaconSource, BeaconTerms, BuyerId, Cents, Currency, EpochMs, IdempotencyKey, NewOrder, Order,
    OrderAction, OrderId, OrderStatus, PaymentDirection, PaymentJournal, PaymentKeyForm, PaymentNote, Rate,
    RoomEdit, RoomFailure, RoomMode, RoomSeed, RoomTerms, Sale, SaleEdit, SaleId, SaleKey, SaleLimits,
    SaleTerms, StockEdit, Units,
};
use seckill::orders::{Applied, Audit, Batch, ChangeReceipt, Event, EventKind, SaleChange, Transition};

/// The functions of a store that the suite uses. An error of the store is a failed test: adapters unwrap.
pub trait StoreUnderTest: Sized {
    /// Whether the store is one of several nodes, and so keeps the limit of each buyer itself.
    const IS_SHARED: bool;
    /// Makes a sale; `None` when the name is taken.
    fn create_sale(&mut self, key: &SaleKey, terms: &SaleTerms, total: Units) -> Option<Sale>;
    /// Changes a sale; `None` when more is sold than the new total.
    fn change_sale(&mut self, change: &SaleChange) -> ChangeReceipt;
    /// Commits a batch.
    fn commit(&mut self, batch: &Batch) -> Answer;
    /// All sales, oldest first.
    fn sales(&self) -> Vec<Sale>;
    /// One order.
    fn order(&self, id: OrderId) -> Option<Order>;
    /// Orders above `after`, oldest first.
    fn orders_after(&self, sale: Option<SaleId>, after: Option<OrderId>, limit: usize) -> Vec<Order>;
    /// Events above `after`, in order.
    fn events_after(&self, after: u64, limit: usize) -> Vec<Event>;
    /// The sale's units.
    fn audit(&self, sale: SaleId) -> Option<Audit>;
    /// Ends the engine, cleanly or by a kill, and opens the store again.
    fn reopen(self, end: End) -> Self;
}

/// What a store says to a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it is durable but these purchases, which their buyers' limits refuse.
    Committed(Vec<Applied>, Vec<OrderId>),
    /// None of it is: these sales would be oversold.
    Oversold(Vec<SaleId>),
}

/// How an engine ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// It closes its store.
    Clean,
    /// It is killed between two commits.
    Killed,
}

/// A purchase of a history: which sale, which buyer, how many units.
type Bought = (Index, u8, Units);

/// One act of a history.
#[derive(Clone, Debug)]
pub enum Act {
    /// A batch.
    Commit {
        placed: Vec<Bought>,
        rejected: Vec<Bought>,
        /// Which order, what, whether at its deadline or just before it, and whether it is about an earlier payment.
        steps: Vec<(Index, OrderAction, bool, bool)>,
    },
    /// A new total for a sale.
    Change { sale: Index, total: Units },
    /// The engine ends and starts.
    Reopen(End),
}

/// A history of up to `acts_max` acts.
pub fn history(acts_max: usize) -> impl Strategy<Value = Vec<Act>> {
    let bought = || (any::<Index>(), 0u8..6, 1u32..4);
    let action = proptest::sample::select(OrderAction::ALL.to_vec());
    let step = (any::<Index>(), action, any::<bool>(), prop::bool::weighted(0.2));
    let commit = (
        prop::collection::vec(bought(), 0..6),
        prop::collection::vec(bought(), 0..2),
        prop::collection::vec(step, 0..12),
    )
        .prop_map(|(placed, rejected, steps)| Act::Commit { placed, rejected, steps });
    let act = prop_oneof![
        12 => commit,
        1 => (any::<Index>(), 0u32..40).prop_map(|(sale, total)| Act::Change { sale, total }),
        1 => prop_oneof![Just(End::Clean), Just(End::Killed)].prop_map(Act::Reopen),
    ];
    prop::collection::vec(act, 1..acts_max)
}

/// Plays the history on an empty store and on the model; they must agree after each act.
pub fn play<S: StoreUnderTest>(mut store: S, history: &[Act]) {
    let mut model = Model { is_shared: S::IS_SHARED, ..Model::default() };
    for (number, total) in [(1, 12), (2, 30)] {
        let key = SaleKey::new("default", "c", &format!("sku-{number}")).unwrap();
        let sale = store.create_sale(&key, &terms(number), total).expect("the name is free");
        assert_eq!((&sale.key, &sale.terms, sale.total, sale.sold), (&key, &terms(number), total, 0));
        assert_eq!(store.create_sale(&key, &terms(number), total), None, "the name is taken");
        model.sales.push(sale);
    }
    for act in history {
        match act {
            Act::Commit { placed, rejected, steps } => {
                let batch = model.batch(placed, rejected, steps);
                let mut answer = store.commit(&batch);
                match &mut answer {
                    Answer::Oversold(sales) => sales.sort_unstable(),
                    Answer::Committed(_, refused) => refused.sort_unstable(),
                }
                assert_eq!(answer, model.commit(&batch));
            }
            Act::Change { sale, total } => {
                let sale = sale.get(&model.sales).id;
                let before = model.sales.iter().find(|known| known.id == sale).expect("it is known");
                let change = SaleChange {
                    sale,
                    edit: edit_to(&SaleTerms { per_buyer_limit: 100, ..terms(*total + 3) }, *total),
                    limits: SaleLimits::default(),
                    if_version: Some(vec![before.version]),
                    withdrawn: before.total.saturating_sub(*total),
                    act: None,
                };
                let mut changed = store.change_sale(&change);
                if let ChangeReceipt::Changed { sale, .. } = &mut changed {
                    assert!(
                        sale.version > before.version
                            || (&sale.terms, sale.total) == (&before.terms, before.total)
                    );
                    model.note_version(sale);
                    let stale = store.change_sale(&SaleChange {
                        if_version: Some(vec![sale.version - 1]),
                        ..change.clone()
                    });
                    assert_eq!(stale, ChangeReceipt::NotCurrent(sale.clone()));
                }
                assert_eq!(changed, model.change_sale(&change));
            }
            Act::Reopen(end) => store = store.reopen(*end),
        }
        model.compare(&store);
    }
    model.compare(&store.reopen(End::Killed).reopen(End::Clean));
}

/// The change that makes a sale have these terms and this total.
pub fn edit_to(terms: &SaleTerms, total: Units) -> SaleEdit {
    SaleEdit {
        title: Some(terms.title.clone()),
        price: Some(terms.price),
        per_buyer_limit: Some(terms.per_buyer_limit),
        starts_at: Some(terms.starts_at),
        ends_at: Some(terms.ends_at),
        pay_within_s: Some(terms.pay_within_s),
        rate_per_s: Some(terms.rate.map(|rate| rate.per_s)),
        burst: Some(terms.rate.map(|rate| rate.burst)),
        paused: Some(terms.paused),
        paused_until: terms.paused_until,
        ended_at: None,
        room: terms.room.map(|room| RoomEdit {
            mode: Some(room.mode),
            opens_at: Some(room.opens_at),
            rate_per_s: Some(room.rate_per_s),
            grace_s: Some(room.grace_s),
            on_failure: Some(room.on_failure),
            beacon: Some(room.beacon),
            new_seed: room.seed,
        }),
        stock: Some(StockEdit::To(total)),
    }
}

/// Terms that differ by `seed` in every field.
fn terms(seed: u32) -> SaleTerms {
    let beacon = BeaconTerms { source: BeaconSource::Nist, round: 10_000_000_000, wait_s: seed };
    SaleTerms {
        title: format!("title {seed}"),
        price: Cents(u64::from(seed)),
        currency: Currency::USD,
        per_buyer_limit: seed * 2,
        starts_at: EpochMs(i64::from(seed)),
        ends_at: EpochMs(i64::from(seed) * 1_000),
        pay_within_s: seed,
        rate: (seed.is_multiple_of(2)).then_some(Rate { per_s: seed, burst: seed + 1 }),
        paused: seed.is_multiple_of(3),
        paused_until: seed.is_multiple_of(6).then(|| EpochMs(i64::from(seed))),
        room: Some(RoomTerms {
            mode: RoomMode::ALL[seed as usize % 3],
            opens_at: seed.is_multiple_of(2).then(|| EpochMs(i64::from(seed) - 1)),
            rate_per_s: seed.is_multiple_of(3).then_some(seed),
            grace_s: seed % 86_400,
            on_failure: if seed.is_multiple_of(2) { RoomFailure::Open } else { RoomFailure::Hold },
            seed: RoomSeed([7; 16]),
            beacon: seed.is_multiple_of(3).then_some(beacon),
        }),
    }
}

/// What the contract says about orders, without a database.
#[derive(Default)]
struct Model {
    is_shared: bool,
    sales: Vec<Sale>,
    orders: BTreeMap<OrderId, Order>,
    /// What each committed batch tells, in no order within the batch.
    told: Vec<Vec<(OrderId, EventKind)>>,
    orders_made: u64,
    /// The version that the next change makes.
    next_version: u64,
}

impl Model {
    fn batch(
        &mut self,
        placed: &[Bought],
        rejected: &[Bought],
        steps: &[(Index, OrderAction, bool, bool)],
    ) -> Batch {
        let mut made = |bought: &Bought| self.new_order(bought);
        let mut placed: Vec<_> = placed.iter().map(&mut made).collect();
        let rejected: Vec<_> = rejected.iter().map(&mut made).collect();
        // "In any order": the highest number first.
        placed.reverse();
        let unknown = OrderId::from_number(u64::MAX >> 1).unwrap();
        let known: Vec<(OrderId, EpochMs)> = self
            .orders
            .values()
            .map(|order| &order.placed)
            .chain(&placed)
            .map(|order| (order.id, order.pay_before))
            .chain([(unknown, EpochMs(0))])
            .collect();
        let mut latest: HashMap<_, _> =
            self.orders.values().map(|order| (order.placed.id, order.payment_attempt)).collect();
        let refunds: HashMap<_, _> =
            self.orders.values().map(|order| (order.placed.id, order.refunds.begun)).collect();
        let transitions =
            steps.iter().enumerate().map(|(place, &(index, action, at_deadline, of_earlier))| {
                let &(order, pay_before) = index.get(&known);
                let at = pay_before.plus_ms(if at_deadline { 0 } else { -1 });
                let begins = action == OrderAction::BeginPayment;
                let latest = latest.entry(order).or_default();
                // Counts payments that the store refuses to begin, too: some steps are about payments yet to come.
                *latest += u32::from(begins);
                Transition {
                    order,
                    action,
                    at,
                    payment_method: begins.then(|| format!("card-{}", at.0)),
                    payment_gateway: begins.then(|| format!("gateway-{place}")),
                    payment_attempt: Some(latest.saturating_sub(u32::from(of_earlier))),
                    payment_note: Some(match place % 4 {
                        0 => PaymentNote::Gateway("late".into()),
                        1 => PaymentNote::Direction(PaymentDirection::GoingOn),
                        2 => PaymentNote::TurnBack { why: format!("turned back at {place}") },
                        _ => PaymentNote::Direction(PaymentDirection::LettingGo {
                            why: format!("let go at {place}"),
                        }),
                    }),
                    span: None,
                    refund: order_model::refund_step(
                        action,
                        place,
                        refunds.get(&order).copied().unwrap_or(0),
                        of_earlier,
                    ),
                    settled_because: None,
                    act: None,
                }
            });
        Batch { transitions: transitions.collect(), placed, rejected, ..Batch::default() }
    }

    fn new_order(&mut self, (sale, buyer, quantity): &Bought) -> NewOrder {
        self.orders_made += 1;
        let number = self.orders_made;
        let created_at = EpochMs(1_000 + number as i64);
        NewOrder {
            id: OrderId::from_number(number).unwrap(),
            sale: sale.get(&self.sales).id,
            buyer: BuyerId::new(&format!("buyer-{buyer}")).unwrap(),
            quantity: *quantity,
            amount: Cents(number * 7),
            created_at,
            pay_before: created_at.plus_ms(5_000),
            idempotency_key: (number.is_multiple_of(3))
                .then(|| IdempotencyKey::new(&format!("key-{number}")).unwrap()),
        }
    }

    fn commit(&mut self, batch: &Batch) -> Answer {
        let mut orders = self.orders.clone();
        let (mut told, mut refused) = (Vec::new(), Vec::new());
        let mut placed: Vec<_> = batch.placed.iter().collect();
        placed.sort_unstable_by_key(|order| order.id);
        for placed in placed {
            if self.is_shared && self.passes_limit(&orders, placed) {
                refused.push(placed.id);
                continue;
            }
            told.push((placed.id, EventKind::Created));
            orders.insert(placed.id, Order::persisted(placed.clone()));
        }
        for placed in &batch.rejected {
            let mut order = Order { status: OrderStatus::Rejected, ..Order::persisted(placed.clone()) };
            if self.is_shared {
                // The key of an order that was never made is free for another node.
                order.placed.idempotency_key = None;
            }
            orders.insert(placed.id, order);
        }
        let mut applied = Vec::new();
        for step in &batch.transitions {
            applied.push(match orders.get_mut(&step.order) {
                None => Applied::UnknownOrder,
                Some(order) if step.refund.is_some() => match order_model::refunded(order, step) {
                    None => Applied::Refused(order.clone()),
                    Some((next, event)) => {
                        told.extend(event.map(|event| (step.order, event)));
                        *order = next;
                        Applied::Done(order.clone())
                    }
                },
                Some(order) => match status_after(order, step) {
                    None => Applied::Refused(order.clone()),
                    Some((status, event)) => {
                        order.status = status;
                        if step.action == OrderAction::BeginPayment {
                            order.payment_attempt += 1;
                            order.payment_method.clone_from(&step.payment_method);
                            order.payment = PaymentJournal {
                                gateway: step.payment_gateway.clone(),
                                key_form: PaymentKeyForm::OfStore,
                                direction: PaymentDirection::Undecided,
                            };
                        }
                        if step.action == OrderAction::NotePayment {
                            order.payment = noted(order, step).expect("it was allowed");
                        }
                        if status == OrderStatus::Paid {
                            order.paid_at = Some(step.at);
                        }
                        told.extend(event.map(|event| (step.order, event)));
                        Applied::Done(order.clone())
                    }
                },
            });
        }
        let sold = |sale: &Sale| units(&orders, sale.id, &HOLDING);
        let over = |sale: &&Sale| sold(sale) > u64::from(sale.total);
        let oversold: Vec<SaleId> = self.sales.iter().filter(over).map(|sale| sale.id).collect();
        if !oversold.is_empty() {
            return Answer::Oversold(oversold);
        }
        let sold: Vec<Units> = self.sales.iter().map(|sale| sold(sale) as Units).collect();
        for (sale, sold) in self.sales.iter_mut().zip(sold) {
            sale.sold = sold;
        }
        self.orders = orders;
        self.told.push(told);
        Answer::Committed(applied, refused)
    }

    /// Whether the purchase is one too many for its buyer.
    fn passes_limit(&self, orders: &BTreeMap<OrderId, Order>, placed: &NewOrder) -> bool {
        let of_buyer = orders
            .values()
            .filter(|order| order.placed.sale == placed.sale && order.placed.buyer == placed.buyer);
        let held: Units = of_buyer.map(held).sum();
        let sale = self.sales.iter().find(|sale| sale.id == placed.sale).expect("orders are of known sales");
        held + placed.quantity > sale.terms.per_buyer_limit
    }

    /// Versions grow as each store sees fit; the model takes over which one a change made.
    fn note_version(&mut self, changed: &Sale) {
        self.next_version = changed.version;
    }

    fn change_sale(&mut self, change: &SaleChange) -> ChangeReceipt {
        let Some(sale) = self.sales.iter_mut().find(|sale| sale.id == change.sale) else {
            return ChangeReceipt::Unknown;
        };
        let Some(StockEdit::To(total)) = change.edit.stock else { panic!("histories set the whole stock") };
        if sale.sold > total {
            return ChangeReceipt::BelowSold(sale.sold);
        }
        let total_before = std::mem::replace(&mut sale.total, total);
        sale.terms = SaleTerms { per_buyer_limit: 100, ..terms(total + 3) };
        sale.version = self.next_version;
        ChangeReceipt::Changed { sale: sale.clone(), total_before }
    }

    fn audit(&self, sale: &Sale) -> Audit {
        let mut of_buyers: HashMap<&str, u64> = HashMap::new();
        let of_sale = || self.orders.values().filter(|order| order.placed.sale == sale.id);
        for order in of_sale() {
            *of_buyers.entry(order.placed.buyer.as_str()).or_default() += u64::from(held(order));
        }
        let limit = u64::from(sale.terms.per_buyer_limit);
        let is_refunded = |order: &&Order| order.status == OrderStatus::Refunded;
        let was_paid = |order: &&Order| HOLDING[2..].contains(&order.status);
        Audit {
            total: sale.total,
            sold_by_guard: sale.sold,
            held: units(&self.orders, sale.id, &[OrderStatus::PrePay, OrderStatus::Paying]),
            paid: units(&self.orders, sale.id, &HOLDING[2..]),
            refunded: of_sale().filter(is_refunded).map(|order| u64::from(order.placed.quantity)).sum(),
            paid_cents: of_sale().filter(was_paid).map(|order| order.placed.amount.0).sum(),
            refunded_cents: of_sale().map(|order| order.refunds.refunded.0).sum(),
            durable_orders: of_sale().count() as u64,
            buyers_over_limit: of_buyers.values().filter(|&&units| units > limit).count() as u64,
        }
    }

    /// The store shows the same, through every one of its reading functions.
    fn compare(&self, store: &impl StoreUnderTest) {
        assert_eq!(store.sales(), self.sales);
        for sale in &self.sales {
            let audit = store.audit(sale.id).expect("the sale exists");
            assert_eq!(audit, self.audit(sale));
            assert!(audit.conserved(0), "{audit:?}");
            let of_sale = self.orders.values().filter(|order| order.placed.sale == sale.id);
            assert!(of_sale.eq(&store.orders_after(Some(sale.id), None, usize::MAX >> 1)));
        }
        assert!(self.orders.values().eq(&in_pages(3, |after, limit| {
            let page = store.orders_after(None, after, limit);
            let last = page.last().map(|order| order.placed.id);
            (page, last)
        })));
        for (id, order) in &self.orders {
            assert_eq!(store.order(*id).as_ref(), Some(order));
        }
        self.compare_events(&in_pages(4, |after: Option<u64>, limit| {
            let page = store.events_after(after.unwrap_or(0), limit);
            let last = page.last().map(|event| event.seq);
            (page, last)
        }));
    }

    fn compare_events(&self, events: &[Event]) {
        assert!(
            events.iter().map(|event| event.seq).eq(1..=events.len() as u64),
            "numbered without gaps from 1"
        );
        let mut rest = events;
        for told in &self.told {
            let (of_batch, later) = rest.split_at(told.len());
            rest = later;
            let mut expected = told.clone();
            let mut found: Vec<_> =
                of_batch.iter().map(|event| (event.order.placed.id, event.kind)).collect();
            let place = |wanted: (OrderId, EventKind)| found.iter().position(|&event| event == wanted);
            for &(order, kind) in told.iter().filter(|(_, kind)| *kind != EventKind::Created) {
                let created = place((order, EventKind::Created));
                assert!(created < place((order, kind)), "an order is created before it ends");
            }
            let by_order = |event: &(OrderId, EventKind)| (event.0, event.1.code());
            expected.sort_unstable_by_key(by_order);
            found.sort_unstable_by_key(by_order);
            assert_eq!(found, expected);
        }
        assert_eq!(rest, [], "the store tells of nothing else");
        for event in events {
            assert_eq!(event.refund.is_some(), event.kind == EventKind::Refunded);
            assert_eq!(Some(&event.order), self.orders.get(&event.order.placed.id));
        }
    }
}

/// Whose orders have units; those from the third on were paid.
const HOLDING: [OrderStatus; 5] = [
    OrderStatus::PrePay,
    OrderStatus::Paying,
    OrderStatus::Paid,
    OrderStatus::Refunding,
    OrderStatus::Refunded,
];

fn units(orders: &BTreeMap<OrderId, Order>, sale: SaleId, statuses: &[OrderStatus]) -> u64 {
    let counted = |order: &&Order| order.placed.sale == sale && statuses.contains(&order.status);
    orders.values().filter(counted).map(|order| u64::from(held(order))).sum()
}

/// All rows, read `limit` at a time from where the last page ended.
fn in_pages<T, C: Copy>(limit: usize, read: impl Fn(Option<C>, usize) -> (Vec<T>, Option<C>)) -> Vec<T> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let (page, last) = read(after, limit);
        assert!(page.len() <= limit);
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
        after = last;
    }
}
