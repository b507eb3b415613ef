//! What runs short (descriptors, somebody who reads the log) costs those who take it, and nobody else.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use testbed::client::request;
use testbed::open_files::allow_open_files;
use testbed::until;
use testbed::watched::WatchedEngine;

/// A pipe takes this much before it is full.
const PIPE_BYTES: usize = 64 << 10;

#[test]
fn d5_a_log_that_nobody_reads_holds_nothing_up() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'x'; PIPE_BYTES]).unwrap();
    let mut engine = WatchedEngine::prepare();
    let mut command = engine.command("", &[]);
    command.stderr(writer);
    engine.run(command);
    engine.wait_until_ready();
    engine.sale("phone", 1_000, r#","pay_within_s":1"#);
    let order = engine.buy("phone", "ann");
    assert_eq!(order.status, 201);
    let order = order.member("order_id");
    let status = |order: &str| {
        let answer = request(engine.edge, "GET", &format!("/orders/{order}"), "X-User-ID: ann\r\n", "");
        answer.member("status")
    };
    until("expired", || status(&order) == "expired");
    engine.sale("case", 1_000, "");
    let paid = engine.buy("case", "ann").member("order_id");
    let (path, body) = (format!("/orders/{paid}/checkout"), r#"{"payment_method":"card"}"#);
    request(engine.edge, "POST", &path, "X-User-ID: ann\r\n", body);
    until("paid", || status(&paid) == "paid");
    // Lines are dropped, and counted.
    let dropped = || {
        let metrics = engine.asks("/metrics").unwrap().body;
        let line = metrics.lines().find(|line| line.starts_with("seckill_log_lines_dropped_total ")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    // Each reload is a line.
    let has_dropped_more = |than: f64| {
        (0..50).for_each(|_| drop(request(engine.admin, "POST", "/api/v1/config/reload", "", "")));
        dropped() > than
    };
    until("dropping", || has_dropped_more(0.0));
    // When they flow again, the log says how many were dropped.
    let mut said = Vec::new();
    let mut piece = [0; 8 << 10];
    while !String::from_utf8_lossy(&said).contains("log lines were dropped") {
        let read = reader.read(&mut piece).unwrap();
        assert!(read > 0, "the log ended without a word");
        said.extend_from_slice(&piece[..read]);
        assert_eq!(engine.asks("/livez").unwrap().status, 200);
    }
    // Full again by the time it is told to stop.
    let before = dropped();
    until("dropping again", || has_dropped_more(before));
    engine.signal(Signal::TERM);
    assert_eq!(engine.wait_for_end().code(), Some(0));
}

#[test]
fn d1_idle_connections_leave_descriptors_to_everybody_else() {
    allow_open_files(16_384);
    for (limits, of) in [("ulimit -n 400", 400), ("ulimit -Sn 256; ulimit -Hn 1024", 1_024)] {
        let mut engine = WatchedEngine::prepare();
        engine.start(limits, &[("EDGE__CONNECTIONS_PER_ADDRESS_MAX", "100000")]);
        let kernel = std::fs::read_to_string(format!("/proc/{}/limits", engine.pid())).unwrap();
        let open_files = kernel.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(open_files.split_whitespace().nth(3), Some(&*of.to_string()), "raised to the hard limit");
        assert!(engine.log_text().contains("edge.connections_max is 50000 by default and lowered"));
        engine.sale("phone", 100, "");
        let idle: Vec<_> = (0..1_100).map(|_| TcpStream::connect(engine.edge).unwrap()).collect();
        for buyer in 0..20 {
            assert_eq!(engine.asks("/livez").unwrap().status, 200, "{limits}");
            let status = engine.buy("phone", &format!("b-{buyer}")).status;
            assert!(matches!(status, 201 | 503), "{status}");
        }
        drop(idle);
        until("free again", || engine.buy("phone", "ann").status != 503);
    }
    let mut engine = WatchedEngine::prepare();
    engine.run(engine.command("ulimit -n 400", &[("EDGE__CONNECTIONS_MAX", "5000")]));
    assert_eq!(engine.wait_for_end().code(), Some(78));
    let log = engine.log_text();
    assert!(
        log.contains("edge.connections_max (env SECKILL__EDGE__CONNECTIONS_MAX)")
            && log.contains("ulimit -n")
    );
}
