//! What a waiting room costs. The long forms, `cargo xtask room waiting` and `polls`, tell figures: `SECKILL_ROOM_PEOPLE` is how many
//! register, or how often the document is looked at.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use testbed::client::{Client, request};
use testbed::engine::Engine;
use testbed::memory::Memory;
use testbed::servers::varnish::VarnishServer;
use testbed::{PATIENCE, asked, until};

const QUEUE: &str = "/seckill/test/phone/queue";
/// Connections that ask at once.
const CONNECTIONS: usize = 8;
const BYTES_PER_MIB: f64 = 1_048_576.0;

fn long_form() -> Option<usize> {
    asked("SECKILL_ROOM_PEOPLE")
}

fn draw_in_an_hour(keys: &[(&str, &str)]) -> Engine {
    let engine = Engine::start(keys);
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    engine.sale("phone", 5_000, &format!(r#","starts_at":"{later}","queue":{{"mode":"draw"}}"#));
    engine
}

/// Everybody asks once, on a few connections. Answers with what each made of it, in no order.
fn ask_all<T: Send>(
    people: Range<usize>,
    ask: impl Fn(&mut Client, usize) -> T + Sync,
    connect: impl Fn() -> Client + Sync,
) -> Vec<T> {
    let ask_some = |first: usize| {
        let mut client = connect();
        let people = people.clone().skip(first).step_by(CONNECTIONS);
        people.map(|person| ask(&mut client, person)).collect::<Vec<_>>()
    };
    let ask_some = &ask_some;
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..CONNECTIONS).map(|first| scope.spawn(move || ask_some(first))).collect();
        asking.into_iter().flat_map(|asking| asking.join().expect("everybody is answered")).collect()
    })
}

/// What it took to be given a place.
struct Registered {
    /// From asking until the answer with the place.
    took: Duration,
    /// Whether the engine had this one come back for it.
    came_back: bool,
}

/// Joins the room, and where the engine says to come back, does so when it says.
fn register(client: &mut Client, person: usize) -> Registered {
    let lines = format!("Host: shop\r\nX-User-ID: person-{person}\r\nContent-Length: 0\r\n");
    let request = format!("POST {QUEUE} HTTP/1.1\r\n{lines}\r\n");
    let (began, mut came_back) = (Instant::now(), false);
    loop {
        let asked = Instant::now();
        let answer = client.send(&request).answer().expect("an answer");
        if answer.status == 201 {
            return Registered { took: asked.elapsed(), came_back };
        }
        let seconds = answer.field("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        let Some(seconds) = seconds.filter(|_| answer.status == 503 && began.elapsed() < PATIENCE) else {
            panic!("person-{person} has no place: {} {}", answer.status, answer.body);
        };
        came_back = true;
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

#[test]
fn who_waits_costs_no_memory() {
    let people = long_form().unwrap_or(2_000);
    let engine = draw_in_an_hour(&[
        ("EDGE__PAGE", "true"),
        ("ADMISSION__BUYER_RATE_PER_S", "0"),
        // The store keeps pages that it has written, some 36 bytes of them for each registration, until it has as many as it may: by
        // default 64 MiB, which takes nearly two million people. With these it has them once the first fifth of a long form has come.
        ("SQLITE__CACHE_KIB", "2048"),
    ]);
    // Those of the store: the public document counts who is about to be written, too.
    let written = || engine.read("/api/v1/campaigns/test/phone/queue").json()["registered"].clone();
    let (mut registered, mut passed) = (Vec::with_capacity(people), Duration::ZERO);
    let memory = [1usize, 2, 3, 4, 5].map(|fifth| {
        let (from, until_now) = (people * (fifth - 1) / 5, people * fifth / 5);
        let began = Instant::now();
        registered.extend(ask_all(from..until_now, register, || Client::connect(engine.edge())));
        until("all are written down", || written() == until_now);
        passed += began.elapsed();
        Memory::of(engine.pid()).expect("a process")
    });
    // With the first fifth tables of a fixed size fill: that is not for each.
    let (first, last, later) = (memory[0], memory[4], people - people / 5);
    if long_form().is_some() {
        let for_each =
            |bytes: fn(&Memory) -> u64| (bytes(&last) as f64 - bytes(&first) as f64) / later as f64;
        let mib = |bytes: fn(&Memory) -> u64| {
            let after =
                memory.each_ref().map(|memory| format!("{:.1}", bytes(memory) as f64 / BYTES_PER_MIB));
            after.join(", ")
        };
        let (anonymous, mapped) = (|memory: &Memory| memory.anonymous_bytes, Memory::mapped_bytes);
        let came_back = registered.iter().filter(|registered| registered.came_back).count();
        let mut took: Vec<Duration> = registered.iter().map(|registered| registered.took).collect();
        took.sort_unstable();
        let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
        let page = request(engine.edge(), "GET", "/seckill/test/phone/page", "", "");
        let document = engine.ask("GET", QUEUE, "nobody", "", "");
        println!(
            "{people} people wait: {:.1} bytes of the engine's own memory and {:.1} of mapped files for each of the last {later}; \
             {} MiB and {} MiB after each fifth",
            for_each(anonymous),
            for_each(mapped),
            mib(anonymous),
            mib(mapped)
        );
        println!(
            "{:.0} a second registered and were written down, on {CONNECTIONS} connections, P50 {:?}, P99 {:?}; {came_back} were asked \
             to come back; the document has {} bytes, the page {}",
            people as f64 / passed.as_secs_f64(),
            at(50),
            at(99),
            document.body.len(),
            page.body.len()
        );
    }
    let grown = last.anonymous_bytes.saturating_sub(first.anonymous_bytes);
    assert!(grown < 32 << 20, "{grown} bytes more for {later} people more");
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
