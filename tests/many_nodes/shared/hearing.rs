//! Who cannot be heard: a Redis that answers and takes no writes, a database that one node has lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testbed::engine::Engine;
use testbed::servers::proxy::{Mode, Proxy};
use testbed::servers::redis::RedisServer;

use super::fixture::{Fixture, known_to_all, sell, sell_out, until};
use super::refusals::told;

/// Longer than a node of [`Fixture::launch`] may be silent, several times.
const LONG: Duration = Duration::from_secs(7);

/// A buyer whom nobody has seen clicks; whether he won.
fn wins(engine: &Engine, sku: &str) -> bool {
    static BUYERS: AtomicUsize = AtomicUsize::new(0);
    let buyer = format!("buyer-of-{}", BUYERS.fetch_add(1, Ordering::Relaxed));
    let answer = engine.buy(sku, &buyer);
    assert!(matches!(answer.status, 201 | 503), "{} {}", answer.status, answer.body);
    answer.status == 201
}

/// Two nodes hold units. Redis refuses writes for longer than anybody may be silent: they sell what they hold, and judge
/// nobody. Then it takes writes again, and all is sold.
fn redis_refuses_for_a_while(fixture: &Fixture, begins: impl FnOnce(), ends: impl FnOnce()) {
    let engines = [fixture.start(1), fixture.start(2)];
    let all: Vec<&Engine> = engines.iter().collect();
    engines[0].sale("phone", 400, "");
    known_to_all(&all, "phone");
    let mut won = 0;
    for engine in all.iter().copied() {
        until("the node has units", || wins(engine, "phone"));
        won += 1;
    }
    let lives = fixture.lives();

    begins();
    let shown = |engine: &Engine, path: &str| engine.admin("GET", path, "").json();
    for engine in all.iter().copied() {
        until("it is shown", || shown(engine, "/healthz")["checks"]["ledger"] == "refused");
        assert_eq!(shown(engine, "/readyz")["checks"]["ledger"], "refused");
        assert!(shown(engine, "/healthz")["reasons"]["ledger"].is_string());
    }
    let began = Instant::now();
    while began.elapsed() < LONG {
        // A buyer now and then: there is something to sell all the time.
        won += all.iter().filter(|engine| wins(engine, "phone")).count();
        std::thread::sleep(Duration::from_millis(250));
    }
    for engine in all.iter().copied() {
        assert!(wins(engine, "phone"), "it sells what it holds");
        won += 1;
        let metrics = engine.admin("GET", "/metrics", "").body;
        assert!(!metrics.contains("\nseckill_ledger_troubles_total 0\n"), "{metrics}");
    }
    assert_eq!(fixture.lives(), lives, "nobody was fenced");

    ends();
    for engine in all.iter().copied() {
        until("its end is told", || told(engine, "redis lends again") == 1);
        assert_eq!(told(engine, "redis does not lend"), 1, "once");
    }
    assert_eq!(won + sell_out(&all, "phone").len(), 400);
    assert_eq!(engines[0].audit("phone").held, 400);
    assert_eq!(fixture.lives(), lives, "nor afterwards");
}

#[test]
fn n1_a_redis_without_its_only_replica_has_nobody_fenced() {
    let settings = ["--appendonly", "no", "--min-replicas-to-write", "1"];
    let fixture = Fixture::with(RedisServer::start_with(&settings));
    let address = fixture.redis.address();
    let mut replica = Some(RedisServer::start_replica(address));
    until("the replica counts", || fixture.redis.command("INFO replication").contains("state=online"));
    let back = std::cell::OnceCell::new();
    redis_refuses_for_a_while(
        &fixture,
        || drop(replica.take()),
        || drop(back.set(RedisServer::start_replica(address))),
    );
}

#[test]
fn n1_a_redis_that_is_full_has_nobody_fenced() {
    let fixture = Fixture::with(RedisServer::start_in_memory());
    let limit = |bytes: &str| drop(fixture.redis.command(&format!("CONFIG SET maxmemory {bytes}")));
    redis_refuses_for_a_while(&fixture, || limit("1"), || limit("0"));
}

#[test]
fn n1_a_replica_that_missed_the_last_beats_takes_over_and_nobody_is_fenced() {
    let fixture = Fixture::open();
    let replica = RedisServer::start_replica(fixture.redis.address());
    let lines = [1, 2].map(|_| Proxy::to(fixture.redis.address()));
    let start = |number: u16| {
        let url = format!("redis://{}", lines[usize::from(number) - 1].address());
        let keys = [
            ("REDIS__URL", url.as_str()),
            ("LEDGER__SILENT_MS_MAX", "30000"),
            ("LEDGER__REBUILD_PATIENCE_MS", "300"),
        ];
        fixture.launch(number, &keys).start()
    };
    let engines = [start(1), start(2)];
    let all: Vec<&Engine> = engines.iter().collect();
    engines[0].sale("phone", 400, "");
    known_to_all(&all, "phone");
    let sold = sell(&all, "phone", 100).len();
    until("the replica follows", || fixture.redis.command("INFO replication").contains("state=online"));
    let lives = fixture.lives();

    replica.promote();
    // As if it had missed the beats of the last minute.
    let keys = replica.command("KEYS *beats");
    let key = keys.lines().find(|line| line.ends_with("beats")).expect("it knows the nodes");
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(60);
    for node in ["1", "2"] {
        let known = replica.command(&format!("HSET {key} {node} {}", then.as_millis()));
        assert_eq!(known.trim(), "0", "it knows the node");
    }
    lines[0].lead_to(replica.address());
    // The first one is alone there, with beats of long ago and a book that waits for both.
    until("it has opened a book there", || told(&engines[0], "no valid book") > 0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(fixture.lives(), lives, "nobody is fenced for what the new master has missed");
    lines[1].lead_to(replica.address());
    assert_eq!(sold + sell_out(&all, "phone").len(), 400);
    assert_eq!(engines[0].audit("phone").held, 400);
    assert_eq!(fixture.lives(), lives, "nor afterwards");
}

/// How the second node loses its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Every call hangs.
    Silent,
    /// Every call fails at once.
    Refused,
}

#[test]
fn n4_a_node_that_loses_postgresql_for_good_gives_its_units_to_the_others() {
    for loss in [Loss::Refused, Loss::Silent] {
        let fixture = Fixture::open();
        let (line, url) = fixture.line_to_postgres();
        let impatient = [
            ("POSTGRES__URL", url.as_str()),
            ("POSTGRES__CONNECT_WAIT_MS", "4000"),
            ("POSTGRES__STATEMENT_WAIT_MS", "2000"),
            ("POSTGRES__LOCK_WAIT_MS", "1500"),
        ];
        // The first to start is the one that numbers events: without it nobody would know who bought.
        let (two, one) = (fixture.launch(2, &impatient).start(), fixture.start(1));
        one.sale("phone", 60, "");
        known_to_all(&[&one, &two], "phone");
        let mut won = 0;
        for engine in [&two, &one] {
            until("the node sells", || wins(engine, "phone"));
            won += 1;
        }
        match loss {
            Loss::Silent => line.set(Mode::Silence),
            Loss::Refused => line.lead_to(nobody()),
        }
        std::thread::scope(|scope| {
            // On its way to a store that does not answer, its unit can only be taken.
            let late = scope.spawn(|| two.buy("phone", "late").status);
            until("an order is in flight", || {
                two.admin("GET", "/readyz", "").json()["checks"]["writer"] == "stalled"
            });
            until("it is told", || told(&two, BEGINS) > 0);
            let metrics = two.admin("GET", "/metrics", "").body;
            assert!(metrics.contains("\nseckill_ledger_cut_off 1\n"), "{metrics}");
            assert_eq!(two.admin("GET", "/readyz", "").status, 503);
            assert_eq!(won + sell_out(&[&one], "phone").len(), 60, "{loss:?}: the others sell them all");
            match loss {
                Loss::Silent => line.set(Mode::Pass),
                Loss::Refused => line.lead_to(fixture.postgres_address()),
            }
            assert!(matches!(late.join().unwrap(), 202 | 503), "the late order is nobody's");
        });
        // A machine that starves the node has it lose the store more than once: each time has its two lines.
        until("it is over", || told(&two, ENDS) == told(&two, BEGINS));
        until("the node is ready", || two.admin("GET", "/readyz", "").status == 200);
        one.sale("book", 40, "");
        known_to_all(&[&one, &two], "book");
        until("the second node sells again", || wins(&two, "book"));
        assert_eq!(one.audit("phone").held, 60);
    }
}

/// Nobody is left who could sell their units: they are not sold either, and go on sale again by themselves.
#[test]
fn n4_nodes_that_have_all_lost_postgresql_have_nothing_on_sale() {
    let fixture = Fixture::open();
    let lines = [(); 2].map(|()| fixture.line_to_postgres());
    let engines = [0, 1].map(|node| {
        // A question costs several beats.
        let keys = [("POSTGRES__URL", lines[node].1.as_str()), ("POSTGRES__STATEMENT_WAIT_MS", "1500")];
        fixture.launch(node as u16 + 1, &keys).start()
    });
    let all = engines.each_ref();
    engines[0].sale("phone", 400, "");
    known_to_all(&all, "phone");
    all.iter().for_each(|engine| _ = until("the node sells", || wins(engine, "phone")));
    // A machine that starves a node has it lose the store before: each time has its end.
    let mut before = [0; 2];
    until("both have the store", || {
        before = all.map(|engine| told(engine, BEGINS));
        all.map(|engine| told(engine, ENDS)) == before
    });
    lines.iter().for_each(|(line, _)| line.set(Mode::Silence));
    for (engine, before) in all.into_iter().zip(before) {
        until("it is told", || told(engine, BEGINS) > before);
        let answer = engine.buy("phone", "late");
        assert_eq!(answer.status, 503, "{}", answer.body);
    }
    lines.iter().for_each(|(line, _)| line.set(Mode::Pass));
    sell_out(&all, "phone");
    assert_eq!(engines[0].audit("phone").held, 400);
}

const BEGINS: &str = "has not answered for ledger.silent_ms_max";
const ENDS: &str = "this node lends and sells on";

/// An address where nobody listens.
fn nobody() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
