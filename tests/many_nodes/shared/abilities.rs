//! What an engine says at its start to a PostgreSQL that lacks something: one message, with what to do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use testbed::engine::{Engine, Launch};
use testbed::servers::engine::binary;
use testbed::servers::pgbouncer::PgBouncer;
use testbed::servers::postgres::Postgres;

use super::fixture::{Fixture, until};
use super::refusals::told;

/// What an engine on this database says that does not start for good.
pub fn refusal(keys: &[(&str, &str)]) -> String {
    let (code, said) = Launch::new(keys).start_refused();
    assert_eq!(code, Some(78), "{said}");
    said
}

/// The statements that a refusal says to run.
fn statements(said: &str) -> &str {
    let (_, statements) = said.rsplit_once("run: ").unwrap_or_else(|| panic!("what to run in: {said}"));
    statements.trim_end()
}

/// The page's lines that make a user who only sells.
fn grants_of_the_page(user: &str) -> String {
    let page = include_str!("../../../src/ledger/NODES.md");
    let lines = page.lines().filter(|line| line.ends_with(" TO seller;"));
    let lines: Vec<_> = lines.map(|line| line.replace("TO seller", &format!("TO {user}"))).collect();
    assert!(lines.len() >= 3, "{lines:?}");
    lines.concat()
}

fn sells(engine: &Engine) {
    engine.sale("a", 2, "");
    assert_eq!(engine.buy("a", "ann").status, 201);
    let order = engine.buy("a", "bob").member("order_id");
    assert_eq!(engine.ask("DELETE", &format!("/orders/{order}"), "bob", "", "").status, 200);
    let body = r#"{"reason":"a test"}"#;
    assert_eq!(engine.admin("POST", "/api/v1/campaigns/test/a/pause", body).status, 200);
}

#[test]
fn a_user_who_may_not_make_the_tables_hears_what_to_grant() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    postgres.query(database, "CREATE ROLE maker LOGIN");
    let as_maker = url.replace("postgres@", "maker@");
    let said = refusal(&[("POSTGRES__URL", &as_maker)]);
    assert!(said.contains("the user maker may not make the tables"), "{said}");
    postgres.query(database, statements(&said));
    sells(&Engine::start(&[("POSTGRES__URL", &as_maker)]));
}

#[test]
fn a_user_who_may_not_sell_from_the_tables_hears_what_to_grant() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    Engine::start(&[("POSTGRES__URL", &url)]).terminate();
    postgres.query(database, "CREATE ROLE clerk LOGIN; CREATE ROLE guest LOGIN");
    let as_clerk = url.replace("postgres@", "clerk@");
    let said = refusal(&[("POSTGRES__URL", &as_clerk)]);
    assert!(said.contains("GRANT USAGE ON SCHEMA seckill TO clerk"), "{said}");
    postgres.query(database, statements(&said));
    postgres.query(database, "REVOKE UPDATE, DELETE ON seckill.orders FROM clerk");
    let said = refusal(&[("POSTGRES__URL", &as_clerk)]);
    assert_eq!(statements(&said), "GRANT UPDATE, DELETE ON seckill.orders TO clerk", "only what is missing");
    postgres.query(database, statements(&said));
    sells(&Engine::start(&[("POSTGRES__URL", &as_clerk)]));

    // The lines of the page are enough as well.
    postgres.query(database, &grants_of_the_page("guest"));
    let as_guest = url.replace("postgres@", "guest@");
    let engine = Engine::start(&[("POSTGRES__URL", &as_guest)]);
    assert_eq!(engine.buy("a", "cid").member("code"), "sale-paused");
    engine.terminate();

    // Whoever may only sell cannot bring them up to date.
    let newest = "(SELECT max(version) FROM seckill.version)";
    postgres.query(database, &format!("DELETE FROM seckill.version WHERE version = {newest}"));
    let said = refusal(&[("POSTGRES__URL", &as_guest)]);
    assert!(said.contains("bring them up to date") && said.contains("GRANT postgres TO guest"), "{said}");
}

#[test]
fn who_may_not_enter_at_all_hears_that_at_once() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    postgres.query(database, "CREATE ROLE outsider LOGIN");
    postgres.query(database, &format!("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC"));
    let said = refusal(&[("POSTGRES__URL", &url.replace("postgres@", "outsider@"))]);
    assert!(said.contains("permission denied for database") && said.contains("GRANT CONNECT"), "{said}");
    let said = refusal(&[("POSTGRES__URL", &format!("{url}_not"))]);
    assert!(said.contains("does not exist") && said.contains("create the database"), "{said}");
    let said = refusal(&[("POSTGRES__URL", &format!("{url}?sslmode=require"))]);
    assert!(said.contains("does not support TLS") && said.contains("sslmode"), "{said}");
}

#[test]
fn a_pooler_is_told_by_what_it_does_with_sessions() {
    let postgres = Postgres::shared();
    let database = postgres.new_database().rsplit('/').next().unwrap().to_owned();
    for mode in ["transaction", "statement"] {
        let pooler = PgBouncer::start(postgres.address(), mode, "");
        let said = refusal(&[("POSTGRES__URL", &postgres.url_at(pooler.address(), &database))]);
        assert!(said.contains("pool_mode = session"), "{mode}: {said}");
    }
    let pooler = PgBouncer::start(postgres.address(), "session", "");
    sells(&Engine::start(&[("POSTGRES__URL", &postgres.url_at(pooler.address(), &database))]));
}

/// A line to a server that gives itself out for PostgreSQL 9.
fn disguised(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(target).unwrap();
            let lines =
                [(client.try_clone().unwrap(), server.try_clone().unwrap(), false), (server, client, true)];
            for (mut from, mut to, disguises) in lines {
                std::thread::spawn(move || {
                    let mut piece = [0; 64 << 10];
                    while let Ok(length @ 1..) = from.read(&mut piece) {
                        const NAME: &[u8] = b"server_version\0";
                        let found = piece[..length].windows(NAME.len()).position(|word| word == NAME);
                        if let Some(place) = found.filter(|_| disguises) {
                            piece[place + NAME.len()..][..2].copy_from_slice(b"09");
                        }
                        if to.write_all(&piece[..length]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    address
}

#[test]
fn a_server_that_is_too_old_is_told_before_anything_is_asked_of_it() {
    let postgres = Postgres::shared();
    let database = postgres.new_database().rsplit('/').next().unwrap().to_owned();
    let url = postgres.url_at(disguised(postgres.address()), &database);
    let said = refusal(&[("POSTGRES__URL", &url)]);
    assert!(said.contains("is PostgreSQL 09") && said.contains("the oldest that serves is 13"), "{said}");
}

#[test]
fn a_server_that_does_not_keep_what_it_acknowledges_is_shown_until_it_does() {
    let postgres = Postgres::start("fsync = off\nsynchronous_commit = off");
    let engine = Engine::start(&[("POSTGRES__URL", &postgres.new_database())]);
    let health = || engine.admin("GET", "/healthz", "").json();
    let shown = health();
    assert_eq!(shown["status"], "degraded", "{shown}");
    assert!(shown["reasons"]["store-not-durable"].as_str().unwrap().contains("fsync = off"), "{shown}");
    let metrics = engine.admin("GET", "/metrics", "").body;
    assert!(metrics.contains(r#"seckill_store_concern{code="store-not-durable"} 1"#), "{metrics}");
    until("it is said once", || told(&engine, "fsync = off") == 1);
    until("it is said", || told(&engine, "synchronous_commit = off does not count") == 1);
    assert_eq!(engine.admin("GET", "/readyz", "").status, 200, "it sells all the same");
    postgres.query("postgres", "ALTER SYSTEM SET fsync = on");
    postgres.query("postgres", "SELECT pg_reload_conf()");
    until("it is over", || health()["status"] == "ok");
    until("its end is said", || told(&engine, "this is over") == 1);
}

/// What `seckill check-config --servers` says, and its exit code.
fn asked(database_url: &str, redis_url: &str) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.args(["check-config", "--servers", "--database-url", database_url, "--redis-url", redis_url]);
    let output = command.env("SECKILL__POSTGRES__CONNECT_WAIT_MS", "30000").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn the_servers_are_asked_without_a_start() {
    let fixture = Fixture::open();
    let (url, redis_url) = (fixture.database_url.as_str(), fixture.redis.url());
    let (code, said) = asked(url, &redis_url);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("# PostgreSQL: an engine can sell") && said.contains("# Redis: it lends"),
        "{said}"
    );
    assert_eq!(
        fixture.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'seckill'"),
        "0",
        "looks only"
    );
    assert_eq!(fixture.redis.command("DBSIZE"), "0\n");

    fixture.query("CREATE ROLE viewer LOGIN");
    let (code, said) = asked(&url.replace("postgres@", "viewer@"), "redis://127.0.0.1:1");
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("GRANT CREATE ON DATABASE") && said.contains("redis does not answer"), "{said}");
    let (code, said) = asked(url, "redis://127.0.0.1:1");
    assert_eq!(code, Some(69), "{said}");
}
