//! Several writers at work while the way to the store breaks in every way, one after the other.

use std::time::Duration;

use seckill::admission::Intake;
use seckill::orders::postgres::PostgresSettings;
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::{Mode, Proxy};

use super::engine::Engine;
use super::node::{Node, settings};

/// Between two faults the writers commit for so long.
const LULL: Duration = Duration::from_millis(200);

#[test]
fn several_writers_lose_nothing_however_the_way_to_the_store_breaks() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let proxy = Proxy::to(postgres.address());
    let impatient = PostgresSettings {
        connect_wait_ms: 1_000,
        lock_wait_ms: 500,
        statement_wait_ms: 1_000,
        ..settings(&postgres.url_at(proxy.address(), database))
    };
    let engine = Engine::open_with(1, &impatient, 100_000, false);
    let acknowledged = engine.sell_while(|| {
        for _ in 0..2 {
            // Answers to commits get lost; commits get lost; nothing comes and nobody says so.
            for mode in [Mode::LoseAnswers, Mode::LoseRequests, Mode::Silence] {
                std::thread::sleep(LULL);
                proxy.set(mode);
                engine.until_intake_is(Intake::Stalled);
                proxy.set(Mode::Pass);
                engine.until_intake_is(Intake::Open);
            }
            // Commits arrive long after they were given up, and made again elsewhere.
            std::thread::sleep(LULL);
            proxy.set(Mode::HoldRequests);
            engine.until_intake_is(Intake::Stalled);
            engine.until_intake_is(Intake::Open);
            proxy.set(Mode::Pass);
            // Somebody holds the row that every batch writes.
            std::thread::sleep(LULL);
            std::thread::scope(|scope| {
                let hold = "BEGIN; UPDATE seckill.shares SET sold = sold; SELECT pg_sleep(2); COMMIT";
                scope.spawn(|| postgres.query(database, hold));
                engine.until_intake_is(Intake::Stalled);
            });
            engine.until_intake_is(Intake::Open);
        }
        std::thread::sleep(LULL);
    });
    assert!(proxy.lost() > 0);
    engine.check_sold(&acknowledged);
    // Past the proxy, the store says the same.
    let monitor = Node::open(9, &url);
    assert_eq!(monitor.sold(engine.sale), acknowledged.len() as u64);
    assert_eq!(monitor.events().len(), acknowledged.len());
    engine.stop();
}
