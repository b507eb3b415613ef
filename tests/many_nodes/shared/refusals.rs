//! A Redis that answers and refuses: at the start and on the way.

use testbed::engine::Engine;

use super::fixture::{Fixture, until};
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
