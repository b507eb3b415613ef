//! `kill -9` while the log is folded and a sale that is over moves to the archive and another one sells, and after it what the
//! power may do to the files: whatever a client was told before holds after the next start.
//!
//! `SECKILL_CRASH_CYCLES` sets the number of kills (`cargo xtask crash --folds-and-archives --cycles 1000` is the long form),
//! `SECKILL_CRASH_SEED` the moments.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use testbed::client::try_request;
use testbed::crowd::{BuyerClient, crowd};
use testbed::engine::{Audit, Engine};
use testbed::promises::{Log, Word};
use testbed::{asked, until};

use crate::archive::{MANY, REASON, act, exported, json};
use crate::crash::{CLIENTS, STOCK, check, launch, under_load};
use crate::log_tail::Damage;

/// Sales that are made and sold at once: their buyers' time to pay passes once for all of them.
const SALES: usize = 4;

/// A sale that is over and has nothing open, as it was before.
struct Over {
    sku: String,
    audit: Audit,
    orders: Vec<Value>,
}

/// Makes some, the first one with this number.
fn sell_out_of_time(engine: &Engine, first: usize) -> Vec<Over> {
    let skus: Vec<String> = (first..first + SALES).map(|number| format!("sku-{number}")).collect();
    for sku in &skus {
        engine.sale(sku, 1_000, r#","pay_within_s":1"#);
    }
    let jobs: Vec<(&String, usize)> =
        skus.iter().flat_map(|sku| (0..MANY).map(move |number| (sku, number))).collect();
    let statuses = crowd(
        CLIENTS,
        || BuyerClient::at(engine.edge()),
        &jobs,
        |client, (sku, number)| {
            let bought = client.buy(sku, &buyer(sku, *number), 1, None).expect("an answer");
            bought.status
        },
    );
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
    for sku in &skus {
        assert_eq!(act(engine, sku, "end").status, 200);
    }
    let over = |sku: String| {
        until("nothing of it is open", || engine.audit(&sku).held == 0);
        let over = Over { audit: engine.audit(&sku), orders: exported(engine, &sku), sku };
        assert_eq!(over.orders.len(), MANY);
        over
    };
    skus.into_iter().map(over).collect()
}

fn buyer(sku: &str, number: usize) -> String {
    format!("{sku}-buyer-{number}")
}

/// How often its log was folded in this life.
fn folds(engine: &Engine) -> f64 {
    let page = engine.admin("GET", "/metrics", "").body;
    let counts = page.lines().filter_map(|line| {
        let count = line.strip_prefix("seckill_store_fold_duration_seconds_count{")?.rsplit(' ').next()?;
        count.parse::<f64>().ok()
    });
    counts.sum()
}

/// The sale is as it was, whatever of it has moved.
fn check_over(engine: &Engine, over: &Over) {
    let Over { sku, audit, orders } = over;
    assert_eq!((&engine.audit(sku), &exported(engine, sku)), (audit, orders));
    let own = json(&engine.ask("GET", &format!("/orders?sku={sku}"), &buyer(sku, 0), "", "").body);
    assert_eq!(own["orders"].as_array().map(Vec::len), Some(1), "{own}");
}

#[test]
fn nothing_is_lost_by_a_kill_while_the_log_is_folded_and_orders_move_to_the_archive() {
    let cycles: usize = asked("SECKILL_CRASH_CYCLES").unwrap_or(4);
    let seed: u64 = asked("SECKILL_CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    println!("SECKILL_CRASH_CYCLES={cycles} SECKILL_CRASH_SEED={seed}");
    let mut dice = SmallRng::seed_from_u64(seed);
    let started = Instant::now();
    let mut engine = launch().start();
    engine.sale("phone", STOCK, r#","pay_within_s":86400"#);
    let (mut all, mut last_order) = (Log::default(), String::new());
    let (mut over, mut archived) = (Vec::new(), Vec::new());
    let (mut folded, mut cut_off) = (0.0, 0);
    for cycle in 0..cycles {
        if over.is_empty() {
            over = sell_out_of_time(&engine, cycle);
        }
        let sale = over.pop().expect("some were made");
        let [moment, then] = [200, 60].map(|ms| Duration::from_millis(dice.random_range(0..ms)));
        let (log, (answer, launch)) = under_load(engine.edge(), || {
            std::thread::sleep(moment);
            folded += folds(&engine);
            let (admin, path) = (engine.admin_addr(), format!("/api/v1/campaigns/test/{}/archive", sale.sku));
            let lines = "Content-Type: application/json\r\n";
            let archiving = std::thread::spawn(move || try_request(admin, "POST", &path, lines, REASON));
            std::thread::sleep(then);
            let launch = engine.kill();
            (archiving.join().expect("it hears an answer, or nothing"), launch)
        });
        let damage = Damage::ALL[cycle % Damage::ALL.len()];
        damage.strike(launch.folder(), &mut dice);
        engine = launch.start();
        last_order = check(&engine, &log, &last_order);
        all.merge(log);
        check_over(&engine, &sale);
        let is_archived = || {
            let shown = engine.admin("GET", &format!("/api/v1/campaigns/test/{}", sale.sku), "");
            shown.member("state") == "archived"
        };
        match answer.map(|answer| answer.status) {
            Some(200) => assert!(is_archived(), "{} was archived; {damage:?}", sale.sku),
            None | Some(503) => cut_off += 1,
            Some(other) => panic!("{} was answered {other}", sale.sku),
        }
        if !is_archived() {
            let again = act(&engine, &sale.sku, "archive");
            assert_eq!(again.status, 200, "{}", again.body);
        }
        archived.push((sale.sku, sale.audit));
    }
    all.check(&engine.orders("phone", ""));
    for (sku, audit) in &archived {
        assert_eq!(engine.audit(sku), *audit, "{sku}");
    }
    assert!(folded > 0.0, "the log was never folded");
    println!(
        "{cycles} kills in {:.0?}: {} orders acknowledged ({} paid, {} cancelled), {} requests cut off; {} sales of {MANY} orders \
         archived, {cut_off} of these acts cut off; {folded:.0} folds; {:?}",
        started.elapsed(),
        all.acknowledged.len(),
        all.count(Word::Paid),
        all.count(Word::Cancelled),
        all.unanswered.len(),
        archived.len(),
        engine.audit("phone"),
    );
}
