//! `kill -9` at random moments under load, a clean stop, a disk that fills: whatever a client was told before holds
//! after the next start.
//!
//! `SECKILL_CRASH_CYCLES` sets the number of kills (`cargo xtask crash --cycles 1000` is the long form),
//! `SECKILL_CRASH_SEED` the moments.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use testbed::crowd::{BuyerAnswer, BuyerClient};
use testbed::engine::{Engine, Launch};
use testbed::promises::{Log, Word};
use testbed::{asked, until};

pub const CLIENTS: usize = 8;
pub const STOCK: u32 = 50_000_000;

/// Numbers of buyers, so that each buys once.
static NEXT_BUYER: AtomicU64 = AtomicU64::new(0);

/// A client that buys in ever new names, pays for some, gives some up, until the engine is gone.
fn shop_until_the_end(edge: SocketAddr) -> Log {
    let mut client = BuyerClient::at(edge);
    let mut log = Log::default();
    loop {
        let number = NEXT_BUYER.fetch_add(1, Ordering::Relaxed);
        let buyer = format!("buyer-{number}");
        let Some(bought) = client.buy("phone", &buyer, 1, Some(&buyer)) else {
            log.unanswered.push(buyer);
            return log;
        };
        match bought.status {
            201 => {}
            202 | 503 => {
                log.unanswered.push(buyer);
                continue;
            }
            _ => panic!("{buyer} was told {bought:?}"),
        }
        let order_id = bought.order_id;
        log.acknowledged.insert(order_id.clone(), (buyer.clone(), Word::Bought));
        let step: Option<(Option<BuyerAnswer>, Word)> = match number % 4 {
            0 | 1 => Some((client.pay(&buyer, &order_id), Word::Paid)),
            2 => Some((client.cancel(&buyer, &order_id), Word::Cancelled)),
            _ => None,
        };
        match step {
            Some((None, _)) => return log,
            Some((Some(answer), word)) if answer.status == 200 => {
                log.acknowledged.insert(order_id, (buyer, word));
            }
            Some((Some(answer), _)) => {
                assert!(matches!(answer.status, 202 | 503), "{buyer} was told {answer:?}")
            }
            None => {}
        }
    }
}

/// Runs the clients while `meanwhile` ends the engine.
pub fn under_load<T>(edge: SocketAddr, meanwhile: impl FnOnce() -> T) -> (Log, T) {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(move || shop_until_the_end(edge))).collect();
        let done = meanwhile();
        let mut log = Log::default();
        clients.into_iter().for_each(|client| log.merge(client.join().expect("no client panics")));
        (log, done)
    })
}

/// Checks a started engine against what clients were told since `after`, has the unanswered ask again, and returns the
/// last order's number.
pub fn check(engine: &Engine, log: &Log, after: &str) -> String {
    let audit = engine.audit("phone");
    assert_eq!(engine.sale_state("phone")["remaining"], audit.available, "memory has what the store has");
    log.check(&engine.orders("phone", after));
    let mut client = BuyerClient::at(engine.edge());
    let mut repeated = HashMap::new();
    for buyer in &log.unanswered {
        let answer = client.buy("phone", buyer, 1, Some(buyer)).expect("a repeat is answered");
        assert!(matches!(answer.status, 200 | 201), "{buyer} repeats and is told {answer:?}");
        repeated.insert(buyer.as_str(), answer.order_id);
    }
    let orders = engine.orders("phone", after);
    let mut of_buyer: HashMap<&str, &str> = HashMap::new();
    for order in &orders {
        let (buyer, order_id) = (order["buyer"].as_str().unwrap(), order["order_id"].as_str().unwrap());
        assert_eq!(of_buyer.insert(buyer, order_id), None, "{buyer} has two orders");
    }
    for (buyer, order_id) in &repeated {
        assert_eq!(of_buyer.get(buyer), Some(&order_id.as_str()), "{buyer} has the order it heard of");
    }
    orders.last().map_or_else(|| after.to_owned(), |order| order["order_id"].as_str().unwrap().to_owned())
}

pub fn launch() -> Launch {
    Launch::new(&[
        ("LOG__LEVEL", "warn"),
        ("CHECKOUT__GATEWAY__SIMULATED__HOLD_LATENCY__MEDIAN_MS", "2"),
        ("CHECKOUT__GATEWAY__SIMULATED__HOLD_LATENCY__P99_MS", "20"),
        // More often than a cycle lasts: the log is folded in while the engine is killed, too.
        ("SQLITE__WAL_PAGES_MAX", "100"),
    ])
}

/// On a slow machine nobody may have paid yet when a short run ends: it goes on then, for at most so many kills.
const MORE_CYCLES_MAX: usize = 500;

#[test]
fn nothing_that_was_acknowledged_is_lost_by_a_kill() {
    let cycles: usize = asked("SECKILL_CRASH_CYCLES").unwrap_or(8);
    let seed: u64 = asked("SECKILL_CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    println!("SECKILL_CRASH_CYCLES={cycles} SECKILL_CRASH_SEED={seed}");
    let mut moments = SmallRng::seed_from_u64(seed);
    let started = Instant::now();
    let mut engine = launch().start();
    engine.sale("phone", STOCK, r#","pay_within_s":86400"#);
    let (mut all, mut last_order) = (Log::default(), String::new());
    let has_something_to_lose = |all: &Log| all.count(Word::Paid) > 0 && all.count(Word::Cancelled) > 0;
    let mut cycle = 0;
    while cycle < cycles || !has_something_to_lose(&all) {
        cycle += 1;
        assert!(cycle < cycles + MORE_CYCLES_MAX, "there was nothing to lose");
        let moment = Duration::from_millis(moments.random_range(1..400));
        let (log, launch) = under_load(engine.edge(), || {
            std::thread::sleep(moment);
            engine.kill()
        });
        engine = launch.start();
        last_order = check(&engine, &log, &last_order);
        all.merge(log);
        if cycle % 100 == 0 {
            println!(
                "{cycle} kills, {} acknowledged orders, {:.0?}",
                all.acknowledged.len(),
                started.elapsed()
            );
        }
    }
    all.check(&engine.orders("phone", ""));
    println!(
        "{cycle} kills in {:.0?}: {} orders acknowledged ({} paid, {} cancelled), {} requests cut off; {:?}",
        started.elapsed(),
        all.acknowledged.len(),
        all.count(Word::Paid),
        all.count(Word::Cancelled),
        all.unanswered.len(),
        engine.audit("phone"),
    );
}

#[test]
fn a_clean_stop_under_load_keeps_every_promise() {
    let engine = launch().start();
    engine.sale("phone", STOCK, "");
    let (log, (status, launch)) = under_load(engine.edge(), || {
        until("they buy", || engine.audit("phone").durable_orders > 20);
        engine.terminate()
    });
    assert_eq!(status.code(), Some(0));
    assert!(!log.acknowledged.is_empty());
    check(&launch.start(), &log, "");
}

/// Exit code of an engine whose store failed for good.
const STORE_FAILED: i32 = 74;
/// A disk that is full soon: the log of an empty store fits, that of some hundred orders does not.
const FULL_DISK_KIB: u32 = 512;

#[test]
fn a_full_disk_ends_the_engine_and_loses_no_order() {
    let launch = Launch::new(&[]);
    let mut engine = launch.clone().with_file_kib_max(FULL_DISK_KIB).start();
    engine.sale("phone", STOCK, "");
    let (log, status) = under_load(engine.edge(), || engine.wait_for_end());
    assert_eq!(status.code(), Some(STORE_FAILED));
    assert!(!log.acknowledged.is_empty());
    drop(engine);
    check(&launch.start(), &log, "");
}

#[test]
fn a_full_disk_acknowledges_no_sale_that_it_did_not_keep() {
    let launch = Launch::new(&[]);
    let mut engine = launch.clone().with_file_kib_max(FULL_DISK_KIB).start();
    let mut made = Vec::new();
    // Far more than fit.
    for number in 0..5_000 {
        let sku = format!("sku-{number}");
        match engine.try_sale(&sku, 1, "") {
            Some(answer) if answer.status == 201 => made.push(sku),
            Some(answer) => assert_eq!(answer.status, 503, "{}", answer.body),
            None => break,
        }
    }
    assert_eq!(engine.wait_for_end().code(), Some(STORE_FAILED));
    assert!(!made.is_empty());
    drop(engine);
    let engine = launch.start();
    for sku in &made {
        assert_eq!(engine.sale_state(sku)["state"], "open", "{sku} was acknowledged");
    }
}
