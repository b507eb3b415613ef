//! How soon a click on the console is heard by buyers, and what those cost who watch it.
//!
//! The long forms, `cargo xtask console`, tell figures: `SECKILL_CONSOLE_CLICKS` is how often pause is clicked,
//! `SECKILL_CONSOLE_PAIRS` how often the engine is measured without viewers and with them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testbed::client::Client;
use testbed::crowd::{BuyerClient, Over};
use testbed::engine::Engine;
use testbed::memory::Memory;
use testbed::operator::TOKEN;
use testbed::processor::used;
use testbed::{asked, pauses};

const VIEWERS: usize = 20;
/// Kept connections on which buyers are refused, and how far one buyer is from the next on each: 2,000 a second in all.
const LINES: usize = 4;
const EVERY: Duration = Duration::from_millis(2);
/// How long it goes on before it is measured, and how long it is.
const WARM: Duration = Duration::from_secs(3);
const TURN: Duration = Duration::from_secs(20);
/// Sales whose pictures are so large that the system cannot keep ten of them for who reads none.
const SALES_OF_SLOW: usize = 1_000;
/// Pictures of which the slow viewer reads none: one a second.
const UNREAD: usize = 10;

#[test]
fn a_click_on_pause_is_heard_by_the_next_buyers() {
    let long = asked("SECKILL_CONSOLE_CLICKS");
    let engine = Engine::start(&[("ADMIN__TOKEN", TOKEN)]);
    let pauses = pauses::measure(&[&engine], long.unwrap_or(3));
    if long.is_some() {
        println!("pause, a click on one node, until it refuses: {pauses}; wanted: P99 below 100 ms");
    }
}

/// Somebody who has the console open: what comes of the live feed.
struct Viewer {
    client: Client,
    text: String,
    bytes: usize,
}

impl Viewer {
    fn open(engine: &Engine) -> Self {
        let mut client = Client::connect(engine.admin_addr());
        client.send("GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        assert_eq!(client.headed().expect("an answer").status, 200);
        Self { client, text: String::new(), bytes: 0 }
    }

    /// The number of the next picture, and what is in it.
    fn next(&mut self) -> (u64, String) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let number = field("id: ").expect("a number").parse().expect("a number");
                let picture = field("data: ").expect("a picture").to_owned();
                self.text = rest.to_owned();
                return (number, picture);
            }
            let chunk = self.client.chunk().expect("it goes on");
            self.bytes += chunk.len();
            self.text.push_str(&chunk);
        }
    }
}

/// Refused buyers, evenly, until it is over.
fn are_refused(edge: SocketAddr, asked: &AtomicU32, is_over: &AtomicBool) {
    let mut client = BuyerClient::at(edge);
    let began = Instant::now();
    let mut turn = 0;
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep((began + EVERY * turn).saturating_duration_since(Instant::now()));
        turn += 1;
        // A connection that was closed is opened for the next one.
        if let Some(answer) = client.buy("phone", "late", 1, None) {
            assert_eq!((answer.status, answer.code.as_str()), (409, "sold-out"));
            asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a turn cost.
struct Turn {
    /// Of a core, in percent.
    share: f64,
    refused_per_s: f64,
}

/// Refuses buyers for so long, before so many viewers.
fn turn(engine: &Engine, viewers: usize, warm: Duration, length: Duration) -> Turn {
    let (is_over, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..LINES {
            scope.spawn(|| are_refused(engine.edge(), &asked, &is_over));
        }
        for _ in 0..viewers {
            scope.spawn(|| {
                let mut viewer = Viewer::open(engine);
                let mut last = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let (number, picture) = viewer.next();
                    assert!(number > last && picture.contains("\"sku\":\"phone\""), "{number}: {picture}");
                    last = number;
                }
            });
        }
        thread::sleep(warm);
        let (before, refused, began) = (used(engine.pid()), asked.load(Ordering::Relaxed), Instant::now());
        thread::sleep(length);
        let (seconds, cost) = (began.elapsed().as_secs_f64(), used(engine.pid()) - before);
        let refused = asked.load(Ordering::Relaxed) - refused;
        Turn { share: 100.0 * cost.as_secs_f64() / seconds, refused_per_s: f64::from(refused) / seconds }
    })
}

/// Bytes of the engine's own in memory.
fn own_bytes(engine: &Engine) -> u64 {
    Memory::of(engine.pid()).expect("it runs").anonymous_bytes
}

#[test]
fn twenty_viewers_see_the_same_and_cost_little() {
    let pairs: Option<usize> = asked("SECKILL_CONSOLE_PAIRS");
    let engine = Engine::start(&[("ADMISSION__BUYER_RATE_PER_S", "0")]);
    engine.sale("phone", 1, "");
    assert_eq!(engine.buy("phone", "first").status, 201);
    let Some(pairs) = pairs else {
        // What is measured, once through.
        turn(&engine, VIEWERS, Duration::ZERO, Duration::from_secs(1));
        let mut viewers: Vec<Viewer> = (0..VIEWERS).map(|_| Viewer::open(&engine)).collect();
        let mut seen = BTreeMap::new();
        for (number, picture) in viewers.iter_mut().flat_map(|viewer| [viewer.next(), viewer.next()]) {
            assert_eq!(*seen.entry(number).or_insert_with(|| picture.clone()), picture, "one for all");
        }
        return;
    };
    let mut more = 0.0;
    for pair in 1..=pairs {
        let without = turn(&engine, 0, WARM, TURN);
        let with = turn(&engine, VIEWERS, WARM, TURN);
        more += (with.share - without.share) / pairs as f64;
        println!(
            "pair {pair}: {:.1} % of a core at {:.0} refusals a second without viewers, {:.1} % at {:.0} with {VIEWERS}: {:+.1}",
            without.share,
            without.refused_per_s,
            with.share,
            with.refused_per_s,
            with.share - without.share
        );
    }
    println!("{VIEWERS} viewers: {more:+.2} % of a core, on average of {pairs} pairs of {TURN:?}");
    slow_viewer();
}

/// Reads nothing for ten pictures, and then everything that there is.
fn slow_viewer() {
    let sales_max = SALES_OF_SLOW.to_string();
    let engine = Engine::start(&[("ADMIN__LIVE_SALES_MAX", &sales_max)]);
    (0..SALES_OF_SLOW).for_each(|number| engine.sale(&format!("sale-{number}"), 1, ""));
    let mut quick = Viewer::open(&engine);
    // What was allocated to make pictures at all is no viewer's.
    let size = (0..UNREAD).map(|_| quick.next().1.len()).max().unwrap_or(0);
    let before = own_bytes(&engine);
    let mut slow = Viewer::open(&engine);
    let first = slow.next().0;
    let newest = (0..UNREAD).map(|_| quick.next().0).max().unwrap_or(0);
    let grown = own_bytes(&engine) as i64 - before as i64;
    // From now on it reads as fast as it can.
    let mut numbers = vec![first];
    while numbers.last() < Some(&newest) {
        numbers.push(slow.next().0);
    }
    let gap = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).sum::<u64>();
    println!(
        "who reads nothing for {UNREAD} pictures of {size} bytes: picture {first}, then {:?} ({} bytes in all), \
         {gap} were left out; the engine's own memory meanwhile {:+.1} MB",
        &numbers[1..],
        slow.bytes,
        grown as f64 / 1e6
    );
}
