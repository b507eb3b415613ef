//! Who may sell from one database, and what an engine says that may not.

use testbed::engine::{Engine, Launch};

use super::fixture::Fixture;

/// What an engine that does not start says.
pub fn refusal(keys: &[(&str, &str)]) -> String {
    let (code, said) = Launch::new(&[&[("POSTGRES__SEAT_WAIT_MS", "300")], keys].concat()).start_refused();
    assert_ne!(code, Some(0), "{said}");
    said
}

#[test]
fn an_engine_without_redis_has_the_database_alone() {
    let fixture = Fixture::open();
    let (url, redis) = (fixture.database_url.as_str(), fixture.redis.url());
    let alone = Engine::start(&[("POSTGRES__URL", url)]);
    let second = refusal(&[("POSTGRES__URL", url), ("NODE__ID", "1")]);
    assert!(second.contains("redis.url") && second.contains("seckill node 0 at 127.0.0.1"), "{second}");
    let shared = refusal(&[("POSTGRES__URL", url), ("NODE__ID", "1"), ("REDIS__URL", &redis)]);
    assert!(shared.contains("without redis.url"), "{shared}");
    // It starts again at once after a kill, and gives its place up when it ends.
    let (status, _) = alone.kill().start().terminate();
    assert!(status.success());
    fixture.start(1);
}

#[test]
fn two_engines_with_one_number_are_refused() {
    let fixture = Fixture::open();
    let one = fixture.start(1);
    let (url, redis) = (fixture.database_url.as_str(), fixture.redis.url());
    let second = refusal(&[("POSTGRES__URL", url), ("NODE__ID", "1"), ("REDIS__URL", &redis)]);
    assert!(second.contains("runs as node 1") && second.contains("node.id"), "{second}");
    let alone = refusal(&[("POSTGRES__URL", url), ("NODE__ID", "2")]);
    assert!(alone.contains("without redis.url only one engine may"), "{alone}");
    assert_eq!(one.admin("GET", "/readyz", "").status, 200, "the first one is not disturbed");
}

#[test]
fn redis_without_postgresql_is_refused() {
    let said = refusal(&[("REDIS__URL", "redis://127.0.0.1:1")]);
    assert!(said.contains("redis.url") && said.contains("postgres.url"), "{said}");
}
