//! The write-ahead log of the embedded store: folded beside the writer, never above its limit, and held by no long reader.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use seckill::domain::{
    BuyerId, Cents, Currency, EpochMs, NewOrder, OrderAction, OrderId, SaleId, SaleKey, SaleTerms, Units,
};
use seckill::orders::sqlite::{SqliteReader, SqliteSettings, SqliteWriter};
use seckill::orders::{
    Batch, FoldedBy, LogWatch, OrderFilter, Receipt, StoreError, StoreReader, StoreWriter, TenantSales,
    Transition,
};
use tempfile::TempDir;
use testbed::until;

use crate::sqlite::open_store;

const LOG_PAGES_MAX: u32 = 400;
/// What the log's file may have then: its header, and each page with a header of its own.
const LOG_BYTES_MAX: u64 = 32 + LOG_PAGES_MAX as u64 * (24 + 4_096);
const ORDERS_A_BATCH: u64 = 500;

/// How often something was told.
#[derive(Debug, Default)]
struct Told {
    log_syncs: AtomicU64,
    beside: AtomicU64,
    by_writer: AtomicU64,
    table_syncs: AtomicU64,
}

impl LogWatch for Told {
    fn log_synced(&self, _took: Duration) {
        self.log_syncs.fetch_add(1, Ordering::SeqCst);
    }

    fn folded(&self, by: FoldedBy, _took: Duration) {
        let count = match by {
            FoldedBy::Checkpointer => &self.beside,
            FoldedBy::Writer => &self.by_writer,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }

    fn table_synced(&self, _took: Duration) {
        self.table_syncs.fetch_add(1, Ordering::SeqCst);
    }
}

/// A store whose sales never sell out, and the number of its last order.
pub struct Shop {
    pub folder: TempDir,
    pub writer: SqliteWriter,
    pub reader: SqliteReader,
    pub sale: SaleId,
    pub last: u64,
}

impl Shop {
    pub fn open(wal_pages_max: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = SqliteSettings { wal_pages_max, lock_wait_ms: 1, ..SqliteSettings::default() };
        let (mut writer, reader) = open_store(folder.path(), &settings);
        let sale = make_sale(&mut writer, "phone");
        Self { folder, writer, reader, sale, last: 0 }
    }

    /// Sells to as many buyers.
    pub fn sell(&mut self, sale: SaleId, orders: u64) -> Result<(), StoreError> {
        let numbers = self.last + 1..=self.last + orders;
        let placed = numbers.map(|number| order(sale, number)).collect();
        self.commit(Batch { placed, ..Batch::default() })?;
        self.last += orders;
        Ok(())
    }

    pub fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        let receipt = self.writer.commit(&batch)?;
        assert!(matches!(receipt, Receipt::Committed { .. }), "{receipt:?}");
        Ok(())
    }

    fn log_bytes(&self) -> u64 {
        log_bytes(self.folder.path())
    }
}

fn log_bytes(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("orders.sqlite-wal")).map_or(0, |log| log.len())
}

pub fn make_sale(writer: &mut SqliteWriter, sku: &str) -> SaleId {
    make_sale_of(writer, "default", sku)
}

fn make_sale_of(writer: &mut SqliteWriter, tenant: &str, sku: &str) -> SaleId {
    let terms = SaleTerms {
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
    };
    let key = SaleKey::new(tenant, "c", sku).unwrap();
    writer.create_sale(&key, &terms, 10_000_000, None).unwrap().unwrap().id
}

pub fn order(sale: SaleId, number: u64) -> NewOrder {
    NewOrder {
        id: OrderId::from_number(number).unwrap(),
        sale,
        buyer: BuyerId::new(&format!("buyer-{number}")).unwrap(),
        quantity: 1,
        amount: Cents(5),
        created_at: EpochMs(10),
        pay_before: EpochMs(20),
        idempotency_key: None,
    }
}

#[test]
fn o2_the_log_is_folded_beside_the_writer_and_begins_anew() {
    let mut shop = Shop::open(LOG_PAGES_MAX);
    let told = Arc::new(Told::default());
    let checkpointer = shop.writer.checkpointer(Arc::clone(&told) as Arc<dyn LogWatch>).unwrap();
    let thread = std::thread::spawn(move || checkpointer.run());
    until("it has folded, and far more was written than the log holds", || {
        shop.sell(shop.sale, ORDERS_A_BATCH).unwrap();
        assert!(shop.log_bytes() <= LOG_BYTES_MAX, "{}", shop.log_bytes());
        let has_folded = |count: &AtomicU64| count.load(Ordering::SeqCst) > 0;
        [&told.beside, &told.table_syncs].into_iter().all(has_folded) && shop.last >= 100 * ORDERS_A_BATCH
    });
    let figures = shop.reader.log_figures().unwrap();
    assert_eq!(figures.bytes_max, u64::from(LOG_PAGES_MAX) * 4_096);
    assert!(0 < figures.bytes && figures.bytes <= figures.bytes_max, "{figures:?}");
    assert_eq!((figures.times_full, figures.oldest_read), (0, None), "nobody had to wait for a reader");
    assert!(told.log_syncs.load(Ordering::SeqCst) >= shop.last / ORDERS_A_BATCH);
    let audit = shop.reader.audit(shop.sale).unwrap().unwrap();
    assert!(audit.conserved(0) && audit.held == shop.last, "{audit:?}");
    let Shop { folder, writer, .. } = shop;
    Box::new(writer).close().unwrap();
    thread.join().unwrap().unwrap();
    assert_eq!(log_bytes(folder.path()), 0, "a clean stop leaves one file");
}

#[test]
fn o2_what_is_little_the_writer_folds_itself_and_without_a_checkpointer_all_of_it() {
    let mut shop = Shop::open(LOG_PAGES_MAX);
    let told = Arc::new(Told::default());
    drop(shop.writer.checkpointer(Arc::clone(&told) as Arc<dyn LogWatch>).unwrap());
    for _ in 0..100 {
        shop.sell(shop.sale, ORDERS_A_BATCH).unwrap();
        assert!(shop.log_bytes() <= LOG_BYTES_MAX, "{}", shop.log_bytes());
    }
    let told = [&told.by_writer, &told.beside].map(|count| count.load(Ordering::SeqCst));
    assert!(told[0] > 0 && told[1] == 0, "{told:?}");
}

#[test]
fn o2_a_reader_that_holds_the_log_has_batches_wait_and_not_the_log_grow() {
    let mut shop = Shop::open(LOG_PAGES_MAX);
    let checkpointer = shop.writer.checkpointer(Arc::new(())).unwrap();
    let thread = std::thread::spawn(move || checkpointer.run());
    shop.sell(shop.sale, ORDERS_A_BATCH).unwrap();
    let backup = Connection::open(shop.folder.path().join("orders.sqlite")).unwrap();
    let snapshot = backup.unchecked_transaction().unwrap();
    let count = |of: &Connection| of.query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, u64>(0));
    assert_eq!(count(&snapshot), Ok(ORDERS_A_BATCH));
    let refused = loop {
        match shop.sell(shop.sale, ORDERS_A_BATCH) {
            Ok(()) => assert!(shop.log_bytes() <= LOG_BYTES_MAX, "{}", shop.log_bytes()),
            Err(error) => break error,
        }
    };
    assert!(refused.is_transient(), "{refused}");
    assert_eq!(refused.code, Some("order-store-log-full"), "{refused}");
    assert!(refused.message.contains("sqlite.wal_pages_max = 400"), "{refused}");
    assert!(shop.sell(shop.sale, ORDERS_A_BATCH).is_err(), "it waits as long as the reader reads");
    assert!(shop.log_bytes() <= LOG_BYTES_MAX, "{}", shop.log_bytes());
    assert_eq!(count(&snapshot), Ok(ORDERS_A_BATCH), "who reads sees what was when it began");
    assert!(shop.reader.log_figures().unwrap().times_full >= 2);
    drop(snapshot);
    drop(backup);
    until("the log begins anew", || shop.sell(shop.sale, ORDERS_A_BATCH).is_ok());
    for _ in 0..50 {
        shop.sell(shop.sale, ORDERS_A_BATCH).unwrap();
        assert!(shop.log_bytes() <= LOG_BYTES_MAX, "{}", shop.log_bytes());
    }
    let audit = shop.reader.audit(shop.sale).unwrap().unwrap();
    assert!(audit.conserved(0) && audit.held == shop.last, "{audit:?}");
    drop(shop);
    thread.join().unwrap().unwrap();
}

#[test]
fn o2_a_log_that_lost_its_tail_has_all_before_it() {
    let mut shop = Shop::open(16_384);
    shop.sell(shop.sale, ORDERS_A_BATCH).unwrap();
    let stranger = Connection::open(shop.folder.path().join("orders.sqlite")).unwrap();
    stranger.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    drop(stranger);
    // What is folded is safe. After each batch there are so many orders.
    let mut ends = vec![shop.last];
    for _ in 0..3 {
        shop.sell(shop.sale, 50).unwrap();
        ends.push(shop.last);
    }
    let whole = shop.log_bytes();
    for lost in [0, 1, 4_000, 9_000, whole / 2, whole] {
        let copy = TempDir::new().unwrap();
        std::fs::copy(shop.folder.path().join("orders.sqlite"), copy.path().join("orders.sqlite")).unwrap();
        let log = std::fs::read(shop.folder.path().join("orders.sqlite-wal")).unwrap();
        std::fs::write(copy.path().join("orders.sqlite-wal"), &log[..(whole - lost) as usize]).unwrap();
        let (_writer, reader) = open_store(copy.path(), &SqliteSettings::default());
        let (audit, orders) =
            (reader.audit(shop.sale).unwrap().unwrap(), reader.orders_after(None, None, 10_000));
        let kept = orders.unwrap().len() as u64;
        assert!(audit.conserved(0) && audit.held == kept, "{lost}: {audit:?}");
        assert!(ends.contains(&kept), "{lost}: {kept} is no end of a batch in {ends:?}");
        if lost == 0 {
            assert_eq!(kept, shop.last);
        }
    }
}

/// Orders that take several pages of a count, and several pieces of a search.
const MANY: u64 = 20_000;

/// Has the selling end, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn o2_an_audit_beside_a_running_sale_is_of_one_moment() {
    let mut shop = Shop::open(16_384);
    while shop.last < MANY {
        shop.sell(shop.sale, ORDERS_A_BATCH).unwrap();
    }
    let sale = shop.sale;
    let reader = Arc::new(shop.reader);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (writer, is_over) = (&mut shop.writer, &is_over);
        let ending = Ending(is_over);
        let selling = scope.spawn(move || {
            let (mut next, mut round) = (MANY + 1, 0u64);
            while !is_over.load(Ordering::SeqCst) {
                let placed = (next..next + 20).map(|number| order(sale, number)).collect();
                next += 20;
                let step = |number: u64, action| {
                    Transition::plain(OrderId::from_number(number).unwrap(), action, EpochMs(11))
                };
                // Spread over what was sold: most of them are counted already when they are paid or given up.
                let touched: Vec<u64> = (0..20).map(|n| 1 + (round * 977 + n * 991) % MANY).collect();
                let mut transitions = Vec::new();
                for number in touched {
                    if number % 3 == 0 {
                        transitions.push(step(number, OrderAction::Cancel));
                    } else {
                        transitions.push(step(number, OrderAction::BeginPayment));
                        let paid = step(number, OrderAction::ConfirmPayment);
                        transitions.push(Transition { payment_attempt: Some(1), ..paid });
                    }
                }
                round += 1;
                writer.commit(&Batch { placed, transitions, ..Batch::default() }).unwrap();
            }
            round
        });
        let mut seen = (0, 0);
        until("it was counted while much happened", || {
            let audit = reader.audit(sale).unwrap().unwrap();
            assert!(audit.conserved(0), "{audit:?}");
            assert_eq!(audit.sold(), u64::from(audit.sold_by_guard), "{audit:?}");
            assert_eq!(audit.buyers_over_limit, 0, "{audit:?}");
            seen = (seen.0 + 1, audit.paid);
            (seen.0 >= 20 && seen.1 > 500) || selling.is_finished()
        });
        drop(ending);
        assert!(selling.join().unwrap() > 0);
        assert!(seen.1 > 0, "{seen:?}");
    });
}

#[test]
fn o7_a_search_finds_what_is_far_apart_and_reads_of_a_sale_that_sales_orders_only() {
    let mut shop = Shop::open(16_384);
    let rare = make_sale(&mut shop.writer, "rare");
    shop.sell(rare, 1).unwrap();
    while shop.last < MANY {
        shop.sell(shop.sale, ORDERS_A_BATCH).unwrap();
    }
    shop.sell(rare, 2).unwrap();
    let through = OrderId::from_number(shop.last).unwrap();
    let found = |filter: &OrderFilter, limit| {
        let found = shop.reader.complete_orders(filter, None, limit, through).unwrap();
        found.orders.iter().map(|order| order.placed.id.number()).collect::<Vec<_>>()
    };
    let last = shop.last;
    let of_rare = OrderFilter { sale: Some(rare), ..OrderFilter::default() };
    assert_eq!(found(&of_rare, 9), [1, last - 1, last]);
    assert_eq!(found(&of_rare, 2), [1, last - 1]);
    for number in [1, MANY / 2, last] {
        let of_buyer = OrderFilter { buyer: Some(format!("buyer-{number}")), ..OrderFilter::default() };
        assert_eq!(found(&of_buyer, 9), [number]);
    }
    assert_eq!(found(&OrderFilter::default(), 3), [1, 2, 3]);
    let audit = shop.reader.audit(rare).unwrap().unwrap();
    assert_eq!((audit.held, audit.durable_orders, audit.total), (3, 3, 10_000_000 as Units));
    assert!(shop.reader.audit(SaleId(99)).unwrap().is_none());
    // How the database finds them: by an index that has the sale first.
    let plain = Connection::open(shop.folder.path().join("orders.sqlite")).unwrap();
    let plan: String = plain
        .query_row(
            "EXPLAIN QUERY PLAN SELECT order_id, status, quantity, buyer FROM orders WHERE sale_id = 2 \
             AND order_id > -1 ORDER BY order_id LIMIT 9",
            [],
            |row| row.get(3),
        )
        .unwrap();
    assert!(plan.contains("orders_by_sale") && plan.contains("sale_id=?"), "{plan}");
}

#[test]
fn orders_of_a_quiet_tenant_are_found_at_once_however_many_others_lie_between() {
    let mut shop = Shop::open(16_384);
    let [rare, _empty] = ["rare", "empty"].map(|sku| make_sale_of(&mut shop.writer, "quiet", sku));
    shop.sell(rare, 1).unwrap();
    while shop.last < MANY {
        shop.sell(shop.sale, ORDERS_A_BATCH).unwrap();
    }
    shop.sell(rare, 2).unwrap();
    let (last, everything) = (shop.last, OrderId::from_number(u64::MAX >> 1).unwrap());
    let of_sales = |sku: Option<&str>| {
        let (tenant, campaign, sku) = ("quiet".to_owned(), Some("c".to_owned()), sku.map(str::to_owned));
        OrderFilter { sales: Some(TenantSales { tenant, campaign, sku }), ..OrderFilter::default() }
    };
    let found = |filter: &OrderFilter, after: Option<u64>, limit| {
        let after = after.and_then(OrderId::from_number);
        let found = shop.reader.complete_orders(filter, after, limit, everything).unwrap();
        let numbers: Vec<u64> = found.orders.iter().map(|order| order.placed.id.number()).collect();
        (numbers, found.looked_through)
    };
    // One search goes over all that lies between: looking at it would take more.
    assert_eq!(found(&of_sales(None), None, 9), (vec![1, last - 1, last], everything));
    assert_eq!(found(&of_sales(Some("rare")), Some(1), 9), (vec![last - 1, last], everything));
    let second = OrderId::from_number(last - 1).unwrap();
    assert_eq!(found(&of_sales(None), None, 2), (vec![1, last - 1], second));
    assert_eq!(found(&of_sales(Some("empty")), None, 9), (vec![], everything));
    let buyer = OrderFilter { buyer: Some(format!("buyer-{last}")), ..of_sales(None) };
    assert_eq!(found(&buyer, None, 9), (vec![last], everything));
}

#[test]
fn a_search_says_how_far_it_has_come_and_goes_on_from_there() {
    let mut shop = Shop::open(16_384);
    let rare = make_sale_of(&mut shop.writer, "quiet", "rare");
    let mut own = Vec::new();
    // Each in a piece of its own, and more of them than one search looks at.
    while own.len() < 20 {
        shop.sell(rare, 1).unwrap();
        own.push(shop.last);
        shop.sell(shop.sale, 600).unwrap();
    }
    let sales = TenantSales { tenant: "quiet".into(), campaign: None, sku: None };
    let filter = OrderFilter { sales: Some(sales), ..OrderFilter::default() };
    let through = OrderId::from_number(shop.last).unwrap();
    let (mut found, mut after, mut searches) = (Vec::new(), None, 0);
    while after < Some(through) {
        let next = shop.reader.complete_orders(&filter, after, 100, through).unwrap();
        assert!(Some(next.looked_through) > after, "{next:?}");
        found.extend(next.orders.iter().map(|order| order.placed.id.number()));
        (after, searches) = (Some(next.looked_through), searches + 1);
    }
    assert_eq!(found, own);
    assert!(searches > 1, "each of them is short");
}
