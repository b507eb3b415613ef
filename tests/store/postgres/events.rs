//! A reader of events that goes on from the last number misses none, whoever commits at the same time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use seckill::domain::{OrderAction, OrderId};
use seckill::orders::{Batch, EventKind, StoreReader, StoreWriter, Transition};
use testbed::servers::postgres::Postgres;

use super::node::{NOW, Node};

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
                let after = seen.last().map_or(0, |event: &seckill::orders::Event| event.seq);
                let page = follower.reader.events_after(after, 50).unwrap();
                if page.is_empty() && over {
                    return seen;
                }
                seen.extend(page);
            }
        });
        let writing: Vec<_> = nodes
            .iter_mut()
            .map(|node| {
                let sales = &sales;
                scope.spawn(move || {
                    let mut last: Vec<OrderId> = Vec::new();
                    for round in 0..40usize {
                        let placed: Vec<_> = (0..5)
                            .map(|n| {
                                let buyer = format!("buyer-{}-{round}-{n}", node.id.number());
                                node.order(sales[(round + n) % sales.len()], &buyer, 1, None)
                            })
                            .collect();
                        let cancel = |order| Transition::plain(order, OrderAction::Cancel, NOW);
                        let transitions = last.drain(..).map(cancel).collect();
                        last.extend(placed.iter().map(|order| order.id));
                        node.writer.commit(&Batch { placed, transitions, ..Batch::default() }).unwrap();
                    }
                })
            })
            .collect();
        writing.into_iter().for_each(|writer| writer.join().unwrap());
        finished.store(true, Ordering::SeqCst);
        reading.join().unwrap()
    });
    assert!(seen.iter().map(|event| event.seq).eq(1..=4 * (40 * 5 + 39 * 5)));
    let mut created_at = HashMap::new();
    for event in &seen {
        match event.kind {
            EventKind::Created => assert_eq!(created_at.insert(event.order.placed.id, event.seq), None),
            _ => assert!(created_at[&event.order.placed.id] < event.seq, "created before cancelled"),
        }
    }
}
