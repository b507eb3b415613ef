//! Who is asked about whoever joins a waiting room: a service that admits, refuses, is slow, talks nonsense, or is not there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use testbed::client::Answer;
use testbed::engine::Engine;
use testbed::until;

const QUEUE: &str = "/seckill/test/phone/queue";

/// How the service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Admits,
    Refuses,
    /// Takes the question and never answers.
    Hangs,
    TalksNonsense,
}

/// A service, and what it was asked.
struct Door {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Value>>>,
    mood: Arc<Mutex<Mood>>,
}

impl Door {
    fn open(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let door = Self { address, asked: Arc::default(), mood: Arc::new(Mutex::new(mood)) };
        let (asked, mood) = (Arc::clone(&door.asked), Arc::clone(&door.mood));
        thread::spawn(move || {
            // Those that are never answered stay open.
            let mut open = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                asked.lock().unwrap().push(question(&stream));
                let answer = match *mood.lock().unwrap() {
                    Mood::Admits => r#"{"verdict":"admit"}"#,
                    Mood::Refuses => r#"{"verdict":"refuse","reason":"too fast for a person"}"#,
                    Mood::TalksNonsense => r#"{"verdict":"perhaps"}"#,
                    Mood::Hangs => {
                        open.push(stream);
                        continue;
                    }
                };
                let _ = write!(
                    &stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}",
                    answer.len()
                );
            }
        });
        door
    }

    fn turn(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn url(&self) -> String {
        format!("http://{}/door/", self.address)
    }
}

/// Reads one request, and answers with its body; its first line and the token stand there, too.
fn question(stream: &TcpStream) -> Value {
    let mut lines = BufReader::new(stream);
    let (mut length, mut bearer, mut first) = (0, String::new(), String::new());
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        let lower = line.trim_end().to_ascii_lowercase();
        if first.is_empty() {
            line.trim_end().clone_into(&mut first);
        } else if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        } else if let Some(value) = lower.strip_prefix("authorization: bearer ") {
            value.clone_into(&mut bearer);
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    let mut question: Value = serde_json::from_slice(&body).unwrap();
    question["line"] = first.into();
    question["bearer"] = bearer.into();
    question
}

fn engine(url: &str, keys: &[(&str, &str)]) -> Engine {
    let named = [("GATEKEEPER__HTTP__URL", url), ("GATEKEEPER__HTTP__TOKEN", "let-me-in")];
    let engine = Engine::start(&[&named[..], keys].concat());
    engine.sale("phone", 10, r#","queue":{"mode":"fifo","rate_per_s":1000}"#);
    engine
}

fn register(engine: &Engine, buyer: &str, lines: &str) -> Answer {
    engine.ask("POST", QUEUE, buyer, lines, "")
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_newcomer_is_asked_about_once_and_the_pass_is_the_verdict() {
    let door = Door::open(Mood::Admits);
    let engine = engine(&door.url(), &[]);
    let lines = "X-Gate-Token: solved-a-riddle\r\nUser-Agent: a browser\r\nX-Request-ID: r-1\r\n";
    let joined = register(&engine, "ann", lines);
    assert_eq!(joined.status, 201, "{}", joined.body);
    let asked = door.asked.lock().unwrap()[0].clone();
    assert_eq!(
        asked,
        serde_json::json!({
            "tenant": "default", "campaign": "test", "sku": "phone", "buyer": "ann", "token": "solved-a-riddle",
            "user_agent": "a browser", "request_id": "r-1", "line": "POST /door/register HTTP/1.1", "bearer": "let-me-in",
        })
    );
    // With the pass, and without it where the place is known, the same place and no question: whatever the service thinks now.
    door.turn(Mood::Refuses);
    let pass = joined.member("pass");
    for lines in [format!("X-Sale-Pass: {pass}\r\n"), String::new()] {
        let again = register(&engine, "ann", &lines);
        assert_eq!(
            (again.status, again.member("joined_at")),
            (201, joined.member("joined_at")),
            "{}",
            again.body
        );
    }
    assert_eq!(door.asked(), 1);
}

#[test]
fn who_is_refused_hears_why_and_is_not_asked_about_again_for_a_while() {
    let door = Door::open(Mood::Refuses);
    let engine = engine(&door.url(), &[]);
    let refused = register(&engine, "bot", "");
    assert_eq!(
        (refused.status, refused.member("code")),
        (403, "registration-refused".into()),
        "{}",
        refused.body
    );
    assert_eq!(refused.member("reason"), "too fast for a person");
    assert!(refused.field("set-cookie").is_none());
    door.turn(Mood::Admits);
    assert_eq!(register(&engine, "bot", "").status, 403, "the refusal stands");
    assert_eq!(door.asked(), 1);
    assert_eq!(register(&engine, "ann", "").status, 201, "and is one buyer's");
    let shown = engine.ask("GET", QUEUE, "x", "", "").json();
    assert_eq!(shown["registered"], 1, "who is refused has no place: {shown}");
    let figures = engine.admin("GET", "/metrics", "").body;
    for line in ["{answer=\"admitted\"} 1", "{answer=\"refused\"} 1", "{answer=\"away\"} 0"] {
        assert!(figures.contains(&format!("seckill_gatekeeper_answers_total{line}")), "{line}: {figures}");
    }
}

#[test]
fn without_a_verdict_the_door_is_open_or_closed_as_it_was_set() {
    for mood in [Some(Mood::Hangs), Some(Mood::TalksNonsense), None] {
        let door = mood.map(Door::open);
        let url = door.as_ref().map_or_else(nobody, Door::url);
        let open = engine(&url, &[("GATEKEEPER__WAIT_MS", "200")]);
        assert_eq!(register(&open, "ann", "").status, 201, "{mood:?}");
        let closed = engine(&url, &[("GATEKEEPER__WAIT_MS", "200"), ("GATEKEEPER__ON_FAILURE", "closed")]);
        let refused = register(&closed, "ann", "");
        assert_eq!(
            (refused.status, refused.member("code")),
            (503, "registration-unavailable".into()),
            "{mood:?}: {}",
            refused.body
        );
        assert!(refused.field("retry-after").is_some());
    }
}

#[test]
fn a_door_that_fails_is_left_alone_and_who_has_a_place_keeps_it() {
    let door = Door::open(Mood::Admits);
    let keys = [
        ("GATEKEEPER__WAIT_MS", "200"),
        ("GATEKEEPER__ON_FAILURE", "closed"),
        ("GATEKEEPER__BREAKER__CALLS_MIN", "2"),
        ("GATEKEEPER__BREAKER__OPEN_MS", "3000"),
        ("GATEKEEPER__BREAKER__PROBES", "1"),
    ];
    let engine = engine(&door.url(), &keys);
    let pass = register(&engine, "ann", "").member("pass");
    door.turn(Mood::TalksNonsense);
    let mut n = 0;
    let mut knock = || {
        n += 1;
        register(&engine, &format!("b{n}"), "").status
    };
    // Two in a row that are not asked about: it is left alone.
    until("it is left alone", || {
        let before = door.asked();
        [knock(), knock()] == [503, 503] && door.asked() == before
    });
    let kept = register(&engine, "ann", &format!("X-Sale-Pass: {pass}\r\n"));
    assert_eq!((kept.status, kept.member("pass")), (201, pass), "{}", kept.body);
    door.turn(Mood::Admits);
    until("it is asked again", || knock() == 201);
}
