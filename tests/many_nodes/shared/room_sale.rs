//! A whole sale through the waiting room of three nodes: everybody registers, is drawn, waits by the public document alone, buys and pays.
//! The long form, `cargo xtask room sale`, has `SECKILL_ROOM_PEOPLE` people and `SECKILL_ROOM_UNITS` units, and draws its timeline.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use testbed::asked;
use testbed::client::Client;
use testbed::engine::Engine;

use super::fixture::{Fixture, known_to_all, until};
use super::room_plot::{Sample, plot};

const SALE: &str = "/seckill/test/phone";
/// Threads, each with some of the people.
const CROWDS: usize = 12;
/// Of so many who are admitted one does not come.
const ONE_STAYS_AWAY: usize = 10;
/// Between two looks at the document.
const LOOK_EVERY: Duration = Duration::from_millis(1_000);

/// A person with a pass.
struct Waiting {
    number: usize,
    pass: String,
    priority: u64,
}

/// What came of the people of one thread.
#[derive(Default)]
struct Heard {
    paid: usize,
    sold_out: usize,
    stayed_away: usize,
    /// From when the sale was sold out until this thread's people had heard it.
    heard_after: Option<Duration>,
}

fn name(number: usize) -> String {
    format!("person-{number}")
}

fn ask(client: &mut Client, method: &str, path: &str, buyer: &str, lines: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: shop\r\nX-User-ID: {buyer}\r\n{lines}Content-Length: {length}\r\n\r\n"
    );
    let answer = client.send(head + body).answer().expect("an answer");
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

/// As a buyer's own device computes it.
fn priority(seed: &str, number: usize) -> u64 {
    let name = format!("default\0test\0phone\0{}", name(number));
    let who = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let seed: Vec<u8> =
        (0..seed.len()).step_by(2).map(|at| u8::from_str_radix(&seed[at..at + 2], 16).unwrap()).collect();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &seed);
    let tag = ring::hmac::sign(&key, &who.as_ref()[..16]);
    u64::from_be_bytes(tag.as_ref()[..8].try_into().unwrap()) >> 11
}

/// The world that all threads share.
struct World<'a> {
    nodes: &'a [&'a Engine],
    began: Instant,
    sold_out_at: Mutex<Option<Instant>>,
    is_open: AtomicBool,
    is_over: AtomicBool,
    turned_away: AtomicUsize,
}

/// Ends what runs, also when something fails.
struct Over<'a>(&'a World<'a>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Relaxed);
    }
}

impl World<'_> {
    /// The people of one thread, from registration to paid.
    fn crowd(&self, first: usize, people: usize, registered: &AtomicUsize) -> Heard {
        let node = self.nodes[first % self.nodes.len()];
        let mut client = Client::connect(node.edge());
        let mut waiting: Vec<Waiting> = (first..people)
            .step_by(CROWDS)
            .map(|number| {
                let (status, place) =
                    ask(&mut client, "POST", &format!("{SALE}/queue"), &name(number), "", "");
                assert_eq!(status, 201, "{place}");
                registered.fetch_add(1, Relaxed);
                Waiting { number, pass: place["pass"].as_str().expect("a pass").to_owned(), priority: 0 }
            })
            .collect();
        while !self.is_open.load(Relaxed) && !self.is_over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut heard = Heard::default();
        while !self.is_over.load(Relaxed) {
            let (_, document) = ask(&mut client, "GET", &format!("{SALE}/queue"), "nobody", "", "");
            match document["state"].as_str() {
                Some("sold_out" | "ended") => {
                    heard.sold_out += waiting.len();
                    heard.heard_after = self.sold_out_at.lock().map(|at| at.elapsed());
                    return heard;
                }
                Some("open") => {}
                _ => {
                    std::thread::sleep(LOOK_EVERY);
                    continue;
                }
            }
            let seed = document["seed"].as_str().expect("drawn");
            if waiting.first().is_some_and(|first| first.priority == 0) {
                waiting.iter_mut().for_each(|person| person.priority = priority(seed, person.number));
                waiting.sort_unstable_by_key(|person| std::cmp::Reverse(person.priority));
            }
            let mark = document["draw_mark"].as_u64().expect("a mark");
            while let Some(person) = waiting.pop_if(|person| person.priority < mark) {
                if person.number.is_multiple_of(ONE_STAYS_AWAY) {
                    heard.stayed_away += 1;
                } else if self.buys(&mut client, &person) {
                    heard.paid += 1;
                } else {
                    heard.sold_out += 1;
                }
            }
            if waiting.is_empty() {
                return heard;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        heard
    }

    /// Whether who is admitted has bought and paid; `false`: sold out.
    fn buys(&self, client: &mut Client, person: &Waiting) -> bool {
        let (buyer, key) = (name(person.number), format!("Idempotency-Key: key-{}\r\n", person.number));
        let lines = format!("{key}X-Sale-Pass: {}\r\n", person.pass);
        let mut order = loop {
            match ask(client, "POST", SALE, &buyer, &lines, "") {
                (200..=202, order) => break order,
                (409, refusal) if refusal["code"] == "sold-out" => return false,
                (429 | 503, _) => std::thread::sleep(Duration::from_millis(200)),
                (403, refusal) => {
                    // This node has yet to hear of the mark that another one shows.
                    self.turned_away.fetch_add(1, Relaxed);
                    assert_eq!(refusal["reason"], "not-admitted", "{refusal}");
                    std::thread::sleep(Duration::from_millis(200));
                }
                other => panic!("{other:?}"),
            }
        };
        let id = order["order_id"].as_str().expect("an order").to_owned();
        while order["status"] != "paid" {
            let body = r#"{"payment_method":"card"}"#;
            let (status, told) = ask(client, "POST", &format!("/orders/{id}/checkout"), &buyer, "", body);
            assert!([200, 202, 402, 404, 409, 503].contains(&status), "{status}: {told}");
            if status == 200 {
                order = told;
            } else {
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        true
    }

    /// Looks at the sale until it is over.
    fn watch(&self, units: usize) -> Vec<Sample> {
        let mut samples = Vec::new();
        while !self.is_over.load(Relaxed) {
            let document = self.nodes[0].ask("GET", &format!("{SALE}/queue"), "nobody", "", "").json();
            let audit = self.nodes[0].audit("phone");
            let of = |name: &str| document[name].as_u64().unwrap_or_default();
            samples.push(Sample {
                seconds: self.began.elapsed().as_secs_f64(),
                registered: of("registered"),
                admitted: of("admitted"),
                sold: audit.held + audit.paid,
                paid: audit.paid,
            });
            if document["state"] == "sold_out" {
                self.sold_out_at.lock().get_or_insert_with(Instant::now);
            }
            assert!(audit.held + audit.paid <= units as u64, "oversold");
            std::thread::sleep(Duration::from_millis(250));
        }
        samples
    }
}

#[test]
fn a_sale_through_the_room_from_registration_to_paid() {
    let long: Option<usize> = asked("SECKILL_ROOM_PEOPLE");
    let (people, units) =
        (long.unwrap_or(120), asked::<usize>("SECKILL_ROOM_UNITS").filter(|_| long.is_some()).unwrap_or(40));
    let fixture = Fixture::open();
    let engines = [1, 2, 3].map(|number| fixture.start(number));
    let nodes: Vec<&Engine> = engines.iter().collect();
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    // The long form finds out how many it can serve.
    let rate = if long.is_some() { "null" } else { "40" };
    let queue =
        format!(r#","starts_at":"{later}","queue":{{"mode":"draw","rate_per_s":{rate},"grace_s":10}}"#);
    nodes[0].sale("phone", units as u32, &queue);
    known_to_all(&nodes, "phone");
    let world = World {
        nodes: &nodes,
        began: Instant::now(),
        sold_out_at: Mutex::default(),
        is_open: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        turned_away: AtomicUsize::new(0),
    };
    let registered = AtomicUsize::new(0);
    let document = |node: &Engine| node.ask("GET", &format!("{SALE}/queue"), "nobody", "", "").json();
    let (heard, samples) = std::thread::scope(|scope| {
        let over = Over(&world);
        let watching = scope.spawn(|| world.watch(units));
        let crowds: Vec<_> = (0..CROWDS)
            .map(|first| {
                let (world, registered) = (&world, &registered);
                scope.spawn(move || world.crowd(first, people, registered))
            })
            .collect();
        while registered.load(Relaxed) < people && !crowds.iter().any(|crowd| crowd.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        until("the log has them all", || document(nodes[0])["registered"].as_u64() >= Some(people as u64));
        let now = format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now());
        assert_eq!(nodes[1].admin("PATCH", "/api/v1/campaigns/test/phone", &now).status, 200);
        world.is_open.store(true, Relaxed);
        let heard: Vec<Heard> = crowds.into_iter().map(|crowd| crowd.join().expect("a crowd")).collect();
        drop(over);
        (heard, watching.join().expect("who watches"))
    });
    let sum = |of: fn(&Heard) -> usize| heard.iter().map(of).sum::<usize>();
    let (paid, sold_out, away) =
        (sum(|heard| heard.paid), sum(|heard| heard.sold_out), sum(|heard| heard.stayed_away));
    assert_eq!(
        (paid, paid + sold_out + away),
        (units, people),
        "everything is sold, and everybody heard what came of it"
    );
    let audit = nodes[0].audit("phone");
    assert_eq!((audit.paid, audit.held, audit.available), (units as u64, 0, 0));
    let mark = |node: &&Engine| document(node)["draw_mark"].as_u64();
    until("all nodes show the same mark", || nodes.iter().map(mark).all(|found| found == mark(&nodes[0])));
    let admin = format!("http://{}", nodes[2].admin_addr());
    let mut checking = std::process::Command::new(testbed::servers::engine::binary());
    let checked = checking.args(["verify-draw", "test/phone", "--admin", &admin]).output().expect("a check");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    if long.is_some() {
        let mut after: Vec<Duration> = heard.iter().filter_map(|heard| heard.heard_after).collect();
        after.sort_unstable();
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/room-sale.svg");
        std::fs::write(&file, plot(&samples, units as u64)).expect("the timeline");
        println!(
            "{people} people, {units} units, 3 nodes: {paid} paid, {away} stayed away, {sold_out} were told that nothing is left, the last \
             {:?} later; {} purchases met a node that had yet to hear of the mark; {:.0} s from the first registration to the end; {}; {said}",
            after.last().copied().unwrap_or_default(),
            world.turned_away.load(Relaxed),
            world.began.elapsed().as_secs_f64(),
            file.display()
        );
    }
}
