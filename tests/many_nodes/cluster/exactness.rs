//! A crowd that clicks everywhere at once: three nodes sell one stock exactly.
//!
//! `SECKILL_CROWD_BUYERS` sets the number of buyers; there is a unit for every sixth.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use testbed::crowd::{BuyerAnswer, BuyerClient, crowd};
use testbed::{PATIENCE, asked};

use super::fixture::Fixture;
use super::monitor::Monitor;

const BUYERS: usize = 60_000;
const BUYERS_A_UNIT: usize = 6;
const CLIENTS: usize = 96;
/// Waited after a refusal that says that it may pass: less than a client is told, for the sake of the test's time.
const PAUSE: Duration = Duration::from_millis(100);

/// A buyer and the node at which he clicks.
type Click = (usize, usize);

/// Everybody clicks at a node; each third buyer clicks at two others at the same time.
fn clicks(buyers: usize) -> Vec<Click> {
    // A multiplicative walk over the nodes, so that neighbours in the list go to different ones.
    let node = |buyer: usize, click: usize| (buyer.wrapping_mul(2_654_435_761) >> 7).wrapping_add(click) % 3;
    let of_buyer = |buyer: usize| {
        let count = if buyer.is_multiple_of(3) { 3 } else { 1 };
        (0..count).map(move |click| (buyer, node(buyer, click)))
    };
    (0..buyers).flat_map(of_buyer).collect()
}

/// Clicks, and again as long as it is told that this may help. Returns all that it was told, the last word last.
pub fn click(client: &mut BuyerClient, sku: &str, buyer: &str) -> Vec<BuyerAnswer> {
    let began = Instant::now();
    let mut heard = Vec::new();
    loop {
        let answer = client.buy(sku, buyer, 1, None).expect("every click is answered");
        let may_pass = answer.status == 503;
        assert!(!may_pass || answer.retry_after_s.is_some(), "{answer:?}");
        heard.push(answer);
        if !may_pass {
            return heard;
        }
        assert!(began.elapsed() < PATIENCE, "{buyer} is asked to come back for ever");
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn a_crowd_at_three_nodes_buys_exactly_the_stock() {
    let buyers = asked("SECKILL_CROWD_BUYERS").unwrap_or(BUYERS);
    let stock = (buyers / BUYERS_A_UNIT) as u64;
    // Retries are many and quick here; the buyers' own rate is not what this is about.
    let mut fixture = Fixture::open(&[("EDGE__ACK_WAIT_MS", "60000"), ("ADMISSION__BUYER_RATE_PER_S", "0")]);
    let sku = fixture.sale(stock);
    let monitor = Monitor::of(&fixture, &sku);
    let edges: Vec<_> = fixture.cluster.running().map(|engine| engine.edge()).collect();
    let last_unit = Mutex::new(None);
    let first_refusal = [const { Mutex::new(None) }; 3];
    let clicks = clicks(buyers);
    let began = Instant::now();
    let open = || edges.iter().map(|&edge| BuyerClient::at(edge)).collect::<Vec<_>>();
    let answers = crowd(CLIENTS, open, &clicks, |clients, &(buyer, node)| {
        let heard = click(&mut clients[node], &sku, &format!("buyer-{buyer}"));
        match heard.last() {
            Some(answer) if answer.status == 201 => *last_unit.lock().unwrap() = Some(Instant::now()),
            Some(answer) if answer.code == "sold-out" => {
                first_refusal[node].lock().unwrap().get_or_insert_with(Instant::now);
            }
            _ => {}
        }
        (buyer, node, heard)
    });
    let took = began.elapsed();
    let last_unit = last_unit.into_inner().unwrap().expect("somebody bought");
    fixture.until_all_say_sold_out(&sku, last_unit);
    fixture.until_books_agree(&sku, stock);

    let orders = fixture.orders(&sku);
    let order_of: HashMap<&str, &str> = orders
        .iter()
        .map(|order| (order["buyer"].as_str().unwrap(), order["order_id"].as_str().unwrap()))
        .collect();
    assert_eq!(
        (orders.len() as u64, order_of.len() as u64),
        (stock, stock),
        "one order a buyer, one unit an order"
    );

    let mut counts: BTreeMap<(u16, &str), usize> = BTreeMap::new();
    let mut winners = 0;
    let mut at_node = [0; 3];
    for (buyer, node, heard) in &answers {
        let own = order_of.get(format!("buyer-{buyer}").as_str()).copied();
        for answer in heard {
            *counts.entry((answer.status, answer.code.as_str())).or_default() += 1;
            match (answer.status, answer.code.as_str()) {
                (201, "") => {
                    assert_eq!(
                        Some(answer.order_id.as_str()),
                        own,
                        "buyer-{buyer} was told of a durable order"
                    );
                    winners += 1;
                    at_node[*node] += 1;
                }
                (409, "already-purchased") => {
                    assert_eq!(Some(answer.order_id.as_str()), own, "buyer-{buyer}")
                }
                (409, "sold-out") | (503, "overloaded") => {}
                _ => panic!("buyer-{buyer} was told {answer:?}"),
            }
        }
    }
    assert_eq!(winners, stock, "every order is known to its buyer");
    println!(
        "{} clicks of {buyers} buyers in {took:.1?}, {stock} units sold ({at_node:?} by node), {} looks at the store; \
         each node first said sold out {:?} after the last unit was acknowledged; {counts:?}",
        answers.len(),
        monitor.end(),
        first_refusal
            .map(|at| at.into_inner().unwrap().map(|at: Instant| at.saturating_duration_since(last_unit))),
    );
}
