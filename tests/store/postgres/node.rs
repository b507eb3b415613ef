//! One node's store, and batches for it.

use std::sync::atomic::{AtomicU64, Ordering};

use seckill::domain::{
    BuyerId, Cents, Currency, EpochMs, IdempotencyKey, NewOrder, NodeId, OrderAction, OrderId, RefundStep,
    Sale, SaleEdit, SaleId, SaleKey, SaleLimits, SaleTerms, StockEdit, Units,
};
use seckill::orders::postgres::{self, Exclusivity, PgLeaseStore, PgReader, PgWriter, PostgresSettings};
use seckill::orders::{
    Applied, Batch, ChangeReceipt, Event, LeaseStore, Receipt, RefusalReason, RefusedOrder, SaleChange,
    StoreError, StoreReader, StoreWriter, Transition,
};

/// The moment at which everything in these tests happens.
pub const NOW: EpochMs = EpochMs(1_800_000_000_000);
/// Until when orders may be paid.
pub const PAY_BEFORE: EpochMs = EpochMs(NOW.0 + 60_000);

/// Limits that fit a test.
pub fn settings(url: &str) -> PostgresSettings {
    PostgresSettings {
        url: url.into(),
        readers: 2,
        acquire_wait_ms: 3_000,
        connect_wait_ms: 20_000,
        seat_wait_ms: 0,
        lock_wait_ms: 5_000,
        statement_wait_ms: 20_000,
        ..PostgresSettings::default()
    }
}

/// Gives the events that have none their numbers, as the engine that has the lock for it does.
pub fn number_events(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let place = "SELECT seckill.place_events()";
        while client.query_one(place, &[]).await.unwrap().get::<_, i32>(0) > 0 {}
    });
}

/// A node with one writer.
pub struct Node {
    pub id: NodeId,
    pub writer: Box<PgWriter>,
    pub reader: PgReader,
    pub lease_store: PgLeaseStore,
    url: String,
    ticks: AtomicU64,
}

impl Node {
    pub fn open(number: u16, url: &str) -> Self {
        Self::try_open(number, url).expect("the store opens")
    }

    pub fn try_open(number: u16, url: &str) -> Result<Self, StoreError> {
        Self::open_with(number, &settings(url))
    }

    pub fn open_with(number: u16, settings: &PostgresSettings) -> Result<Self, StoreError> {
        Self::open_as(number, settings, Exclusivity::Alone)
    }

    /// With shares of its own, none at first, or with all that is not sold: then others take it away again when they sell.
    pub fn open_as(
        number: u16,
        settings: &PostgresSettings,
        exclusivity: Exclusivity,
    ) -> Result<Self, StoreError> {
        let id = NodeId::new(number).unwrap();
        let store = postgres::open(settings, id, 1, exclusivity)?;
        let writer =
            store.writers.into_iter().next().map(Box::new).expect("as many writers as were asked for");
        let ticks = AtomicU64::new(OrderId::tick_at(NOW));
        let url = settings.url.expose().to_owned();
        Ok(Self { id, writer, reader: store.reader, lease_store: store.lease_store, url, ticks })
    }

    /// A sale of `total` units, `limit` a buyer.
    pub fn sale(&mut self, name: &str, total: Units, limit: Units) -> SaleId {
        self.writer.create_sale(&key(name), &terms(limit), total, None).unwrap().expect("the name is free").id
    }

    pub fn order(&self, sale: SaleId, buyer: &str, quantity: Units, key: Option<&str>) -> NewOrder {
        NewOrder {
            id: OrderId::from_tick(self.ticks.fetch_add(1, Ordering::Relaxed), self.id),
            sale,
            buyer: BuyerId::new(buyer).unwrap(),
            quantity,
            amount: Cents(u64::from(quantity) * 500),
            created_at: NOW,
            pay_before: PAY_BEFORE,
            idempotency_key: key.map(|key| IdempotencyKey::new(key).unwrap()),
        }
    }

    /// Commits purchases; answers with those that were refused.
    pub fn place(&mut self, placed: Vec<NewOrder>) -> Vec<RefusedOrder> {
        match self.writer.commit(&Batch { placed, ..Batch::default() }).unwrap() {
            Receipt::Committed { refused, .. } => refused,
            other => panic!("{other:?}"),
        }
    }

    /// Buys one unit. `Err` is why not.
    pub fn buy(&mut self, sale: SaleId, buyer: &str, key: Option<&str>) -> Result<OrderId, RefusalReason> {
        let order = self.order(sale, buyer, 1, key);
        let id = order.id;
        match self.place(vec![order]).pop() {
            None => Ok(id),
            Some(refused) => {
                assert_eq!(refused.order, id);
                Err(refused.reason)
            }
        }
    }

    /// Takes one step; a payment that ends is the latest one.
    pub fn step(&mut self, order: OrderId, action: OrderAction) -> Applied {
        let latest = self.reader.order(order).unwrap().map(|order| order.payment_attempt);
        self.step_of(order, action, latest)
    }

    /// Takes one step; a payment that ends is this one.
    pub fn step_of(&mut self, order: OrderId, action: OrderAction, payment_attempt: Option<u32>) -> Applied {
        let at = if action == OrderAction::Expire { PAY_BEFORE } else { NOW };
        let transition = Transition { payment_attempt, ..Transition::plain(order, action, at) };
        let batch = Batch { transitions: vec![transition], ..Batch::default() };
        match self.writer.commit(&batch).unwrap() {
            Receipt::Committed { mut applied, .. } => applied.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Takes a step of a refund.
    pub fn refund(&mut self, order: OrderId, action: OrderAction, refund: RefundStep) -> Applied {
        let step = Transition::plain(order, action, NOW);
        let transition = Transition { refund: Some(Box::new(refund)), ..step };
        match self.writer.commit(&Batch { transitions: vec![transition], ..Batch::default() }).unwrap() {
            Receipt::Committed { mut applied, .. } => applied.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// All events.
    pub fn events(&self) -> Vec<Event> {
        number_events(&self.url);
        self.reader.events_after(0, 1_000_000).unwrap()
    }

    /// Units that the guard counts as sold; checks that the orders and the ledger's counts say the same.
    pub fn sold(&self, sale: SaleId) -> u64 {
        let audit = self.reader.audit(sale).unwrap().unwrap();
        assert!(audit.conserved(0), "{audit:?}");
        assert_eq!(audit.buyers_over_limit, 0);
        let view = self.lease_store.units(sale).unwrap().unwrap();
        let settled: u64 = view.settled.iter().map(|(_, units)| units).sum();
        assert_eq!(settled - view.returned, audit.sold(), "{view:?}");
        assert_eq!(view.sold, audit.sold());
        audit.sold()
    }

    /// Units of the node's orders that were ever durable.
    pub fn settled_by(&self, sale: SaleId, node: NodeId) -> u64 {
        self.lease_store.units(sale).unwrap().unwrap().settled_by(node)
    }
}

pub fn key(name: &str) -> SaleKey {
    SaleKey::new("default", "drop", name).unwrap()
}

pub fn terms(per_buyer_limit: Units) -> SaleTerms {
    SaleTerms {
        title: "A thing".into(),
        price: Cents(500),
        currency: Currency::USD,
        per_buyer_limit,
        starts_at: EpochMs(0),
        ends_at: EpochMs(i64::MAX),
        pay_within_s: 60,
        rate: None,
        paused: false,
        paused_until: None,
        room: None,
    }
}

/// A sale as the store has it.
pub fn stored(node: &Node, id: SaleId) -> Sale {
    node.reader.sales().unwrap().into_iter().find(|sale| sale.id == id).expect("the sale exists")
}

/// A change of the sale's stock.
pub fn stock(sale: SaleId, stock: StockEdit, withdrawn: Units) -> SaleChange {
    change(sale, SaleEdit { stock: Some(stock), ..SaleEdit::default() }, withdrawn)
}

/// A change of the sale, whatever its version.
pub fn change(sale: SaleId, edit: SaleEdit, withdrawn: Units) -> SaleChange {
    SaleChange { sale, edit, limits: SaleLimits::default(), if_version: None, withdrawn, act: None }
}

/// The sale after a change that was made.
pub fn changed(receipt: ChangeReceipt) -> Sale {
    match receipt {
        ChangeReceipt::Changed { sale, .. } => sale,
        other => panic!("{other:?}"),
    }
}
