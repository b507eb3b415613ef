//! Paying and giving up on whatever node, at once on several, and after the node that began it has died.

use std::sync::Arc;

use seckill::checkout::{
    AttemptId, CancelAnswer, PayAnswer, PaymentState, RefundAnswer, SettleAnswer, SettleOutcome,
};
use seckill::domain::{Order, OrderId, OrderStatus};
use seckill::orders::postgres::{Follower, PostgresSettings};
use testbed::servers::postgres::Postgres;
use testbed::{PATIENCE, until};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::fixture::{Fixture, Life, impatient, now};
use crate::refunds::whole;
use crate::scripted::{Call, FOR_EVER, Fault, Mood, ScriptedGateway, ScriptedRisk};

/// A node that sells and takes money.
struct Shop {
    fixture: Fixture,
    life: Life,
    follower: Follower,
    /// Where its buyers wait.
    runtime: Runtime,
}

impl Shop {
    fn open(number: u16, url: &str, gateway: &Arc<ScriptedGateway>) -> Self {
        let settings = PostgresSettings {
            url: url.into(),
            beat_ms: 1,
            silent_ms_max: 400,
            ..PostgresSettings::default()
        };
        let (fixture, follower) = Fixture::open_node(number, &settings, 1_000);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let risk = ScriptedRisk::new(Mood::Approve, 0);
        let life = runtime.block_on(fixture.live(gateway.clone(), risk, impatient()));
        Self { fixture, life, follower, runtime }
    }

    fn own(&self, buyer: &str) -> OrderId {
        self.runtime.block_on(self.fixture.buy(buyer)).placed.id
    }

    fn order(&self, id: OrderId) -> Order {
        self.runtime.block_on(self.fixture.order(id))
    }

    fn pay(&self, id: OrderId) -> PayAnswer {
        self.runtime.block_on(self.life.checkout.pay(self.order(id), "card"))
    }

    /// Pays, and does not wait for what comes of it.
    fn begin_to_pay(&self, id: OrderId) {
        let (checkout, order) = (self.life.checkout.clone(), self.order(id));
        self.runtime.spawn(async move { checkout.pay(order, "card").await });
    }

    fn cancel(&self, id: OrderId) -> CancelAnswer {
        self.runtime.block_on(self.life.checkout.cancel(self.order(id)))
    }

    fn refund(&self, id: OrderId) -> RefundAnswer {
        self.runtime.block_on(self.life.checkout.refund(self.order(id), whole(), None))
    }

    /// Looks at the other nodes as the engine does.
    fn follow(&mut self) {
        let payments = self.follower.look().unwrap();
        let left = payments.into_iter().map(|(order, attempt)| AttemptId { order, attempt });
        self.life.checkout.adopt(left);
    }

    /// The same until the order has this status.
    fn follow_until(&mut self, id: OrderId, status: OrderStatus) {
        until(&format!("the order is {status}"), || {
            self.follow();
            self.order(id).status == status
        });
    }

    /// Begins a refund of a paid order at a gateway that does not do it. The answer is kept back.
    fn begin_to_refund(&self, id: OrderId, gateway: &ScriptedGateway) -> JoinHandle<RefundAnswer> {
        gateway.keep_refusals(true);
        gateway.fail(Call::Refund, Fault::Invalid, 1);
        let (checkout, order) = (self.life.checkout.clone(), self.order(id));
        let answer = self.runtime.spawn(async move { checkout.refund(order, whole(), None).await });
        self.runtime.block_on(gateway.until_called(Call::Refund));
        answer
    }

    /// Ends as a process does that is killed: nothing that it has under way goes on.
    fn die(self) {
        let Self { fixture, life, runtime, .. } = self;
        drop(life);
        runtime.shutdown_background();
        assert!(fixture.desk.stop(PATIENCE), "all writers stop");
    }

    fn close(self) {
        self.runtime.block_on(self.life.checkout.drain());
        self.die();
    }
}

/// Two shops on one database with one gateway.
fn two_shops() -> (Arc<Postgres>, Arc<ScriptedGateway>, Shop, Shop) {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let gateway = ScriptedGateway::new(0.0);
    let (one, two) = (Shop::open(1, &url, &gateway), Shop::open(2, &url, &gateway));
    (postgres, gateway, one, two)
}

/// Does both at once.
fn at_once<A: Send, B: Send>(one: impl FnOnce() -> A + Send, two: impl FnOnce() -> B + Send) -> (A, B) {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let two = two();
        (one.join().unwrap(), two)
    })
}

/// How many payments of the order have taken money.
fn captured(shop: &Shop, gateway: &ScriptedGateway, order: OrderId) -> usize {
    let truth = |attempt| shop.runtime.block_on(gateway.truth(AttemptId { order, attempt }));
    (1..=shop.order(order).payment_attempt)
        .filter(|attempt| truth(*attempt) == PaymentState::Captured)
        .count()
}

#[test]
fn an_order_of_one_node_is_read_paid_and_given_up_at_another() {
    let (_postgres, gateway, one, two) = two_shops();
    let order = one.own("ann");
    assert_eq!(two.order(order).status, OrderStatus::PrePay);
    assert!(matches!(two.pay(order), PayAnswer::Paid(_)));
    assert!(matches!(one.pay(order), PayAnswer::Paid(_)), "and the first one knows");
    assert_eq!(one.cancel(order), CancelAnswer::AlreadyPaid);
    assert_eq!(captured(&one, &gateway, order), 1);
    one.close();
    two.close();
}

#[test]
fn an_order_that_two_nodes_are_asked_to_pay_at_once_is_paid_once() {
    let (_postgres, gateway, one, two) = two_shops();
    for round in 0..15 {
        let order = one.own(&format!("buyer-{round}"));
        let (first, second) = at_once(|| one.pay(order), || two.pay(order));
        for answer in [&first, &second] {
            assert!(matches!(answer, PayAnswer::Paid(_) | PayAnswer::Paying(_)), "{answer:?}");
        }
        assert!(matches!(two.pay(order), PayAnswer::Paid(_)));
        assert_eq!((two.order(order).payment_attempt, captured(&two, &gateway, order)), (1, 1));
    }
    one.close();
    two.close();
}

#[test]
fn an_order_that_is_paid_at_one_node_and_given_up_at_another_is_one_or_the_other() {
    let (_postgres, gateway, one, two) = two_shops();
    for round in 0..15 {
        let order = one.own(&format!("buyer-{round}"));
        let (paid, cancelled) = at_once(|| one.pay(order), || two.cancel(order));
        let captures = captured(&one, &gateway, order);
        match (paid, cancelled) {
            (PayAnswer::Cancelled, CancelAnswer::Cancelled(_)) => {
                assert_eq!((one.order(order).status, captures), (OrderStatus::Cancelled, 0));
            }
            (PayAnswer::Paid(_), CancelAnswer::AlreadyPaid | CancelAnswer::PaymentInProgress) => {
                assert_eq!((one.order(order).status, captures), (OrderStatus::Paid, 1));
            }
            other => panic!("{other:?}"),
        }
    }
    one.close();
    two.close();
}

#[test]
fn a_payment_whose_node_died_after_the_money_was_taken_is_finished_by_another() {
    let (_postgres, gateway, one, mut two) = two_shops();
    let order = one.own("ann");
    gateway.fail(Call::Capture, Fault::HangAfter, usize::MAX);
    one.begin_to_pay(order);
    one.runtime.block_on(gateway.until_called(Call::Capture));
    one.die();
    assert_eq!(two.order(order).status, OrderStatus::Paying);
    gateway.heal();
    two.follow_until(order, OrderStatus::Paid);
    assert_eq!((two.order(order).payment_attempt, captured(&two, &gateway, order)), (1, 1));
    two.close();
}

#[test]
fn a_payment_whose_node_died_before_the_gateway_heard_of_it_goes_back_and_can_be_made_elsewhere() {
    let (_postgres, gateway, one, mut two) = two_shops();
    let order = one.own("ann");
    gateway.fail(Call::Hold, Fault::Delayed, usize::MAX);
    one.begin_to_pay(order);
    one.runtime.block_on(gateway.until_called(Call::Hold));
    one.die();
    gateway.heal();
    two.follow_until(order, OrderStatus::PrePay);
    assert!(matches!(two.pay(order), PayAnswer::Paid(_)));
    // What the dead node had sent arrives at last.
    let late = two.runtime.block_on(gateway.deliver_delayed());
    assert!(!late.is_empty() && late.iter().all(|state| *state == PaymentState::Voided), "{late:?}");
    assert_eq!((two.order(order).payment_attempt, captured(&two, &gateway, order)), (2, 1));
    two.close();
}

#[test]
fn an_order_that_nobody_paid_expires_although_its_node_died() {
    let (_postgres, _gateway, one, mut two) = two_shops();
    // Its time is over at once, and the node that knows has nothing left that would let it expire.
    let Shop { fixture, life, runtime, .. } = one;
    drop(life);
    let order = runtime.block_on(fixture.buy_at("ann", now().plus_ms(-7_200_000))).placed.id;
    assert!(fixture.desk.stop(PATIENCE), "all writers stop");
    assert_eq!(two.order(order).status, OrderStatus::PrePay);
    two.follow_until(order, OrderStatus::Expired);
    let audit = two.runtime.block_on(two.fixture.desk.audit(two.fixture.sale)).unwrap().unwrap();
    assert_eq!((audit.held, audit.available()), (0, 1_000));
    two.close();
}

#[test]
fn an_order_that_two_nodes_are_asked_to_refund_at_once_is_refunded_once() {
    let (_postgres, gateway, one, two) = two_shops();
    for round in 0..10 {
        let order = one.own(&format!("buyer-{round}"));
        assert!(matches!(one.pay(order), PayAnswer::Paid(_)));
        let (first, second) = at_once(|| one.refund(order), || two.refund(order));
        let made = [&first, &second].iter().filter(|told| matches!(told, RefundAnswer::Refunded(_))).count();
        assert_eq!(made, 1, "{first:?} {second:?}");
        assert_eq!(gateway.refunds_of(order), [(1, 1_999)]);
        assert_eq!(two.order(order).status, OrderStatus::Refunded);
    }
    one.close();
    two.close();
}

#[test]
fn a_refund_whose_node_died_after_the_money_was_given_back_is_finished_by_another() {
    let (_postgres, gateway, one, mut two) = two_shops();
    let order = one.own("ann");
    assert!(matches!(one.pay(order), PayAnswer::Paid(_)));
    gateway.fail(Call::Refund, Fault::HangAfter, usize::MAX);
    let (checkout, read) = (one.life.checkout.clone(), one.order(order));
    one.runtime.spawn(async move { checkout.refund(read, whole(), None).await });
    one.runtime.block_on(gateway.until_called(Call::Refund));
    one.die();
    assert_eq!(two.order(order).status, OrderStatus::Refunding);
    gateway.heal();
    two.follow_until(order, OrderStatus::Refunded);
    assert_eq!(gateway.refunds_of(order), [(1, 1_999)]);
    let audit = two.runtime.block_on(two.fixture.desk.audit(two.fixture.sale)).unwrap().unwrap();
    assert!(audit.conserved(0) && audit.sold() == 0, "{audit:?}");
    two.close();
}

#[test]
fn a_refund_that_another_node_asks_for_is_not_given_up_by_the_one_that_began_it() {
    let (_postgres, gateway, one, mut two) = two_shops();
    let order = one.own("ann");
    assert!(matches!(one.pay(order), PayAnswer::Paid(_)));
    let answer = one.begin_to_refund(order, &gateway);
    // The first node lives, and nobody hears of it.
    gateway.fail(Call::Refund, Fault::Processing, FOR_EVER);
    until("the second node has asked", || {
        two.follow();
        gateway.calls_of(Call::Refund).len() > 1
    });
    gateway.keep_refusals(false);
    let answer = one.runtime.block_on(answer).unwrap();
    assert!(matches!(answer, RefundAnswer::Refunding(_)), "{answer:?}");
    assert_eq!(two.order(order).status, OrderStatus::Refunding);
    gateway.heal();
    two.follow_until(order, OrderStatus::Refunded);
    assert_eq!(gateway.refunds_of(order), [(1, 1_999)]);
    one.close();
    two.close();
}

#[test]
fn a_refund_that_somebody_else_has_called_made_is_not_told_as_refused() {
    let (_postgres, gateway, one, two) = two_shops();
    let order = one.own("ann");
    assert!(matches!(one.pay(order), PayAnswer::Paid(_)));
    let answer = one.begin_to_refund(order, &gateway);
    let settling = two.life.checkout.settle(two.order(order), SettleOutcome::Refunded, "by bank", None);
    let settled = two.runtime.block_on(settling);
    assert!(matches!(settled, SettleAnswer::Settled(_)), "{settled:?}");
    gateway.keep_refusals(false);
    let answer = one.runtime.block_on(answer).unwrap();
    assert!(
        matches!(&answer, RefundAnswer::Refunded(order) if order.status == OrderStatus::Refunded),
        "{answer:?}"
    );
    one.close();
    two.close();
}
