//! The engine dies between every two steps of an attempt, and comes back to a risk service that thinks otherwise, or with
//! another gateway.

use testbed::engine::{Engine, Launch};

use crate::example_gateway::{ExampleGateway, Step, Weather};
use crate::process::{as_pairs, buy, keys, kill_at, pay, status, until_status};
use Step::{After, Assess, Before};

fn started(gateway: &ExampleGateway) -> Engine {
    let engine = Launch::new(&as_pairs(&keys("first", gateway))).start();
    engine.sale("m", 100, "");
    engine
}

#[test]
fn m3_what_was_decided_is_only_repeated_whatever_risk_says_after_a_kill_at_any_step() {
    // Where the engine dies, whether risk rejects until then (and thinks otherwise afterwards), where the order ends, and
    // how often risk was asked about the attempt (it is asked while the hold is under way).
    let cases = [
        // Nothing is decided yet: risk is asked, once more or for the first time.
        (Before("hold"), false, "pre_pay", 0..=1),
        (After("hold"), false, "pre_pay", 1..=2),
        (Assess, true, "paid", 2..=2),
        // It is.
        (Before("void"), true, "pre_pay", 1..=1),
        (After("void"), true, "pre_pay", 1..=1),
        (Before("capture"), false, "paid", 1..=1),
        (After("capture"), false, "paid", 1..=1),
    ];
    let gateway = ExampleGateway::start(Weather::Fair);
    let mut engine = started(&gateway);
    for (number, (step, rejects, ends, questions)) in cases.into_iter().enumerate() {
        let buyer = format!("buyer-{number}");
        let order = buy(&engine, "m", &buyer);
        gateway.reject(rejects);
        let launch = kill_at(engine, &gateway, step, &buyer, &order);
        gateway.reject(!rejects);
        engine = launch.start();
        until_status(&engine, &buyer, &order, ends);
        assert_eq!(gateway.captures_for(&order), usize::from(ends == "paid"), "{step:?}");
        assert!(questions.contains(&gateway.assessed(&order, 1)), "{step:?}");
        if ends == "pre_pay" {
            gateway.reject(false);
            assert_eq!(pay(&engine, &buyer, &order).status, 200, "{step:?}: it may be paid after all");
            assert_eq!(gateway.captures_for(&order), 1, "{step:?}");
        }
    }
}

#[test]
fn m2_a_payment_is_finished_with_its_own_gateway_after_a_kill_at_any_step() {
    let cases = [
        (Before("hold"), false, "pre_pay"),
        (After("hold"), false, "paid"),
        (Assess, true, "pre_pay"),
        (Before("void"), true, "pre_pay"),
        (After("void"), true, "pre_pay"),
        (Before("capture"), false, "paid"),
        (After("capture"), false, "paid"),
    ];
    let (first, second) = (ExampleGateway::start(Weather::Fair), ExampleGateway::start(Weather::Fair));
    let only_first = keys("first", &first);
    let only_second = keys("second", &second);
    let mut both = only_second.clone();
    both.extend(
        [
            ("CHECKOUT__FORMER_GATEWAYS__FIRST__KIND", "http"),
            ("CHECKOUT__FORMER_GATEWAYS__FIRST__HTTP__URL", &first.url()),
            ("CHECKOUT__FORMER_GATEWAYS__FIRST__HTTP__TOKEN", ExampleGateway::TOKEN),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let mut engine = started(&first);
    for (number, (step, rejects, ends)) in cases.into_iter().enumerate() {
        let buyer = format!("buyer-{number}");
        let order = buy(&engine, "m", &buyer);
        first.reject(rejects);
        second.reject(rejects);
        let launch = kill_at(engine, &first, step, &buyer, &order);

        let (code, said) = launch.with(&as_pairs(&only_second)).start_refused();
        assert_eq!(code, Some(78), "{said}");
        for part in ["1 at \"first\"", "checkout.former_gateways", "checkout.gateway.name"] {
            assert!(said.contains(part), "{part} in {said}");
        }

        let changed = launch.with(&as_pairs(&both)).start();
        until_status(&changed, &buyer, &order, ends);
        assert_eq!(second.keys_of(&order), [""; 0], "{step:?}: the new gateway hears nothing of it");
        assert_eq!(first.captures_for(&order), usize::from(ends == "paid"), "{step:?}");
        if ends == "pre_pay" {
            second.reject(false);
            assert_eq!(pay(&changed, &buyer, &order).status, 200, "{step:?}");
        }
        assert_eq!(status(&changed, &buyer, &order), "paid");
        assert_eq!(first.captures_for(&order) + second.captures_for(&order), 1, "{step:?}");
        // With nothing under way any gateway may go.
        let (ended, launch) = changed.terminate();
        assert!(ended.success());
        engine = launch.with(&as_pairs(&only_first)).start();
    }
}

#[test]
fn m2_another_address_is_another_gateway_unless_it_is_given_the_name() {
    let (first, second) = (ExampleGateway::start(Weather::Fair), ExampleGateway::start(Weather::Fair));
    let unnamed = |gateway: &ExampleGateway| {
        let mut keys = keys("", gateway);
        keys.retain(|(key, _)| key != "CHECKOUT__GATEWAY__NAME");
        keys
    };
    let engine = Launch::new(&as_pairs(&unnamed(&first))).start();
    engine.sale("m", 1, "");
    let order = buy(&engine, "m", "ann");
    let launch = kill_at(engine, &first, After("capture"), "ann", &order);
    let (code, said) = launch.with(&as_pairs(&unnamed(&second))).start_refused();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains(first.url().trim_end_matches('/')), "{said}");
    let (code, said) = launch.with(&[("CHECKOUT__RISK__KIND", "simulated")]).start_refused();
    assert_eq!(code, Some(78), "another kind: {said}");

    let engine = launch.start();
    until_status(&engine, "ann", &order, "paid");
    assert_eq!(first.captures_for(&order), 1);
}
