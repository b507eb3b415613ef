//! What is refused before anything changes.

use std::time::Duration;

use seckill::checkout::PayAnswer;
use seckill::domain::OrderStatus;
use testbed::PATIENCE;
use tokio::time::{sleep, timeout};

use crate::fixture::{Fixture, impatient};
use crate::outcome::word;
use crate::scripted::{Call, FOR_EVER, Fault, Mood, ScriptedGateway, ScriptedRisk};
use Call::Hold;
use Fault::{Busy, LostAfter};
use OrderStatus::Paying;

#[tokio::test]
async fn an_open_breaker_leaves_gateway_and_order_alone() {
    let fixture = Fixture::open(4, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    gateway.fail(Hold, Busy, FOR_EVER);
    let mut settings = impatient();
    settings.gateway.breaker.calls_min = 3;
    settings.gateway.breaker.open_ms = 10_000;
    settings.gateway.breaker.probes = 1;
    let life = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), settings).await;
    for buyer in ["ann", "bob", "cat"] {
        let order = fixture.buy(buyer).await;
        assert_eq!(word(&life.checkout.pay(order, "card").await), "unavailable");
    }
    let holds = gateway.calls_of(Hold).len();
    let order = fixture.buy("dan").await;
    let PayAnswer::Unavailable { retry_after_ms } = life.checkout.pay(order.clone(), "card").await else {
        panic!("the breaker is open");
    };
    assert!((1..=10_000).contains(&retry_after_ms));
    assert_eq!(gateway.calls_of(Hold).len(), holds);
    assert_eq!(fixture.order(order.placed.id).await.payment_attempt, 0);

    gateway.heal();
    let paid = async {
        while word(&life.checkout.pay(order.clone(), "card").await) != "paid" {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, paid).await.expect("a probe closes the breaker");
}

#[tokio::test]
async fn limits_refuse_before_anything_changes() {
    let fixture = Fixture::open(3, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let mut settings = impatient();
    settings.attempts_max = 1;
    settings.recovery.queue_max = 1;
    settings.recovery.backoff_ms = 60_000;
    settings.recovery.backoff_ms_max = 60_000;
    settings.methods = vec!["card".into()];
    let risk = ScriptedRisk::new(Mood::Approve, 0);
    risk.hold();
    let life = fixture.live(gateway.clone(), risk.clone(), settings).await;
    let (ann, bob) = (fixture.buy("ann").await, fixture.buy("bob").await);
    assert_eq!(word(&life.checkout.pay(ann.clone(), "cheque").await), "method-not-allowed");

    let (checkout, order) = (life.checkout.clone(), ann.clone());
    let first = tokio::spawn(async move { checkout.pay(order, "card").await });
    fixture.until(ann.placed.id, Paying).await;
    assert_eq!(word(&life.checkout.pay(bob.clone(), "card").await), "unavailable", "attempts_max");
    risk.release();
    assert_eq!(word(&first.await.unwrap()), "paid");

    gateway.fail(Hold, LostAfter, FOR_EVER);
    assert_eq!(word(&life.checkout.pay(bob, "card").await), "paying");
    assert_eq!(life.checkout.recovery_queue_len(), 1);
    let cat = fixture.buy("cat").await;
    assert_eq!(word(&life.checkout.pay(cat.clone(), "card").await), "unavailable", "queue_max");
    assert_eq!(fixture.order(cat.placed.id).await.payment_attempt, 0);
}
