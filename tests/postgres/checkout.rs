//! Paying and giving up on whatever node, at once on several, and after the node that began it has died.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seckill::checkout::{
    AttemptId, CancelAnswer, Checkout, CheckoutParts, CheckoutSettings, Gateways, NamedGateway, PayAnswer,
    PaymentState, RecoverySettings, RetrySettings, expire, recover,
};
use seckill::domain::{EpochMs, Order, OrderId, OrderStatus};
use seckill::orders::StoreReader;
use seckill::orders::postgres::PostgresSettings;
use testbed::PATIENCE;
use tokio::runtime::{Builder, Runtime};

use crate::engine::Engine;
use crate::node::settings;
use crate::scripted::{Call, Fault, Mood, ScriptedGateway, ScriptedRisk};
use crate::server::Postgres;

/// A node that sells and takes money.
struct Shop {
    engine: Engine,
    checkout: Checkout,
    runtime: Runtime,
}

impl Shop {
    fn open(number: u16, url: &str, gateway: &Arc<ScriptedGateway>) -> Self {
        let settings = PostgresSettings { beat_ms: 1, silent_ms_max: 400, ..settings(url) };
        let engine = Engine::open_with(number, &settings, 1_000, true);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let retry = RetrySettings { tries_max: 2, try_ms: 20_000, backoff_ms: 1, backoff_ms_max: 2 };
        let mut settings = CheckoutSettings {
            wait_ms: 60_000,
            try_within_ms: 60_000,
            settle_within_ms: 60_000,
            recovery: RecoverySettings { backoff_ms: 10, backoff_ms_max: 40, ..RecoverySettings::default() },
            ..CheckoutSettings::default()
        };
        settings.gateway.retry = retry;
        settings.expiry.tick_ms = 5;
        let checkout = Checkout::new(
            CheckoutParts {
                desk: engine.desk.clone(),
                admission: Arc::clone(&engine.admission),
                gateways: Gateways::new(
                    NamedGateway::new("scripted".into(), gateway.clone(), &settings.gateway),
                    Vec::new(),
                ),
                identity: engine.reader.identity().unwrap(),
                risk: ScriptedRisk::new(Mood::Approve, 0),
                settings,
                runtime: runtime.handle().clone(),
            },
            [],
        );
        runtime.spawn(recover(checkout.clone()));
        runtime.spawn(expire(checkout.clone()));
        Self { engine, checkout, runtime }
    }

    fn order(&self, id: OrderId) -> Order {
        self.runtime.block_on(self.engine.desk.order(id)).unwrap().expect("a durable order")
    }

    fn pay(&self, id: OrderId) -> PayAnswer {
        self.runtime.block_on(self.checkout.pay(self.order(id), "card"))
    }

    fn cancel(&self, id: OrderId) -> CancelAnswer {
        self.runtime.block_on(self.checkout.cancel(self.order(id)))
    }

    /// Looks at the other nodes as the engine does, until the order has this status.
    fn follow_until(&mut self, id: OrderId, status: OrderStatus) {
        let deadline = Instant::now() + PATIENCE;
        while self.order(id).status != status {
            assert!(Instant::now() < deadline, "the order stays {}", self.order(id).status);
            let payments = self.engine.follower.look().unwrap();
            self.checkout.adopt(payments.into_iter().map(|(order, attempt)| AttemptId { order, attempt }));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends as a process does that is killed: nothing that it has under way goes on.
    fn die(self) {
        self.runtime.shutdown_background();
        self.engine.stop();
    }

    fn close(self) {
        self.runtime.block_on(self.checkout.drain());
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
    let order = one.engine.own("ann");
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
        let order = one.engine.own(&format!("buyer-{round}"));
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
        let order = one.engine.own(&format!("buyer-{round}"));
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
    let order = one.engine.own("ann");
    gateway.fail(Call::Capture, Fault::HangAfter, usize::MAX);
    let asked = one.order(order);
    one.runtime.spawn({
        let checkout = one.checkout.clone();
        async move { checkout.pay(asked, "card").await }
    });
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
    let order = one.engine.own("ann");
    gateway.fail(Call::Hold, Fault::Delayed, usize::MAX);
    let asked = one.order(order);
    one.runtime.spawn({
        let checkout = one.checkout.clone();
        async move { checkout.pay(asked, "card").await }
    });
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
    let wall = EpochMs(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64);
    // Its time is over at once, and the node that knows has nothing left that would let it expire.
    one.runtime.shutdown_background();
    let order = one.engine.own_since("ann", wall.plus_ms(-600_000));
    one.engine.stop();
    assert_eq!(two.order(order).status, OrderStatus::PrePay);
    two.follow_until(order, OrderStatus::Expired);
    let audit = two.runtime.block_on(two.engine.desk.audit(two.engine.sale)).unwrap().unwrap();
    assert_eq!((audit.held, audit.available()), (0, 1_000));
    two.close();
}
