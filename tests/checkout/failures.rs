//! Try, Confirm, Cancel with every failure at every step.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use seckill::checkout::{CancelAnswer, PayAnswer};
use seckill::domain::{Order, OrderStatus};
use testbed::PATIENCE;
use tokio::time::{sleep, timeout};

use crate::fixture::{Fixture, Life, impatient};
use crate::outcome::{check_money, word};
use crate::scripted::{ALL_TRIES, Call, FOR_EVER, Fault, Mood, ScriptedGateway, ScriptedRisk};
use Call::{Capture, Hold, Status, Void};
use Fault::{Busy, Delayed, HangAfter, HangBefore, Invalid, LostAfter, LostBefore};
use OrderStatus::{Paid, PrePay};

#[derive(Debug)]
struct Case {
    faults: &'static [(Call, Fault, usize)],
    mood: Mood,
    declines: bool,
    /// What the buyer hears first.
    hears: &'static str,
    /// Where the order ends when the faults are over.
    ends: OrderStatus,
}

const fn case(
    faults: &'static [(Call, Fault, usize)],
    mood: Mood,
    hears: &'static str,
    ends: OrderStatus,
) -> Case {
    Case { faults, mood, declines: false, hears, ends }
}

const CASES: &[Case] = {
    use Mood::{Approve, Away, Reject};
    &[
        case(&[], Approve, "paid", Paid),
        Case { faults: &[], mood: Approve, declines: true, hears: "declined", ends: PrePay },
        case(&[], Reject, "risk-rejected", PrePay),
        case(&[], Away, "unavailable", PrePay),
        // The hold.
        case(&[(Hold, Busy, 1)], Approve, "paid", Paid),
        case(&[(Hold, Busy, FOR_EVER)], Approve, "unavailable", PrePay),
        case(&[(Hold, Invalid, FOR_EVER)], Approve, "unavailable", PrePay),
        case(&[(Hold, LostBefore, 1)], Approve, "paid", Paid),
        case(&[(Hold, LostAfter, 1)], Approve, "paid", Paid),
        case(&[(Hold, HangBefore, 1)], Approve, "paid", Paid),
        case(&[(Hold, HangAfter, 1)], Approve, "paid", Paid),
        case(&[(Hold, LostBefore, FOR_EVER)], Approve, "paying", PrePay),
        case(&[(Hold, LostAfter, FOR_EVER)], Approve, "paying", Paid),
        case(&[(Hold, HangBefore, FOR_EVER)], Approve, "paying", PrePay),
        case(&[(Hold, HangAfter, FOR_EVER)], Approve, "paying", Paid),
        case(&[(Hold, Delayed, FOR_EVER)], Approve, "paying", PrePay),
        case(&[(Hold, LostAfter, ALL_TRIES), (Status, LostBefore, 3)], Approve, "paying", Paid),
        case(&[(Hold, LostBefore, ALL_TRIES), (Status, HangBefore, 2)], Approve, "paying", PrePay),
        case(&[(Hold, LostBefore, ALL_TRIES), (Void, LostBefore, 3)], Approve, "paying", PrePay),
        case(&[(Hold, LostBefore, ALL_TRIES), (Void, LostAfter, 3)], Approve, "paying", PrePay),
        // The hold is unknown, and the risk check turns out not to want the payment.
        case(&[(Hold, LostAfter, FOR_EVER)], Reject, "paying", PrePay),
        // The risk check does not want the payment while the hold is under way.
        case(&[(Hold, HangBefore, FOR_EVER)], Reject, "risk-rejected", PrePay),
        case(&[(Hold, HangAfter, FOR_EVER)], Reject, "risk-rejected", PrePay),
        case(&[(Hold, HangAfter, FOR_EVER)], Away, "unavailable", PrePay),
        case(&[(Hold, HangAfter, FOR_EVER), (Void, Busy, 3)], Reject, "paying", PrePay),
        case(&[(Void, LostBefore, 1)], Reject, "risk-rejected", PrePay),
        case(&[(Void, LostBefore, 3)], Reject, "paying", PrePay),
        case(&[(Void, LostAfter, 1)], Reject, "risk-rejected", PrePay),
        case(&[(Void, LostAfter, 3)], Reject, "paying", PrePay),
        case(&[(Void, HangAfter, 3)], Reject, "paying", PrePay),
        case(&[(Void, LostBefore, 3), (Status, LostBefore, 3)], Away, "paying", PrePay),
        // The capture.
        case(&[(Capture, Busy, 1)], Approve, "paid", Paid),
        case(&[(Capture, Busy, 3)], Approve, "paying", Paid),
        case(&[(Capture, Invalid, 1)], Approve, "paying", Paid),
        case(&[(Capture, LostBefore, 1)], Approve, "paid", Paid),
        case(&[(Capture, LostBefore, 3)], Approve, "paying", Paid),
        case(&[(Capture, LostAfter, 1)], Approve, "paid", Paid),
        case(&[(Capture, LostAfter, 3)], Approve, "paying", Paid),
        case(&[(Capture, HangBefore, 3)], Approve, "paying", Paid),
        case(&[(Capture, HangAfter, 3)], Approve, "paying", Paid),
        case(&[(Capture, HangAfter, 3), (Status, LostBefore, 5)], Approve, "paying", Paid),
    ]
};

#[tokio::test]
async fn every_failure_at_every_step_ends_well() {
    let fixture = Arc::new(Fixture::open(CASES.len() as u32, 3_600).await);
    // All lives begin before the first payment: none takes another's for one that was left unfinished.
    let mut benches = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        benches.push(Bench::set_up(&fixture, number, case).await);
    }
    let mut running = tokio::task::JoinSet::new();
    for bench in benches {
        let fixture = Arc::clone(&fixture);
        running.spawn(async move { bench.run(&fixture).await });
    }
    assert_eq!(fixture.remaining(), 0);
    while let Some(ended) = running.join_next().await {
        if let Err(panicked) = ended {
            std::panic::resume_unwind(panicked.into_panic());
        }
        // Every order holds its unit all the time: none may ever be on sale.
        assert_eq!(fixture.remaining(), 0, "a unit was put back on sale");
    }
    fixture.check_conserved().await;
}

/// One case with a gateway, a risk service and a checkout of its own.
struct Bench {
    case: &'static Case,
    name: String,
    gateway: Arc<ScriptedGateway>,
    risk: Arc<ScriptedRisk>,
    life: Life,
    order: Order,
}

impl Bench {
    async fn set_up(fixture: &Fixture, number: usize, case: &'static Case) -> Self {
        let gateway = ScriptedGateway::new(if case.declines { 1.0 } else { 0.0 });
        for &(call, fault, times) in case.faults {
            gateway.fail(call, fault, times);
        }
        let risk = ScriptedRisk::after_hold_at(&gateway, case.mood);
        let mut settings = impatient();
        settings.gateway.retry.try_ms = 5_000;
        let life = fixture.live(gateway.clone(), risk.clone(), settings).await;
        let order = fixture.buy(&format!("buyer-{number}")).await;
        Self { case, name: format!("case {number}: {case:?}"), gateway, risk, life, order }
    }

    async fn run(self, fixture: &Fixture) {
        let Self { case, name, gateway, risk, life, order } = self;
        let answer = life.checkout.pay(order.clone(), "card").await;
        assert_eq!(word(&answer), case.hears, "{name}");
        if case.mood == Mood::Away {
            risk.change(Mood::Reject);
        }
        fixture.until(order.placed.id, case.ends).await;
        gateway.heal();
        gateway.deliver_delayed().await;

        let order = fixture.order(order.placed.id).await;
        assert_eq!((order.status, order.payment_attempt), (case.ends, 1), "{name}");
        check_money(&gateway, &order).await;
        let keys: HashSet<_> = gateway.calls_of(Hold).into_iter().collect();
        assert!(keys.len() <= 1, "{name}: retries use one key");
        if case.ends == Paid {
            let again = life.checkout.pay(order.clone(), "card").await;
            assert_eq!(again, PayAnswer::Paid(order.clone()), "{name}: a repeat answers the same");
            assert_eq!(life.checkout.cancel(order).await, CancelAnswer::AlreadyPaid, "{name}");
        } else {
            risk.change(Mood::Approve);
            // The order is free a moment before the attempt that let it go has left: whoever joins that hears its end.
            let free = async {
                while life.checkout.payments_under_way() > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(PATIENCE, free).await.unwrap_or_else(|_| panic!("{name}: it does not leave"));
            let again = life.checkout.pay(order.clone(), "card").await;
            let expected = if case.declines { "declined" } else { "paid" };
            assert_eq!(word(&again), expected, "{name}: the order may be paid after all");
            check_money(&gateway, &fixture.order(order.placed.id).await).await;
        }
    }
}
