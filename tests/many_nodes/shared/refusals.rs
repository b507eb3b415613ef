//! A Redis that answers and refuses: at the start and on the way.

use testbed::engine::Engine;
use testbed::servers::redis::RedisServer;

use super::abilities;
use super::fixture::{Fixture, sell, until};
use super::instance_lock::refusal;

/// How often the engine's log says so.
pub fn told(engine: &Engine, what: &str) -> usize {
    let log = std::fs::read_to_string(engine.launch().folder().join("log")).unwrap();
    log.lines().filter(|line| line.contains(what)).count()
}

#[test]
fn o10_an_engine_that_redis_refuses_does_not_start_and_says_why() {
    let fixture = Fixture::open();
    fixture.redis.command("ACL SETUSER weak on >secret ~seckill:* +@all -info");
    let at = |login: &str| format!("redis://{login}@{}", fixture.redis.address());
    for (url, why) in [(at("weak:secret"), "ACL line"), (at("weak:wrong"), "redis.password")] {
        let said =
            refusal(&[("POSTGRES__URL", &fixture.database_url), ("NODE__ID", "1"), ("REDIS__URL", &url)]);
        assert!(said.contains("redis refuses") && said.contains(why), "{said}");
        assert!(!said.contains("secret") && !said.contains("wrong@"), "{said}");
    }
}

#[test]
fn o10_a_refusal_on_the_way_is_logged_once_and_shown_until_it_is_over() {
    let fixture = Fixture::open();
    fixture.redis.command("ACL SETUSER shop on >secret ~seckill:* &* +@all");
    let url = format!("redis://shop:secret@{}", fixture.redis.address());
    let engine = fixture.launch(1, &[("REDIS__URL", &url)]).start();
    engine.sale("a", 100, "");
    until("the node is lent units", || engine.buy("a", "ann").status == 201);
    let shown = |path: &str| engine.admin("GET", path, "").json();
    assert_eq!(shown("/healthz")["checks"]["ledger"], "ok");
    assert_eq!(told(&engine, "redis does not lend"), 0);

    fixture.redis.command("ACL SETUSER shop -info");
    until("it is shown", || shown("/healthz")["checks"]["ledger"] == "refused");
    until("it is logged", || told(&engine, "redis does not lend") == 1);
    for path in ["/healthz", "/readyz"] {
        let why = shown(path)["reasons"]["ledger"].to_string();
        assert!(why.contains("INFO") && why.contains("ACL line"), "{path}: {why}");
    }
    assert_eq!(shown("/healthz")["status"], "degraded");

    fixture.redis.command("ACL SETUSER shop +info");
    until("it is over", || shown("/healthz")["checks"]["ledger"] == "ok");
    until("its end is logged", || told(&engine, "redis lends again") == 1);
    assert_eq!(told(&engine, "redis does not lend"), 1, "once");
}

#[test]
fn a_redis_that_evicts_books_is_shown_until_it_does_not() {
    let redis = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let fixture = Fixture::with(redis);
    let engine = fixture.start(1);
    let health = || engine.admin("GET", "/healthz", "").json();
    let shown = health();
    assert_eq!(shown["status"], "degraded", "{shown}");
    assert!(shown["reasons"]["ledger-books-evicted"].as_str().unwrap().contains("allkeys-lru"), "{shown}");
    until("it is said once", || told(&engine, "noeviction") == 1);
    fixture.redis.command("CONFIG SET maxmemory-policy volatile-lru");
    until("it is over", || health()["status"] == "ok");
    // Those that expire are others': told, and no more than that.
    let two = fixture.start(2);
    until("it is said", || told(&two, "volatile-lru") == 1);
    assert_eq!(two.admin("GET", "/healthz", "").json()["status"], "ok");
}

#[test]
fn an_engine_starts_on_a_redis_that_cannot_lend_yet() {
    let master = RedisServer::start();
    let fixture = Fixture::with(RedisServer::start_replica(master.address()));
    let engine = fixture.start(1);
    let health = || engine.admin("GET", "/healthz", "").json();
    let shown = health();
    assert_eq!(shown["checks"]["ledger"], "refused", "{shown}");
    let why = shown["reasons"]["ledger"].to_string();
    assert!(why.contains("redis.url leads to a replica"), "{why}");
    until("it is said", || told(&engine, "redis does not lend") == 1);
    fixture.redis.promote();
    until("it lends", || health()["checks"]["ledger"] == "ok");
    engine.sale("phone", 10, "");
    sell(&[&engine], "phone", 10);
}

#[test]
fn a_redis_that_lacks_a_right_or_a_command_is_refused_with_its_name() {
    let fixture = Fixture::with(RedisServer::start_with(&["--rename-command", "XINFO", ""]));
    let launch = |url: &str, stream: &str| {
        abilities::refusal(&[
            ("POSTGRES__URL", &fixture.database_url),
            ("NODE__ID", "1"),
            ("REDIS__URL", url),
            ("RELAY__STREAM", stream),
        ])
    };
    let said = launch(&fixture.redis.url(), "seckill:events");
    assert!(said.contains("(XINFO)") && said.contains("Redis 5.0"), "{said}");
    let whole = Fixture::open();
    whole.redis.command("ACL SETUSER weak on >secret ~seckill:* +@all -hset -xadd");
    let url = format!("redis://weak:secret@{}", whole.redis.address());
    let said = launch(&url, "seckill:events");
    assert!(said.contains("(HSET, XADD)") && said.contains("ACL line"), "{said}");
    whole.redis.command("ACL SETUSER weak +@all");
    let said = launch(&url, "shop:events");
    assert!(said.contains("shop:events") && said.contains("ACL line"), "{said}");
    assert_eq!(whole.redis.command("EXISTS shop:events"), "0\n");
}
