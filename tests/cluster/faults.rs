//! One fault after the other, under load. After each: no more was sold than there is at any moment, every acknowledged
//! order is there, the three books agree, and the sale ends with exactly its last unit sold.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use xtask::servers::proxy::{Mode, Proxy};
use xtask::servers::redis::RedisServer;

use crate::common::promises::Word;
use crate::house::{House, SILENT_MS_MAX};
use crate::shoppers::Shoppers;
use crate::witness::Witness;

const STOCK: u64 = 1_500;
/// So much is sold before a fault strikes.
const SOLD_BEFORE: u64 = STOCK / 5;
/// How often a fault strikes in the short form.
const ROUNDS: usize = 2;
/// A line that is cut for so long has its node fenced.
const LONG_CUT: Duration = Duration::from_millis(2 * SILENT_MS_MAX);
const SHORT_CUT: Duration = Duration::from_millis(SILENT_MS_MAX / 2);

fn rounds() -> usize {
    let set = std::env::var("SECKILL_FAULT_ROUNDS").ok();
    set.map_or(ROUNDS, |rounds| rounds.parse().expect("SECKILL_FAULT_ROUNDS is a number"))
}

/// Lets `strike` happen in the middle of a sale, as often as this run wants, each time in a new sale. `strike` returns
/// when the fault is over; what stays broken is mended after the sale by `mend`.
fn under_load(
    name: &str,
    mut house: House,
    strike: impl Fn(&mut House, usize),
    mend: impl Fn(&mut House, usize),
) {
    for round in 0..rounds() {
        let sku = house.sale(STOCK);
        let witness = Witness::of(&house, &sku);
        let shoppers = Shoppers::come(&house, &sku);
        house.eventually("some are sold", || witness.sold() >= SOLD_BEFORE);
        let struck = Instant::now();
        strike(&mut house, round);
        let lifted = Instant::now();
        let healed = house.eventually("every node sells again", || {
            let is_up = |node: &usize| house.cluster.nodes[*node].engine.is_some();
            (0..house.cluster.nodes.len()).filter(is_up).all(|node| shoppers.were_served(node, lifted))
        });
        shoppers.keep_everything();
        house.eventually("all is sold", || witness.sold() == STOCK);
        let last_unit = Instant::now();
        let said = house.until_all_say_sold_out(&sku, last_unit);
        let heard = shoppers.go();
        let agreed = house.until_books_agree(&sku, STOCK);
        let orders = house.orders(&sku);
        heard.log.check(&orders);
        let mut holders = HashMap::new();
        for order in orders.iter().filter(|order| order["status"] != "cancelled") {
            let buyer = order["buyer"].as_str().expect("a buyer");
            assert_eq!(holders.insert(buyer, &order["order_id"]), None, "{buyer} has two orders");
        }
        assert_eq!(holders.len() as u64, STOCK);
        assert_eq!(witness.sold(), STOCK, "and it stays so");
        println!(
            "{name} {round}: struck for {:.0?}, every node sells again after {healed:.0?}, all say sold out \
             {:.0?} after the last unit, the books agree after {agreed:.0?} more; {} orders acknowledged ({} paid, {} \
             cancelled), {} purchases without an answer, {} looks at the store; answers {:?}",
            lifted - struck,
            said.iter().max().expect("a node"),
            heard.log.told.len(),
            heard.log.count(Word::Paid),
            heard.log.count(Word::Cancelled),
            heard.log.unanswered.len(),
            witness.end(),
            heard.answers,
        );
        mend(&mut house, round);
    }
}

fn nothing(_: &mut House, _: usize) {}

/// The node that is struck in this round.
fn victim(house: &House, round: usize) -> usize {
    round % house.cluster.nodes.len()
}

fn wait(duration: Duration) {
    std::thread::sleep(duration);
}

/// How often the node's lives were ended, its own ends included.
fn lives(house: &House, node: usize) -> u64 {
    let sql = format!("SELECT incarnation FROM seckill.nodes WHERE node = {node}");
    house.cluster.postgres.query(&house.cluster.database, &sql).parse().expect("a number")
}

#[test]
fn a_node_is_killed_and_stays_away() {
    let strike = |house: &mut House, round| {
        let node = victim(house, round);
        house.kill(node);
    };
    let mend = |house: &mut House, round| {
        let node = victim(house, round);
        house.start(node);
    };
    under_load("node-killed", House::open(&[]), strike, mend);
}

#[test]
fn a_node_is_killed_and_comes_back() {
    let strike = |house: &mut House, round| {
        let node = victim(house, round);
        house.kill(node);
        wait(Duration::from_millis(100));
        house.start(node);
    };
    under_load("node-killed-and-back", House::open(&[]), strike, nothing);
}

#[test]
fn a_node_is_frozen_until_it_is_fenced_and_goes_on() {
    let strike = |house: &mut House, round| {
        let node = victim(house, round);
        let before = lives(house, node);
        let engine = |house: &House| house.cluster.nodes[node].engine.as_ref().map(|engine| engine.pid());
        assert!(engine(house).is_some());
        house.cluster.nodes[node].engine.as_ref().expect("it runs").pause();
        house.eventually("the frozen node is fenced", || lives(house, node) > before);
        house.cluster.nodes[node].engine.as_ref().expect("it runs").go_on();
    };
    under_load("node-frozen", House::open(&[]), strike, nothing);
}

#[test]
fn redis_is_killed_and_comes_back_with_its_data() {
    let strike = |house: &mut House, _| {
        house.cluster.redis.kill();
        wait(Duration::from_millis(300));
        house.cluster.redis.start_again(true);
    };
    under_load("redis-killed", House::open(&[]), strike, nothing);
}

#[test]
fn redis_is_killed_and_comes_back_without_its_data() {
    let strike = |house: &mut House, _| {
        house.cluster.redis.kill();
        wait(Duration::from_millis(300));
        house.cluster.redis.start_again(false);
    };
    under_load("redis-emptied", House::open(&[]), strike, nothing);
}

#[test]
fn redis_is_flushed() {
    let strike = |house: &mut House, _| {
        assert_eq!(house.cluster.redis.command("FLUSHALL").trim(), "OK");
    };
    under_load("redis-flushed", House::open(&[]), strike, nothing);
}

#[test]
fn redis_is_frozen() {
    let strike = |house: &mut House, round| {
        house.cluster.redis.pause();
        wait(if round % 2 == 0 { SHORT_CUT } else { LONG_CUT });
        house.cluster.redis.go_on();
    };
    under_load("redis-frozen", House::open(&[]), strike, nothing);
}

#[test]
fn a_replica_that_misses_the_last_writes_takes_over() {
    let strike = |house: &mut House, _| {
        let line = Proxy::to(house.cluster.redis.address());
        let replica = RedisServer::start_replica(line.address());
        // What the master is told from now on never reaches the replica.
        line.set(Mode::Silence);
        let before = house.cluster.redis.command("INFO commandstats");
        house.eventually("the master is told more", || {
            house.cluster.redis.command("INFO commandstats") != before
        });
        wait(Duration::from_millis(200));
        house.cluster.redis.kill();
        replica.promote();
        for node in &house.cluster.nodes {
            node.to_redis.as_ref().expect("a proxy").lead_to(replica.address());
        }
        house.cluster.redis = replica;
    };
    under_load("redis-failover", House::open(&[]), strike, nothing);
}

#[test]
fn redis_forgets_its_scripts() {
    let strike = |house: &mut House, _| {
        for _ in 0..20 {
            assert_eq!(house.cluster.redis.command("SCRIPT FLUSH").trim(), "OK");
            wait(Duration::from_millis(20));
        }
    };
    under_load("redis-scripts-flushed", House::open(&[]), strike, nothing);
}

/// Answers are lost now and then for a second and a half, on these lines; every request is carried out.
fn lose_answers<'a>(lines: impl Iterator<Item = &'a Proxy> + Clone) -> usize {
    let lost = || lines.clone().map(Proxy::lost).sum::<usize>();
    let before = lost();
    for turn in 0..50 {
        let mode = if turn % 2 == 0 { Mode::LoseAnswers } else { Mode::Pass };
        lines.clone().for_each(|line| line.set(mode));
        wait(Duration::from_millis(30));
    }
    lost() - before
}

#[test]
fn answers_of_redis_are_lost() {
    let strike = |house: &mut House, _| {
        let lines = house.cluster.nodes.iter().filter_map(|node| node.to_redis.as_ref());
        assert!(lose_answers(lines) > 0);
    };
    under_load("redis-answers-lost", House::open(&[]), strike, nothing);
}

#[test]
fn answers_of_postgresql_are_lost() {
    let strike = |house: &mut House, _| {
        let lines = house.cluster.nodes.iter().filter_map(|node| node.to_postgres.as_ref());
        assert!(lose_answers(lines) > 0);
    };
    under_load("postgres-answers-lost", House::open(&[]), strike, nothing);
}

#[test]
fn postgresql_is_restarted() {
    let strike = |house: &mut House, round| {
        if round % 2 == 0 {
            house.cluster.postgres.crash();
        } else {
            house.cluster.postgres.stop();
        }
        wait(Duration::from_millis(300));
        house.cluster.postgres.restart();
    };
    under_load("postgres-restarted", House::open(&[]), strike, nothing);
}

#[test]
fn postgresql_is_held_by_a_lock() {
    let strike = |house: &mut House, round| {
        let hold = if round % 2 == 0 {
            "UPDATE seckill.sales SET paused = paused"
        } else {
            "LOCK TABLE seckill.orders IN EXCLUSIVE MODE"
        };
        let sql = format!("BEGIN; {hold}; SELECT pg_sleep(2); COMMIT");
        house.cluster.postgres.query(&house.cluster.database, &sql);
    };
    under_load("postgres-locked", House::open(&[]), strike, nothing);
}

/// Cuts a line of one node; what is on its way then arrives when the line is whole again.
fn cut(line: Option<&Proxy>, round: usize) {
    let line = line.expect("a proxy");
    line.set(Mode::Silence);
    wait(if round % 2 == 0 { SHORT_CUT } else { LONG_CUT });
    line.set(Mode::Pass);
}

#[test]
fn the_line_between_a_node_and_redis_is_cut() {
    let strike = |house: &mut House, round| {
        let node = victim(house, round);
        cut(house.cluster.nodes[node].to_redis.as_ref(), round);
    };
    under_load("line-to-redis-cut", House::open(&[]), strike, nothing);
}

#[test]
fn the_line_between_a_node_and_postgresql_is_cut() {
    let strike = |house: &mut House, round| {
        let node = victim(house, round);
        cut(house.cluster.nodes[node].to_postgres.as_ref(), round);
    };
    under_load("line-to-postgres-cut", House::open(&[]), strike, nothing);
}

#[test]
fn a_node_is_cut_off_from_everything_until_it_is_fenced() {
    let strike = |house: &mut House, round| {
        let node = victim(house, round);
        let before = lives(house, node);
        let lines = |mode| {
            let node = &house.cluster.nodes[node];
            [&node.to_postgres, &node.to_redis].into_iter().flatten().for_each(|line| line.set(mode));
        };
        lines(Mode::Silence);
        house.eventually("the node that is cut off is fenced", || lives(house, node) > before);
        lines(Mode::Pass);
    };
    under_load("node-cut-off", House::open(&[]), strike, nothing);
}
