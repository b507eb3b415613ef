//! The per-buyer limit and the idempotency keys hold across nodes.

use seckill::domain::{OrderAction, OrderStatus};
use seckill::orders::{
    Applied, Batch, LeaseStore, Receipt, RefusalReason, StoreReader, StoreWriter, Transition,
};
use testbed::servers::postgres::Postgres;

use super::node::{NOW, Node};

fn standing(refused: RefusalReason) -> seckill::domain::Order {
    match refused {
        RefusalReason::BuyerLimit(Some(order)) => *order,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_buyer_who_bought_at_one_node_hears_of_that_order_at_another() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (Node::open(1, &url), Node::open(2, &url));
    let sale = one.sale("a", 10, 1);
    let first = one.buy(sale, "ann", None).unwrap();
    let order = standing(two.buy(sale, "ann", None).unwrap_err());
    assert_eq!((order.placed.id, order.status), (first, OrderStatus::PrePay));
    assert_eq!(order.placed.id.node(), one.id);
    // The other purchases of the same batch are not touched.
    let batch = vec![two.order(sale, "ann", 1, None), two.order(sale, "bob", 1, None)];
    let bobs = batch[1].id;
    let refused = two.place(batch);
    assert_eq!(refused.len(), 1);
    assert!(one.reader.order(bobs).unwrap().is_some());
    assert_eq!(one.reader.order(refused[0].order).unwrap(), None, "nothing of it is kept");
    assert_eq!(two.sold(sale), 2);
}

#[test]
fn a_limit_of_several_units_is_used_up_order_by_order_even_within_one_batch() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (Node::open(1, &url), Node::open(2, &url));
    let sale = one.sale("a", 100, 3);
    one.buy(sale, "ann", None).unwrap();
    let batch = vec![
        two.order(sale, "ann", 1, None),
        two.order(sale, "bob", 2, None),
        two.order(sale, "ann", 1, None),
        two.order(sale, "ann", 1, None),
        two.order(sale, "bob", 2, None),
    ];
    let ids: Vec<_> = batch.iter().map(|order| order.id).collect();
    let mut refused: Vec<_> =
        two.place(batch).into_iter().map(|it| (it.order, standing(it.reason).placed.id)).collect();
    refused.sort_unstable();
    assert_eq!(refused, [(ids[3], ids[2]), (ids[4], ids[1])], "the latest order that stands is named");
    assert_eq!(one.sold(sale), 5);
    let too_many = one.order(sale, "cid", 4, None);
    let refused = one.place(vec![too_many]);
    assert_eq!(refused[0].reason, RefusalReason::BuyerLimit(None));
    assert_eq!(one.sold(sale), 5);
}

#[test]
fn units_given_back_at_one_node_may_be_bought_again_at_another() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (Node::open(1, &url), Node::open(2, &url));
    let sale = one.sale("a", 10, 1);
    for action in [OrderAction::Cancel, OrderAction::Expire] {
        let order = one.buy(sale, "ann", None).unwrap();
        assert!(matches!(two.step(order, action), Applied::Done(_)));
        assert!(matches!(one.step(order, action), Applied::Refused(_)), "once");
        let again = two.buy(sale, "ann", None).unwrap();
        assert!(matches!(one.step(again, OrderAction::Cancel), Applied::Done(_)));
    }
    assert_eq!(one.sold(sale), 0);
    assert_eq!(one.lease_store.units(sale).unwrap().unwrap().returned, 4);
    for node in [&one, &two] {
        assert_eq!(one.settled_by(sale, node.id), 2);
    }
}

#[test]
fn a_key_makes_one_order_on_whatever_nodes_it_is_repeated() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (Node::open(1, &url), Node::open(2, &url));
    let sale = one.sale("a", 10, 2);
    let first = one.buy(sale, "ann", Some("k")).unwrap();
    let replayed = |refused| match refused {
        RefusalReason::KeyUsed(order) => order.placed.id,
        other => panic!("{other:?}"),
    };
    // Below the limit, at the limit, and after the order was given up.
    assert_eq!(replayed(two.buy(sale, "ann", Some("k")).unwrap_err()), first);
    assert_eq!(two.sold(sale), 1);
    two.buy(sale, "ann", None).unwrap();
    assert_eq!(replayed(two.buy(sale, "ann", Some("k")).unwrap_err()), first);
    one.step(first, OrderAction::Cancel);
    assert_eq!(replayed(two.buy(sale, "ann", Some("k")).unwrap_err()), first);
    assert_eq!(two.sold(sale), 1);
    // Another buyer's key, and the same buyer's in another sale, are other keys.
    two.buy(sale, "bob", Some("k")).unwrap();
    let other = two.sale("b", 10, 1);
    two.buy(other, "ann", Some("k")).unwrap();
}

#[test]
fn a_step_of_a_purchase_that_is_refused_in_the_same_batch_comes_to_nothing() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 10, 1);
    node.buy(sale, "ann", None).unwrap();
    let orders = ["ann", "bob"].map(|buyer| node.order(sale, buyer, 1, None));
    let cancel = |order| Transition::plain(order, OrderAction::Cancel, NOW);
    let transitions = orders.iter().map(|order| cancel(order.id)).collect();
    let batch = Batch { placed: orders.to_vec(), transitions, ..Batch::default() };
    match node.writer.commit(&batch).unwrap() {
        Receipt::Committed { applied, refused } => {
            assert_eq!(refused.len(), 1);
            assert_eq!(applied[0], Applied::UnknownOrder);
            assert!(matches!(&applied[1], Applied::Done(order) if order.status == OrderStatus::Cancelled));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(node.sold(sale), 1);
    assert_eq!(node.events().len(), 3);
}

/// Two nodes, one sale, the same buyers at both at once, in batches: the stock is sold out exactly and nobody passes the
/// limit.
#[test]
fn nodes_that_sell_to_the_same_buyers_at_once_sell_each_unit_once() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut nodes: Vec<_> = (1..=3).map(|number| Node::open(number, &url)).collect();
    let sale = nodes[0].sale("a", 600, 2);
    let sold: usize = std::thread::scope(|scope| {
        let sellers: Vec<_> = nodes
            .iter_mut()
            .map(|node| {
                scope.spawn(move || {
                    let mut sold = 0;
                    for round in 0..20usize {
                        // Each node goes through the buyers in an order of its own.
                        let stride = 7 * node.id.number() as usize;
                        let buyers = (0..40).map(|n| format!("buyer-{}", (n * stride + round * 13) % 301));
                        let batch: Vec<_> = buyers.map(|buyer| node.order(sale, &buyer, 1, None)).collect();
                        let batch = Batch { placed: batch, ..Batch::default() };
                        let receipt = loop {
                            match node.writer.commit(&batch) {
                                Err(error) if error.is_transient() => {}
                                other => break other.unwrap(),
                            }
                        };
                        match receipt {
                            Receipt::Committed { refused, .. } => sold += 40 - refused.len(),
                            Receipt::Oversold(sales) => assert_eq!(sales, [sale]),
                            Receipt::Fenced { .. } => panic!("nobody ended this life"),
                        }
                    }
                    sold
                })
            })
            .collect();
        sellers.into_iter().map(|seller| seller.join().unwrap()).sum()
    });
    assert!(sold > 400, "{sold}");
    assert_eq!(nodes[0].sold(sale), sold as u64);
    let events = nodes[0].events();
    assert!(events.iter().map(|event| event.seq).eq(1..=sold as u64));
}
