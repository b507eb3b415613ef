//! A crowd that is far larger than the stock: exactly the stock is sold, nobody gets too much, every click is answered
//! truthfully, and no unit is stranded.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::PATIENCE;
use testbed::crowd::{BuyerAnswer, BuyerClient, crowd};
use testbed::engine::{Engine, Launch};

fn text<'a>(order: &'a Value, name: &str) -> &'a str {
    order[name].as_str().unwrap_or_else(|| panic!("{name} in {order}"))
}

fn quantity(order: &Value) -> u64 {
    order["quantity"].as_u64().unwrap()
}

/// How often each answer was given, for whoever reads the test's output.
fn counted<'a>(answers: impl IntoIterator<Item = &'a BuyerAnswer>) -> BTreeMap<(u16, &'a str), usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry((answer.status, answer.code.as_str())).or_default() += 1;
    }
    counts
}

#[test]
fn a_crowd_of_20_000_buys_exactly_1_000_units() {
    const BUYERS: usize = 20_000;
    const CONNECTIONS: usize = 500;
    const STOCK: usize = 1_000;
    let engine = Launch::new(&[("LOG__LEVEL", "warn")]).start();
    engine.sale("phone", STOCK as u32, "");
    let clicks_impatiently = |buyer: usize| buyer.is_multiple_of(3);
    let clicks: Vec<usize> = (0..BUYERS)
        .flat_map(|buyer| std::iter::repeat_n(buyer, if clicks_impatiently(buyer) { 3 } else { 1 }))
        .collect();
    let started = Instant::now();
    let answers: Vec<(String, BuyerAnswer)> = crowd(
        CONNECTIONS,
        || BuyerClient::at(engine.edge()),
        &clicks,
        |client, buyer| {
            let buyer = format!("buyer-{buyer}");
            let answer = client.buy("phone", &buyer, 1, None).expect("every click is answered");
            (buyer, answer)
        },
    );
    let took = started.elapsed();

    let orders = engine.orders("phone", "");
    let order_of: HashMap<&str, &str> =
        orders.iter().map(|order| (text(order, "buyer"), text(order, "order_id"))).collect();
    assert_eq!((orders.len(), order_of.len()), (STOCK, STOCK), "one order a buyer, one unit an order");
    assert!(orders.iter().all(|order| quantity(order) == 1 && text(order, "status") == "pre_pay"));

    let mut winners = HashSet::new();
    for (buyer, answer) in &answers {
        let own = order_of.get(buyer.as_str()).copied();
        match (answer.status, answer.code.as_str()) {
            (201, "") => {
                assert_eq!(Some(answer.order_id.as_str()), own, "{buyer} was told of a durable order");
                assert!(winners.insert(buyer), "{buyer} was told of one order once");
            }
            (409, "already-purchased") => assert_eq!(Some(answer.order_id.as_str()), own, "{buyer}"),
            (409, "sold-out") => {}
            // The click that it waited for came too late itself.
            (503, "overloaded") => assert!(own.is_none(), "{buyer}"),
            _ => panic!("{buyer} was told {answer:?}"),
        }
    }
    assert_eq!(winners.len(), STOCK, "every order is known to its buyer");
    let audit = engine.audit("phone");
    assert_eq!((audit.available, audit.held, audit.durable_orders), (0, STOCK as u64, STOCK as u64));
    let state = engine.sale_state("phone");
    assert_eq!((text(&state, "state"), &state["remaining"]), ("sold_out", &0.into()));
    println!(
        "{} clicks in {took:.1?}: {:?}",
        answers.len(),
        counted(answers.iter().map(|(_, answer)| answer))
    );
}

/// One buyer of the second crowd: buys 1 to 3, and then pays, is declined, tries again or walks away.
fn shop(client: &mut BuyerClient, number: usize) -> Vec<BuyerAnswer> {
    let buyer = format!("buyer-{number}");
    let bought = client.buy("phone", &buyer, 1 + (number % 3) as u32, None).expect("every click is answered");
    let mut answers = vec![bought.clone()];
    let never_pays = number.is_multiple_of(10);
    if bought.status != 201 || never_pays {
        return answers;
    }
    let tries_again = number.is_multiple_of(2);
    answers.extend(pay(client, &buyer, &bought.order_id, if tries_again { 3 } else { 1 }));
    answers
}

/// Pays, again when it is declined; waits for an outcome that is not known at once. The last answer is the outcome.
fn pay(client: &mut BuyerClient, buyer: &str, order_id: &str, tries: usize) -> Vec<BuyerAnswer> {
    let mut heard = Vec::new();
    for _ in 0..tries {
        let mut answer = client.pay(buyer, order_id).expect("every payment is answered");
        let asked = Instant::now();
        heard.push(answer.clone());
        while answer.order_status == "paying" {
            assert!(asked.elapsed() < PATIENCE, "a payment of {order_id} stays unknown");
            std::thread::sleep(Duration::from_millis(50));
            answer = client.look_up(buyer, order_id).expect("an own order is found");
            assert_eq!(answer.status, 200);
        }
        let is_over =
            matches!(answer.order_status.as_str(), "paid" | "expired") || answer.code == "order-expired";
        heard.push(answer);
        if is_over {
            break;
        }
    }
    heard
}

#[test]
fn declined_and_unpaid_units_come_back_until_every_one_is_paid() {
    const STOCK: u64 = 1_000;
    let engine = Engine::start(&[
        ("LOG__LEVEL", "warn"),
        ("CHECKOUT__GATEWAY__SIMULATED__DECLINE_RATE", "0.1"),
        ("CHECKOUT__GATEWAY__SIMULATED__UNKNOWN_RATE", "0.02"),
        ("CHECKOUT__WAIT_MS", "60000"),
    ]);
    engine.sale("phone", STOCK as u32, r#","per_buyer_limit":3,"pay_within_s":3"#);
    let buyers: Vec<usize> = (0..3_000).collect();
    let answers: Vec<BuyerAnswer> =
        crowd(200, || BuyerClient::at(engine.edge()), &buyers, |client, &number| shop(client, number))
            .into_iter()
            .flatten()
            .collect();
    println!("the crowd heard {:?}", counted(&answers));
    let known = ["", "sold-out", "payment-declined", "order-expired"];
    let unknown: Vec<_> = answers.iter().filter(|answer| !known.contains(&answer.code.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");

    // Nobody acts any more: what is not paid comes back by itself.
    let started = Instant::now();
    while engine.audit("phone").held > 0 {
        assert!(started.elapsed() < PATIENCE, "{:?}", engine.audit("phone"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let audit = engine.audit("phone");
    println!("after the crowd: {audit:?}");
    assert!(audit.paid > 0 && audit.available > 0, "some paid, some did not: {audit:?}");
    assert_eq!(engine.sale_state("phone")["remaining"], audit.available, "all of it is on sale again");

    let longer = engine.admin("PATCH", "/api/v1/campaigns/test/phone", r#"{"pay_within_s":600}"#);
    assert_eq!(longer.status, 200, "{}", longer.body);
    // A few more than are left, one unit each.
    let late: Vec<usize> = (0..audit.available as usize + 25).collect();
    let outcomes = crowd(
        50,
        || BuyerClient::at(engine.edge()),
        &late,
        |client, number| {
            let buyer = format!("late-{number}");
            let bought = client.buy("phone", &buyer, 1, None).expect("every click is answered");
            if bought.status == 201 {
                let paid = pay(client, &buyer, &bought.order_id, 100).pop().unwrap();
                assert_eq!(paid.order_status, "paid", "{paid:?}");
            }
            bought
        },
    );
    println!("the late heard {:?}", counted(&outcomes));
    let sold = outcomes.iter().filter(|answer| answer.status == 201).count() as u64;
    assert_eq!(sold, audit.available, "each unit that was left could be bought");
    assert!(outcomes.iter().all(|answer| answer.status == 201 || answer.code == "sold-out"));
    let audit = engine.audit("phone");
    assert_eq!((audit.available, audit.held, audit.paid), (0, 0, STOCK));
    let orders = engine.orders("phone", "");
    let paid: u64 = orders.iter().filter(|order| text(order, "status") == "paid").map(quantity).sum();
    assert_eq!((paid, orders.len() as u64), (STOCK, audit.durable_orders));
}
