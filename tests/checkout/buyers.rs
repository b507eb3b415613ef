//! Buyers who click twice, hang up, wait too long or change their mind, and somebody else who looks after their payment.

use std::time::Duration;

use seckill::checkout::{AttemptId, CancelAnswer, PayAnswer};
use seckill::domain::OrderStatus;
use testbed::PATIENCE;
use tokio::time::{sleep, timeout};

use crate::fixture::{Fixture, impatient};
use crate::outcome::{check_money, word};
use crate::scripted::{Call, Mood, ScriptedGateway, ScriptedRisk};
use Call::{Capture, Hold, Status};
use OrderStatus::{Cancelled, Paid, Paying, PrePay};

#[tokio::test]
async fn who_pays_twice_at_once_pays_once_and_hears_it_twice() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let life = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 100), impatient()).await;
    let order = fixture.buy("ann").await;
    let mut clicks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (checkout, order) = (life.checkout.clone(), order.clone());
        clicks.spawn(async move { checkout.pay(order, "card").await });
    }
    for answer in clicks.join_all().await {
        assert_eq!(word(&answer), "paid");
    }
    assert_eq!(gateway.calls_of(Hold).len(), 1);
    check_money(&gateway, &fixture.order(order.placed.id).await).await;
}

#[tokio::test]
async fn another_method_does_not_join_a_payment_and_a_cancel_does_not_stop_it() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let risk = ScriptedRisk::new(Mood::Approve, 0);
    risk.hold();
    let life = fixture.live(gateway.clone(), risk.clone(), impatient()).await;
    let order = fixture.buy("ann").await;
    let (checkout, again) = (life.checkout.clone(), order.clone());
    let first = tokio::spawn(async move { checkout.pay(again, "card").await });
    fixture.until(order.placed.id, Paying).await;
    assert_eq!(word(&life.checkout.pay(order.clone(), "wire").await), "paying");
    assert_eq!(life.checkout.cancel(order.clone()).await, CancelAnswer::PaymentInProgress);
    assert_eq!(life.checkout.payments_under_way(), 1);
    risk.release();
    assert_eq!(word(&first.await.unwrap()), "paid");
    timeout(PATIENCE, life.checkout.drain()).await.unwrap();
    assert_eq!(life.checkout.payments_under_way(), 0);
}

#[tokio::test]
async fn a_buyer_who_hangs_up_has_paid_all_the_same() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let risk = ScriptedRisk::new(Mood::Approve, 0);
    risk.hold();
    let life = fixture.live(gateway.clone(), risk.clone(), impatient()).await;
    let order = fixture.buy("ann").await;
    let (checkout, hers) = (life.checkout.clone(), order.clone());
    let buyer = tokio::spawn(async move { checkout.pay(hers, "card").await });
    fixture.until(order.placed.id, Paying).await;
    buyer.abort();
    assert!(buyer.await.is_err_and(|end| end.is_cancelled()), "she hung up");
    risk.release();
    fixture.until(order.placed.id, Paid).await;
}

#[tokio::test]
async fn who_waits_too_long_hears_paying_and_later_paid() {
    let fixture = Fixture::open(1, 3_600).await;
    let mut settings = impatient();
    settings.wait_ms = 20;
    let gateway = ScriptedGateway::new(0.0);
    let risk = ScriptedRisk::new(Mood::Approve, 0);
    risk.hold();
    let life = fixture.live(gateway, risk.clone(), settings).await;
    let order = fixture.buy("ann").await;
    let PayAnswer::Paying(answer) = life.checkout.pay(order.clone(), "card").await else { panic!() };
    assert_eq!(answer.status, Paying);
    risk.release();
    fixture.until(order.placed.id, Paid).await;
}

#[tokio::test]
async fn who_looks_after_an_earlier_payment_leaves_a_later_one_alone() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let risk = ScriptedRisk::new(Mood::Reject, 0);
    let payer = fixture.live(gateway.clone(), risk.clone(), impatient()).await;
    let heir = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), impatient()).await;
    let order = fixture.buy("ann").await;
    assert_eq!(word(&payer.checkout.pay(order.clone(), "card").await), "risk-rejected");
    let waiting = fixture.order(order.placed.id).await;
    assert_eq!((waiting.status, waiting.payment_attempt), (PrePay, 1));

    risk.change(Mood::Approve);
    risk.hold();
    let checkout = payer.checkout.clone();
    let second = tokio::spawn(async move { checkout.pay(waiting, "card").await });
    fixture.until(order.placed.id, Paying).await;
    heir.checkout.adopt([AttemptId { order: order.placed.id, attempt: 1 }]);
    let let_go = async {
        while heir.checkout.recovery_queue_len() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, let_go).await.expect("nothing is left to ask");
    risk.release();
    assert_eq!(word(&second.await.unwrap()), "paid");
    assert_eq!(gateway.calls_of(Status), [], "nobody asked about the second payment");
    assert_eq!(gateway.calls_of(Capture).len(), 1);
}

#[tokio::test]
async fn a_cancelled_order_gives_its_unit_back_once() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let life = fixture.live(gateway, ScriptedRisk::new(Mood::Approve, 0), impatient()).await;
    let order = fixture.buy("ann").await;
    assert_eq!(fixture.remaining(), 0);
    let CancelAnswer::Cancelled(cancelled) = life.checkout.cancel(order.clone()).await else { panic!() };
    assert_eq!((cancelled.status, fixture.remaining()), (Cancelled, 1));
    assert_eq!(life.checkout.cancel(order.clone()).await, CancelAnswer::Cancelled(cancelled.clone()));
    assert_eq!(life.checkout.cancel(cancelled).await, life.checkout.cancel(order.clone()).await);
    assert_eq!(life.checkout.pay(order, "card").await, PayAnswer::Cancelled);
    assert_eq!(fixture.remaining(), 1);
    fixture.check_conserved().await;
}
