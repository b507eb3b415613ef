//! A gate at which commits that have changed a sale wait, so that one of their answers can be lost; and sessions that hold what
//! others wait for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use testbed::PATIENCE;
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::{Mode, Proxy};
use testbed::until;

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

/// Does `during` while a session has what the statement `hold` locks, or until it calls what it is given.
pub fn holding<T>(postgres: &Postgres, database: &str, hold: &str, during: impl FnOnce(&dyn Fn()) -> T) -> T {
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let hold = format!("BEGIN; {hold}; SELECT pg_sleep(120)");
            // It ends by being ended.
            catch_unwind(AssertUnwindSafe(|| postgres.query(database, &hold))).is_err()
        });
        let session = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        until("it is held", || postgres.query(database, &format!("SELECT count(*) {session}")) == "1");
        let let_go = || {
            postgres.query(database, &format!("SELECT pg_terminate_backend(pid) {session}"));
        };
        let done = during(&let_go);
        let_go();
        assert!(holder.join().unwrap());
        done
    })
}
