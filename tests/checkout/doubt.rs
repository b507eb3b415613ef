//! What becomes of a payment whose outcome nobody knows: while the gateway is silent, past its deadline, after a restart.

use std::sync::Arc;
use std::time::Duration;

use seckill::checkout::{
    AttemptId, CancelAnswer, CheckoutSettings, PaymentState, SimulatedGateway, SimulatedGatewaySettings,
};
use seckill::domain::OrderStatus;
use testbed::PATIENCE;
use tokio::time::{sleep, timeout};

use crate::fixture::{Fixture, impatient};
use crate::outcome::{check_money, word};
use crate::scripted::{Call, FOR_EVER, Fault, Mood, QUICK, ScriptedGateway, ScriptedRisk};
use Call::{Capture, Hold, Status, Void};
use Fault::{Delayed, HangAfter, HangBefore, LostAfter, LostBefore};
use OrderStatus::{Expired, Paid, Paying, PrePay};

#[tokio::test]
async fn while_nobody_knows_the_order_stays_paying_even_past_its_deadline() {
    for (effect, ends) in [(LostBefore, Expired), (LostAfter, Paid)] {
        let fixture = Fixture::open(1, 3_600).await;
        let gateway = ScriptedGateway::new(0.0);
        for call in [Hold, Capture, Void] {
            gateway.fail(call, effect, FOR_EVER);
        }
        gateway.fail(Status, LostBefore, FOR_EVER);
        let life = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), impatient()).await;
        let order = fixture.buy("ann").await;
        let id = order.placed.id;

        assert_eq!(word(&life.checkout.pay(order.clone(), "card").await), "paying");
        let asked = gateway.calls_of(Status).len();
        fixture.pass_time(order.placed.pay_before.plus_ms(300));
        let goes_on = async {
            while gateway.calls_of(Status).len() <= asked {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, goes_on).await.expect("recovery goes on asking");
        assert_eq!(fixture.status(id).await, Paying);
        assert_eq!(fixture.remaining(), 0, "the unit stays with the order");
        assert_eq!(life.checkout.cancel(order.clone()).await, CancelAnswer::PaymentInProgress);
        assert_eq!(word(&life.checkout.pay(order, "card").await), "paying");

        gateway.heal();
        fixture.until(id, ends).await;
        check_money(&gateway, &fixture.order(id).await).await;
        fixture.check_conserved().await;
    }
}

#[tokio::test]
async fn money_held_long_after_the_deadline_is_let_go() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    gateway.fail(Hold, LostAfter, FOR_EVER);
    gateway.fail(Status, LostBefore, FOR_EVER);
    let mut settings = impatient();
    settings.recovery.capture_within_s = 0;
    let life = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), settings).await;
    let order = fixture.buy("ann").await;
    assert_eq!(word(&life.checkout.pay(order.clone(), "card").await), "paying");
    fixture.pass_time(order.placed.pay_before.plus_ms(1));
    gateway.heal();
    fixture.until(order.placed.id, Expired).await;
    assert_eq!(gateway.truth(AttemptId { order: order.placed.id, attempt: 1 }).await, PaymentState::Voided);
    fixture.check_conserved().await;
}

/// The engine dies while a call is under way, and another takes over.
#[tokio::test]
async fn a_restart_at_any_step_finishes_what_was_begun() {
    let cases = [
        (Hold, HangBefore, Mood::Approve, PrePay),
        (Hold, Delayed, Mood::Approve, PrePay),
        (Hold, HangAfter, Mood::Approve, Paid),
        (Hold, HangAfter, Mood::Reject, PrePay),
        (Capture, HangBefore, Mood::Approve, Paid),
        (Capture, HangAfter, Mood::Approve, Paid),
        (Void, HangBefore, Mood::Reject, PrePay),
        (Void, HangAfter, Mood::Reject, PrePay),
        (Status, HangBefore, Mood::Approve, PrePay),
    ];
    let fixture = Fixture::open(cases.len() as u32, 3_600).await;
    for (number, (call, fault, mood, ends)) in cases.into_iter().enumerate() {
        let name = format!("case {number}: killed in {call:?} with {fault:?}, {mood:?}");
        let gateway = ScriptedGateway::new(0.0);
        gateway.fail(call, fault, FOR_EVER);
        if call == Status {
            gateway.fail(Hold, LostBefore, FOR_EVER);
        }
        let order = fixture.buy(&format!("buyer-{number}")).await;
        let id = order.placed.id;
        let patient = |mut settings: CheckoutSettings| {
            settings.gateway.retry.try_ms = 60_000;
            settings.try_within_ms = 60_000;
            settings.settle_within_ms = 60_000;
            settings
        };
        let risk = ScriptedRisk::new(Mood::Approve, 0);
        risk.hold();
        let first = fixture.live(gateway.clone(), risk, patient(impatient())).await;
        let first = match call {
            // To come to the capture, or to the void, the risk check must answer.
            Capture | Void => {
                drop(first);
                fixture.live(gateway.clone(), ScriptedRisk::new(mood, 0), patient(impatient())).await
            }
            Hold | Status | Call::Refund => first,
        };
        let buyer = tokio::spawn({
            let checkout = first.checkout.clone();
            async move { checkout.pay(order, "card").await }
        });
        timeout(PATIENCE, gateway.until_called(call)).await.unwrap_or_else(|_| panic!("{name}"));
        drop(first);
        assert_eq!(word(&buyer.await.unwrap()), "paying", "{name}");
        assert_eq!(fixture.status(id).await, Paying, "{name}");

        gateway.heal();
        let second = fixture.live(gateway.clone(), ScriptedRisk::new(mood, 0), impatient()).await;
        fixture.until(id, ends).await;
        gateway.deliver_delayed().await;
        check_money(&gateway, &fixture.order(id).await).await;
        drop(second);
    }
    fixture.check_conserved().await;
}

#[tokio::test]
async fn a_simulated_gateway_forgets_over_a_restart_and_the_order_can_be_paid_again() {
    let fixture = Fixture::open(1, 3_600).await;
    let order = fixture.buy("ann").await;
    let simulated = |settings| Arc::new(SimulatedGateway::new(settings));
    let slow = SimulatedGatewaySettings {
        settle_latency: seckill::checkout::LatencySettings { median_ms: 60_000.0, p99_ms: 60_000.0 },
        hold_latency: QUICK,
        ..SimulatedGatewaySettings::default()
    };
    let risk = || ScriptedRisk::new(Mood::Approve, 0);
    let mut settings = impatient();
    settings.wait_ms = 50;
    let first = fixture.live(simulated(slow), risk(), settings).await;
    assert_eq!(word(&first.checkout.pay(order.clone(), "card").await), "paying");
    // The buyer's patience may end before the attempt is written; the restart is to find it.
    fixture.until(order.placed.id, Paying).await;
    drop(first);

    let quick = SimulatedGatewaySettings {
        hold_latency: QUICK,
        settle_latency: QUICK,
        ..SimulatedGatewaySettings::default()
    };
    let second = fixture.live(simulated(quick), risk(), impatient()).await;
    fixture.until(order.placed.id, PrePay).await;
    let order = fixture.order(order.placed.id).await;
    assert_eq!(word(&second.checkout.pay(order.clone(), "card").await), "paid");
    assert_eq!(fixture.order(order.placed.id).await.payment_attempt, 2);
}
