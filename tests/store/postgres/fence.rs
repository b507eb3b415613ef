//! Lives of nodes and epochs of sales.

use std::time::Instant;

use seckill::domain::{KnownNode, NodeId};
use seckill::orders::postgres::PostgresSettings;
use seckill::orders::{Batch, LeaseStore, Receipt, StoreReader, StoreWriter};
use testbed::PATIENCE;
use testbed::servers::postgres::Postgres;

use super::node::{Node, settings, stored};

#[test]
fn a_node_whose_life_was_ended_commits_nothing_until_it_begins_another() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, two) = (Node::open(1, &url), Node::open(2, &url));
    let sale = one.sale("a", 10, 1);
    one.buy(sale, "ann", None).unwrap();
    let seen = one.lease_store.incarnation();
    let ended = two.lease_store.end_life(one.id, seen).unwrap().unwrap();
    assert!(ended > seen);
    assert_eq!(two.lease_store.end_life(one.id, seen).unwrap(), None, "it is over");
    let known = |node: &Node, incarnation, may_live| KnownNode { node: node.id, incarnation, may_live };
    let life_of_two = two.lease_store.incarnation();
    let lives = two.lease_store.incarnations().unwrap();
    assert_eq!(lives, [known(&one, ended, false), known(&two, life_of_two, true)]);
    let batch = Batch { placed: vec![one.order(sale, "bob", 1, None)], ..Batch::default() };
    assert_eq!(one.writer.commit(&batch).unwrap(), Receipt::Fenced { life: seen });
    assert_eq!(one.reader.order(batch.placed[0].id).unwrap(), None);
    assert_eq!(two.settled_by(sale, one.id), 1);
    assert!(one.lease_store.begin_life(0).unwrap() > ended);
    one.buy(sale, "bob", None).unwrap();
    assert_eq!(two.settled_by(sale, one.id), 2);
    let lives = two.lease_store.incarnations().unwrap();
    let life_of_one = one.lease_store.incarnation();
    assert_eq!(lives, [known(&one, life_of_one, true), known(&two, life_of_two, true)]);
    one.writer.close().unwrap();
    assert!(!two.lease_store.incarnations().unwrap()[0].may_live, "it has left");
}

#[test]
fn a_second_engine_with_the_same_number_shuts_the_first_one_out() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut first = Node::open(7, &url);
    let sale = first.sale("a", 10, 1);
    let mut second = Node::open(7, &url);
    let life = first.lease_store.incarnation();
    let batch = Batch { placed: vec![first.order(sale, "ann", 1, None)], ..Batch::default() };
    assert_eq!(first.writer.commit(&batch).unwrap(), Receipt::Fenced { life });
    second.buy(sale, "ann", None).unwrap();
}

#[test]
fn n1_n11_the_life_that_was_seen_is_ended_and_no_later_one() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (one, two) = (Node::open(1, &url), Node::open(2, &url));
    let seen = one.lease_store.incarnation();
    // It was found silent, and has come back before it is fenced.
    let mut one = Node::open(1, &url);
    assert_eq!(two.lease_store.end_life(one.id, seen).unwrap(), None);
    let sale = one.sale("a", 10, 1);
    one.buy(sale, "ann", None).unwrap();
    // A book may know a later life than a store that was put back to an older state.
    let known = one.lease_store.incarnation() + 5;
    assert_eq!(one.lease_store.begin_life(known).unwrap(), known + 1);
    one.buy(sale, "bob", None).unwrap();
    assert_eq!(two.lease_store.end_life(one.id, known + 3).unwrap(), Some(known + 4));
    let nobody = NodeId::new(9).unwrap();
    assert_eq!(two.lease_store.end_life(nobody, 7).unwrap(), Some(8), "of a database that does not know it");
}

#[test]
fn ending_a_life_waits_for_the_batch_that_is_being_committed() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let patient = PostgresSettings { lock_wait_ms: 60_000, statement_wait_ms: 60_000, ..settings(&url) };
    let open = |number| Node::open_with(number, &patient).unwrap();
    let (mut one, two) = (open(1), open(2));
    let sale = one.sale("a", 10, 1);
    let (node, life) = (one.id, one.lease_store.incarnation());
    let database = url.rsplit('/').next().unwrap();
    std::thread::scope(|scope| {
        // Somebody holds the sale's row; the batch is in the middle of its transaction.
        let holder = scope.spawn(|| {
            let hold = format!(
                "BEGIN; UPDATE seckill.sales SET sold = sold WHERE sale_id = {}; SELECT pg_sleep(120)",
                sale.0
            );
            // It ends by being ended.
            std::panic::catch_unwind(|| postgres.query(database, &hold)).is_err()
        });
        let sessions = "FROM pg_stat_activity WHERE datname = current_database() AND";
        let until = |who: &str, wanted: &str| {
            let give_up_at = Instant::now() + PATIENCE;
            while postgres.query(database, &format!("SELECT count(*) {sessions} {who}")) != wanted {
                assert!(Instant::now() < give_up_at, "{wanted} never wait: {who}");
            }
        };
        const HOLDING: &str = "wait_event = 'PgSleep'";
        const WAITING: &str = "wait_event_type = 'Lock'";
        until(HOLDING, "1");
        let batch = scope.spawn(|| one.buy(sale, "ann", None));
        until(WAITING, "1");
        let counted = scope.spawn(|| {
            two.lease_store.end_life(node, life).unwrap();
            // What counts is that the number does not grow after the life has ended.
            two.settled_by(sale, node)
        });
        until(WAITING, "2");
        postgres.query(database, &format!("SELECT pg_terminate_backend(pid) {sessions} {HOLDING}"));
        assert!(holder.join().unwrap());
        assert!(batch.join().unwrap().is_ok());
        assert_eq!(counted.join().unwrap(), 1);
    });
}

#[test]
fn n6_an_epoch_is_given_to_one_who_opens_it_and_to_no_other() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, two) = (Node::open(1, &url), Node::open(2, &url));
    let sale = one.sale("a", 10, 1);
    let epoch = one.lease_store.units(sale).unwrap().unwrap().epoch;
    let next = one.lease_store.end_epoch(sale, epoch).unwrap().unwrap();
    assert!(next > epoch);
    let another = two.lease_store.end_epoch(sale, epoch).unwrap().unwrap();
    assert!(another > next, "{another} after {next}");
    // A book that is ahead of the store, which was put back to an older state.
    let ahead = one.lease_store.end_epoch(sale, another + 5).unwrap().unwrap();
    assert!(ahead > another + 5, "{ahead}");
    assert_eq!(two.lease_store.units(sale).unwrap().unwrap().epoch, ahead);
    let unknown = seckill::domain::SaleId(stored(&one, sale).id.0 + 1);
    assert_eq!(two.lease_store.end_epoch(unknown, 1).unwrap(), None);
    assert_eq!(two.lease_store.units(unknown).unwrap(), None);
}
