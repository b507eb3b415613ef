//! Whoever wins hears of it: the real engine on the `may` front end, whose coroutines are woken by threads that know
//! nothing of them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testbed::asked;
use testbed::client::Client;
use testbed::engine::Engine;

/// Buyers of a run, all of whom win; `cargo xtask winners` asks for more.
const WINNERS: usize = 360;
/// Each buys half of its share one by one, then the other half in one packet.
const CONNECTIONS: usize = 30;

#[test]
fn d9_every_admitted_winner_is_answered_with_1_2_and_4_threads() {
    let share = asked("SECKILL_WINNERS").unwrap_or(WINNERS).div_ceil(CONNECTIONS);
    let winners = share * CONNECTIONS;
    for threads in ["1", "2", "4"] {
        let keys = [("EDGE__FRONT_END", "may"), ("EDGE__THREADS", threads), ("EDGE__ACK_WAIT_MS", "60000")];
        let engine = Engine::start(&keys);
        engine.sale("phone", winners as u32, "");
        std::thread::scope(|scope| {
            for connection in 0..CONNECTIONS {
                let edge = engine.edge();
                scope.spawn(move || buy_a_share(&mut Client::connect(edge), connection * share, share));
            }
        });
        assert_eq!(engine.audit("phone").durable_orders, winners as u64, "{threads} threads");
        eprintln!("{threads} threads: {winners} winners, {winners} answers");
    }
}

fn buy_a_share(client: &mut Client, first: usize, share: usize) {
    let buy =
        |buyer: usize| format!("POST /seckill/test/phone HTTP/1.1\r\nHost: h\r\nX-User-ID: b{buyer}\r\n\r\n");
    let hear = |client: &mut Client, buyer: usize| {
        let answer = client.answer().unwrap_or_else(|| panic!("b{buyer} hears nothing"));
        assert_eq!((answer.status, answer.member("buyer")), (201, format!("b{buyer}")), "{}", answer.body);
    };
    let middle = first + share / 2;
    for buyer in first..middle {
        client.send(buy(buyer));
        hear(client, buyer);
    }
    client.send((middle..first + share).map(buy).collect::<String>());
    (middle..first + share).for_each(|buyer| hear(client, buyer));
}

/// Far above what the buffers of both kernels hold.
const TAKEN_BYTES_MAX: usize = 64 << 20;

/// What the server takes of an endless stream of these bytes from a client that reads nothing.
fn taken(edge: std::net::SocketAddr, bytes: &[u8]) -> usize {
    let mut stream = TcpStream::connect(edge).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut taken = 0;
    while taken < TAKEN_BYTES_MAX {
        match stream.write(bytes) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_full_or_closed) => break,
        }
    }
    taken
}

#[test]
fn d9_a_client_that_reads_nothing_is_read_no_further() {
    let engine = Engine::start(&[("EDGE__FRONT_END", "may"), ("EDGE__THREADS", "2")]);
    engine.sale("phone", 3, "");
    let requests = "GET /seckill/test/phone HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1_000);
    let edge = engine.edge();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert!(taken(edge, requests.as_bytes()) < TAKEN_BYTES_MAX));
        }
    });
    // A header without an end is not kept either: it is answered, and the rest is thrown away.
    let mut stream = TcpStream::connect(edge).unwrap();
    let endless = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(1 << 20));
    let _ = stream.write_all(endless.as_bytes());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    assert_eq!(engine.buy("phone", "ann").status, 201, "others are served");
}
