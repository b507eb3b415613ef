//! The embedded store under the contract, and what is its own: its lock, its schema, its damage report.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;
use rusqlite::Connection;
use seckill::domain::{
    BuyerId, Cents, Currency, EpochMs, NewOrder, NodeId, Order, OrderAction, OrderId, OrderStatus,
    PaymentJournal, PaymentKeyForm, Sale, SaleId, SaleKey, SaleTerms, Units,
};
use seckill::orders::sqlite::{self, SqliteReader, SqliteSettings, SqliteWriter};
use seckill::orders::{
    Act, ActKind, Actor, Audit, Batch, ChangeReceipt, Deadlines, Event, Fault, Receipt, Recovered,
    SaleChange, StoreReader, StoreWriter, Transition,
};
use serde_json::Value;
use tempfile::TempDir;
use testbed::older_store::TO_VERSION_1;
use testbed::until;

use crate::contract::{self, Answer, End, StoreUnderTest};

struct Embedded {
    folder: TempDir,
    writer: SqliteWriter,
    reader: SqliteReader,
}

/// Opens the store of a folder. A process that another test is just starting has copies of all files that are open here until
/// it becomes the program that it is started for: for that moment the lock of a store that was closed is still held.
pub fn open_store(folder: &Path, settings: &SqliteSettings) -> (SqliteWriter, SqliteReader) {
    let mut opened = None;
    until("the store opens", || match sqlite::open(folder, settings) {
        Ok(store) => {
            opened = Some(store);
            true
        }
        Err(error) if error.message.contains("another engine runs on the data") => false,
        Err(error) => panic!("{error}"),
    });
    opened.expect("it was opened")
}

impl Embedded {
    fn open(folder: TempDir) -> Self {
        let settings = SqliteSettings { lock_wait_ms: 1, ..SqliteSettings::default() };
        let (writer, reader) = open_store(folder.path(), &settings);
        Self { folder, writer, reader }
    }

    fn empty() -> Self {
        Self::open(TempDir::new().unwrap())
    }

    fn with_sale(total: Units) -> (Self, SaleId) {
        let mut store = Self::empty();
        let sale = store.create_sale(&key(), &terms(), total).unwrap().id;
        (store, sale)
    }

    /// Another process's connection to the same file.
    fn stranger(&self) -> Connection {
        Connection::open(self.folder.path().join("orders.sqlite")).unwrap()
    }
}

impl StoreUnderTest for Embedded {
    const IS_SHARED: bool = false;

    fn create_sale(&mut self, key: &SaleKey, terms: &SaleTerms, total: Units) -> Option<Sale> {
        self.writer.create_sale(key, terms, total, None).unwrap()
    }

    fn change_sale(&mut self, change: &SaleChange) -> ChangeReceipt {
        self.writer.change_sale(change).unwrap()
    }

    fn commit(&mut self, batch: &Batch) -> Answer {
        match self.writer.commit(batch).unwrap() {
            Receipt::Committed { applied, refused } => {
                assert_eq!(refused, [], "an engine alone knows its buyers");
                Answer::Committed(applied, Vec::new())
            }
            Receipt::Oversold(sales) => Answer::Oversold(sales),
            Receipt::Fenced { .. } => panic!("an engine alone has one life"),
        }
    }

    fn sales(&self) -> Vec<Sale> {
        self.reader.sales().unwrap()
    }

    fn order(&self, id: OrderId) -> Option<Order> {
        self.reader.order(id).unwrap()
    }

    fn orders_after(&self, sale: Option<SaleId>, after: Option<OrderId>, limit: usize) -> Vec<Order> {
        self.reader.orders_after(sale, after, limit).unwrap()
    }

    fn events_after(&self, after: u64, limit: usize) -> Vec<Event> {
        self.reader.events_after(after, limit).unwrap()
    }

    fn audit(&self, sale: SaleId) -> Option<Audit> {
        self.reader.audit(sale).unwrap()
    }

    fn reopen(self, end: End) -> Self {
        match end {
            End::Clean => {
                Box::new(self.writer).close().unwrap();
                // Readers may still have the file open; the log is folded in all the same.
                let log = std::fs::metadata(self.folder.path().join("orders.sqlite-wal"));
                assert_eq!(log.map_or(0, |log| log.len()), 0, "a clean stop leaves all of it in one file");
                Self::open(self.folder)
            }
            // What a kill leaves is what the files hold while the store is still open.
            End::Killed => {
                let copy = TempDir::new().unwrap();
                for name in ["orders.sqlite", "orders.sqlite-wal"] {
                    let from = self.folder.path().join(name);
                    if from.exists() {
                        std::fs::copy(from, copy.path().join(name)).unwrap();
                    }
                }
                Self::open(copy)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_are_kept_as_the_contract_says(history in contract::history(24)) {
        contract::play(Embedded::empty(), &history);
    }
}

fn key() -> SaleKey {
    SaleKey::new("default", "c", "s").unwrap()
}

fn terms() -> SaleTerms {
    SaleTerms {
        title: String::new(),
        price: Cents(5),
        currency: Currency::USD,
        per_buyer_limit: 1,
        starts_at: EpochMs(0),
        ends_at: EpochMs(1),
        pay_within_s: 1,
        rate: None,
        paused: false,
        paused_until: None,
        room: None,
    }
}

fn one_order(sale: SaleId) -> Batch {
    let order = NewOrder {
        id: OrderId::from_number(1).unwrap(),
        sale,
        buyer: BuyerId::new("ann").unwrap(),
        quantity: 1,
        amount: Cents(5),
        created_at: EpochMs(10),
        pay_before: EpochMs(20),
        idempotency_key: None,
    };
    Batch { placed: vec![order], ..Batch::default() }
}

#[test]
fn a_batch_that_meets_a_locked_store_leaves_nothing_and_passes_later() {
    let (mut store, sale) = Embedded::with_sale(1);
    let stranger = store.stranger();
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = store.writer.commit(&one_order(sale)).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.source().is_some_and(|cause| cause.is::<rusqlite::Error>()), "{error:?}");
    assert_eq!(store.audit(sale).unwrap().durable_orders, 0, "readers go on while the store is locked");
    stranger.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(store.commit(&one_order(sale)), Answer::Committed(..)));
    assert_eq!(store.audit(sale).unwrap().held, 1);
}

#[test]
fn a_second_engine_on_the_same_folder_is_told_so() {
    let store = Embedded::empty();
    let error = sqlite::open(store.folder.path(), &SqliteSettings::default()).unwrap_err();
    assert_eq!(error.kind, Fault::Fatal);
    assert!(error.message.contains("another engine runs") && error.message.contains("--data-dir"), "{error}");
    store.reopen(End::Clean);
}

#[test]
fn data_of_a_newer_engine_are_left_alone() {
    let store = Embedded::empty();
    store.stranger().pragma_update(None, "user_version", 999).unwrap();
    let Embedded { folder, writer, .. } = store;
    drop(writer);
    let error = sqlite::open(folder.path(), &SqliteSettings::default()).unwrap_err();
    assert_eq!(error.kind, Fault::Fatal);
    assert!(error.message.contains("newer engine") && error.message.contains("999"), "{error}");
}

#[test]
fn a_count_that_is_not_the_sum_of_its_orders_is_reported_and_not_sold_from() {
    let (mut store, sale) = Embedded::with_sale(3);
    store.commit(&one_order(sale));
    store.stranger().execute("UPDATE sales SET sold = 0", []).unwrap();
    let error = Recovered::read(
        &store.reader,
        NodeId::new(0).unwrap(),
        2,
        &Deadlines::default(),
        &Default::default(),
    )
    .unwrap_err();
    assert_eq!(error.kind, Fault::Fatal);
    assert!(error.message.contains("damaged") && error.message.contains("c/s"), "{error}");
}

/// However many threads read it, and in whichever of them a buyer's orders are.
#[test]
fn a_start_has_every_order_in_its_place() {
    const ORDERS: u64 = 12_000;
    // All that ann did but for her last order she gave up, and bob bought once, in the middle.
    let buyer = |number: u64| match number {
        _ if number % 1_000 == 1 => "ann".to_owned(),
        6_000 => "bob".to_owned(),
        _ => format!("buyer-{number}"),
    };
    let (mut store, sale) = Embedded::with_sale(ORDERS as Units);
    for first in (1..=ORDERS).step_by(1_000) {
        let mut batch = Batch::default();
        for number in first..first + 1_000 {
            batch.placed.push(NewOrder {
                id: order_id(number),
                buyer: BuyerId::new(&buyer(number)).unwrap(),
                created_at: EpochMs(number as i64),
                pay_before: EpochMs(ORDERS as i64 + number as i64),
                ..one_order(sale).placed.swap_remove(0)
            });
        }
        if first + 1_000 <= ORDERS {
            batch.transitions.push(Transition::plain(order_id(first), OrderAction::Cancel, EpochMs(0)));
        }
        assert!(matches!(store.commit(&batch), Answer::Committed(..)));
    }
    let (deadlines, read) = (Deadlines::default(), AtomicU64::default());
    let node = NodeId::new(0).unwrap();
    let recovered = Recovered::read(&store.reader, node, 2, &deadlines, &read).unwrap();
    assert_eq!((recovered.orders, read.into_inner()), (ORDERS, ORDERS));
    assert_eq!((recovered.newest, recovered.oldest_open), (Some(order_id(ORDERS)), Some(EpochMs(2))));
    let [live] = &recovered.sales[..] else { panic!("{:?}", recovered.sales) };
    let given_up = 11;
    assert_eq!(u64::from(live.remaining()), given_up);
    let claims = live.state.claims();
    assert_eq!(claims.buyers() as u64, ORDERS - given_up, "ann is one");
    assert_eq!((claims.held("bob"), claims.held("ann")), (Some(order_id(6_000)), Some(order_id(11_001))));
    let anns: Vec<_> = (0..12).map(|thousand| order_id(thousand * 1_000 + 1)).collect();
    assert_eq!(claims.orders_of("ann"), anns, "the oldest first");
    let open: Vec<_> =
        (1..=ORDERS).map(order_id).filter(|id| id.number() == 11_001 || !anns.contains(id)).collect();
    assert!(deadlines.take_due(EpochMs(i64::MAX), usize::MAX) == open);
}

fn order_id(number: u64) -> OrderId {
    OrderId::from_number(number).unwrap()
}

#[test]
fn m1_an_older_store_gets_an_identity_and_its_payments_under_way_keep_the_form_of_their_keys() {
    let (mut store, sale) = Embedded::with_sale(1);
    let identity = store.reader.identity().unwrap();
    assert_ne!(identity, Embedded::empty().reader.identity().unwrap());
    store.commit(&one_order(sale));
    let order = OrderId::from_number(1).unwrap();
    let begin = Transition {
        payment_method: Some("card".into()),
        payment_gateway: Some("main".into()),
        ..Transition::plain(order, OrderAction::BeginPayment, EpochMs(11))
    };
    store.commit(&Batch { transitions: vec![begin], ..Batch::default() });
    let begun = store.order(order).unwrap().payment;
    assert_eq!((begun.gateway.as_deref(), begun.key_form), (Some("main"), PaymentKeyForm::OfStore));
    let mut store = store.reopen(End::Clean);
    assert_eq!(store.reader.identity().unwrap(), identity, "made once");

    store.stranger().execute_batch(TO_VERSION_1).unwrap();
    store = store.reopen(End::Clean);
    assert_ne!(store.reader.identity().unwrap(), identity);
    let kept = store.order(order).unwrap();
    assert_eq!((kept.status, kept.payment_attempt), (OrderStatus::Paying, 1));
    assert_eq!(kept.payment, PaymentJournal::default());
    assert_eq!(kept.payment.key_form, PaymentKeyForm::Plain);
}

#[test]
fn nobody_changes_the_trail() {
    let mut store = Embedded::empty();
    let text = str::to_owned;
    let actor = Actor { who: text("ann"), role: text("admin"), address: text("::1"), request_id: text("r") };
    let (from, to, object) = (Value::Null, Value::Null, text("config"));
    let (kind, at) = (ActKind::ConfigReloaded, EpochMs(7));
    let act = Act { id: 1, at, actor, tenant: None, kind, object, from, to, reason: None };
    store.writer.tell(&[act]).unwrap();
    let told = store.reader.trail_after("default", 0, 9).unwrap();
    assert_eq!((told.len(), &told[0].kind, told[0].seq), (1, &text("config.reloaded"), 1));
    for change in [
        "UPDATE trail SET who = ''",
        "DELETE FROM trail",
        "REPLACE INTO trail SELECT seq, 0, tenant, '', role, address, request_id, act, object, was, became, reason FROM trail",
    ] {
        store.stranger().execute_batch(change).unwrap_err();
    }
    assert_eq!(store.reader.trail_after("default", 0, 9).unwrap(), told);
}
