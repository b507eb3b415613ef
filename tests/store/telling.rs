//! What only the trail is told, on its way through the writer.

use rusqlite::Connection;
use seckill::admission::Resolution;
use seckill::orders::ActKind;
use testbed::until;

use crate::retirement::act;
use crate::writer::{Fixture, Held, Options};

#[test]
fn all_that_is_told_in_a_round_is_one_transaction_behind_its_purchases() {
    const TOLD: i64 = 30;
    // A held store looks slow, not busy: the intake stays open.
    let fixture = Fixture::with_sale(10, &Options { lock_wait_ms: 600_000, ..Options::default() });
    let held = Held::by_a_stranger(fixture.folder.path());
    let (_, first) = fixture.place("ann");
    until("the writer has taken the first", || fixture.admission.queue().depth() == 0);
    // What comes now is one round, and the trail takes a part of it only.
    let told: Vec<_> = (0..TOLD)
        .map(|at| {
            let (desk, act) = (fixture.desk.clone(), act(ActKind::ActRefused, at));
            fixture.runtime.spawn(async move { desk.tell(act).await })
        })
        .collect();
    until("all of them wait", || fixture.desk.steps_waiting() == told.len());
    let (_, second) = fixture.place("bob");
    let full = "CREATE TRIGGER trail_full BEFORE INSERT ON trail WHEN (SELECT count(*) FROM trail) >= 9 \
                BEGIN SELECT RAISE(ABORT, 'it is full'); END";
    held.0.execute_batch(full).unwrap();
    held.let_go();
    for ticket in [first, second] {
        assert_eq!(fixture.wait(ticket.resolved()), Resolution::Durable);
    }
    for telling in told {
        assert!(!fixture.wait(telling).unwrap().unwrap_err().is_transient());
    }
    assert!(fixture.writer.join().unwrap().is_err(), "the process must end");
    let plain = Connection::open(fixture.folder.path().join("orders.sqlite")).unwrap();
    let kept: i64 = plain.query_row("SELECT count(*) FROM trail", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0, "all of them or none");
}
