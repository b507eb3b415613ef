//! Who follows the orders of several nodes by their numbers is given each once, whatever the nodes and their clocks do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use seckill::admission::{Accepted, Admission, Moment, Purchase};
use seckill::domain::{
    BuyerName, EpochMs, Nanos, OrderAction, OrderId, OrderStatus, RefundEnd, RefundRequest, RefundStep,
    Restock, SaleId,
};
use seckill::orders::postgres::{Follower, PostgresSettings};
use seckill::orders::{
    Applied, Batch, CompleteOrders, LeaseStore, OrderDesk, OrderFilter, Receipt, StoreReader, StoreWriter,
    Transition,
};
use testbed::PATIENCE;
use testbed::servers::postgres::Postgres;
use tokio::runtime::Runtime;

use super::engine::Engine;
use super::node::{NOW, Node, settings};

const EACH: usize = 300;

/// Somebody who asks one node for the orders, page by page.
struct Reader<'a> {
    runtime: Runtime,
    desk: &'a OrderDesk,
    seen: Vec<OrderId>,
}

impl<'a> Reader<'a> {
    fn of(desk: &'a OrderDesk) -> Self {
        Self { runtime: Runtime::new().unwrap(), desk, seen: Vec::new() }
    }

    fn next_page(&mut self) -> CompleteOrders {
        let after = self.seen.last().copied();
        let page =
            self.runtime.block_on(self.desk.complete_orders(OrderFilter::default(), after, 50)).unwrap();
        self.seen.extend(page.orders.iter().map(|order| order.placed.id));
        page
    }

    fn read_until(&mut self, orders: usize) {
        let give_up_at = Instant::now() + PATIENCE;
        while self.seen.len() < orders {
            assert!(Instant::now() < give_up_at, "{} orders were passed over", orders - self.seen.len());
            self.next_page();
        }
    }
}

/// A crowd at one node, whose clock says `wall`.
fn crowd(admission: &Admission, sale: SaleId, name: &str, wall: EpochMs) -> Vec<OrderId> {
    let sale = admission.board().sales().by_id(sale).cloned().unwrap();
    let buy = |n| {
        let buyer = format!("{name}-{n}");
        let purchase = Purchase {
            buyer: BuyerName::new(&buyer).unwrap(),
            quantity: 1,
            idempotency_key: None,
            pass: None,
        };
        match admission.purchase(&sale, &purchase, n % 3, Moment { wall, mono: Nanos(0) }) {
            Ok(Accepted::Placed(placed)) => placed.order_id,
            other => panic!("{other:?}"),
        }
    };
    (0..EACH).map(buy).collect()
}

fn follow(follower: &mut Follower, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        follower.look().unwrap();
    }
}

#[test]
fn a1_who_follows_the_orders_of_two_nodes_is_given_each_once() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (Engine::open(1, &url, 2_000, false), Engine::open(2, &url, 2_000, false));
    let over = AtomicBool::new(false);
    let mut made = std::thread::scope(|scope| {
        let (sale, slow) = (one.sale, NOW.plus_ms(-60_000));
        let (here, there) = (&one.admission, &two.admission);
        let (one_follows, two_follows, over) = (&mut one.follower, &mut two.follower, &over);
        scope.spawn(move || follow(one_follows, over));
        scope.spawn(move || follow(two_follows, over));
        let crowds = [
            scope.spawn(move || crowd(here, sale, "here", NOW)),
            // A minute behind: its numbers would all be lower.
            scope.spawn(move || crowd(there, sale, "there", slow)),
        ];
        let readers = [&one.desk, &two.desk].map(|desk| {
            scope.spawn(move || {
                let mut reader = Reader::of(desk);
                reader.read_until(2 * EACH);
                reader.seen
            })
        });
        let [first, second] = readers.map(|reader| reader.join());
        over.store(true, Ordering::SeqCst);
        let made: Vec<OrderId> = crowds.into_iter().flat_map(|crowd| crowd.join().unwrap()).collect();
        assert_eq!(first.unwrap(), second.unwrap());
        made
    });
    let mut reader = Reader::of(&one.desk);
    reader.read_until(2 * EACH);
    made.sort_unstable();
    assert_eq!(reader.seen, made);
    drop(reader);
    one.stop();
    two.stop();
}

#[test]
fn a1_a_silent_node_is_waited_for_until_it_can_add_nothing_any_more() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let quick = PostgresSettings { beat_ms: 10, silent_ms_max: 200, ..settings(&url) };
    let mut one = Engine::open_with(1, &quick, 10, false);
    // It lives, has an order in hand, and never says another word.
    let mut two = Node::open(2, &url);
    let late = two.order(one.sale, "late", 1, None);
    let bought = one.own("ann");
    let mut reader = Reader::of(&one.desk);
    let page = reader.next_page();
    assert_eq!((page.orders.len(), page.newest), (0, Some(bought)));
    assert!(page.through < bought);
    // Who gives up another one gives signs of life itself.
    testbed::until("the silent node is given up", || {
        one.follower.look().unwrap();
        reader.next_page();
        !reader.seen.is_empty()
    });
    assert_eq!(reader.seen, [bought]);
    let batch = Batch { placed: vec![late], ..Batch::default() };
    assert!(matches!(two.writer.commit(&batch).unwrap(), Receipt::Fenced { .. }));
    // A new life is above what was shown, and holds nobody up that it does not have to.
    let mut two = Node::open(2, &url);
    assert!(two.lease_store.newest_order().unwrap() >= Some(bought));
    two.buy(one.sale, "bob", None).unwrap();
    two.writer.close().unwrap();
    reader.read_until(2);
    one.stop();
}

#[test]
fn a_refund_that_another_node_looks_after_ends_in_no_earlier_life_of_the_one_that_began_it() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let quick = PostgresSettings { beat_ms: 1, silent_ms_max: 400, ..settings(&url) };
    let mut two = Engine::open_with(2, &quick, 10, false);
    // It lives, and never gives a sign of life.
    let mut one = Node::open(1, &url);
    let order = one.buy(two.sale, "ann", None).unwrap();
    for action in [OrderAction::BeginPayment, OrderAction::ConfirmPayment] {
        assert!(matches!(one.step(order, action), Applied::Done(_)));
    }
    let life = one.reader.life();
    assert_eq!(life, Some(one.lease_store.incarnation()));
    let request = RefundRequest { number: None, amount: None, restock: Restock::All };
    let begin = RefundStep::New { request, reason: "broken".into() };
    assert!(matches!(one.refund(order, OrderAction::BeginRefund, begin), Applied::Done(_)));
    let mut left = Vec::new();
    testbed::until("another node looks after the refund", || {
        left = two.follower.look().unwrap();
        !left.is_empty()
    });
    assert_eq!(left, [(order, 1)]);

    let end = |only_in_life| RefundStep::End(RefundEnd { number: 1, why: None, only_in_life });
    let in_time = Transition {
        refund: Some(Box::new(end(life))),
        ..Transition::plain(order, OrderAction::AbortRefund, NOW)
    };
    let batch = Batch { transitions: vec![in_time], ..Batch::default() };
    assert!(matches!(one.writer.commit(&batch).unwrap(), Receipt::Fenced { .. }));
    // Nor when the node has begun another life before its writer tries again.
    one.lease_store.begin_life(0).unwrap();
    let refused = one.refund(order, OrderAction::AbortRefund, end(life));
    assert!(
        matches!(&refused, Applied::Refused(order) if order.status == OrderStatus::Refunding),
        "{refused:?}"
    );
    let done = one.refund(order, OrderAction::AbortRefund, end(None));
    assert!(matches!(&done, Applied::Done(order) if order.status == OrderStatus::Paid), "{done:?}");
    two.stop();
}
