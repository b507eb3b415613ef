//! Engines with stores of their own at one gateway, and the keys of payments.

use std::collections::HashSet;

use testbed::crowd::{BuyerClient, crowd};
use testbed::engine::{Engine, Launch};
use testbed::older_store::TO_VERSION_1;
use testbed::until;

use crate::example_gateway::{ExampleGateway, Step, Weather};
use crate::process::{as_pairs, buy, health, keys, kill_at, pay, status, until_status};

/// A number from the environment, for the long form of a test.
fn from_env(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The long form: `SECKILL_M1_ORDERS=1000 SECKILL_M1_RUNS=3 cargo test --test checkout m1_two_engines`.
#[test]
fn m1_two_engines_with_one_gateway_take_money_for_each_order_once() {
    let orders = from_env("SECKILL_M1_ORDERS", 60);
    for _ in 0..from_env("SECKILL_M1_RUNS", 1) {
        let gateway = ExampleGateway::start(Weather::Fair);
        let mut keys = keys("main", &gateway);
        keys.push(("NODE__ID".into(), "0".into()));
        let engines = [(); 2].map(|()| Launch::new(&as_pairs(&keys)).start());
        for engine in &engines {
            engine.sale("m", orders as u32, "");
        }
        // Side by side, so that both number their orders at the same moments.
        let jobs: Vec<(usize, usize)> =
            (0..orders).flat_map(|buyer| (0..2).map(move |engine| (engine, buyer))).collect();
        let open = || [BuyerClient::at(engines[0].edge()), BuyerClient::at(engines[1].edge())];
        let paid = crowd(8, open, &jobs, |clients, &(engine, number)| {
            let (client, buyer) = (&mut clients[engine], format!("buyer-{engine}-{number}"));
            let order = client.buy("m", &buyer, 1, None).expect("an answer").order_id;
            let answer = client.pay(&buyer, &order).expect("an answer");
            assert_eq!((answer.status, answer.order_status.as_str()), (200, "paid"), "{answer:?}");
            (engine, order)
        });
        let distinct: HashSet<_> = paid.iter().map(|(_, order)| order).collect();
        println!("{} orders, {} numbers that both engines gave out", paid.len(), paid.len() - distinct.len());
        let durably_paid = |engine: &Engine| engine.audit("m").paid;
        assert_eq!(engines.iter().map(durably_paid).sum::<u64>(), 2 * orders as u64);
        assert_eq!(gateway.captures_in_all(), 2 * orders, "as many captures as paid orders");
    }
}

#[test]
fn m1_two_stores_never_share_a_payment_key_and_one_store_keeps_its_own() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let keys = keys("main", &gateway);
    let mut prefixes = HashSet::new();
    for _ in 0..2 {
        let mut engine = Launch::new(&as_pairs(&keys)).start();
        engine.sale("m", 2, "");
        let mut of_store = HashSet::new();
        for buyer in ["ann", "bob"] {
            let order = buy(&engine, "m", buyer);
            assert_eq!(pay(&engine, buyer, &order).status, 200);
            let [key] = &gateway.keys_of(&order)[..] else { panic!("one payment") };
            assert_eq!(gateway.questions().last(), Some(key), "risk knows it by the same key");
            let (identity, rest) = key.split_once('-').expect("parts");
            assert_eq!((identity.len(), rest), (32, format!("{order}-1").as_str()));
            of_store.insert(identity.to_owned());
            engine = engine.kill().start();
        }
        assert_eq!(of_store.len(), 1, "kept over restarts");
        prefixes.extend(of_store);
    }
    assert_eq!(prefixes.len(), 2, "no other store has it");
}

/// An engine of before the journal has begun a payment and died; this one goes on with it.
#[test]
fn m1_a_payment_that_an_older_engine_began_keeps_its_key() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let engine = Launch::new(&as_pairs(&keys("main", &gateway))).start();
    engine.sale("m", 1, "");
    let order = buy(&engine, "m", "ann");
    let launch = kill_at(engine, &gateway, Step::After("hold"), "ann", &order);
    let [key] = &gateway.keys_of(&order)[..] else { panic!("one payment") };
    let plain = format!("{order}-1");
    gateway.rename(key, &plain);
    // The store as an older engine leaves it.
    rusqlite::Connection::open(launch.folder().join("orders.sqlite"))
        .unwrap()
        .execute_batch(TO_VERSION_1)
        .unwrap();
    let engine = launch.start();
    until_status(&engine, "ann", &order, "paid");
    assert_eq!(gateway.captures(&plain), 1);
    assert_eq!(gateway.keys_of(&order), [plain], "it is never called under another key");
}

#[test]
fn m1_another_amount_than_asked_for_is_never_taken_for_paid_and_is_loud() {
    let gateway = ExampleGateway::start(Weather::Fair);
    let engine = Launch::new(&as_pairs(&keys("main", &gateway))).start();
    engine.sale("m", 1, "");
    let order = buy(&engine, "m", "ann");
    gateway.overstate(1);
    assert_eq!(pay(&engine, "ann", &order).status, 202);
    until("the engine says so", || health(&engine)["payments"]["contradicted"] == 1);
    assert_eq!(health(&engine)["status"], "degraded");
    let metrics = engine.admin("GET", "/metrics", "").body;
    let counted = metrics.lines().find(|line| line.starts_with("seckill_checkout_contradictions_total"));
    assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "{counted:?}");
    assert_eq!((status(&engine, "ann", &order).as_str(), gateway.captures_for(&order)), ("paying", 0));
    // Once it tells the truth, the payment comes to its end.
    gateway.overstate(0);
    until_status(&engine, "ann", &order, "paid");
    assert_eq!(health(&engine)["payments"]["contradicted"], 0);
    assert_eq!(gateway.captures_for(&order), 1);
}
