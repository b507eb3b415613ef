//! What selling leaves behind in PostgreSQL: versions of rows that were updated, and rows of sales that were archived.
//!
//! A round sells of one sale that goes on and of two that end with it. Half of the orders are paid, the others expire. While the
//! next round sells, the sales of the one before are archived: their orders are deleted from the hot tables and written into
//! `archived_orders`, 256 in a transaction, and autovacuum frees their places for the orders of later sales.
//!
//! The short form sells too little for a table to grow. It shows what keeps tables of few rows small: no engine keeps a
//! transaction open, and an update of such a row finds room where the row is.
//!
//! The long form, `cargo xtask bloat`, has `SECKILL_BLOAT_MINUTES` rounds of a minute with `SECKILL_BLOAT_ORDERS_PER_S` orders a
//! second, and tells after each what the tables are like.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use testbed::asked;
use testbed::crowd::{BuyerClient, crowd};
use testbed::engine::{Engine, each_order};

use super::bloat_figures::{Sample, dead_before_autovacuum, table, tables};
use super::fixture::{Fixture, known_to_all, until};
use super::idle::CALM;
use super::retirement::{act, nothing_is_left_of};

/// The sale that goes on.
const LASTING: &str = "lasting";
/// Tables of few rows, of which each commit, or each look for events, updates one: no index names what they update, and half of
/// each page is kept free for it.
const HOT_ROWS: [&str; 3] = ["shares", "writers", "event_log"];
/// Each one's size at the end of the long form, in bytes. It is a page or two; were nothing cleared away, each commit would add
/// some 75 bytes.
const HOT_ROWS_BYTES_MAX: u64 = 10 * 1_024 * 1_024;
/// Updates of such a table in a row. The versions that they leave behind would fill four pages if nothing cleared them away: 227 of
/// the smallest rows fit on one.
const UPDATES: u32 = 1_000;
/// Tables whose rows come and go.
const CHANGING: [&str; 3] = ["orders", "buyers", "unplaced_events"];

/// How much is sold.
#[derive(Clone, Copy, Debug)]
struct Extent {
    rounds: u32,
    /// Orders of a round, of all its sales.
    orders: u32,
    /// As fast as can be where nothing is said.
    orders_per_s: Option<u32>,
    pay_within_s: u32,
    /// Threads, each of which is one buyer after the other.
    buyers: usize,
}

const SHORT: Extent = Extent { rounds: 2, orders: 120, orders_per_s: None, pay_within_s: 2, buyers: 8 };

impl Extent {
    fn long(minutes: u32, orders_per_s: u32) -> Self {
        Self {
            rounds: minutes,
            orders: 60 * orders_per_s,
            orders_per_s: Some(orders_per_s),
            pay_within_s: 20,
            // A payment takes some 0.1 s, and every second order is paid.
            buyers: (orders_per_s as usize / 4).clamp(16, 512),
        }
    }
}

/// What a buyer was told.
struct Told {
    /// The place of the sale in its round.
    sale: usize,
    order: String,
    /// Whether he was told that it is paid; he has not tried to pay it otherwise.
    is_paid: bool,
}

/// The sales of a round.
struct Round {
    number: u32,
    skus: [String; 3],
}

impl Round {
    /// Makes those that end with it.
    fn open(number: u32, extent: &Extent, engines: [&Engine; 2]) -> Self {
        let skus = [LASTING.to_owned(), format!("first-of-{number}"), format!("second-of-{number}")];
        for sku in &skus[1..] {
            // So many that no node runs short of them before the last order.
            engines[0].sale(sku, 2 * extent.orders, &terms(extent));
        }
        skus.iter().for_each(|sku| known_to_all(&engines, sku));
        Self { number, skus }
    }

    /// Sells all orders of the round. What the buyers were told, and how long it took.
    fn sell(&self, extent: &Extent, engines: [&Engine; 2]) -> (Vec<Told>, Duration) {
        let began = Instant::now();
        let jobs: Vec<u32> = (0..extent.orders).collect();
        let open = || engines.map(|engine| BuyerClient::at(engine.edge()));
        let told = crowd(extent.buyers, open, &jobs, |clients, &job| {
            if let Some(orders_per_s) = extent.orders_per_s {
                let due = began + Duration::from_secs_f64(f64::from(job) / f64::from(orders_per_s));
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            self.buy(clients, job as usize)
        });
        (told, began.elapsed())
    }

    /// One buyer, who buys at one node and, if he pays, pays at the other.
    fn buy(&self, clients: &mut [BuyerClient; 2], job: usize) -> Told {
        // All six of a sale and a node, those who pay, and all six again.
        let (sale, node, is_paid) = (job % 3, job % 2, job % 12 < 6);
        let buyer = format!("buyer-{}-{job}", self.number);
        let mut order = String::new();
        until("the buyer has an order, and has paid it if he pays", || {
            let Some(answer) = clients[node].buy(&self.skus[sale], &buyer, 1, None) else { return false };
            match (answer.status, answer.code.as_str()) {
                (201, _) | (409, "already-purchased") => order = answer.order_id,
                // Units are on their way to this node, or it is not known yet what became of the order.
                (202 | 503, _) => return false,
                _ => panic!("{answer:?}"),
            }
            // On a busy machine the order may have expired by now: then he buys another one.
            !is_paid || clients[1 - node].pay(&buyer, &order).is_some_and(|answer| answer.status == 200)
        });
        Told { sale, order, is_paid }
    }

    /// Ends and archives those of its sales that end with it.
    fn archive(&self, told: &[Told], extent: &Extent, fixture: &Fixture, engines: [&Engine; 2]) {
        for sku in &self.skus[1..] {
            assert_eq!(act(engines[0], sku, "end").status, 200);
        }
        for (sale, sku) in self.skus.iter().enumerate().skip(1) {
            until_nothing_is_open(engines[1], sku, extent);
            until("it is archived", || {
                let answer = act(engines[1], sku, "archive");
                answer.status == 200 || answer.member("code") == "campaign-archived"
            });
            nothing_is_left_of(fixture, sku);
            let held = format!(
                "SELECT count(*) FROM seckill.buyers JOIN seckill.sales USING (sale_id) WHERE sku = '{sku}'"
            );
            assert_eq!(fixture.query(&held), "0");
            nothing_is_lost(engines[1], sku, told.iter().filter(|told| told.sale == sale));
        }
    }
}

/// The terms of every sale.
fn terms(extent: &Extent) -> String {
    format!(r#","pay_within_s":{}"#, extent.pay_within_s)
}

/// Waits until the orders of a sale are paid or have expired, and asks seldom: who counts reads all orders of the sale.
fn until_nothing_is_open(engine: &Engine, sku: &str, extent: &Extent) {
    let rest = Duration::from_secs(extent.pay_within_s.into()) / 10;
    until("nothing of it is open", || {
        std::thread::sleep(rest);
        engine.audit(sku).held == 0
    });
}

/// Each order is there, paid if its buyer was told so and expired otherwise; half of the buyers have paid, and no unit is in another
/// order.
fn nothing_is_lost<'a>(engine: &Engine, sku: &str, told: impl Iterator<Item = &'a Told>) {
    let mut statuses: HashMap<String, String> = HashMap::new();
    each_order(engine.admin_addr(), sku, "", |order| {
        let word = |name: &str| order[name].as_str().expect("a word").to_owned();
        statuses.insert(word("order_id"), word("status"));
    });
    let mut buyers = 0;
    for Told { order, is_paid, .. } in told {
        buyers += 1;
        match (statuses.get(order).map(String::as_str), is_paid) {
            (Some("paid"), true) | (Some("expired"), false) => {}
            found => panic!("order {order} of {sku}, and whether it was paid: {found:?}"),
        }
    }
    let paid = statuses.values().filter(|status| *status == "paid").count() as u64;
    assert_eq!((buyers > 0, 2 * paid), (true, buyers), "half of the buyers of {sku} pay");
    let audit = engine.audit(sku);
    assert_eq!((audit.paid, audit.held), (paid, 0), "{audit:?}");
}

/// Whatever transaction goes on now comes to its end: while one does, no version that it may see is cleared away.
fn nobody_keeps_what_was(fixture: &Fixture) {
    let now = fixture.query("SELECT clock_timestamp()");
    let older = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start <= '{now}'"
    );
    until("no transaction goes on any more", || fixture.query(&older) == "0");
}

/// An update of a row whose page is full clears away the versions that no transaction sees any more, and finds room on that page.
/// So many updates need no other page, unless a transaction goes on meanwhile (as autovacuum's may): then the next ones.
fn updates_stay_where_the_row_is(fixture: &Fixture) {
    for (name, column) in HOT_ROWS.into_iter().zip(["sold", "last_batch", "last_seq"]) {
        let size = format!("SELECT pg_relation_size('seckill.{name}')");
        // Each in a transaction of its own, and nobody waits for the disk.
        let update = format!(
            "DO $$ BEGIN PERFORM set_config('synchronous_commit', 'off', false); FOR n IN 1..{UPDATES} LOOP \
             UPDATE seckill.{name} SET {column} = {column} WHERE ctid = (SELECT ctid FROM seckill.{name} LIMIT 1); \
             COMMIT; END LOOP; END $$"
        );
        until(&format!("the rows of {name} stay on their pages"), || {
            let before = fixture.query(&size);
            fixture.query(&update);
            fixture.query(&size) == before
        });
    }
}

/// No table has grown out of what vacuum keeps it to. Of the long form: in the short one nothing is vacuumed.
fn stays_small(samples: &[Sample], fixture: &Fixture) {
    let last = samples.last().expect("there is one at the beginning");
    let before = &samples[samples.len().saturating_sub(3)];
    for name in HOT_ROWS {
        let found = table(&last.tables, name);
        assert!(found.heap_bytes < HOT_ROWS_BYTES_MAX, "{found:?}");
    }
    for name in CHANGING {
        let found = table(&last.tables, name);
        // It comes to each database once a minute, and takes its time: what the last two minutes left may be there as well.
        let allowed =
            2 * dead_before_autovacuum(fixture, found.live) + found.left_since(table(&before.tables, name));
        assert!(found.dead <= allowed, "above {allowed} dead rows: {found:?}");
    }
}

#[test]
fn o9_what_selling_leaves_in_postgresql_stays_small_and_archiving_loses_nothing() {
    let minutes: Option<u32> = asked("SECKILL_BLOAT_MINUTES");
    let extent = minutes
        .map_or(SHORT, |minutes| Extent::long(minutes, asked("SECKILL_BLOAT_ORDERS_PER_S").unwrap_or(300)));
    let fixture = Fixture::open();
    let keys = if minutes.is_some() { &CALM[..] } else { &[] };
    let started = [1, 2].map(|number| fixture.launch(number, keys).start());
    let engines = started.each_ref();
    engines[0].sale(LASTING, extent.rounds * extent.orders, &terms(&extent));

    let mut samples = vec![Sample::take(&fixture, &engines)];
    let mut of_lasting = Vec::new();
    let mut former: Option<(Round, Vec<Told>)> = None;
    if minutes.is_some() {
        println!("| minute | orders/s | {}", Sample::HEAD);
    }
    for number in 1..=extent.rounds {
        let round = Round::open(number, &extent, engines);
        let (told, took) = std::thread::scope(|scope| {
            let selling = scope.spawn(|| round.sell(&extent, engines));
            if let Some((former, told)) = former.take() {
                former.archive(&told, &extent, &fixture, engines);
            }
            selling.join().expect("every buyer is served")
        });
        assert_eq!(told.len(), extent.orders as usize);
        let sample = Sample::take(&fixture, &engines);
        let cells = sample.cells(samples.last().expect("there is one at the beginning"));
        if minutes.is_some() {
            let orders_per_s = f64::from(extent.orders) / took.as_secs_f64();
            println!("| {number} | {orders_per_s:.0} | {cells} |");
        }
        samples.push(sample);
        let (lasting, ending): (Vec<Told>, Vec<Told>) = told.into_iter().partition(|told| told.sale == 0);
        of_lasting.extend(lasting);
        former = Some((round, ending));
    }
    let report = samples.last().expect("there is one at the beginning").report(&fixture);
    if minutes.is_some() {
        println!("{report}");
        stays_small(&samples, &fixture);
    }
    let (last, told) = former.expect("there was a round");
    last.archive(&told, &extent, &fixture, engines);
    until_nothing_is_open(engines[1], LASTING, &extent);
    nothing_is_lost(engines[1], LASTING, of_lasting.iter());
    nobody_keeps_what_was(&fixture);

    // Whoever leaves tells the server what he did.
    for engine in started {
        assert!(engine.terminate().0.success());
    }
    let orders = u64::from(extent.rounds * extent.orders);
    let mut found = Vec::new();
    until("the server has counted every order", || {
        found = tables(&fixture);
        table(&found, "orders").inserted >= orders
    });
    assert!(table(&found, "shares").updated > 0, "{found:?}");
    for name in HOT_ROWS {
        let row = table(&found, name);
        assert!(2 * row.updated_hot >= row.updated, "updates of {name} write into indexes: {row:?}");
    }
    updates_stay_where_the_row_is(&fixture);
}
