//! What orders of the past cost: a start that has many archived or many open orders behind it, a pause of a sale that many
//! wait to pay for, look-ups beside many other sales.
//!
//! The long form, `cargo xtask history`, is on the release binary, and tells what it measured in `table.md` of the folder
//! `SECKILL_HISTORY_FOLDER`: `SECKILL_HISTORY_ARCHIVED` orders are archived, `SECKILL_HISTORY_OPEN` open, and there are
//! `SECKILL_HISTORY_SALES` sales. With `SECKILL_HISTORY_KEEP` the data stays in that folder.

mod fill;
mod measure;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testbed::asked;
use testbed::client::Client;
use testbed::crowd::BuyerClient;
use testbed::engine::{Engine, Launch};

use fill::{Holding, Orders, RUNNING, UNSOLD, beside, fill};
use measure::{Start, Times, start};

const REASON: &str = r#"{"reason":"a look at it"}"#;
/// Engines take turns so often.
const ROUNDS: u32 = 5;
const MS: Duration = Duration::from_millis(1);
const US: Duration = Duration::from_micros(1);

/// How much there is, and how often it is asked for.
#[derive(Clone, Copy, Debug)]
struct Extent {
    archived: u32,
    archived_sales: u32,
    open: u32,
    /// Sales beside each other.
    sales: u32,
    /// Orders that are looked up.
    owned: u32,
    /// Pauses, each with its end.
    pauses: u32,
    /// Look-ups of a turn.
    looks: u32,
}

const SHORT: Extent =
    Extent { archived: 900, archived_sales: 3, open: 600, sales: 30, owned: 100, pauses: 5, looks: 40 };
/// But for what the long form is told.
const LONG: Extent = Extent { archived_sales: 100, owned: 10_000, pauses: 200, looks: 4_000, ..SHORT };

#[test]
fn orders_of_the_past_are_found_after_a_start_and_hold_up_nothing() {
    let long: Option<PathBuf> = asked("SECKILL_HISTORY_FOLDER");
    let usual = if long.is_some() { LONG } else { SHORT };
    let extent = Extent {
        archived: asked("SECKILL_HISTORY_ARCHIVED").unwrap_or(usual.archived),
        open: asked("SECKILL_HISTORY_OPEN").unwrap_or(usual.open),
        sales: asked("SECKILL_HISTORY_SALES").unwrap_or(usual.sales),
        ..usual
    };
    let own = tempfile::tempdir().expect("a folder");
    let folder = long.unwrap_or_else(|| own.path().to_owned());
    let archived = behind_archived_orders(&folder, &extent);
    let (open, acts) = behind_open_orders(&folder, &extent);
    let (starts, looks) = beside_other_sales(&folder, &extent);
    let table = table(&extent, &[&archived, &open, &starts[0], &starts[1]], &acts, &looks);
    fs::write(folder.join("table.md"), table).expect("the table");
}

/// An engine on an empty folder of this name, which goes with it unless it is to be kept.
fn launch(within: &Path, name: &str, keys: &[(&str, &str)]) -> Launch {
    let stays = asked("SECKILL_HISTORY_KEEP").unwrap_or(false);
    let folder =
        tempfile::Builder::new().prefix(name).rand_bytes(0).disable_cleanup(stays).tempdir_in(within);
    Launch::new(keys).on(folder.expect("it is not there yet")).with_addresses_of_its_own()
}

/// The buyer of an order finds it, and that it is so.
fn finds(engine: &Engine, orders: &Orders, number: u32, status: &str) {
    let path = format!("/orders/{}", orders.id(number));
    let found = engine.ask("GET", &path, &orders.buyer(number), "", "");
    assert_eq!((found.status, found.member("status").as_str()), (200, status), "{}", found.body);
    assert_eq!(found.member("sku"), orders.sku);
}

fn behind_archived_orders(folder: &Path, extent: &Extent) -> Start {
    let launch = launch(folder, "archived", &[]);
    let Extent { archived, archived_sales, .. } = *extent;
    let filled = fill(launch.folder(), &Holding { archived, archived_sales, ..Holding::default() });
    let (engine, start) = start(&launch, RUNNING);
    for orders in filled.archived.iter().take(3) {
        for number in [0, orders.count / 2, orders.count - 1] {
            finds(&engine, orders, number, if Orders::is_cancelled(number) { "cancelled" } else { "paid" });
        }
        let audit = engine.audit(&orders.sku);
        let counted = [audit.total, audit.paid, audit.held, audit.durable_orders];
        let count = u64::from(orders.count);
        assert_eq!(counted, [count, orders.paid().into(), 0, count], "{audit:?}");
        assert_eq!(engine.orders(&orders.sku, "").len(), orders.count as usize);
    }
    assert_eq!(engine.orders(RUNNING, "").len(), 1, "the first purchase");
    start
}

fn behind_open_orders(folder: &Path, extent: &Extent) -> (Start, [Times; 2]) {
    let launch = launch(folder, "open", &[]);
    let filled = fill(launch.folder(), &Holding { open: extent.open, beside: 1, ..Holding::default() });
    let (engine, start) = start(&launch, &beside(0));
    let open = &filled.open;
    for number in [0, open.count / 2, open.count - 1] {
        finds(&engine, open, number, "pre_pay");
    }
    let (mut admin, mut buyers) = (Client::connect(engine.admin_addr()), BuyerClient::at(engine.edge()));
    let [mut pauses, mut resumes] = [Times::none(), Times::none()];
    for number in 0..extent.pauses {
        let mut buy = || buyers.buy(RUNNING, &format!("late-{number}"), 1, None).expect("an answer");
        act(&mut admin, "pause", &mut pauses);
        // From the answer on, whatever is under way.
        let refused = buy();
        assert_eq!((refused.status, refused.code.as_str()), (409, "sale-paused"), "{refused:?}");
        act(&mut admin, "resume", &mut resumes);
        let won = buy();
        assert_eq!(won.status, 201, "{won:?}");
    }
    let audit = engine.audit(RUNNING);
    let held = u64::from(open.count + extent.pauses);
    assert_eq!((audit.held, audit.paid, audit.durable_orders), (held, 0, held), "{audit:?}");
    assert_eq!(audit.available, u64::from(UNSOLD - extent.pauses));
    // The last that were filled in, and those that were bought since.
    let last = open.count.min(100);
    let exported = engine.orders(RUNNING, &open.id(open.count - last).to_string());
    assert_eq!(exported.len() as u32, last - 1 + extent.pauses);
    (start, [pauses, resumes])
}

/// What an operator does to the sale with open orders.
fn act(admin: &mut Client, what: &str, times: &mut Times) {
    let request = format!(
        "POST /api/v1/campaigns/test/{RUNNING}/{what} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{REASON}",
        REASON.len()
    );
    let answer = times.ask(admin, &request);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// One sale with orders that are looked up, and one like it beside others, each in an engine of its own.
fn beside_other_sales(folder: &Path, extent: &Extent) -> ([Start; 2], [Times; 2]) {
    let shops = [("one-sale", 0), ("many-sales", extent.sales - 1)].map(|(name, beside)| {
        // A buyer looks twice.
        let launch = launch(folder, name, &[("ADMISSION__LOOKUP_RATE_PER_S", "0")]);
        let filled = fill(launch.folder(), &Holding { open: extent.owned, beside, ..Holding::default() });
        let (engine, start) = start(&launch, RUNNING);
        (engine, filled.open, start)
    });
    let mut clients = shops.each_ref().map(|(engine, ..)| Client::connect(engine.edge()));
    let mut looks = [Times::none(), Times::none()];
    for round in 0..ROUNDS {
        for turn in 0..2 {
            let place = (round as usize + turn) % 2;
            let orders = &shops[place].1;
            for look in 0..extent.looks {
                let number = (round * extent.looks + look) % orders.count;
                let request = format!(
                    "GET /orders/{} HTTP/1.1\r\nHost: h\r\nX-User-ID: {}\r\n\r\n",
                    orders.id(number),
                    orders.buyer(number)
                );
                let answer = looks[place].ask(&mut clients[place], &request);
                assert_eq!(answer.status, 200, "{}", answer.body);
            }
        }
    }
    let last = beside(extent.sales - 2);
    assert_eq!(shops[1].0.sale_state(&last)["state"], "open", "the others sell");
    (shops.map(|(.., start)| start), looks)
}

/// What was measured, as Markdown.
fn table(extent: &Extent, starts: &[&Start; 4], acts: &[Times; 2], looks: &[Times; 2]) -> String {
    let Extent { archived, archived_sales, open, sales, owned, .. } = extent;
    let others = sales - 1;
    let starts: String = [
        (
            format!("{archived} archived orders of {archived_sales} sales"),
            "ready < 2,000; memory < 95 (100 MB)",
        ),
        (format!("{open} open orders of one sale"), "ready < 2,000"),
        (format!("{owned} open orders of one sale"), ""),
        (format!("the same, and {others} other sales"), ""),
    ]
    .iter()
    .zip(starts)
    .map(|((holds, wanted), start)| format!("| {holds} | {} | {wanted} |\n", start.cells()))
    .collect();
    let [pauses, resumes] = acts.each_ref().map(|times| times.cells(MS));
    let [alone, beside] = looks.each_ref().map(|times| times.cells(US));
    format!(
        "### What orders of the past cost\n\n\
         | the store holds | {start_head} | wanted |\n|---|{start_rule}|---|\n{starts}\n\
         From the start of the process, which finds its file in the page cache.\n\n\
         | an act on a sale with {open} open orders, ms | {times_head} | wanted |\n|---|{times_rule}|---|\n\
         | pause | {pauses} | < 5 |\n| resume | {resumes} | |\n\n\
         As who asks for it hears of it. From the answer on the first purchase was refused, each time.\n\n\
         | look-ups of own orders, µs | {times_head} | wanted |\n|---|{times_rule}|---|\n\
         | of one sale | {alone} | |\n| of one sale beside {others} others | {beside} | as of one |\n\n\
         One after the other on a connection that stays; the engines took turns in {ROUNDS} rounds.\n",
        start_head = Start::HEAD,
        start_rule = Start::RULE,
        times_head = Times::HEAD,
        times_rule = Times::RULE,
    )
}
