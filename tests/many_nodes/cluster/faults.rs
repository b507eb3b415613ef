//! What can happen to a cluster, one fault a test. Those whose short form is a test of its own strike in the long form alone:
//! `cargo xtask faults`.

mod ledger;
mod nodes;
mod store;

use std::time::{Duration, Instant};

use testbed::PATIENCE;
use testbed::servers::proxy::{Mode, Proxy};

use super::fixture::{Fixture, SILENT_MS_MAX};
use super::round::under_load;

/// A line that is cut for so long has its node fenced.
const LONG_CUT: Duration = Duration::from_millis(2 * SILENT_MS_MAX);
const SHORT_CUT: Duration = Duration::from_millis(SILENT_MS_MAX / 2);
/// From the death of a server to its next start.
const DEAD: Duration = Duration::from_millis(300);

/// The node that is struck in this round.
fn victim(fixture: &Fixture, round: usize) -> usize {
    round % fixture.cluster.nodes.len()
}

/// Short in one round, long in the next.
fn cut_time(round: usize) -> Duration {
    if round.is_multiple_of(2) { SHORT_CUT } else { LONG_CUT }
}

fn wait(duration: Duration) {
    std::thread::sleep(duration);
}

#[test]
fn a_node_is_killed_and_stays_away() {
    under_load("node-killed", Fixture::open(&[]), |fixture, round| {
        fixture.kill(victim(fixture, round));
        Instant::now()
    });
}

#[test]
fn a_node_is_killed_and_comes_back() {
    under_load("node-killed-and-back", Fixture::open(&[]), |fixture, round| {
        let node = victim(fixture, round);
        fixture.kill(node);
        let killed = Instant::now();
        fixture.start(node);
        killed
    });
}

#[test]
fn a_node_is_frozen_until_it_is_fenced_and_goes_on() {
    under_load("node-frozen", Fixture::open(&[]), |fixture, round| {
        let node = victim(fixture, round);
        let engine = || fixture.cluster.nodes[node].engine.as_ref().expect("it runs");
        let lives = fixture.lives(node);
        engine().pause();
        fixture.eventually("the frozen node is fenced", || fixture.lives(node) > lives);
        engine().go_on();
        Instant::now()
    });
}

#[test]
fn a_node_is_cut_off_from_everything_until_it_is_fenced() {
    under_load("node-cut-off", Fixture::open(&[]), |fixture, round| {
        let node = victim(fixture, round);
        let lines = [&fixture.cluster.nodes[node].to_postgres, &fixture.cluster.nodes[node].to_redis];
        let set = |mode| lines.into_iter().flatten().for_each(|line| line.set(mode));
        let lives = fixture.lives(node);
        set(Mode::Silence);
        fixture.eventually("the node that is cut off is fenced", || fixture.lives(node) > lives);
        set(Mode::Pass);
        Instant::now()
    });
}

/// A Redis that lost something is noticed: the store ends the epoch of the sale's book.
fn until_a_new_book_is_opened(fixture: &Fixture, epochs: u64) {
    fixture.eventually("a new book is opened", || fixture.epochs() > epochs);
}

/// Kills redis-server for a moment.
fn redis_is_killed(fixture: &mut Fixture, keep_data: bool) -> Instant {
    let epochs = fixture.epochs();
    fixture.cluster.redis.kill();
    wait(DEAD);
    fixture.cluster.redis.start_again(keep_data);
    let over = Instant::now();
    until_a_new_book_is_opened(fixture, epochs);
    over
}

#[test]
fn redis_is_killed_and_comes_back_with_its_data() {
    under_load("redis-killed", Fixture::open(&[]), |fixture, _| redis_is_killed(fixture, true));
}

#[test]
fn redis_is_killed_and_comes_back_without_its_data() {
    under_load("redis-emptied", Fixture::open(&[]), |fixture, _| redis_is_killed(fixture, false));
}

#[test]
fn redis_is_flushed() {
    under_load("redis-flushed", Fixture::open(&[]), |fixture, _| {
        let epochs = fixture.epochs();
        assert_eq!(fixture.cluster.redis.command("FLUSHALL").trim(), "OK");
        let over = Instant::now();
        until_a_new_book_is_opened(fixture, epochs);
        over
    });
}

#[test]
fn redis_is_frozen() {
    under_load("redis-frozen", Fixture::open(&[]), |fixture, round| {
        fixture.cluster.redis.pause();
        wait(cut_time(round));
        fixture.cluster.redis.go_on();
        Instant::now()
    });
}

#[test]
fn a_replica_that_misses_the_last_writes_takes_over() {
    under_load("redis-failover", Fixture::open(&[]).with_replica(), |fixture, _| {
        let (line, replica) = fixture.replica.take().expect("it stands by");
        let epochs = fixture.epochs();
        // What the master is told from now on never reaches the replica.
        line.set(Mode::Silence);
        let scripts_run = || fixture.scripts_run();
        let before = scripts_run();
        fixture.eventually("the master is told more", || scripts_run() > before + 5);
        fixture.cluster.redis.kill();
        replica.promote();
        for node in &fixture.cluster.nodes {
            node.to_redis.as_ref().expect("a proxy").lead_to(replica.address());
        }
        fixture.cluster.redis = replica;
        let over = Instant::now();
        until_a_new_book_is_opened(fixture, epochs);
        over
    });
}

#[test]
fn redis_forgets_its_scripts() {
    under_load("redis-scripts-flushed", Fixture::open(&[]), |fixture, _| {
        for _ in 0..20 {
            assert_eq!(fixture.cluster.redis.command("SCRIPT FLUSH").trim(), "OK");
            wait(Duration::from_millis(20));
        }
        Instant::now()
    });
}

/// Answers are lost now and then for a while, until some were, on these lines; every request is carried out.
fn lose_answers<'a>(lines: impl Iterator<Item = &'a Proxy> + Clone) -> Instant {
    let lost = || lines.clone().map(Proxy::lost).sum::<usize>();
    let (before, began) = (lost(), Instant::now());
    for turn in 0.. {
        let is_whole = turn % 2 == 0;
        if turn >= 40 && is_whole && lost() > before {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "no answer is lost");
        let mode = if is_whole { Mode::LoseAnswers } else { Mode::Pass };
        lines.clone().for_each(|line| line.set(mode));
        wait(Duration::from_millis(30));
    }
    Instant::now()
}

#[test]
fn answers_of_redis_are_lost() {
    under_load("redis-answers-lost", Fixture::open(&[]), |fixture, _| {
        lose_answers(fixture.cluster.nodes.iter().filter_map(|node| node.to_redis.as_ref()))
    });
}

#[test]
fn answers_of_postgresql_are_lost() {
    under_load("postgres-answers-lost", Fixture::open(&[]), |fixture, _| {
        lose_answers(fixture.cluster.nodes.iter().filter_map(|node| node.to_postgres.as_ref()))
    });
}

#[test]
fn postgresql_is_restarted() {
    under_load("postgres-restarted", Fixture::open(&[]), |fixture, round| {
        if round.is_multiple_of(2) {
            fixture.cluster.postgres.crash();
        } else {
            fixture.cluster.postgres.stop();
        }
        wait(DEAD);
        fixture.cluster.postgres.restart();
        Instant::now()
    });
}

#[test]
fn postgresql_is_frozen_for_longer_than_a_node_may_be_silent() {
    under_load("postgres-frozen", Fixture::open(&[]), |fixture, _| {
        let lives = |fixture: &Fixture| -> Vec<u64> {
            (0..fixture.cluster.nodes.len()).map(|node| fixture.lives(node)).collect()
        };
        let before = lives(fixture);
        fixture.cluster.postgres.freeze(true);
        wait(LONG_CUT);
        fixture.cluster.postgres.freeze(false);
        let over = Instant::now();
        wait(LONG_CUT);
        assert_eq!(lives(fixture), before, "what befell all is nobody's silence");
        over
    });
}

#[test]
fn postgresql_is_held_by_a_lock() {
    under_load("postgres-locked", Fixture::open(&[]), |fixture, round| {
        let hold = if round.is_multiple_of(2) {
            "UPDATE seckill.sales SET paused = paused"
        } else {
            "LOCK TABLE seckill.orders IN EXCLUSIVE MODE"
        };
        fixture.query(&format!("BEGIN; {hold}; SELECT pg_sleep(2); COMMIT"));
        Instant::now()
    });
}

/// Cuts a line of one node; what is on its way then arrives when the line is whole again.
fn cut(line: Option<&Proxy>, round: usize) -> Instant {
    let line = line.expect("a proxy");
    line.set(Mode::Silence);
    wait(cut_time(round));
    line.set(Mode::Pass);
    Instant::now()
}

#[test]
fn the_line_between_a_node_and_redis_is_cut() {
    under_load("line-to-redis-cut", Fixture::open(&[]), |fixture, round| {
        cut(fixture.cluster.nodes[victim(fixture, round)].to_redis.as_ref(), round)
    });
}

#[test]
fn the_line_between_a_node_and_postgresql_is_cut() {
    under_load("line-to-postgres-cut", Fixture::open(&[]), |fixture, round| {
        cut(fixture.cluster.nodes[victim(fixture, round)].to_postgres.as_ref(), round)
    });
}
