//! The direction of a payment, once it is durable.

use std::time::Duration;

use seckill::checkout::{AttemptId, PayAnswer, PaymentState};
use seckill::domain::{OrderStatus, PaymentDirection};
use testbed::PATIENCE;
use tokio::time::{sleep, timeout};

use crate::fixture::{Fixture, impatient};
use crate::scripted::{Call, FOR_EVER, Fault, Mood, ScriptedGateway, ScriptedRisk};

#[tokio::test]
async fn m3_risk_that_changes_its_mind_does_not_turn_a_payment_round() {
    for lost in [Fault::LostBefore, Fault::LostAfter] {
        let fixture = Fixture::open(1, 3_600).await;
        let gateway = ScriptedGateway::new(0.0);
        gateway.fail(Call::Void, lost, FOR_EVER);
        let risk = ScriptedRisk::new(Mood::Reject, 50);
        let life = fixture.live(gateway.clone(), risk.clone(), impatient()).await;
        let order = fixture.buy("ann").await;
        let first = AttemptId { order: order.placed.id, attempt: 1 };
        assert!(matches!(life.checkout.pay(order, "card").await, PayAnswer::Paying(_)));
        let durable = fixture.order(first.order).await;
        assert_eq!(durable.payment.direction.why(), Some("risk-rejected: odd"));

        risk.change(Mood::Approve);
        // Recovery comes by, more than once.
        let come_by = async {
            while gateway.calls_of(Call::Void).len() < 8 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, come_by).await.expect("recovery comes by");
        gateway.heal();
        fixture.until(first.order, OrderStatus::PrePay).await;
        assert_eq!(gateway.truth(first).await, PaymentState::Voided);
        assert_eq!(gateway.calls_of(Call::Capture), []);
        assert_eq!(risk.asked_about(first), 1);
    }
}

#[tokio::test]
async fn m3_a_payment_that_goes_on_is_captured_although_risk_rejects_it_by_now() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    gateway.fail(Call::Capture, Fault::LostBefore, FOR_EVER);
    let risk = ScriptedRisk::new(Mood::Approve, 0);
    let life = fixture.live(gateway.clone(), risk.clone(), impatient()).await;
    let order = fixture.buy("ann").await;
    let first = AttemptId { order: order.placed.id, attempt: 1 };
    assert!(matches!(life.checkout.pay(order, "card").await, PayAnswer::Paying(_)));
    assert_eq!(fixture.order(first.order).await.payment.direction, PaymentDirection::GoingOn);
    risk.change(Mood::Reject);
    gateway.heal();
    fixture.until(first.order, OrderStatus::Paid).await;
    assert_eq!(risk.asked_about(first), 1);
    assert_eq!(gateway.calls_of(Call::Void), []);
}
