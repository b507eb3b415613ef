//! What a waiting room costs. The long forms, `cargo xtask room waiting` and `polls`, tell figures: `SECKILL_ROOM_PEOPLE` is how many
//! register, or how often the document is looked at.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use testbed::client::{Client, request};
use testbed::engine::Engine;
use testbed::memory::Memory;
use testbed::servers::varnish::VarnishServer;
use testbed::{asked, until};

const QUEUE: &str = "/seckill/test/phone/queue";
/// Connections that ask at once.
const CONNECTIONS: usize = 8;

fn long_form() -> Option<usize> {
    asked("SECKILL_ROOM_PEOPLE")
}

fn draw_in_an_hour(keys: &[(&str, &str)]) -> Engine {
    let engine = Engine::start(keys);
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    engine.sale("phone", 5_000, &format!(r#","starts_at":"{later}","queue":{{"mode":"draw"}}"#));
    engine
}

/// Bytes of the process that are in memory.
fn resident(pid: u32) -> u64 {
    Memory::of(pid).expect("a process").resident_bytes
}

/// Everybody asks once, on a few connections. Answers with how long each took.
fn ask_all(
    people: std::ops::Range<usize>,
    ask: impl Fn(&mut Client, usize) + Sync,
    connect: impl Fn() -> Client + Sync,
) -> Vec<Duration> {
    let ask_some = |first: usize| {
        let mut client = connect();
        let mut took = Vec::with_capacity(people.len() / CONNECTIONS + 1);
        for person in people.clone().skip(first).step_by(CONNECTIONS) {
            let began = Instant::now();
            ask(&mut client, person);
            took.push(began.elapsed());
        }
        took
    };
    let ask_some = &ask_some;
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..CONNECTIONS).map(|first| scope.spawn(move || ask_some(first))).collect();
        asking.into_iter().flat_map(|asking| asking.join().expect("everybody is answered")).collect()
    })
}

#[test]
fn who_waits_costs_no_memory() {
    let people = long_form().unwrap_or(2_000);
    let engine = draw_in_an_hour(&[("EDGE__PAGE", "true"), ("ADMISSION__BUYER_RATE_PER_S", "0")]);
    let register = |client: &mut Client, person: usize| {
        let lines = format!("Host: shop\r\nX-User-ID: person-{person}\r\nContent-Length: 0\r\n");
        let answer =
            client.send(format!("POST {QUEUE} HTTP/1.1\r\n{lines}\r\n")).answer().expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    let document = || engine.ask("GET", QUEUE, "nobody", "", "");
    let are_written = |people: usize| {
        until("all are written down", || document().json()["registered"] == people);
    };
    // Tables of a fixed size fill, and the store keeps some pages: that is not for each.
    let warm = people / 5;
    ask_all(0..warm, register, || Client::connect(engine.edge()));
    are_written(warm);
    let (before, began) = (resident(engine.pid()), Instant::now());
    let mut took = ask_all(warm..people, register, || Client::connect(engine.edge()));
    let passed = began.elapsed();
    are_written(people);
    let grown = resident(engine.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more for {} people more", people - warm);
    if long_form().is_some() {
        took.sort_unstable();
        let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
        let (page, mine) = (request(engine.edge(), "GET", "/seckill/test/phone/page", "", ""), document());
        println!(
            "{people} people wait: {:.1} bytes in memory for each of the last {}; {:.0} registrations a second on {CONNECTIONS} \
             connections, P50 {:?}, P99 {:?}; the document has {} bytes, the page {}",
            grown as f64 / took.len() as f64,
            took.len(),
            took.len() as f64 / passed.as_secs_f64(),
            at(50),
            at(99),
            mine.body.len(),
            page.body.len()
        );
    }
}

#[test]
fn looks_are_answered_by_the_cache() {
    let looks = long_form().unwrap_or(2_000);
    let engine = draw_in_an_hour(&[]);
    let varnish = VarnishServer::start(engine.edge());
    let made = parking_lot::Mutex::new(BTreeSet::new());
    let look = |client: &mut Client, _: usize| {
        let answer =
            client.send(format!("GET {QUEUE} HTTP/1.1\r\nHost: shop\r\n\r\n")).answer().expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        // Each document says when the engine made it.
        let time = answer.body.split("\"server_time\":\"").nth(1).map(|rest| rest[..24].to_owned());
        made.lock().insert(time.expect("a time"));
    };
    let began = Instant::now();
    ask_all(0..looks, look, || Client::connect(varnish.address()));
    let (seconds, made) = (began.elapsed().as_secs_f64(), made.lock().len());
    assert!(
        made < looks / 4 && made as f64 <= 2.0 * seconds + 3.0,
        "{made} of {looks} looks reached the engine in {seconds} s"
    );
    if long_form().is_some() {
        println!(
            "{looks} looks in {seconds:.0} s, {:.0} a second: {made} reached the engine, {:.1} a second however many look",
            looks as f64 / seconds,
            made as f64 / seconds
        );
    }
}
