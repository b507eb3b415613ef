//! What an operator who watches one node sees of the others.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use testbed::PATIENCE;
use testbed::engine::Engine;
use testbed::snapshot::{said, sale};

use super::fixture::{Fixture, known_to_all, until};

/// A viewer of a node's live feed.
struct Feed(BufReader<TcpStream>);

impl Feed {
    fn of(engine: &Engine) -> Self {
        let mut stream = TcpStream::connect(engine.admin_addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        Self(BufReader::new(stream))
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let mut line = String::new();
        until(what, || {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the feed goes on");
            line.strip_prefix("data: ").is_some_and(|data| is_so(&serde_json::from_str(data).unwrap()))
        });
    }
}

/// Ends the crowd, also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn of_node(snapshot: &Value, node: u16) -> f64 {
    let rows = snapshot["nodes"].as_array().unwrap();
    let row = rows.iter().find(|row| row["node"] == node);
    row.map_or(-1.0, |row| row["arrivals_per_s"].as_f64().unwrap())
}

#[test]
fn any_node_shows_what_buyers_meet_with_at_all_of_them() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 5, "");
    one.sale("book", 5, "");
    known_to_all(&[&one, &two], "book");
    assert_eq!(one.admin("POST", "/api/v1/campaigns/test/phone/end", r#"{"reason":"over"}"#).status, 200);
    let (is_over, buyers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let ends = Ends(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                two.buy("phone", &format!("buyer-{}", buyers.fetch_add(1, Ordering::SeqCst)));
            }
        });
        let mut feed = Feed::of(&one);
        feed.until("the buyers of the other node are shown here", |snapshot| {
            let phone = sale(snapshot, "phone");
            let refused = phone["refusals_per_s"]["sale-ended"].as_f64();
            refused > Some(0.0) && phone["arrivals_per_s"].as_f64() > Some(0.0) && of_node(snapshot, 2) > 0.0
        });
        // Nobody came to this one, nor to the other sale.
        feed.until("each node has its row", |snapshot| {
            of_node(snapshot, 1) == 0.0 && sale(snapshot, "book")["arrivals_per_s"] == 0.0
        });
        drop(ends);
        let page = one.admin("GET", "/", "").body;
        assert!(page.contains("<table id=\"nodes\">") && page.contains("<th scope=\"row\">2</th>"), "{page}");
        feed.until("the buyers have gone", |snapshot| of_node(snapshot, 2) == 0.0);
    });
    for engine in [&one, &two] {
        Feed::of(engine).until("it is known everywhere how far the events have come", |snapshot| {
            said(snapshot, "relay").ends_with(" sends the events to Redis; 0 wait")
                && said(snapshot, "ledger").starts_with("Redis answers")
        });
    }
    let mut feed = Feed::of(&one);
    feed.until("both are there", |snapshot| of_node(snapshot, 2) == 0.0);
    let _gone = two.kill();
    feed.until("who is dead is shown no more", |snapshot| of_node(snapshot, 2) == -1.0);
    drop(feed);
    // Where nobody watches nobody tells.
    let told = "SELECT count(*) FROM seckill.node_figures WHERE told_at > clock_timestamp() - interval '2 s'";
    until("it is quiet", || fixture.query(told) == "0");
}
