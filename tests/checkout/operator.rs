//! Payments that a gateway works on for long or for ever, operators who end them, and what needs no gateway at all.

use std::sync::Arc;
use std::time::Duration;

use seckill::checkout::{AttemptId, PayAnswer, PaymentState, SettleAnswer, SettleOutcome};
use seckill::domain::OrderStatus;
use testbed::engine::{Engine, Launch};
use testbed::{PATIENCE, until};
use tokio::time::{sleep, timeout};

use crate::example_gateway::{ExampleGateway, Weather};
use crate::fixture::{Fixture, giving_up, impatient};
use crate::process::{as_pairs, buy, health, keys, pay, status, until_status};
use crate::scripted::{Call, FOR_EVER, Fault, Mood, ScriptedGateway, ScriptedRisk};

/// An engine whose buyers do not wait for long.
fn impatient_engine(gateway: &ExampleGateway) -> Engine {
    let mut keys = keys("main", gateway);
    // What a busy machine has not held in time goes back by itself; an operator waits until the engine lets go of the rest.
    let waits =
        [("CHECKOUT__WAIT_MS", "20"), ("CHECKOUT__TRY_WITHIN_MS", "8000"), ("ADMIN__ACT_WAIT_MS", "60000")];
    keys.extend(waits.map(|(key, value)| (key.to_owned(), value.to_owned())));
    Launch::new(&as_pairs(&keys)).start()
}

fn settle(engine: &Engine, order: &str, body: &str) -> (u16, serde_json::Value) {
    let answer = engine.admin("POST", &format!("/api/v1/orders/{order}/settle"), body);
    (answer.status, answer.json())
}

#[test]
fn m7_a_gateway_that_works_on_payments_is_neither_left_alone_nor_hurried() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let pace = keys("main", &gateway);
    // In the first life nothing is asked a second time: what there is comes from the answers to the holds.
    let mut once = pace.clone();
    let never = "3600000";
    let long = [("GATEWAY__PROCESSING__POLL_MS", never), ("GATEWAY__PROCESSING__POLL_MS_MAX", never)];
    once.extend(long.map(|(key, value)| (format!("CHECKOUT__{key}"), value.to_owned())));
    once.push(("CHECKOUT__WAIT_MS".to_owned(), "20".to_owned()));
    let engine = Launch::new(&as_pairs(&once)).start();
    engine.sale("m", 41, "");
    gateway.process(true);
    let pay_for = |number: u32| {
        let buyer = format!("buyer-{number}");
        let order = buy(&engine, "m", &buyer);
        assert_eq!(pay(&engine, &buyer, &order).status, 202);
        (buyer, order)
    };
    let worked_on = |engine: &Engine| health(engine)["payments"]["processing"].clone();
    let mut orders: Vec<_> = (0..40).map(pay_for).collect();
    until("all of them are known to be worked on", || worked_on(&engine) == 40);
    assert_eq!(health(&engine)["gateway"], "closed");
    assert_eq!(health(&engine)["status"], "ok");
    orders.push(pay_for(40));
    until("and the one that came then", || worked_on(&engine) == 41);
    // In the second life they are asked about until they end, at their own pace.
    let launch = engine.kill();
    let engine = launch.with(&as_pairs(&pace)).start();
    until("all are asked about", || worked_on(&engine) == 41);
    assert_eq!(health(&engine)["gateway"], "closed");
    gateway.process(false);
    for (buyer, order) in &orders {
        until_status(&engine, buyer, order, "paid");
        assert_eq!(gateway.captures_for(order), 1);
    }
    until("nothing is worked on", || worked_on(&engine) == 0);
}

#[test]
fn m7_an_operator_ends_a_payment_that_never_ends_and_the_reason_is_kept() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let engine = impatient_engine(&gateway);
    engine.sale("m", 2, "");
    gateway.process(true);
    let (ann, bob) = (buy(&engine, "m", "ann"), buy(&engine, "m", "bob"));
    assert_eq!(settle(&engine, &ann, r#"{"outcome":"paid","reason":"x"}"#).1["code"], "no-payment-under-way");
    for (buyer, order) in [("ann", &ann), ("bob", &bob)] {
        assert_eq!(pay(&engine, buyer, order).status, 202);
    }
    for (body, field) in [
        (r#"{"outcome":"voided"}"#, "reason"),
        (r#"{"outcome":"voided","reason":" "}"#, "reason"),
        (r#"{"outcome":"lost","reason":"x"}"#, "outcome"),
    ] {
        let (code, problem) = settle(&engine, &ann, body);
        assert_eq!((code, &problem["field"]), (422, &field.into()), "{problem}");
    }
    let nobodys = "zzzzzzzzzzzzz";
    assert_eq!(settle(&engine, nobodys, r#"{"outcome":"paid","reason":"x"}"#).0, 404);

    let (code, answer) = settle(&engine, &ann, r#"{"outcome":"voided","reason":"bank: never arrived"}"#);
    assert_eq!((code, &answer["status"]), (200, &"pre_pay".into()), "{answer}");
    assert_eq!(answer["settled"]["reason"], "bank: never arrived");
    let (code, answer) = settle(&engine, &bob, r#"{"outcome":"paid","reason":"seen in the bank's list"}"#);
    assert_eq!((code, &answer["status"]), (200, &"paid".into()), "{answer}");
    let (code, answer) = settle(&engine, &bob, r#"{"outcome":"voided","reason":"changed my mind"}"#);
    assert_eq!((code, &answer["order_status"]), (409, &"paid".into()), "{answer}");

    // The gateway comes to its senses: what was called voided is not captured, the next payment is.
    gateway.process(false);
    pay(&engine, "ann", &ann);
    until_status(&engine, "ann", &ann, "paid");
    assert_eq!((gateway.captures_for(&ann), gateway.captures_for(&bob)), (1, 0));
    assert_eq!(gateway.keys_of(&ann).len(), 2);

    let engine = engine.kill().start();
    assert_eq!(status(&engine, "bob", &bob), "paid");
    let (ended, launch) = engine.terminate();
    assert!(ended.success());
    let store = rusqlite::Connection::open(launch.folder().join("orders.sqlite")).unwrap();
    let mut kept = store
        .prepare("SELECT payment_attempt, status, reason FROM operator_settlements ORDER BY order_id")
        .unwrap();
    let kept: Vec<(u32, u8, String)> = kept
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let (waits, paid) = (OrderStatus::PrePay.code(), OrderStatus::Paid.code());
    assert_eq!(kept, [(1, waits, "bank: never arrived".into()), (1, paid, "seen in the bank's list".into())]);
}

/// An operator calls a payment voided while recovery goes on trying to capture it.
#[tokio::test]
async fn m7_what_is_called_voided_is_never_captured_afterwards() {
    for is_gateway_silent in [false, true] {
        let fixture = Fixture::open(1, 3_600).await;
        let gateway = ScriptedGateway::new(0.0);
        gateway.fail(Call::Capture, Fault::HangBefore, FOR_EVER);
        if is_gateway_silent {
            gateway.fail(Call::Void, Fault::LostBefore, FOR_EVER);
        }
        let life = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), giving_up()).await;
        let order = fixture.buy("ann").await;
        let id = order.placed.id;
        assert!(matches!(life.checkout.pay(order, "card").await, PayAnswer::Paying(_)));
        let answer =
            life.checkout.settle(fixture.order(id).await, SettleOutcome::Voided, "by hand", None).await;
        let SettleAnswer::Settled(order) = answer else { panic!("{answer:?}") };
        assert_eq!(
            (order.status, order.payment.direction.why()),
            (OrderStatus::PrePay, Some("operator: by hand"))
        );

        let of_first =
            || gateway.calls_of(Call::Capture).iter().filter(|key| key.attempt.attempt == 1).count();
        let captures_before = of_first();
        gateway.heal();
        // A busy machine may take longer than a try has.
        let paid = async {
            while !matches!(life.checkout.pay(fixture.order(id).await, "card").await, PayAnswer::Paid(_)) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, paid).await.expect("it is paid after all");
        let asked = async {
            while life.checkout.recovery_queue_len() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, asked).await.expect("recovery has nothing left to do");
        assert_eq!(of_first(), captures_before);
        let first = gateway.truth(AttemptId { order: id, attempt: 1 }).await;
        let expected = if is_gateway_silent { PaymentState::Held } else { PaymentState::Voided };
        assert_eq!(first, expected, "never captured");
    }
}

#[tokio::test]
async fn m7_money_that_was_taken_after_all_is_not_called_voided() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    gateway.fail(Call::Capture, Fault::HangAfter, FOR_EVER);
    let life = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), giving_up()).await;
    let order = fixture.buy("ann").await;
    let id = order.placed.id;
    assert!(matches!(life.checkout.pay(order, "card").await, PayAnswer::Paying(_)));
    let answer = life.checkout.settle(fixture.order(id).await, SettleOutcome::Voided, "by hand", None).await;
    assert!(matches!(answer, SettleAnswer::Captured(_)), "{answer:?}");
    assert_eq!(fixture.status(id).await, OrderStatus::Paid);
}

#[tokio::test]
async fn m7_only_silence_opens_the_breaker() {
    let fixture = Arc::new(Fixture::open(30, 3_600).await);
    let gateway = ScriptedGateway::new(0.0);
    let mut settings = impatient();
    settings.gateway.breaker.calls_min = 3;
    settings.try_within_ms = 100;
    let life = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), settings).await;
    for (number, fault) in [Fault::Processing, Fault::Invalid].into_iter().enumerate() {
        gateway.fail(Call::Hold, fault, FOR_EVER);
        gateway.fail(Call::Status, fault, FOR_EVER);
        for buyer in 0..4 {
            let order = fixture.buy(&format!("buyer-{number}-{buyer}")).await;
            life.checkout.pay(order, "card").await;
        }
        assert_eq!(life.checkout.gateway_breaker(), seckill::checkout::BreakerState::Closed, "{fault:?}");
    }
    gateway.fail(Call::Hold, Fault::Busy, FOR_EVER);
    for buyer in 0..12 {
        let order = fixture.buy(&format!("buyer-{buyer}")).await;
        life.checkout.pay(order, "card").await;
    }
    assert_eq!(life.checkout.gateway_breaker(), seckill::checkout::BreakerState::Open);
}

#[test]
fn m8_an_order_that_costs_nothing_is_paid_without_the_gateway() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let engine = Launch::new(&as_pairs(&keys("main", &gateway))).start();
    engine.sale("m", 1, r#","price_cents":0,"currency":"JPY""#);
    let order = buy(&engine, "m", "mallory");
    let paid = pay(&engine, "mallory", &order);
    assert_eq!((paid.status, paid.member("status").as_str()), (200, "paid"));
    assert_eq!(paid.json()["currency"], "JPY");
    let engine = engine.kill().start();
    assert_eq!(status(&engine, "mallory", &order), "paid");
    assert_eq!((gateway.keys_of(&order).len(), gateway.assessed(&order, 1)), (0, 0));
}

#[test]
fn m8_an_unknown_currency_is_refused_and_one_that_is_stored_already_still_sells() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let engine = Launch::new(&as_pairs(&keys("main", &gateway))).start();
    for currency in ["ZZZ", "XXX", "eur", "XAU"] {
        let refused = engine.try_sale("m", 1, &format!(r#","currency":"{currency}""#)).unwrap();
        assert_eq!((refused.status, refused.member("field").as_str()), (422, "currency"), "{currency}");
    }
    engine.sale("m", 1, r#","currency":"KWD""#);
    let (ended, launch) = engine.terminate();
    assert!(ended.success());
    let store = rusqlite::Connection::open(launch.folder().join("orders.sqlite")).unwrap();
    store.execute("UPDATE sales SET currency = 'ZZZ'", []).unwrap();
    drop(store);
    let engine = launch.start();
    let order = buy(&engine, "m", "ann");
    let paid = pay(&engine, "ann", &order);
    assert_eq!((paid.status, paid.member("currency").as_str()), (200, "ZZZ"));
}
