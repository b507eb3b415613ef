//! Giving back what was paid: every failure at every step, restarts, two who ask at once, and gateways that do not do it.

use seckill::checkout::{AttemptId, PayAnswer, RefundAnswer, SettleAnswer, SettleOutcome, WantedRefund};
use seckill::domain::{Cents, Order, OrderId, OrderStatus, RefundRefusal, RefundRequest, Restock};
use serde_json::{Value, json};
use testbed::client::{Answer, try_request};
use testbed::engine::{Engine, Launch};

use crate::example_gateway::{ExampleGateway, Step, Weather};
use crate::fixture::{Fixture, Life, giving_up, impatient};
use crate::process::{as_pairs, buy, keys, pay, status, until_status};
use crate::scripted::{Call, FOR_EVER, Fault, Mood, ScriptedGateway, ScriptedRisk};
use OrderStatus::{Paid, Refunded, Refunding};
use Step::{After, Before};

/// A refund of all that is left, with all units.
pub fn whole() -> WantedRefund {
    wanted(None, Restock::All)
}

fn wanted(amount: Option<u64>, restock: Restock) -> WantedRefund {
    let request = RefundRequest { number: None, amount: amount.map(Cents), restock };
    WantedRefund { request, by_hand: false, reason: "broken".into() }
}

/// A paid order of `ann`, and a life that can refund it.
async fn paid(fixture: &Fixture, gateway: &std::sync::Arc<ScriptedGateway>, hangs: bool) -> (OrderId, Life) {
    let mut settings = if hangs { giving_up() } else { impatient() };
    settings.wait_ms = 10_000;
    let life = fixture.live(gateway.clone(), ScriptedRisk::new(Mood::Approve, 0), settings).await;
    let order = fixture.buy("ann").await;
    let id = order.placed.id;
    assert!(matches!(life.checkout.pay(order, "card").await, PayAnswer::Paid(_)));
    (id, life)
}

async fn refund(fixture: &Fixture, life: &Life, id: OrderId, wanted: WantedRefund) -> RefundAnswer {
    life.checkout.refund(fixture.order(id).await, wanted, None).await
}

fn order_of(answer: RefundAnswer) -> Order {
    match answer {
        RefundAnswer::Refunded(order) | RefundAnswer::Refunding(order) => order,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_is_made_once_by_this_life_or_the_next() {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::HangAfter, Fault::Processing] {
        for is_new_life in [false, true] {
            let fixture = Fixture::open(2, 3_600).await;
            let gateway = ScriptedGateway::new(0.0);
            let (id, mut life) = paid(&fixture, &gateway, fault == Fault::HangAfter).await;
            gateway.fail(Call::Refund, fault, FOR_EVER);
            let answer = refund(&fixture, &life, id, whole()).await;
            assert_eq!(order_of(answer).status, Refunding, "{fault:?}");
            assert_eq!(fixture.remaining(), 1, "nothing goes back on sale before it is known: {fault:?}");
            let again = refund(&fixture, &life, id, whole()).await;
            assert!(matches!(again, RefundAnswer::NotTaken(_, RefundRefusal::UnderWay)), "{again:?}");
            if is_new_life {
                drop(life);
                gateway.heal();
                let risk = ScriptedRisk::new(Mood::Approve, 0);
                life = fixture.live(gateway.clone(), risk, impatient()).await;
            } else {
                gateway.heal();
            }
            fixture.until(id, Refunded).await;
            assert_eq!(gateway.refunds_of(id), [(1, 1_999)], "{fault:?}");
            assert_eq!(fixture.remaining(), 2, "{fault:?}");
            fixture.check_conserved().await;
            let over = refund(&fixture, &life, id, whole()).await;
            assert!(matches!(over, RefundAnswer::NotTaken(_, RefundRefusal::NothingLeft)), "{over:?}");
            fixture.buy("ann").await;
        }
    }
}

#[tokio::test]
async fn a_gateway_that_is_not_reached_or_does_not_do_it_leaves_the_order_paid() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let (id, life) = paid(&fixture, &gateway, false).await;
    gateway.fail(Call::Refund, Fault::Busy, FOR_EVER);
    let away = refund(&fixture, &life, id, whole()).await;
    assert!(matches!(away, RefundAnswer::Unavailable { .. }), "{away:?}");
    gateway.fail(Call::Refund, Fault::Invalid, FOR_EVER);
    let unknown = refund(&fixture, &life, id, whole()).await;
    assert!(matches!(unknown, RefundAnswer::NotPossible { .. }), "{unknown:?}");
    assert_eq!(fixture.status(id).await, Paid);
    gateway.heal();
    assert_eq!(order_of(refund(&fixture, &life, id, whole()).await).status, Refunded);
    assert_eq!(gateway.refunds_of(id), [(3, 1_999)], "each has a key of its own");
    let told = fixture.desk.refunds(id).await.unwrap();
    let states: Vec<_> = told.iter().map(|refund| refund.state.as_str()).collect();
    assert_eq!(states, ["dropped", "dropped", "made"]);
}

#[tokio::test]
async fn once_it_may_have_been_made_a_no_concludes_nothing() {
    let fixture = Fixture::open(1, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let (id, life) = paid(&fixture, &gateway, false).await;
    gateway.fail(Call::Refund, Fault::LostAfter, FOR_EVER);
    assert_eq!(order_of(refund(&fixture, &life, id, whole()).await).status, Refunding);
    let asked = gateway.calls_of(Call::Refund).len();
    gateway.fail(Call::Refund, Fault::Invalid, FOR_EVER);
    while gateway.calls_of(Call::Refund).len() < asked + 3 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(fixture.status(id).await, Refunding);
    gateway.heal();
    fixture.until(id, Refunded).await;
    assert_eq!(gateway.refunds_of(id), [(1, 1_999)]);
}

#[tokio::test]
async fn parts_are_given_back_up_to_what_was_paid_and_a_number_is_made_once() {
    let fixture = Fixture::open(2, 3_600).await;
    let gateway = ScriptedGateway::new(0.0);
    let (id, life) = paid(&fixture, &gateway, false).await;
    let first = |amount| WantedRefund {
        request: RefundRequest { number: Some(1), amount: Some(Cents(amount)), restock: Restock::Units(0) },
        ..whole()
    };
    let part = order_of(refund(&fixture, &life, id, first(500)).await);
    assert_eq!((part.status, part.refunds.refunded), (Paid, Cents(500)));
    let again = refund(&fixture, &life, id, first(500)).await;
    assert!(matches!(again, RefundAnswer::Refunded(_)), "{again:?}");
    let other = refund(&fixture, &life, id, first(501)).await;
    assert!(matches!(other, RefundAnswer::NotTaken(_, RefundRefusal::OtherNumber { next: 2 })), "{other:?}");
    let over = refund(&fixture, &life, id, wanted(Some(1_500), Restock::Units(0))).await;
    assert!(
        matches!(over, RefundAnswer::NotTaken(_, RefundRefusal::Amount { left: Cents(1_499) })),
        "{over:?}"
    );
    assert_eq!(gateway.refunds_of(id), [(1, 500)]);
    assert_eq!(fixture.remaining(), 1);
    let last = order_of(refund(&fixture, &life, id, wanted(None, Restock::All)).await);
    assert_eq!((last.status, last.units_held()), (Refunded, 0));
    assert_eq!(gateway.refunds_of(id), [(1, 500), (2, 1_499)]);
    assert_eq!(fixture.remaining(), 2);
    fixture.check_conserved().await;
    let events = fixture.desk.events_after(0, 100).await.unwrap();
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| {
            let refund = event.refund.as_ref()?;
            Some((refund.amount.0, refund.refunded.0, refund.order_status(Cents(1_999))))
        })
        .collect();
    assert_eq!(told, [(500, 500, Paid), (1_499, 1_999, Refunded)]);
}

#[tokio::test]
async fn a_refund_that_never_ends_is_settled_by_an_operator() {
    for (outcome, ends) in [(SettleOutcome::Refunded, Refunded), (SettleOutcome::NotRefunded, Paid)] {
        let fixture = Fixture::open(1, 3_600).await;
        let gateway = ScriptedGateway::new(0.0);
        let (id, life) = paid(&fixture, &gateway, false).await;
        gateway.fail(Call::Refund, Fault::Processing, FOR_EVER);
        assert_eq!(order_of(refund(&fixture, &life, id, whole()).await).status, Refunding);
        let wrong = life.checkout.settle(fixture.order(id).await, SettleOutcome::Paid, "x", None).await;
        assert!(matches!(wrong, SettleAnswer::NotPaying(_)), "{wrong:?}");
        let settled = life.checkout.settle(fixture.order(id).await, outcome, "seen", None).await;
        assert!(matches!(&settled, SettleAnswer::Settled(order) if order.status == ends), "{settled:?}");
        assert_eq!(fixture.remaining(), u32::from(ends == Refunded));
        fixture.check_conserved().await;
        assert_eq!(AttemptId::latest(&fixture.order(id).await).attempt, 1);
    }
}

fn ask(engine: &Engine, order: &str, body: &Value) -> Answer {
    engine.admin("POST", &format!("/api/v1/orders/{order}/refund"), &body.to_string())
}

fn started(gateway: &ExampleGateway) -> Engine {
    let engine = Launch::new(&as_pairs(&keys("main", gateway))).start();
    engine.sale("m", 10, "");
    engine
}

fn bought_and_paid(engine: &Engine, buyer: &str) -> String {
    let order = buy(engine, "m", buyer);
    assert_eq!(pay(engine, buyer, &order).status, 200);
    order
}

#[test]
fn a_kill_between_any_two_steps_leads_to_one_refund_and_units_that_go_back_once() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let mut engine = started(&gateway);
    for (number, step) in [Before("refund"), After("refund")].into_iter().enumerate() {
        let buyer = format!("buyer-{number}");
        let order = bought_and_paid(&engine, &buyer);
        let available = engine.audit("m").available;
        let body = json!({"reason": "broken", "restock": true, "number": 1});
        let stopped = gateway.stop_at(step);
        let (admin, path) = (engine.admin_addr(), format!("/api/v1/orders/{order}/refund"));
        let text = body.to_string();
        let launch = std::thread::scope(|scope| {
            let asking = scope.spawn(move || try_request(admin, "POST", &path, "", &text));
            stopped.reached();
            let launch = engine.kill();
            assert!(asking.join().unwrap().is_none(), "nothing is told before it is durable");
            launch
        });
        engine = launch.start();
        until_status(&engine, &buyer, &order, "refunded");
        assert_eq!(gateway.refunded_of(&order), (1, 1_999), "{step:?}");
        assert_eq!(engine.audit("m").available, available + 1, "{step:?}");
        // Who did not hear the answer asks again, and hears it; also after another kill.
        let again = ask(&engine, &order, &body);
        assert_eq!((again.status, again.member("status").as_str()), (200, "refunded"), "{}", again.body);
        engine = engine.kill().start();
        assert_eq!(ask(&engine, &order, &body).status, 200);
        assert_eq!(gateway.refunded_of(&order), (1, 1_999), "{step:?}");
        assert_eq!(engine.audit("m").available, available + 1, "{step:?}");
        assert_eq!(status(&engine, &buyer, &order), "refunded");
        assert_eq!(pay(&engine, &buyer, &order).member("code"), "order-refunded");
        buy(&engine, "m", &buyer);
    }
}

#[test]
fn two_who_give_back_at_once_never_give_back_more_than_was_paid() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let engine = started(&gateway);
    for round in 0..5 {
        let order = bought_and_paid(&engine, &format!("buyer-{round}"));
        let body = json!({"reason": "broken", "amount_cents": 1_200});
        let answers = std::thread::scope(|scope| {
            let asking = [(); 2].map(|()| scope.spawn(|| ask(&engine, &order, &body)));
            asking.map(|asking| asking.join().unwrap().status)
        });
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
        assert!(answers.iter().any(|status| [409, 422].contains(status)), "{answers:?}");
        assert_eq!(gateway.refunded_of(&order), (1, 1_200));
        let shown = engine.admin("GET", &format!("/api/v1/orders/{order}"), "").json();
        assert_eq!((&shown["status"], &shown["refunded_cents"]), (&json!("paid"), &json!(1_200)));
        let audit = engine.admin("GET", "/api/v1/campaigns/test/m/audit", "").json();
        assert_eq!(audit["refunded_cents"], 1_200 * (round + 1));
    }
}

#[test]
fn a_gateway_that_knows_no_refunds_says_so_and_what_was_given_back_by_another_way_is_recorded() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let engine = started(&gateway);
    let order = bought_and_paid(&engine, "ann");
    gateway.forget_refunds(true);
    let body = json!({"reason": "broken"});
    let answer = ask(&engine, &order, &body);
    assert_eq!(
        (answer.status, answer.member("code").as_str()),
        (409, "refund-not-possible"),
        "{}",
        answer.body
    );
    assert!(answer.member("gateway").contains("404"), "{}", answer.body);
    assert_eq!(status(&engine, "ann", &order), "paid");

    gateway.forget_refunds(false);
    gateway.refuse_refunds(true);
    let answer = ask(&engine, &order, &body);
    assert_eq!((answer.status, answer.member("code").as_str()), (409, "refund-refused"), "{}", answer.body);
    assert_eq!(answer.member("reason"), "not-possible-any-more");
    assert_eq!(status(&engine, "ann", &order), "paid");

    let by_hand = json!({"reason": "sent by wire", "by_hand": true, "restock": 1});
    let answer = ask(&engine, &order, &by_hand);
    assert_eq!((answer.status, answer.member("status").as_str()), (200, "refunded"), "{}", answer.body);
    assert_eq!(gateway.refunded_of(&order), (0, 0));
    assert_eq!(engine.audit("m").available, 10);
    let shown = engine.admin("GET", &format!("/api/v1/orders/{order}"), "").json();
    let states: Vec<_> =
        shown["refund_history"].as_array().unwrap().iter().map(|refund| &refund["state"]).collect();
    assert_eq!(states, ["dropped", "dropped", "made"]);
}

#[test]
fn foul_weather_refunds_everything_once() {
    let gateway = ExampleGateway::start(Weather::Foul);
    let mut keys = keys("main", &gateway);
    keys.extend([
        ("CHECKOUT__GATEWAY__RETRY__TRY_MS".to_owned(), "500".to_owned()),
        ("CHECKOUT__RISK__RETRY__TRY_MS".to_owned(), "500".to_owned()),
    ]);
    let engine = Launch::new(&as_pairs(&keys)).start();
    engine.sale("m", 10, "");
    let orders: Vec<_> = (0..6)
        .map(|number| (format!("buyer-{number}"), buy(&engine, "m", &format!("buyer-{number}"))))
        .collect();
    for (buyer, order) in &orders {
        testbed::until("it is paid", || {
            pay(&engine, buyer, order);
            status(&engine, buyer, order) == "paid"
        });
        testbed::until("it is refunded", || {
            ask(&engine, order, &json!({"reason": "broken", "restock": true}));
            status(&engine, buyer, order) == "refunded"
        });
        assert_eq!(gateway.refunded_of(order), (1, 1_999));
    }
    assert_eq!(engine.audit("m").available, 10);
}
