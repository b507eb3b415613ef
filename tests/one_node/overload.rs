//! A queue of one place, and a store that somebody else holds: every 2xx has its durable order, every refusal leaves its
//! unit on sale.

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use testbed::crowd::{BuyerAnswer, BuyerClient, crowd};
use testbed::engine::{Engine, Launch};
use testbed::servers::engine::NO_SIGN_OF_LIFE;
use testbed::{PATIENCE, until};

const STOCK: usize = 300;

/// Everybody in `buyers` clicks once.
fn click(engine: &Engine, buyers: &[String]) -> Vec<(String, BuyerAnswer)> {
    crowd(
        64,
        || BuyerClient::at(engine.edge()),
        buyers,
        |client, buyer| {
            (buyer.clone(), client.buy("phone", buyer, 1, None).expect("every click is answered"))
        },
    )
}

fn buyers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("buyer-{number}")).collect()
}

/// The numbers of all orders in the store.
fn stored(engine: &Engine) -> HashSet<String> {
    engine.orders("phone", "").iter().map(|order| order["order_id"].as_str().unwrap().to_owned()).collect()
}

/// Those who were told of an order have it in the store, or will have; there is no other; what was refused is on sale.
fn compare(engine: &Engine, answers: &[(String, BuyerAnswer)]) {
    let started = Instant::now();
    for (buyer, answer) in answers.iter().filter(|(_, answer)| answer.status == 202) {
        let status =
            || engine.ask("GET", &format!("/orders/{}", answer.order_id), buyer, "", "").member("status");
        while status() != "pre_pay" {
            assert!(started.elapsed() < PATIENCE, "{buyer} was told of an order that does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let accepted: HashSet<String> = answers
        .iter()
        .filter(|(_, answer)| (200..300).contains(&answer.status))
        .map(|(_, answer)| answer.order_id.clone())
        .collect();
    assert_eq!(accepted, stored(engine));
    let audit = engine.audit("phone");
    assert_eq!(audit.held, accepted.len() as u64);
    assert_eq!(engine.sale_state("phone")["remaining"], audit.available);
}

/// The refused click again, as they are told to, until all is sold.
fn sell_the_rest(engine: &Engine, answers: &mut Vec<(String, BuyerAnswer)>) {
    let started = Instant::now();
    loop {
        let refused = |(_, answer): &&(String, BuyerAnswer)| answer.status == 503;
        let again: Vec<String> = answers.iter().filter(refused).map(|(buyer, _)| buyer.clone()).collect();
        if again.is_empty() {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{} are refused again and again", again.len());
        answers.retain(|(_, answer)| answer.status != 503);
        answers.extend(click(engine, &again));
        compare(engine, answers);
    }
    let audit = engine.audit("phone");
    assert_eq!((audit.available, audit.held), (0, STOCK as u64));
}

fn count(answers: &[(String, BuyerAnswer)], status: u16) -> usize {
    answers.iter().filter(|(_, answer)| answer.status == status).count()
}

/// Purchases in one piece, as many as a socket takes at once.
const PIECE: usize = 400;

/// Clicks without reading what is answered, on connections of its own, until it is dropped.
struct Flood(Vec<TcpStream>);

impl Flood {
    fn at(engine: &Engine, connections: usize) -> Self {
        let piece: String = (0..PIECE)
            .map(|n| format!("POST /seckill/test/phone HTTP/1.1\r\nHost: h\r\nX-User-ID: f{n}\r\n\r\n"))
            .collect();
        let open = || {
            let stream = TcpStream::connect(engine.edge()).unwrap();
            let (mut writing, mut reading) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
            let piece = piece.clone();
            std::thread::spawn(move || while writing.write_all(piece.as_bytes()).is_ok() {});
            std::thread::spawn(move || io::copy(&mut reading, &mut io::sink()));
            stream
        };
        Self(std::iter::repeat_with(open).take(connections).collect())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }
}

#[test]
fn looks_give_way_while_purchases_would_have_to_wait() {
    let keys =
        [("EDGE__THREADS", "1"), ("EDGE__OVERLOAD__WAIT_MS_MAX", "1"), ("EDGE__OVERLOAD__INTERVAL_MS", "10")];
    let engine = Engine::start(&keys);
    engine.sale("phone", 1, "");
    assert_eq!(engine.buy("phone", "first").status, 201);
    engine.sale("coat", 1_000, "");
    let look = || engine.ask("GET", "/orders/1", "ann", "", "");
    assert_eq!(look().status, 404);
    {
        let _flood = Flood::at(&engine, 16);
        until("a look gives way", || look().status == 503);
        until("an operator's read gives way", || {
            engine.admin("GET", "/api/v1/events?limit=1", "").status == 503
        });
        let refused = std::iter::repeat_with(look).find(|answer| answer.status == 503).unwrap();
        assert_eq!(refused.member("code"), "overloaded");
        assert!(refused.field("retry-after").is_some());
        for number in 0..5 {
            assert_eq!(engine.buy("coat", &format!("b{number}")).status, 201, "purchases go on");
        }
    }
    until("looks are answered again", || (0..20).all(|_| look().status == 404));
    let stats = engine.admin("GET", "/api/v1/stats", "").json();
    assert_eq!(stats["paths"]["seckill"]["outcomes"].get("overloaded"), None, "{stats}");
    let figures = engine.admin("GET", "/metrics", "").body;
    for (figure, value) in
        [("seckill_edge_shed_total{kind=\"look\"} ", 1.0), ("seckill_edge_read_wait_seconds_count ", 10.0)]
    {
        let found = figures.lines().find_map(|line| line.strip_prefix(figure)).expect(figure);
        assert!(found.parse::<f64>().unwrap() >= value, "{figure}{found}");
    }
    for code in ["edge-overloaded", "edge-overload-over"] {
        engine.logged(code);
    }
}

#[test]
fn a_queue_of_one_place_sells_all_and_loses_nothing() {
    let keys =
        [("STORE__QUEUE_ORDERS_MAX", "1"), ("STORE__BATCH_ORDERS_MAX", "1"), ("EDGE__ACK_WAIT_MS", "60000")];
    let engine = Engine::start(&keys);
    engine.sale("phone", STOCK as u32, "");
    let mut answers = click(&engine, &buyers(2 * STOCK));
    println!(
        "first clicks: {} bought, {} overloaded, {} sold out",
        count(&answers, 201),
        count(&answers, 503),
        count(&answers, 409)
    );
    assert!(answers.iter().all(|(_, answer)| matches!(answer.status, 201 | 503 | 409)));
    compare(&engine, &answers);
    sell_the_rest(&engine, &mut answers);
    assert_eq!(count(&answers, 201), STOCK);
}

#[test]
fn a_store_that_somebody_holds_costs_nobody_an_order() {
    let launch = Launch::new(&[
        ("EDGE__ACK_WAIT_MS", "100"),
        ("SQLITE__LOCK_WAIT_MS", "1"),
        ("LOG__LEVEL", "warn"),
        NO_SIGN_OF_LIFE,
    ]);
    let engine = launch.start();
    engine.sale("phone", STOCK as u32, "");
    let mut answers = click(&engine, &buyers(20));
    assert!(answers.iter().all(|(_, answer)| matches!(answer.status, 201 | 202)));

    let stranger = Connection::open(launch.folder().join("orders.sqlite")).unwrap();
    stranger.busy_timeout(PATIENCE).unwrap();
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let late: Vec<String> = (0..3 * STOCK).map(|number| format!("late-{number}")).collect();
    let meanwhile = click(&engine, &late);
    println!("while it is held: {} pending, {} overloaded", count(&meanwhile, 202), count(&meanwhile, 503));
    assert!(
        meanwhile.iter().all(|(_, answer)| matches!(answer.status, 202 | 503)),
        "nothing is acknowledged as durable"
    );
    assert!(count(&meanwhile, 202) > 0 && count(&meanwhile, 503) > 0);
    for (buyer, answer) in meanwhile.iter().filter(|(_, answer)| answer.status == 202) {
        let own = engine.ask("GET", &format!("/orders/{}", answer.order_id), buyer, "", "");
        assert_eq!((own.status, own.member("status").as_str()), (200, "pending"));
    }
    stranger.execute_batch("COMMIT").unwrap();

    answers.extend(meanwhile);
    compare(&engine, &answers);
    sell_the_rest(&engine, &mut answers);
    assert_eq!(count(&answers, 201) + count(&answers, 202), STOCK);
}
