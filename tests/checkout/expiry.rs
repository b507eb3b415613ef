//! Deadlines, and a bad day: in the end every unit is paid or on sale.

use std::sync::Arc;
use std::time::Duration;

use seckill::checkout::{
    CancelAnswer, PayAnswer, PaymentGateway, PaymentState, SimulatedGateway, SimulatedGatewaySettings,
    SimulatedRisk, SimulatedRiskSettings,
};
use seckill::domain::OrderStatus;
use seckill::orders::EventKind;
use testbed::PATIENCE;
use tokio::time::{sleep, timeout};

use crate::fixture::{Fixture, impatient};
use crate::outcome::word;
use crate::scripted::{Mood, QUICK, ScriptedGateway, ScriptedRisk};
use OrderStatus::{Expired, Paid};

#[tokio::test]
async fn unpaid_orders_expire_in_time_and_can_neither_be_paid_nor_cancelled_then() {
    let fixture = Fixture::open(50, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let mut settings = impatient();
    settings.expiry.batch_max = 7;
    let life = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), settings).await;
    let paid = fixture.buy("ann").await;
    assert_eq!(word(&life.checkout.pay(paid.clone(), "card").await), "paid");
    let mut orders = Vec::new();
    for number in 0..49 {
        orders.push(fixture.buy(&format!("buyer-{number}")).await);
    }
    let last = orders.iter().map(|order| order.placed.pay_before).max().expect("there are some");
    fixture.pass_time(last.plus_ms(1));
    for order in &orders {
        fixture.until(order.placed.id, Expired).await;
    }
    let events = fixture.desk.events_after(0, 1_000).await.unwrap();
    let expired: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Expired).collect();
    assert_eq!(expired.len(), 49);
    assert!(expired.iter().all(|event| event.at >= event.order.placed.pay_before), "not before its time");
    assert_eq!(fixture.status(paid.placed.id).await, Paid);
    assert_eq!(fixture.remaining(), 49);
    let late = orders.pop().unwrap();
    assert_eq!(life.checkout.pay(late.clone(), "card").await, PayAnswer::Expired);
    assert_eq!(life.checkout.cancel(late).await, CancelAnswer::Expired);
    assert_eq!(life.checkout.metrics().expired.get(), 49);
    // Nobody waits any more, and whoever comes then runs out of time all the same.
    let later = fixture.buy("later").await.placed;
    fixture.pass_time(later.pay_before.plus_ms(1));
    fixture.until(later.id, Expired).await;
    fixture.check_conserved().await;
}

/// Many buyers, a gateway that loses a third of all calls, a risk service that fails and rejects, and a deadline:
/// in the end every order is paid and charged once, or expired and not charged.
#[tokio::test]
async fn a_bad_day_ends_with_every_unit_paid_or_on_sale() {
    const BUYERS: u32 = 150;
    let fixture = Arc::new(Fixture::open(BUYERS, 3).await);
    let gateway = Arc::new(SimulatedGateway::new(SimulatedGatewaySettings {
        seed: 11,
        hold_latency: QUICK,
        settle_latency: QUICK,
        decline_rate: 0.2,
        timeout_rate: 0.05,
        unknown_rate: 0.3,
        ..SimulatedGatewaySettings::default()
    }));
    let risk = Arc::new(SimulatedRisk::new(SimulatedRiskSettings {
        seed: 12,
        latency: QUICK,
        ask_above_cents: 0,
        reject_rate: 0.1,
        failure_rate: 0.2,
        ..SimulatedRiskSettings::default()
    }));
    // Calls that get lost are given up soon, so that the day has an end.
    let mut settings = impatient();
    settings.gateway.retry.try_ms = 500;
    settings.risk.retry.try_ms = 500;
    let life = fixture.live(gateway.clone(), risk, settings).await;
    let mut buyers = tokio::task::JoinSet::new();
    for number in 0..BUYERS {
        let (fixture, checkout) = (Arc::clone(&fixture), life.checkout.clone());
        buyers.spawn(async move {
            let order = fixture.buy(&format!("buyer-{number}")).await;
            // Three clicks each; a tenth never pays and a tenth changes its mind.
            for _ in 0..3 * u32::from(number % 10 != 0) {
                checkout.pay(fixture.order(order.placed.id).await, "card").await;
            }
            if number % 10 == 1 {
                checkout.cancel(fixture.order(order.placed.id).await).await;
            }
        });
    }
    buyers.join_all().await;
    let settled = async {
        while fixture.orders().await.iter().any(|order| order.status.is_open()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(PATIENCE, settled).await.is_err() {
        let open: Vec<_> =
            fixture.orders().await.into_iter().filter(|order| order.status.is_open()).collect();
        panic!("these orders do not come to their end: {open:#?}");
    }

    let mut paid = 0;
    for order in fixture.orders().await {
        let mut captured = 0;
        for attempt in 1..=order.payment_attempt {
            let key = fixture.key(order.placed.id, attempt);
            let truth = loop {
                if let Ok(Ok(answer)) = timeout(Duration::from_millis(500), gateway.status(key)).await {
                    break answer.state;
                }
            };
            assert_ne!(truth, PaymentState::Held, "{order:?}");
            captured += u32::from(truth == PaymentState::Captured);
        }
        assert_eq!(captured, u32::from(order.status == Paid), "{order:?}");
        paid += captured;
    }
    assert!(paid > BUYERS / 10, "only {paid} of {BUYERS} paid");
    assert_eq!(fixture.remaining(), BUYERS - paid);
    fixture.check_conserved().await;
}
