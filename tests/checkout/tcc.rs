//! Try, Confirm, Cancel with every failure at every step.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use seckill::checkout::{
    AttemptId, CancelAnswer, CheckoutSettings, PayAnswer, PaymentGateway, PaymentState, SimulatedGateway,
    SimulatedGatewaySettings, SimulatedRisk, SimulatedRiskSettings,
};
use seckill::domain::{EpochMs, Order, OrderStatus};
use seckill::orders::EventKind;
use testbed::PATIENCE;
use tokio::time::{sleep, timeout};

use super::house::{House, Life, impatient, now};
use super::scripted::{ALL_TRIES, Call, FOR_EVER, Fault, Mood, QUICK, ScriptedGateway, ScriptedRisk};
use Call::{Capture, Hold, Status, Void};
use Fault::{Busy, Delayed, HangAfter, HangBefore, Invalid, LostAfter, LostBefore};
use OrderStatus::{Cancelled, Expired, Paid, Paying, PrePay};

/// What a buyer hears, without the details.
fn word(answer: &PayAnswer) -> &'static str {
    match answer {
        PayAnswer::Paid(_) => "paid",
        PayAnswer::Paying(_) => "paying",
        PayAnswer::Declined { .. } => "declined",
        PayAnswer::RiskRejected { .. } => "risk-rejected",
        PayAnswer::TooManyAttempts { .. } => "too-many-attempts",
        PayAnswer::Expired => "expired",
        PayAnswer::Cancelled => "cancelled",
        PayAnswer::Rejected => "rejected",
        PayAnswer::Pending => "pending",
        PayAnswer::MethodNotAllowed => "method-not-allowed",
        PayAnswer::Unavailable { .. } => "unavailable",
    }
}

/// Money and order agree: a final or waiting order has no money on hold, and money is taken for paid orders only, once.
async fn check_money(gateway: &ScriptedGateway, order: &Order) {
    let mut captured = 0;
    for attempt in 1..=order.payment_attempt {
        let truth = gateway.truth(AttemptId { order: order.placed.id, attempt }).await;
        captured += usize::from(truth == PaymentState::Captured);
        assert!(
            truth != PaymentState::Held || order.status == Paying,
            "money is on hold for an order that is {}",
            order.status
        );
    }
    assert_eq!(captured == 1, order.status == Paid, "{order:?} was charged {captured} times");
    assert!(captured <= 1);
}

async fn until_after(moment: EpochMs) {
    while now() <= moment {
        sleep(Duration::from_millis(10)).await;
    }
}

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
    let house = Arc::new(House::open(CASES.len() as u32, 3_600).await);
    // All lives begin before the first payment: none takes another's for one that was left unfinished.
    let mut benches = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        benches.push(Bench::set_up(&house, number, case).await);
    }
    let mut running = tokio::task::JoinSet::new();
    for bench in benches {
        let house = Arc::clone(&house);
        running.spawn(async move { bench.run(&house).await });
    }
    assert_eq!(house.remaining(), 0);
    while let Some(ended) = running.join_next().await {
        if let Err(panicked) = ended {
            std::panic::resume_unwind(panicked.into_panic());
        }
        // Every order holds its unit all the time: none may ever be on sale.
        assert_eq!(house.remaining(), 0, "a unit was put back on sale");
    }
    house.check_conserved().await;
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
    async fn set_up(house: &House, number: usize, case: &'static Case) -> Self {
        let gateway = ScriptedGateway::new(if case.declines { 1.0 } else { 0.0 });
        for &(call, fault, times) in case.faults {
            gateway.fail(call, fault, times);
        }
        let risk = ScriptedRisk::after_hold_at(&gateway, case.mood);
        let mut settings = impatient();
        settings.gateway.retry.try_ms = 5_000;
        let life = house.live(gateway.clone(), risk.clone(), settings).await;
        let order = house.buy(&format!("buyer-{number}")).await;
        Self { case, name: format!("case {number}: {case:?}"), gateway, risk, life, order }
    }

    async fn run(self, house: &House) {
        let Self { case, name, gateway, risk, life, order } = self;
        let answer = life.checkout.pay(order.clone(), "card").await;
        assert_eq!(word(&answer), case.hears, "{name}");
        if case.mood == Mood::Away {
            risk.change(Mood::Reject);
        }
        house.until(order.placed.id, case.ends).await;
        gateway.heal();
        gateway.deliver_delayed().await;

        let order = house.order(order.placed.id).await;
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
            check_money(&gateway, &house.order(order.placed.id).await).await;
        }
    }
}

#[tokio::test]
async fn while_nobody_knows_the_order_stays_paying_even_past_its_deadline() {
    for (effect, ends) in [(LostBefore, Expired), (LostAfter, Paid)] {
        let house = House::open(1, 2).await;
        let gateway = ScriptedGateway::new(0.0);
        for call in [Hold, Capture, Void] {
            gateway.fail(call, effect, FOR_EVER);
        }
        gateway.fail(Status, LostBefore, FOR_EVER);
        let life = house.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), impatient()).await;
        let order = house.buy("ann").await;
        let id = order.placed.id;

        assert_eq!(word(&life.checkout.pay(order.clone(), "card").await), "paying");
        let asked = gateway.calls_of(Status).len();
        until_after(order.placed.pay_before.plus_ms(300)).await;
        assert!(gateway.calls_of(Status).len() > asked, "recovery goes on asking");
        assert_eq!(house.status(id).await, Paying);
        assert_eq!(house.remaining(), 0, "the unit stays with the order");
        assert_eq!(life.checkout.cancel(order.clone()).await, CancelAnswer::PaymentInProgress);
        assert_eq!(word(&life.checkout.pay(order, "card").await), "paying");

        gateway.heal();
        house.until(id, ends).await;
        check_money(&gateway, &house.order(id).await).await;
        house.check_conserved().await;
    }
}

#[tokio::test]
async fn money_held_long_after_the_deadline_is_let_go() {
    let house = House::open(1, 2).await;
    let gateway = ScriptedGateway::new(0.0);
    gateway.fail(Hold, LostAfter, FOR_EVER);
    gateway.fail(Status, LostBefore, FOR_EVER);
    let mut settings = impatient();
    settings.recovery.capture_within_s = 0;
    let life = house.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), settings).await;
    let order = house.buy("ann").await;
    assert_eq!(word(&life.checkout.pay(order.clone(), "card").await), "paying");
    until_after(order.placed.pay_before).await;
    gateway.heal();
    house.until(order.placed.id, Expired).await;
    assert_eq!(gateway.truth(AttemptId { order: order.placed.id, attempt: 1 }).await, PaymentState::Voided);
    house.check_conserved().await;
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
    let house = House::open(cases.len() as u32, 3_600).await;
    for (number, (call, fault, mood, ends)) in cases.into_iter().enumerate() {
        let name = format!("case {number}: killed in {call:?} with {fault:?}, {mood:?}");
        let gateway = ScriptedGateway::new(0.0);
        gateway.fail(call, fault, FOR_EVER);
        if call == Status {
            gateway.fail(Hold, LostBefore, FOR_EVER);
        }
        let order = house.buy(&format!("buyer-{number}")).await;
        let id = order.placed.id;
        let patient = |mut settings: CheckoutSettings| {
            settings.gateway.retry.try_ms = 60_000;
            settings.try_within_ms = 60_000;
            settings.settle_within_ms = 60_000;
            settings
        };
        let risk = ScriptedRisk::new(Mood::Approve, 0);
        risk.hold();
        let first = house.live(gateway.clone(), risk, patient(impatient())).await;
        let first = match call {
            // To come to the capture, or to the void, the risk check must answer.
            Capture | Void => {
                drop(first);
                house.live(gateway.clone(), ScriptedRisk::new(mood, 0), patient(impatient())).await
            }
            Hold | Status => first,
        };
        let buyer = tokio::spawn({
            let checkout = first.checkout.clone();
            async move { checkout.pay(order, "card").await }
        });
        timeout(PATIENCE, gateway.until_called(call)).await.unwrap_or_else(|_| panic!("{name}"));
        drop(first);
        assert_eq!(word(&buyer.await.unwrap()), "paying", "{name}");
        assert_eq!(house.status(id).await, Paying, "{name}");

        gateway.heal();
        let second = house.live(gateway.clone(), ScriptedRisk::new(mood, 0), impatient()).await;
        house.until(id, ends).await;
        gateway.deliver_delayed().await;
        check_money(&gateway, &house.order(id).await).await;
        drop(second);
    }
    house.check_conserved().await;
}

#[tokio::test]
async fn a_simulated_gateway_forgets_over_a_restart_and_the_order_can_be_paid_again() {
    let house = House::open(1, 3_600).await;
    let order = house.buy("ann").await;
    let simulated = |settings| Arc::new(SimulatedGateway::new(settings));
    let slow = SimulatedGatewaySettings {
        settle_latency: seckill::checkout::LatencySettings { median_ms: 60_000.0, p99_ms: 60_000.0 },
        hold_latency: QUICK,
        ..SimulatedGatewaySettings::default()
    };
    let risk = || ScriptedRisk::new(Mood::Approve, 0);
    let mut settings = impatient();
    settings.wait_ms = 50;
    let first = house.live(simulated(slow), risk(), settings).await;
    assert_eq!(word(&first.checkout.pay(order.clone(), "card").await), "paying");
    drop(first);

    let quick = SimulatedGatewaySettings {
        hold_latency: QUICK,
        settle_latency: QUICK,
        ..SimulatedGatewaySettings::default()
    };
    let second = house.live(simulated(quick), risk(), impatient()).await;
    house.until(order.placed.id, PrePay).await;
    let order = house.order(order.placed.id).await;
    assert_eq!(word(&second.checkout.pay(order.clone(), "card").await), "paid");
    assert_eq!(house.order(order.placed.id).await.payment_attempt, 2);
}

#[tokio::test]
async fn who_pays_twice_at_once_pays_once_and_hears_it_twice() {
    let house = House::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let life = house.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 100), impatient()).await;
    let order = house.buy("ann").await;
    let mut clicks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (checkout, order) = (life.checkout.clone(), order.clone());
        clicks.spawn(async move { checkout.pay(order, "card").await });
    }
    for answer in clicks.join_all().await {
        assert_eq!(word(&answer), "paid");
    }
    assert_eq!(gateway.calls_of(Hold).len(), 1);
    check_money(&gateway, &house.order(order.placed.id).await).await;
}

#[tokio::test]
async fn another_method_does_not_join_a_payment_and_a_cancel_does_not_stop_it() {
    let house = House::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let risk = ScriptedRisk::new(Mood::Approve, 0);
    risk.hold();
    let life = house.live(gateway.clone(), risk.clone(), impatient()).await;
    let order = house.buy("ann").await;
    let (checkout, again) = (life.checkout.clone(), order.clone());
    let first = tokio::spawn(async move { checkout.pay(again, "card").await });
    house.until(order.placed.id, Paying).await;
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
    let house = House::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let risk = ScriptedRisk::new(Mood::Approve, 0);
    risk.hold();
    let life = house.live(gateway.clone(), risk.clone(), impatient()).await;
    let order = house.buy("ann").await;
    let (checkout, hers) = (life.checkout.clone(), order.clone());
    let buyer = tokio::spawn(async move { checkout.pay(hers, "card").await });
    house.until(order.placed.id, Paying).await;
    buyer.abort();
    assert!(buyer.await.is_err_and(|end| end.is_cancelled()), "she hung up");
    risk.release();
    house.until(order.placed.id, Paid).await;
}

#[tokio::test]
async fn who_waits_too_long_hears_paying_and_later_paid() {
    let house = House::open(1, 3_600).await;
    let mut settings = impatient();
    settings.wait_ms = 20;
    let gateway = ScriptedGateway::new(0.0);
    let risk = ScriptedRisk::new(Mood::Approve, 0);
    risk.hold();
    let life = house.live(gateway, risk.clone(), settings).await;
    let order = house.buy("ann").await;
    let PayAnswer::Paying(told) = life.checkout.pay(order.clone(), "card").await else { panic!() };
    assert_eq!(told.status, Paying);
    risk.release();
    house.until(order.placed.id, Paid).await;
}

#[tokio::test]
async fn an_open_breaker_leaves_gateway_and_order_alone() {
    let house = House::open(4, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    gateway.fail(Hold, Busy, FOR_EVER);
    let mut settings = impatient();
    settings.gateway.breaker.calls_min = 3;
    settings.gateway.breaker.open_ms = 10_000;
    settings.gateway.breaker.probes = 1;
    let life = house.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), settings).await;
    for buyer in ["ann", "bob", "cat"] {
        let order = house.buy(buyer).await;
        assert_eq!(word(&life.checkout.pay(order, "card").await), "unavailable");
    }
    let holds = gateway.calls_of(Hold).len();
    let order = house.buy("dan").await;
    let PayAnswer::Unavailable { retry_after_ms } = life.checkout.pay(order.clone(), "card").await else {
        panic!("the breaker is open");
    };
    assert!((1..=10_000).contains(&retry_after_ms));
    assert_eq!(gateway.calls_of(Hold).len(), holds);
    assert_eq!(house.order(order.placed.id).await.payment_attempt, 0);

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
    let house = House::open(3, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let mut settings = impatient();
    settings.attempts_max = 1;
    settings.recovery.queue_max = 1;
    settings.recovery.backoff_ms = 60_000;
    settings.recovery.backoff_ms_max = 60_000;
    settings.methods = vec!["card".into()];
    let risk = ScriptedRisk::new(Mood::Approve, 0);
    risk.hold();
    let life = house.live(gateway.clone(), risk.clone(), settings).await;
    let (ann, bob) = (house.buy("ann").await, house.buy("bob").await);
    assert_eq!(word(&life.checkout.pay(ann.clone(), "cheque").await), "method-not-allowed");

    let (checkout, order) = (life.checkout.clone(), ann.clone());
    let first = tokio::spawn(async move { checkout.pay(order, "card").await });
    house.until(ann.placed.id, Paying).await;
    assert_eq!(word(&life.checkout.pay(bob.clone(), "card").await), "unavailable", "attempts_max");
    risk.release();
    assert_eq!(word(&first.await.unwrap()), "paid");

    gateway.fail(Hold, LostAfter, FOR_EVER);
    assert_eq!(word(&life.checkout.pay(bob, "card").await), "paying");
    assert_eq!(life.checkout.recovery_queue_len(), 1);
    let cat = house.buy("cat").await;
    assert_eq!(word(&life.checkout.pay(cat.clone(), "card").await), "unavailable", "queue_max");
    assert_eq!(house.order(cat.placed.id).await.payment_attempt, 0);
}

#[tokio::test]
async fn who_looks_after_an_earlier_payment_leaves_a_later_one_alone() {
    let house = House::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let risk = ScriptedRisk::new(Mood::Reject, 0);
    let payer = house.live(gateway.clone(), risk.clone(), impatient()).await;
    let heir = house.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), impatient()).await;
    let order = house.buy("ann").await;
    assert_eq!(word(&payer.checkout.pay(order.clone(), "card").await), "risk-rejected");
    let waiting = house.order(order.placed.id).await;
    assert_eq!((waiting.status, waiting.payment_attempt), (PrePay, 1));

    risk.change(Mood::Approve);
    risk.hold();
    let checkout = payer.checkout.clone();
    let second = tokio::spawn(async move { checkout.pay(waiting, "card").await });
    house.until(order.placed.id, Paying).await;
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
    let house = House::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let life = house.live(gateway, ScriptedRisk::new(Mood::Approve, 0), impatient()).await;
    let order = house.buy("ann").await;
    assert_eq!(house.remaining(), 0);
    let CancelAnswer::Cancelled(cancelled) = life.checkout.cancel(order.clone()).await else { panic!() };
    assert_eq!((cancelled.status, house.remaining()), (Cancelled, 1));
    assert_eq!(life.checkout.cancel(order.clone()).await, CancelAnswer::Cancelled(cancelled.clone()));
    assert_eq!(life.checkout.cancel(cancelled).await, life.checkout.cancel(order.clone()).await);
    assert_eq!(life.checkout.pay(order, "card").await, PayAnswer::Cancelled);
    assert_eq!(house.remaining(), 1);
    house.check_conserved().await;
}

#[tokio::test]
async fn unpaid_orders_expire_in_time_and_can_neither_be_paid_nor_cancelled_then() {
    let house = House::open(50, 2).await;
    let gateway = ScriptedGateway::new(0.0);
    let mut settings = impatient();
    settings.expiry.batch_max = 7;
    let life = house.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), settings).await;
    let paid = house.buy("ann").await;
    assert_eq!(word(&life.checkout.pay(paid.clone(), "card").await), "paid");
    let mut orders = Vec::new();
    for number in 0..49 {
        orders.push(house.buy(&format!("buyer-{number}")).await);
    }
    for order in &orders {
        house.until(order.placed.id, Expired).await;
    }
    let events = house.desk.events_after(0, 1_000).await.unwrap();
    let expired: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Expired).collect();
    assert_eq!(expired.len(), 49);
    assert!(expired.iter().all(|event| event.at >= event.order.placed.pay_before), "not before its time");
    assert_eq!(house.status(paid.placed.id).await, Paid);
    assert_eq!(house.remaining(), 49);
    let late = orders.pop().unwrap();
    assert_eq!(life.checkout.pay(late.clone(), "card").await, PayAnswer::Expired);
    assert_eq!(life.checkout.cancel(late).await, CancelAnswer::Expired);
    assert_eq!(life.checkout.metrics().expired.get(), 49);
    house.check_conserved().await;
}

/// Many buyers, a gateway that loses a third of all calls, a risk service that fails and rejects, and a deadline:
/// in the end every order is paid and charged once, or expired and not charged.
#[tokio::test]
async fn a_bad_day_ends_with_every_unit_paid_or_on_sale() {
    const BUYERS: u32 = 150;
    let house = Arc::new(House::open(BUYERS, 3).await);
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
    let life = house.live(gateway.clone(), risk, settings).await;
    let mut buyers = tokio::task::JoinSet::new();
    for number in 0..BUYERS {
        let (house, checkout) = (Arc::clone(&house), life.checkout.clone());
        buyers.spawn(async move {
            let order = house.buy(&format!("buyer-{number}")).await;
            // Three clicks each; a tenth never pays and a tenth changes its mind.
            for _ in 0..3 * u32::from(number % 10 != 0) {
                checkout.pay(house.order(order.placed.id).await, "card").await;
            }
            if number % 10 == 1 {
                checkout.cancel(house.order(order.placed.id).await).await;
            }
        });
    }
    buyers.join_all().await;
    let settled = async {
        while house.orders().await.iter().any(|order| !order.status.is_final()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(PATIENCE, settled).await.is_err() {
        let open: Vec<_> =
            house.orders().await.into_iter().filter(|order| !order.status.is_final()).collect();
        panic!("these orders do not come to their end: {open:#?}");
    }

    let mut paid = 0;
    for order in house.orders().await {
        let mut captured = 0;
        for attempt in 1..=order.payment_attempt {
            let key = house.key(order.placed.id, attempt);
            let truth = loop {
                if let Ok(Ok(told)) = timeout(Duration::from_millis(500), gateway.status(key)).await {
                    break told.state;
                }
            };
            assert_ne!(truth, PaymentState::Held, "{order:?}");
            captured += u32::from(truth == PaymentState::Captured);
        }
        assert_eq!(captured, u32::from(order.status == Paid), "{order:?}");
        paid += captured;
    }
    assert!(paid > BUYERS / 10, "only {paid} of {BUYERS} paid");
    assert_eq!(house.remaining(), BUYERS - paid);
    house.check_conserved().await;
}
