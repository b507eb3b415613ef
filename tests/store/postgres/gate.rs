//! A gate at which commits that have changed a sale wait, so that one of their answers can be lost.

use std::time::Instant;

use testbed::PATIENCE;
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::{Mode, Proxy};

/// Makes the gate.
pub fn build(postgres: &Postgres, database: &str) {
    postgres.query(
        database,
        "CREATE TABLE gate (); \
         CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             WHILE NOT EXISTS (SELECT FROM public.gate) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NULL; \
         END $$; \
         CREATE CONSTRAINT TRIGGER gate AFTER UPDATE ON seckill.sales DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION wait_at_gate()",
    );
}

/// Does `work`, which commits a change of a sale through the proxy, and loses the answer to that commit.
pub fn losing_the_answer<T: Send>(
    postgres: &Postgres,
    database: &str,
    proxy: &Proxy,
    work: impl FnOnce() -> T + Send,
) -> T {
    postgres.query(database, "DELETE FROM gate");
    let outcome = std::thread::scope(|scope| {
        let working = scope.spawn(work);
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE state = 'active' AND query = 'COMMIT' AND datname = current_database()";
        let give_up_at = Instant::now() + PATIENCE;
        while postgres.query(database, waiting) != "1" {
            assert!(Instant::now() < give_up_at, "the commit does not come");
        }
        proxy.set(Mode::LoseAnswers);
        postgres.query(database, "INSERT INTO gate DEFAULT VALUES");
        working.join().unwrap()
    });
    proxy.set(Mode::Pass);
    outcome
}
