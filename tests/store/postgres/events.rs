//! A reader of events that goes on from the last number misses none, whoever commits and whoever numbers at the same time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use seckill::domain::{OrderAction, OrderId};
use seckill::orders::postgres::{Exclusivity, InstanceLock};
use seckill::orders::{Batch, DeadlineStep, EventKind, LeaseStore, StoreReader, StoreWriter, Transition};
use testbed::servers::postgres::Postgres;
use testbed::{PATIENCE, until};

use super::engine::Engine;
use super::node::{NOW, Node, PAY_BEFORE, number_events, settings};

const NODES: usize = 4;
const ROUNDS: usize = 40;

/// Each node gives up what the one before it has sold, as soon as it hears of it.
#[test]
fn a_reader_that_follows_while_several_nodes_commit_sees_every_event_once_and_in_order() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut nodes: Vec<_> = (1..=4).map(|number| Node::open(number, &url)).collect();
    let follower = Node::open(9, &url);
    let sales: Vec<_> = (0..3).map(|n| nodes[0].sale(&format!("sku-{n}"), 100_000, 1)).collect();
    let finished = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen = Vec::new();
            loop {
                let over = finished.load(Ordering::SeqCst);
                if over {
                    number_events(&url);
                }
                let after = seen.last().map_or(0, |event: &seckill::orders::Event| event.seq);
                let page = follower.reader.events_after(after, 50).unwrap();
                if page.is_empty() && over {
                    return seen;
                }
                seen.extend(page);
            }
        });
        // Two that both believe to be the one.
        for _ in 0..2 {
            scope.spawn(|| {
                while !finished.load(Ordering::SeqCst) {
                    number_events(&url);
                }
            });
        }
        let (mut to_next, from_last): (Vec<_>, Vec<_>) =
            (0..NODES).map(|_| mpsc::channel::<Vec<OrderId>>()).unzip();
        to_next.rotate_left(1);
        let writing: Vec<_> = nodes
            .iter_mut()
            .zip(to_next.into_iter().zip(from_last))
            .map(|(node, (to_next, from_last))| {
                let sales = &sales;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let placed: Vec<_> = (0..5)
                            .map(|n| {
                                let buyer = format!("buyer-{}-{round}-{n}", node.id.number());
                                node.order(sales[(round + n) % sales.len()], &buyer, 1, None)
                            })
                            .collect();
                        let ids = placed.iter().map(|order| order.id).collect();
                        node.writer.commit(&Batch { placed, ..Batch::default() }).unwrap();
                        to_next.send(ids).unwrap();
                        let cancel = |order| Transition::plain(order, OrderAction::Cancel, NOW);
                        let transitions = from_last.recv().unwrap().into_iter().map(cancel).collect();
                        node.writer.commit(&Batch { transitions, ..Batch::default() }).unwrap();
                    }
                })
            })
            .collect();
        let written: Vec<_> = writing.into_iter().map(|writer| writer.join()).collect();
        finished.store(true, Ordering::SeqCst);
        written.into_iter().for_each(|written| written.unwrap());
        reading.join().unwrap()
    });
    assert!(seen.iter().map(|event| event.seq).eq(1..=(NODES * ROUNDS * 10) as u64));
    let mut created_at = HashMap::new();
    for event in &seen {
        match event.kind {
            EventKind::Created => assert_eq!(created_at.insert(event.order.placed.id, event.seq), None),
            _ => assert!(created_at[&event.order.placed.id] < event.seq, "created before cancelled"),
        }
    }
}

#[test]
fn steps_of_one_order_at_several_nodes_are_numbered_as_they_happened() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut nodes: Vec<_> = (1..=3).map(|number| Node::open(number, &url)).collect();
    let sale = nodes[0].sale("a", 10, 1);
    let order = nodes[0].buy(sale, "ann", None).unwrap();
    // Of a higher code than the step that ends the order.
    let extend = DeadlineStep::Extend { order, pay_before: PAY_BEFORE.plus_ms(1_000), at: NOW };
    nodes[1].writer.move_deadlines(&extend, None).unwrap();
    nodes[2].writer.move_deadlines(&DeadlineStep::Tell { orders: vec![order], at: NOW }, None).unwrap();
    nodes[1].step(order, OrderAction::Cancel);
    let told: Vec<_> = nodes[0].events().iter().map(|event| (event.seq, event.kind)).collect();
    let kinds = [EventKind::Created, EventKind::Extended, EventKind::Extended, EventKind::Cancelled];
    assert!(told.into_iter().eq((1..).zip(kinds)));
}

#[test]
fn an_event_whose_commit_comes_long_after_later_ones_is_numbered_then() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 100, 1);
    let order = node.buy(sale, "ann", None).unwrap();
    std::thread::scope(|scope| {
        let late = scope.spawn(|| {
            let sql = format!(
                "BEGIN; INSERT INTO seckill.unplaced_events (kind, at_ms, order_ids) VALUES (4, 0, ARRAY[{}]); \
                 DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'gate') \
                 LOOP PERFORM pg_sleep(0.01); END LOOP; END $$; COMMIT",
                order.number()
            );
            postgres.query(database, &sql)
        });
        let stamped = "SELECT last_value FROM seckill.event_stamps";
        until("the stamp is drawn", || postgres.query(database, stamped) == "2");
        // Often enough for the sequencer to look no more at stamps that it holds for settled.
        for n in 0..10 {
            node.buy(sale, &format!("buyer-{n}"), None).unwrap();
            assert_eq!(node.events().len(), n + 2);
        }
        postgres.query(database, "CREATE TABLE gate ()");
        late.join().unwrap();
    });
    let last = node.events().pop().unwrap();
    assert_eq!((last.seq, last.kind), (12, EventKind::Extended));
    // And what is settled is not looked at any more.
    for n in 10..13 {
        node.buy(sale, &format!("buyer-{n}"), None).unwrap();
        node.events();
    }
    assert_ne!(postgres.query(database, "SELECT placed_through FROM seckill.event_log"), "0");
}

#[test]
fn memory_is_not_held_to_know_an_order_whose_event_has_no_number_yet() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (one, mut two) = (Engine::open(1, &url, 10, true), Engine::open(2, &url, 10, true));
    two.catch_up();
    one.own("ann");
    let bought = Instant::now();
    assert_eq!(two.follower.catch_up().unwrap(), 0);
    assert!(two.lease_store.followed_until().is_none_or(|until| until < bought));
    assert_eq!(two.catch_up(), 1);
    two.catch_up();
    assert!(two.lease_store.followed_until().is_some_and(|until| until > bought));
    one.stop();
    two.stop();
}

/// The engine that numbers events dies, and another goes on; one that has the database alone needs no other.
#[test]
fn the_next_engine_numbers_events_when_the_one_that_did_is_gone() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut nodes: Vec<_> = (1..=2).map(|number| Node::open(number, &url)).collect();
    let sale = nodes[0].sale("a", 10, 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let keep = |node: &Node, exclusivity| {
        let taken = runtime.block_on(InstanceLock::take(&settings(&url), node.id, exclusivity)).unwrap();
        runtime.spawn(taken.keep())
    };
    let mut numbered = 0;
    let mut sells_one = |node: &mut Node| {
        numbered += 1;
        node.buy(sale, &format!("buyer-{numbered}"), None).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while node.reader.events_after(0, 100).unwrap().len() < numbered {
            assert!(Instant::now() < deadline, "nobody numbers event {numbered}");
        }
    };
    let first = keep(&nodes[0], Exclusivity::Shared);
    sells_one(&mut nodes[0]);
    let second = keep(&nodes[1], Exclusivity::Shared);
    sells_one(&mut nodes[1]);
    first.abort();
    sells_one(&mut nodes[1]);
    second.abort();
    let database = url.rsplit('/').next().unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = \
                (SELECT oid FROM pg_database WHERE datname = current_database())";
    until("the locks are let go", || postgres.query(database, held) == "0");
    let alone = keep(&nodes[0], Exclusivity::Alone);
    sells_one(&mut nodes[0]);
    alone.abort();
}
