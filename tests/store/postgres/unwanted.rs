//! A reading that nobody waits for any more is stopped at the server, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seckill::orders::ReadCancellation;
use seckill::orders::postgres::PostgresSettings;
use testbed::PATIENCE;
use testbed::servers::postgres::Postgres;
use tokio::sync::Semaphore;

use super::engine::Engine;
use super::node::settings;

#[test]
fn d4_audits_whose_askers_are_gone_run_no_further() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let patient = PostgresSettings { lock_wait_ms: 600_000, statement_wait_ms: 600_000, ..settings(&url) };
    let engine = Engine::open_with(1, &patient, 10, false);
    let until = |what: &str, sql: &str, wanted: &str| {
        let give_up_at = Instant::now() + PATIENCE;
        while postgres.query(database, sql) != wanted {
            assert!(Instant::now() < give_up_at, "never: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
    const HOLDING: &str = "pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(3600)%' \
                           AND pid <> pg_backend_pid()";
    std::thread::scope(|scope| {
        // Every audit waits for this, until it is stopped.
        let hold = "BEGIN; LOCK TABLE seckill.orders IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3600)";
        let holding = scope.spawn(|| {
            // It ends by being ended.
            std::panic::catch_unwind(|| postgres.query(database, hold)).is_err()
        });
        let sleeping = format!("SELECT count(*) FROM {HOLDING} AND wait_event = 'PgSleep'");
        until("the orders are locked", &sleeping, "1");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let places = Arc::new(Semaphore::new(1));
        let audits: Vec<_> = (0..12)
            .map(|_| {
                let (places, desk, sale) = (Arc::clone(&places), engine.desk.clone(), engine.sale);
                runtime.spawn(
                    async move { ReadCancellation::limited(&places, desk.audit(sale)).await.map(drop) },
                )
            })
            .collect();
        until("one of them reads, the others wait for its place", WAITING, "1");
        audits.iter().for_each(tokio::task::JoinHandle::abort);
        until("the server was told", WAITING, "0");
        let free =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, places.acquire()).await.map(drop) });
        free.expect("the place is free again");
        postgres.query(database, &format!("SELECT pg_terminate_backend(pid) FROM {HOLDING}"));
        assert!(holding.join().unwrap());
        runtime.block_on(engine.desk.audit(engine.sale)).unwrap().unwrap();
    });
    engine.stop();
}
