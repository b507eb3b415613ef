//! What the nodes may sell is bounded by their shares, and their batches have no row in common.

use std::sync::atomic::{AtomicUsize, Ordering};

use seckill::domain::{NodeId, OrderAction, SaleId, StockEdit};
use seckill::orders::postgres::{Exclusivity, PostgresSettings};
use seckill::orders::{Batch, ChangeReceipt, LeaseStore, Receipt, StoreWriter, Transition, WantedShare};
use testbed::servers::postgres::Postgres;
use testbed::until;

use super::gate;
use super::node::{NOW, Node, changed, settings, stock};

/// A node that sells what its shares cover.
fn lent(number: u16, url: &str) -> Node {
    Node::open_as(number, &settings(url), Exclusivity::Shared).unwrap()
}

fn set_share(node: &Node, sale: SaleId, units: u64) -> Option<u64> {
    set_share_as(node, sale, (node.lease_store.incarnation(), 0), units)
}

/// In the name of this life and turn.
fn set_share_as(node: &Node, sale: SaleId, (life, turn): (u64, u64), units: u64) -> Option<u64> {
    node.lease_store.set_share(WantedShare { sale, life, turn, units }).unwrap()
}

fn is_refused(node: &mut Node, sale: SaleId) {
    let placed = vec![node.order(sale, "late", 1, None)];
    let receipt = node.writer.commit(&Batch { placed, ..Batch::default() }).unwrap();
    assert_eq!(receipt, Receipt::Oversold(vec![sale]));
}

#[test]
fn a_node_sells_what_its_share_covers_and_all_shares_together_no_more_than_there_is() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (lent(1, &url), lent(2, &url));
    let sale = one.sale("a", 5, 1);
    is_refused(&mut one, sale);
    assert_eq!(set_share(&one, sale, 3), Some(3));
    for buyer in ["ann", "bob", "cid"] {
        one.buy(sale, buyer, None).unwrap();
    }
    is_refused(&mut one, sale);
    assert_eq!(set_share(&two, sale, 3), Some(2), "all that there is");
    let given_up = two.buy(sale, "dan", None).unwrap();
    assert_eq!(set_share(&one, sale, 1), Some(3), "never below what it has sold");
    assert_eq!(set_share(&one, sale, 4), Some(3));
    // Whoever lets an order go has it in its own row, and anybody may be lent the unit.
    one.step(given_up, OrderAction::Cancel);
    assert_eq!(one.sold(sale), 3);
    assert_eq!(set_share(&one, sale, 4), Some(4));
    one.buy(sale, "eve", None).unwrap();
    two.buy(sale, "fay", None).unwrap();
    is_refused(&mut two, sale);
    assert_eq!(two.sold(sale), 5);
}

#[test]
fn a_life_that_is_over_gets_no_share_and_only_such_a_one_loses_it() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (lent(1, &url), lent(2, &url));
    let sale = one.sale("a", 5, 1);
    assert_eq!(set_share(&two, sale, 4), Some(4));
    two.buy(sale, "ann", None).unwrap();
    let former = two.lease_store.incarnation();
    let silent = two.id;
    assert!(one.lease_store.end_life(silent, former).unwrap().is_some());
    assert_eq!(set_share_as(&two, sale, (former, 9), 5), None);
    one.lease_store.release_share(sale, silent, former).unwrap();
    assert_eq!(set_share(&one, sale, 5), Some(4), "but what it has sold");
    one.buy(sale, "bob", None).unwrap();
    assert_eq!(set_share(&one, sale, 1), Some(1));
    // It is back, and whoever was slow to take its units comes too late.
    two.lease_store.begin_life(0).unwrap();
    assert_eq!(set_share(&two, sale, 4), Some(4));
    one.lease_store.release_share(sale, silent, former).unwrap();
    let share = two.lease_store.units(sale).unwrap().unwrap().share_of(silent).copied().unwrap();
    assert_eq!((share.granted, share.life), (4, two.lease_store.incarnation()));
    two.buy(sale, "cid", None).unwrap();
    assert_eq!(one.sold(sale), 3);
}

#[test]
fn a_call_that_was_given_up_and_comes_late_does_not_change_a_share() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut one = lent(1, &url);
    let sale = one.sale("a", 9, 1);
    let life = one.lease_store.incarnation();
    let set = |turn, units| set_share_as(&one, sale, (life, turn), units);
    assert_eq!([set(0, 5), set(1, 3), set(1, 4)], [Some(5), Some(3), Some(4)]);
    assert_eq!([set(0, 0), set(0, 9)], [Some(4), Some(4)]);
    let life = one.lease_store.begin_life(0).unwrap();
    assert_eq!(set_share_as(&one, sale, (life, 0), 2), Some(2), "a life begins its own turns");
}

#[test]
fn shares_of_many_sales_are_told_in_the_places_in_which_they_were_asked_for() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, two) = (lent(1, &url), lent(2, &url));
    let sales = ["a", "b", "c"].map(|name| one.sale(name, 5, 1));
    assert_eq!(set_share(&two, sales[1], 4), Some(4));
    let life = one.lease_store.incarnation();
    let wanted = |sale, units| WantedShare { sale, life, turn: 0, units };
    let asked = [wanted(sales[2], 3), wanted(sales[1], 3), wanted(SaleId(1_000), 1), wanted(sales[0], 9)];
    assert_eq!(one.lease_store.set_shares(&asked).unwrap(), [Some(3), Some(1), None, Some(5)]);
}

#[test]
fn a_total_is_not_lowered_below_the_shares() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, two) = (lent(1, &url), lent(2, &url));
    let sale = one.sale("a", 10, 1);
    assert_eq!((set_share(&one, sale, 4), set_share(&two, sale, 4)), (Some(4), Some(4)));
    let lower = stock(sale, StockEdit::To(7), 3);
    let refused = one.writer.change_sale(&lower).unwrap();
    assert_eq!(refused, ChangeReceipt::Withdraw { units: 3, total: 10 });
    // Whoever writes it by hand, too.
    let database = url.rsplit('/').next().unwrap();
    let by_hand = std::panic::catch_unwind(|| postgres.query(database, "UPDATE seckill.sales SET total = 7"));
    assert!(by_hand.is_err());
    assert_eq!(set_share(&one, sale, 3), Some(3));
    assert_eq!(changed(one.writer.change_sale(&lower).unwrap()).total, 7);
}

/// Each row that all batches once took is held by somebody, and so is all that is the other node's.
#[test]
fn n13_a_batch_waits_for_no_row_of_another_node() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let (mut one, mut two) = (lent(1, &url), lent(2, &url));
    let sale = one.sale("a", 10, 1);
    for node in [&one, &two] {
        assert_eq!(set_share(node, sale, 5), Some(5));
    }
    let given_up = one.buy(sale, "ann", None).unwrap();
    two.buy(sale, "bob", None).unwrap();
    let all = "SET search_path = seckill; SELECT FROM event_log FOR UPDATE; SELECT FROM sales FOR UPDATE; \
               SELECT FROM sale_log FOR UPDATE; SELECT FROM trail_log FOR UPDATE; \
               SELECT FROM nodes WHERE node = 2 FOR UPDATE; SELECT FROM writers WHERE node = 2 FOR UPDATE; \
               SELECT FROM shares WHERE node = 2 FOR UPDATE; SELECT FROM buyers WHERE buyer = 'bob' FOR UPDATE";
    gate::holding(&postgres, database, all, |_| {
        one.buy(sale, "cid", None).unwrap();
        let placed = vec![one.order(sale, "dan", 1, None)];
        let transitions = vec![Transition::plain(given_up, OrderAction::Cancel, NOW)];
        let batch = Batch { placed, transitions, ..Batch::default() };
        assert!(matches!(one.writer.commit(&batch).unwrap(), Receipt::Committed { .. }));
    });
    assert_eq!(two.sold(sale), 3);
}

/// Two nodes; at each, the buyers of the other one's last batch give up while its own buy.
#[test]
fn n13_buyers_who_buy_while_others_give_up_never_lock_each_other_out() {
    const BUYERS: usize = 12;
    const ROUNDS: usize = 60;
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let patient = PostgresSettings { lock_wait_ms: 60_000, statement_wait_ms: 60_000, ..settings(&url) };
    let open = |number| Node::open_as(number, &patient, Exclusivity::Shared).unwrap();
    let mut nodes = [open(1), open(2)];
    let sale = nodes[0].sale("a", 100_000, 1_000);
    for node in &nodes {
        assert_eq!(set_share(node, sale, 50_000), Some(50_000));
    }
    let finished = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for node in &mut nodes {
            let finished = &finished;
            scope.spawn(move || {
                let mut held = Vec::new();
                for round in 0..ROUNDS {
                    // Half of them buy, and the other half gives up, in turns that cross those of the other node.
                    let buys = |n: &usize| (n / 3 + round + node.id.number() as usize).is_multiple_of(2);
                    let buyers = (0..BUYERS).filter(buys).map(|n| format!("buyer-{n}"));
                    let placed: Vec<_> = buyers.map(|buyer| node.order(sale, &buyer, 1, None)).collect();
                    let cancel = |order| Transition::plain(order, OrderAction::Cancel, NOW);
                    let transitions = held.drain(..).map(cancel).collect();
                    held.extend(placed.iter().map(|order| order.id));
                    let batch = Batch { placed, transitions, ..Batch::default() };
                    assert!(matches!(node.writer.commit(&batch).unwrap(), Receipt::Committed { .. }));
                }
                finished.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(finished.load(Ordering::SeqCst), 2);
    // The server counts them late, but the sessions that have ended have told.
    drop(nodes);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    until("all sessions have ended", || {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'seckill node%' \
                        AND datname = current_database()";
        postgres.query(database, sessions) == "0"
    });
    assert_eq!(postgres.query(database, deadlocks), "0");
}

#[test]
fn what_an_engine_owned_alone_is_for_others_when_it_has_stopped() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut alone = Node::open(1, &url);
    let sale = alone.sale("a", 10, 1);
    alone.buy(sale, "ann", None).unwrap();
    let units = alone.lease_store.units(sale).unwrap().unwrap();
    assert_eq!(units.granted_to(NodeId::new(1).unwrap()), 10);
    alone.writer.close().unwrap();
    let two = lent(2, &url);
    assert_eq!(set_share(&two, sale, 20), Some(9));
}
