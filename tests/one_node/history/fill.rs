//! A data folder as an engine leaves it after months of sales: filled by the engine's own store, in minutes.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use seckill::clock::Clock;
use seckill::domain::{
    BuyerId, Cents, Currency, EpochMs, NewOrder, NodeId, OrderAction, OrderId, SaleId, SaleKey, SaleTerms,
    Units,
};
use seckill::orders::sqlite::{self, SqliteSettings, SqliteWriter};
use seckill::orders::{
    Act, ActKind, Actor, Applied, Batch, Ending, Receipt, Retirement, RetirementReceipt, StoreWriter,
    Transition,
};
use serde_json::Value;
use testbed::until;

/// The running sale that has open orders.
pub const RUNNING: &str = "running";
/// Units of a running sale that nobody has bought.
pub const UNSOLD: Units = 1_000;

/// Orders of one transaction: the pages that the store reckons with for all that happens to so many are less than half of its
/// log.
const BATCH: u32 = 2_000;
const NODE: NodeId = NodeId::new(0).expect("0 is a node");
const PRICE: Cents = Cents(1_999);
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Far ahead: a start finds every order open that was not ended here.
const PAY_WITHIN_MS: i64 = 7 * DAY_MS;
/// From an order to what ended it.
const ENDED_AFTER_MS: i64 = 1_000;

/// What a folder is to hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holding {
    /// Orders of archived sales; of three, two are paid and one is cancelled.
    pub archived: u32,
    /// These sales, one a day until yesterday.
    pub archived_sales: u32,
    /// Orders of the sale [`RUNNING`], all of which wait for their payment.
    pub open: u32,
    /// Running sales beside that one, of which nobody has bought; see [`beside`].
    pub beside: u32,
}

/// The orders that a folder holds.
#[derive(Debug)]
pub struct Filled {
    /// Those of each archived sale, the oldest first.
    pub archived: Vec<Orders>,
    /// Those that wait for their payment.
    pub open: Orders,
}

/// The orders of one sale, made one after the other from its beginning on, each of a buyer of its own.
#[derive(Debug)]
pub struct Orders {
    /// The sale.
    pub sku: String,
    /// How many there are.
    pub count: u32,
    sale: SaleId,
    first_tick: u64,
    first_buyer: u64,
}

impl Orders {
    /// The id of one of them, the first being 0.
    pub fn id(&self, number: u32) -> OrderId {
        OrderId::from_tick(self.first_tick + u64::from(number), NODE)
    }

    /// Whose it is: 12 characters.
    pub fn buyer(&self, number: u32) -> String {
        format!("b-{:010}", self.first_buyer + u64::from(number))
    }

    /// Whether it was given up, where all were ended.
    pub fn is_cancelled(number: u32) -> bool {
        number % 3 == 2
    }

    /// How many were paid, where all were ended.
    pub fn paid(&self) -> u32 {
        self.count - self.count / 3
    }

    fn placed(&self, number: u32) -> NewOrder {
        let id = self.id(number);
        NewOrder {
            id,
            sale: self.sale,
            buyer: BuyerId::new(&self.buyer(number)).expect("the name keeps its rule"),
            quantity: 1,
            amount: PRICE,
            created_at: id.made_at(),
            pay_before: id.made_at().plus_ms(PAY_WITHIN_MS),
            idempotency_key: None,
        }
    }

    /// The steps to its end.
    fn ending(&self, number: u32) -> Vec<Transition> {
        let id = self.id(number);
        let step = |action| Transition::plain(id, action, id.made_at().plus_ms(ENDED_AFTER_MS));
        if Self::is_cancelled(number) {
            return vec![step(OrderAction::Cancel)];
        }
        let method = Some("card".to_owned());
        vec![
            Transition { payment_method: method, ..step(OrderAction::BeginPayment) },
            Transition { payment_attempt: Some(1), ..step(OrderAction::ConfirmPayment) },
        ]
    }
}

/// The name of a running sale of which nobody has bought, the first being 0.
pub fn beside(number: u32) -> String {
    format!("beside-{number}")
}

/// Fills an empty folder, and closes it as a clean stop does.
///
/// # Panics
/// The store fails.
pub fn fill(folder: &Path, holding: &Holding) -> Filled {
    let began = Instant::now();
    let (mut writer, reader) = sqlite::open(folder, &SqliteSettings::default()).expect("an empty folder");
    // As in an engine: what is folded beside the writer does not hold it up.
    let checkpointer = writer.checkpointer(Arc::new(())).expect("a connection");
    let folding = std::thread::spawn(move || checkpointer.run());
    let mut filling = Filling { writer, now: Clock::system_calendar(), buyers: 0 };
    let archived: Vec<_> =
        (0..holding.archived_sales).map(|number| filling.archive_sale(number, holding)).collect();
    let open = filling.running_sale(RUNNING, holding.open);
    for number in 0..holding.beside {
        filling.running_sale(&beside(number), 0);
    }
    Box::new(filling.writer).close().expect("nobody reads");
    drop(reader);
    folding.join().expect("nothing panics").expect("it folds to the end");
    wait_until_unlocked(folder);
    let (orders, took) = (holding.archived + holding.open, began.elapsed().as_secs_f64());
    println!("{holding:?}: filled in {took:.1} s, {:.0} orders a second", f64::from(orders) / took);
    Filled { archived, open }
}

/// A process that another test is just starting has a copy of the lock until it becomes the program that it is started for,
/// and an engine that finds it locked does not start.
fn wait_until_unlocked(folder: &Path) {
    let lock = File::options().write(true).open(folder.join("lock")).expect("the store has made it");
    until("nobody has the lock", || lock.try_lock().is_ok());
    // Not left to the end of the file's last copy.
    lock.unlock().expect("it is locked");
}

/// A store that is being filled.
struct Filling {
    writer: SqliteWriter,
    now: EpochMs,
    /// So many buyers have come so far.
    buyers: u64,
}

impl Filling {
    /// A sale that is over, all of whose orders were ended and have moved to the archive.
    fn archive_sale(&mut self, number: u32, holding: &Holding) -> Orders {
        let days_ago = i64::from(holding.archived_sales - number);
        let starts_at = self.now.plus_ms(-days_ago * DAY_MS);
        let ends_at = starts_at.plus_ms(HOUR_MS);
        // Sales of the same size, but for what does not go into them evenly.
        let before =
            |number: u32| u64::from(holding.archived) * u64::from(number) / u64::from(holding.archived_sales);
        let count = (before(number + 1) - before(number)) as u32;
        let orders = self.sale(&format!("past-{number}"), [starts_at, ends_at], count, count);
        self.commit(&orders, |number| orders.ending(number));
        let retirement = Retirement {
            sale: orders.sale,
            ending: Ending::Archive { paid: orders.paid() },
            if_version: None,
            act: archiving(&orders.sku, number, ends_at),
        };
        let receipt = self.writer.retire_sale(&retirement).expect("the store takes it");
        assert!(matches!(receipt, RetirementReceipt::Done(_)), "{receipt:?}");
        while self.writer.move_archived(BATCH as usize).expect("the store moves them") > 0 {}
        orders
    }

    /// A sale that has run for an hour and goes on, all of whose orders wait for their payment.
    fn running_sale(&mut self, sku: &str, count: u32) -> Orders {
        let window = [self.now.plus_ms(-HOUR_MS), self.now.plus_ms(30 * DAY_MS)];
        let orders = self.sale(sku, window, count, count + UNSOLD);
        self.commit(&orders, |_| Vec::new());
        orders
    }

    /// Makes a sale, and says what its orders are to be.
    fn sale(&mut self, sku: &str, [starts_at, ends_at]: [EpochMs; 2], count: u32, total: Units) -> Orders {
        let terms = SaleTerms {
            title: "A sale".into(),
            price: PRICE,
            currency: Currency::USD,
            per_buyer_limit: 1,
            starts_at,
            ends_at,
            pay_within_s: (PAY_WITHIN_MS / 1_000) as u32,
            rate: None,
            paused: false,
            paused_until: None,
            room: None,
        };
        let key = SaleKey::new(SaleKey::DEFAULT_TENANT, "test", sku).expect("the name keeps its rule");
        let sale = self.writer.create_sale(&key, &terms, total, None).expect("the store takes it");
        let first_buyer = self.buyers;
        self.buyers += u64::from(count);
        Orders {
            sku: sku.to_owned(),
            count,
            sale: sale.expect("each has its name").id,
            first_tick: OrderId::tick_at(starts_at),
            first_buyer,
        }
    }

    /// Makes the orders durable, and takes the steps of each, batch by batch.
    fn commit(&mut self, orders: &Orders, steps: impl Fn(u32) -> Vec<Transition>) {
        for first in (0..orders.count).step_by(BATCH as usize) {
            let numbers = first..orders.count.min(first + BATCH);
            let batch = Batch {
                placed: numbers.clone().map(|number| orders.placed(number)).collect(),
                transitions: numbers.flat_map(&steps).collect(),
                ..Batch::default()
            };
            let receipt = self.writer.commit(&batch).expect("the store takes it");
            let is_done = |applied: &Applied| matches!(applied, Applied::Done(_));
            assert!(
                matches!(&receipt, Receipt::Committed { applied, refused }
                    if refused.is_empty() && applied.iter().all(is_done)),
                "{receipt:?}"
            );
        }
    }
}

/// What the trail tells of the end of a sale.
fn archiving(sku: &str, number: u32, at: EpochMs) -> Act {
    let text = str::to_owned;
    let actor =
        Actor { who: text("ann"), role: text("operator"), address: text("127.0.0.1"), request_id: text("r") };
    Act {
        id: i64::from(number),
        at,
        actor,
        tenant: Some(text(SaleKey::DEFAULT_TENANT)),
        kind: ActKind::CampaignArchived,
        object: format!("test/{sku}"),
        from: Value::Null,
        to: Value::Null,
        reason: Some(text("it is over")),
    }
}
