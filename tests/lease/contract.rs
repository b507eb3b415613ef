//! What every ledger does for the rest of the engine, whoever holds the stock: one suite, on an engine that sells alone and on
//! one that is lent its stock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seckill::admission::{Admission, LiveSale, OrderIds};
use seckill::domain::{NodeId, OrderAction, Sale, SaleEdit, SaleLimits, StockEdit};
use seckill::ledger::{EmbeddedLedger, Ledger, SharedLedger};
use seckill::orders::sqlite::{self, SqliteSettings};
use seckill::orders::{
    Applied, ChangeReceipt, LeaseStore, OrderDesk, Pipeline, PipelineParts, SaleChange, Transition,
    WriterSettings,
};
use testbed::PATIENCE;

use crate::node::{Node, SALE, click, sale_key, terms};
use crate::server::RedisServer;
use crate::store::MemoryStore;

const TOTAL: u32 = 10;

/// A ledger with one sale of [`TOTAL`] units, and what is behind it.
trait Fixture {
    fn ledger(&self) -> &dyn Ledger;
    fn admission(&self) -> &Admission;
    /// The store has another total.
    async fn resize(&self, total: u32);
    /// A unit that was sold comes back.
    async fn give_back(&self);
}

/// An engine that sells alone, with its writer.
struct Alone {
    admission: Arc<Admission>,
    desk: OrderDesk,
    ledger: EmbeddedLedger,
    writer: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Alone {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, reader) = sqlite::open(folder.path(), &SqliteSettings::default()).unwrap();
        let ids = OrderIds::after(NodeId::new(0).unwrap(), None);
        let settings = WriterSettings::default();
        let Pipeline { admission, desk, mut writers } =
            Pipeline::new(PipelineParts::new(vec![Box::new(store)], Arc::new(reader), ids, settings));
        let writer = writers.remove(0);
        let writer = std::thread::spawn(move || writer.run().unwrap());
        let ledger = EmbeddedLedger::new(desk.clone(), 2);
        Self { admission, desk, ledger, writer: Some(writer), _folder: folder }
    }
}

impl Fixture for Alone {
    fn ledger(&self) -> &dyn Ledger {
        &self.ledger
    }

    fn admission(&self) -> &Admission {
        &self.admission
    }

    async fn resize(&self, total: u32) {
        let edit = SaleEdit { stock: Some(StockEdit::To(total)), ..SaleEdit::default() };
        let now = self.desk.audit(SALE).await.unwrap().unwrap().total;
        let withdrawn = now.saturating_sub(total);
        let limits = SaleLimits::default();
        let change = SaleChange { sale: SALE, edit, limits, if_version: None, withdrawn, act: None };
        let receipt = self.desk.change_sale(change).await.unwrap();
        assert!(matches!(receipt, ChangeReceipt::Changed { .. }), "{receipt:?}");
    }

    async fn give_back(&self) {
        let orders = self.desk.orders_after(Some(SALE), None, 1).await.unwrap();
        let now = self.desk.clock().calendar();
        let cancel = Transition::plain(orders[0].placed.id, OrderAction::Cancel, now);
        let applied = self.desk.apply(cancel).await.unwrap();
        assert!(matches!(applied, Applied::Done(_)), "{applied:?}");
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let stopped = self.desk.stop(PATIENCE);
        let joined = self.writer.take().is_none_or(|writer| writer.join().is_ok());
        assert!(stopped && joined || std::thread::panicking(), "the writer did not stop");
    }
}

/// An engine that is lent its stock through a real Redis.
struct Lent {
    _redis: RedisServer,
    store: Arc<MemoryStore>,
    node: Node,
    ledger: SharedLedger,
}

impl Lent {
    fn start() -> Self {
        let redis = RedisServer::start();
        let store = Arc::new(MemoryStore::new(TOTAL.into()));
        let node = Node::start(0, &store, &redis.url());
        let ledger = SharedLedger::new(
            Arc::clone(&node.books),
            Arc::clone(&node.store) as Arc<dyn LeaseStore>,
            node.handle.clone(),
            Arc::default(),
            2,
            Duration::from_secs(1),
        );
        Self { _redis: redis, store, node, ledger }
    }
}

impl Fixture for Lent {
    fn ledger(&self) -> &dyn Ledger {
        &self.ledger
    }

    fn admission(&self) -> &Admission {
        &self.node.admission
    }

    async fn resize(&self, total: u32) {
        self.store.resize(total.into());
    }

    async fn give_back(&self) {
        self.store.expire(1);
    }
}

struct Suite<F>(F);

impl<F: Fixture> Suite<F> {
    fn sale(&self) -> Arc<LiveSale> {
        self.0.admission().board().sales().by_id(SALE).cloned().unwrap()
    }

    async fn sold(&self) -> u64 {
        self.0.ledger().audit(&self.sale()).await.unwrap().unwrap().orders.sold()
    }

    /// As many new buyers buy as are missing until so many units are sold.
    async fn sell_until(&self, sold: u64) {
        let give_up = Instant::now() + PATIENCE;
        let mut missing = sold - self.sold().await;
        while self.sold().await != sold {
            assert!(Instant::now() < give_up, "{} of {sold} are sold", self.sold().await);
            if missing > 0 && click(self.0.admission()).is_ok() {
                missing -= 1;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Nobody buys any more, whoever clicks.
    async fn sells_nothing(&self) {
        for _ in 0..20 {
            assert!(click(self.0.admission()).is_err(), "a unit is on sale that should not be");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The books agree, once what is on its way has arrived.
    async fn books_agree(&self) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let audit = self.0.ledger().audit(&self.sale()).await.unwrap().unwrap();
            let books = self.0.ledger().books(&self.sale()).await.unwrap().unwrap();
            if audit.conserved && books.drift.is_some_and(|drift| drift.is_none()) {
                return;
            }
            assert!(Instant::now() < give_up, "{books:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn run(&self) {
        let ledger = self.0.ledger();
        let answers = ledger.answers().await;
        assert!(!matches!(answers, Some(Err(_))), "{answers:?}");
        assert_eq!(ledger.commands().is_some(), answers.is_some(), "who lends is sent commands");
        assert_eq!(self.sold().await, 0);
        let first = ledger.withdraw(&self.sale(), 4).await.expect("four of ten are unsold");
        self.sell_until(6).await;
        self.sells_nothing().await;
        assert!(ledger.withdraw(&self.sale(), 1).await.is_none(), "the last four are being withdrawn");

        drop(first);
        self.sell_until(7).await;
        let second = ledger.withdraw(&self.sale(), 2).await.expect("three are unsold");
        self.0.resize(8).await;
        second.give_up();
        self.sell_until(8).await;
        self.sells_nothing().await;
        self.books_agree().await;

        self.0.resize(9).await;
        ledger.grow(&self.sale(), 1);
        self.sell_until(9).await;
        assert!(ledger.withdraw(&self.sale(), 1).await.is_none(), "all are sold");
        self.books_agree().await;

        self.0.give_back().await;
        self.sell_until(9).await;
        self.sells_nothing().await;
        self.books_agree().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_on_an_engine_that_sells_alone() {
    let alone = Alone::start();
    let made = alone.desk.create_sale(sale_key(), terms(), TOTAL, None).await.unwrap();
    let sale: Sale = made.expect("there is none of that name");
    assert_eq!(sale.id, SALE);
    alone.ledger.open(alone.admission.board(), sale);
    Suite(alone).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_on_an_engine_that_is_lent_its_stock() {
    let lent = Lent::start();
    // The sale was on the board before, as one that another node made: opening it again changes nothing.
    let sale = Sale {
        id: SALE,
        key: sale_key(),
        terms: terms(),
        total: TOTAL,
        sold: 0,
        version: 1,
        archived_at: None,
    };
    lent.ledger.open(lent.node.admission.board(), sale);
    Suite(lent).run().await;
}
