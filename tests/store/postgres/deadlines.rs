//! Deadlines that one node moves while another one expires orders.

use seckill::domain::{EpochMs, NewOrder, OrderStatus};
use seckill::orders::postgres::PostgresSettings;
use seckill::orders::{Applied, DeadlineStep, Grace, StoreReader, StoreWriter};
use testbed::servers::postgres::Postgres;
use testbed::until;

use super::gate;
use super::node::{NOW, Node, PAY_BEFORE, settings};
use crate::deadlines;

/// The lock of node 1's batches: whoever holds it keeps them where they have read and decided, and written nothing yet.
const FENCE: &str = "SELECT pg_advisory_xact_lock(1936024428, 1)";

/// Two nodes that wait for each other as long as it takes, and an order of the first.
fn two_nodes(url: &str) -> (Node, Node, NewOrder) {
    let patient = PostgresSettings { lock_wait_ms: 60_000, statement_wait_ms: 60_000, ..settings(url) };
    let [mut one, two] = [1, 2].map(|number| Node::open_with(number, &patient).unwrap());
    let sale = one.sale("a", 10, 1);
    let order = one.order(sale, "ann", 1, None);
    assert!(one.place(vec![order.clone()]).is_empty());
    (one, two, order)
}

/// Has `first` wait for what `hold` locks and lets `second` begin then. That one waits, too, or has ended before the first goes on.
fn meet<A: Send, B: Send>(
    postgres: &Postgres,
    database: &str,
    hold: &str,
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
    second_waits: bool,
) -> (A, B) {
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    gate::holding(postgres, database, hold, |let_go| {
        std::thread::scope(|scope| {
            let first = scope.spawn(first);
            until("the first waits", || postgres.query(database, waiting) == "1");
            let second = scope.spawn(second);
            until("the second has its turn", || match second_waits {
                true => postgres.query(database, waiting) == "2",
                false => second.is_finished(),
            });
            let_go();
            (first.join().unwrap(), second.join().unwrap())
        })
    })
}

fn expire(node: &mut Node, order: &NewOrder, at: EpochMs) -> Applied {
    deadlines::expire(&mut *node.writer, order, at)
}

fn gift(order: &NewOrder, by_ms: i64) -> DeadlineStep {
    let at = order.pay_before.plus_ms(-1);
    DeadlineStep::Grant(Grace::gift(Some(order.sale), at, by_ms, "sorry".into()))
}

fn extension(order: &NewOrder, by_ms: i64) -> DeadlineStep {
    DeadlineStep::Extend { order: order.id, pay_before: order.pay_before.plus_ms(by_ms), at: NOW }
}

#[test]
fn m4_an_order_whose_deadline_is_moved_while_it_is_being_expired_waits_on() {
    let postgres = Postgres::shared();
    let ways: [fn(&NewOrder, i64) -> DeadlineStep; 2] = [gift, extension];
    for moves in ways {
        let url = postgres.new_database();
        let database = url.rsplit('/').next().unwrap();
        let (mut one, mut two, order) = two_nodes(&url);
        let (expired, moved) = meet(
            &postgres,
            database,
            FENCE,
            || expire(&mut one, &order, PAY_BEFORE),
            || two.writer.move_deadlines(&moves(&order, 1_000), None).unwrap(),
            false,
        );
        assert!(moved.is_done());
        assert!(
            matches!(&expired, Applied::Refused(kept) if kept.status == OrderStatus::PrePay),
            "{expired:?}"
        );
        let late = PAY_BEFORE.plus_ms(1_000);
        assert!(matches!(expire(&mut one, &order, late), Applied::Done(_)));
        assert_eq!(two.reader.order(order.id).unwrap().unwrap().status, OrderStatus::Expired);
    }
}

#[test]
fn m4_a_gift_waits_for_the_batch_that_expires_orders() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let (mut one, mut two, order) = two_nodes(&url);
    // The batch has seen what is granted by then.
    let (expired, given) = meet(
        &postgres,
        database,
        "SELECT FROM seckill.buyers FOR UPDATE",
        || expire(&mut one, &order, PAY_BEFORE),
        || two.writer.move_deadlines(&gift(&order, 1_000), None).unwrap(),
        true,
    );
    assert!(given.is_done() && matches!(expired, Applied::Done(_)), "{expired:?}");
}

#[test]
fn m4_time_that_was_granted_counts_at_every_node_whatever_its_memory_says() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, _two, order) = two_nodes(&url);
    deadlines::an_order_does_not_expire_in_time_that_memory_has_not_heard_of(&mut *one.writer, &order);
}

#[test]
fn m4_two_gifts_of_one_moment_are_two_and_one_whose_answer_was_lost_is_one() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, _two, order) = two_nodes(&url);
    deadlines::gifts_of_one_moment_all_count(&mut *one.writer, &one.reader, order.sale);
    let granted = one.reader.graces().unwrap();
    // As after an answer that was lost: the act is the same.
    one.writer.move_deadlines(&gift(&order, 10), Some(&deadlines::act(1))).unwrap();
    assert_eq!(one.reader.graces().unwrap(), granted);
}
