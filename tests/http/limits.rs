//! What is too much is refused with a reason, and those who behave are served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use seckill::edge::FrontEnd::Hyper;
use testbed::client::Client;
use testbed::open_files::allow_open_files;
use testbed::until;

use super::server::{BOTH, Server};

const LAST: &str = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn with_fields(fields: usize) -> String {
    // Host and Connection are two of them.
    let more: String = (2..fields).map(|n| format!("X-Field-{n}: value-{n}\r\n")).collect();
    format!("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{more}\r\n")
}

#[test]
fn forty_header_fields_are_served_and_too_many_refused() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        for (fields, status) in [(40, 200), (100, 200), (101, 431)] {
            let statuses = Client::connect(server.addr).send(with_fields(fields)).statuses();
            assert_eq!(statuses, [status], "{front_end:?}: {fields}");
        }
        assert_eq!(server.recorder.take().len(), 2);
        let fewer = Server::start(front_end, |settings| settings.headers_max = 40);
        for (fields, status) in [(40, 200), (41, 431)] {
            let statuses = Client::connect(fewer.addr).send(with_fields(fields)).statuses();
            assert_eq!(statuses, [status], "{front_end:?}: {fields}");
        }
    }
}

#[test]
fn a_header_that_is_too_long_is_refused() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let long = format!("GET /a HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(40_000));
        assert_eq!(Client::connect(server.addr).send(long).statuses(), [431], "{front_end:?}");
        assert_eq!(server.recorder.take(), [""; 0]);
    }
}

#[test]
fn a_body_above_the_limit_is_refused_and_not_executed() {
    for front_end in BOTH {
        let server = Server::start(front_end, |settings| settings.body_bytes_max = 1_000);
        let sized = |bytes: usize| {
            format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes))
        };
        assert_eq!(Client::connect(server.addr).send(sized(1_000) + LAST).statuses(), [200, 200]);
        assert_eq!(server.recorder.take().len(), 2);
        let answers = Client::connect(server.addr).send(sized(1_001)).answers();
        assert_eq!(server.recorder.take(), [""; 0], "{front_end:?}");
        if front_end == Hyper {
            assert_eq!(answers[0].status, 413);
            assert_eq!(answers[0].member("code"), "body-too-large");
            let chunk = format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1_001));
            let chunked = format!("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
            assert_eq!(Client::connect(server.addr).send(chunked).statuses(), [413]);
            assert_eq!(server.recorder.take(), [""; 0]);
        }
    }
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    for front_end in BOTH {
        let server = Server::start(front_end, |settings| settings.body_read_timeout_ms = 200);
        let mut client = Client::connect(server.addr);
        client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n123");
        let statuses = client.statuses();
        if front_end == Hyper {
            assert_eq!(statuses, [408]);
        }
        assert_eq!(server.recorder.take(), [""; 0], "{front_end:?}");
    }
}

/// Bytes that a server has taken for ever.
const TAKEN_BYTES_MAX: usize = 32 << 20;

#[test]
fn who_goes_on_sending_after_the_answer_is_hung_up_on() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let mut socket = TcpStream::connect(server.addr).unwrap();
        socket.write_all(b"no request\r\n\r\n").unwrap();
        let (piece, mut sent) = (vec![b'x'; 64 << 10], 0);
        while sent < TAKEN_BYTES_MAX && socket.write_all(&piece).is_ok() {
            sent += piece.len();
        }
        assert!(sent < TAKEN_BYTES_MAX, "{front_end:?} takes everything");
    }
}

#[test]
fn one_connection_too_many_hears_why() {
    for front_end in BOTH {
        let server = Server::start(front_end, |settings| {
            settings.connections_max = 3;
            settings.connections_per_address_max = 3;
        });
        let mut served: Vec<Client> = (0..3).map(|_| Client::connect(server.addr)).collect();
        for client in &mut served {
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.answer().unwrap().status, 200);
        }
        assert_eq!(server.recorder.take().len(), 3);
        let answers = Client::connect(server.addr).send(LAST).answers();
        assert_eq!(server.recorder.take(), [""; 0], "{front_end:?}");
        if front_end == Hyper {
            assert_eq!(answers[0].status, 503);
            assert_eq!(answers[0].member("code"), "overloaded");
            assert!(answers[0].field("retry-after").is_some());
        }
        // A place is free again as soon as somebody leaves.
        drop(served.pop());
        let free = (0..1_000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            Client::connect(server.addr).send(LAST).statuses() == [200]
        });
        assert!(free, "{front_end:?}");
    }
}

#[test]
fn two_thousand_idle_and_slow_sockets_keep_nobody_from_buying() {
    for front_end in BOTH {
        // Nobody is cut while buyers come and go.
        let server = Server::start(front_end, |settings| {
            settings.header_read_timeout_ms = 600_000;
            settings.idle_timeout_ms = 600_000;
        });
        let mut waiting = idle_and_slow(server.addr);
        for _ in 0..200 {
            assert_eq!(Client::connect(server.addr).send(LAST).statuses(), [200], "{front_end:?}");
        }
        assert_eq!(server.recorder.take(), vec!["GET /last"; 200]);
        // And who was slow has lost nothing by that.
        assert_eq!(waiting[0].send("x\r\nConnection: close\r\n\r\n").statuses(), [200], "{front_end:?}");
    }
}

#[test]
fn two_thousand_idle_and_slow_sockets_are_cut() {
    for front_end in BOTH {
        let server = Server::start(front_end, |settings| {
            settings.header_read_timeout_ms = 300;
            settings.idle_timeout_ms = 300;
        });
        // The slow go on, one byte at a time, and are cut all the same.
        for client in &mut idle_and_slow(server.addr) {
            client.send("x").wait_for_close();
        }
        assert_eq!(server.recorder.take(), [""; 0]);
        // On a busy machine whoever comes may be too slow as well, and comes again.
        until("a place is free", || Client::connect(server.addr).send(LAST).statuses() == [200]);
    }
}

#[test]
fn a_header_that_comes_in_drops_has_no_more_time_than_one_that_does_not_come() {
    for front_end in BOTH {
        let server = Server::start(front_end, |settings| settings.header_read_timeout_ms = 300);
        let mut slow = TcpStream::connect(server.addr).unwrap();
        slow.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        slow.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\nX-Never-Ends: ").unwrap();
        // At most one drop in 50 ms: so many as are read at once would take longer than patience lasts.
        until("it is cut", || {
            let is_told = slow.write_all(b"x").is_ok();
            let end = slow.read(&mut [0; 1_024]);
            !is_told || !end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        });
        assert_eq!(server.recorder.take(), [""; 0], "{front_end:?}");
    }
}

/// Two thousand who are connected: every second one says nothing, the others never come to an end. Both ends of every socket
/// are in this process.
fn idle_and_slow(addr: SocketAddr) -> Vec<Client> {
    allow_open_files(16_384);
    let connected = (0..2_000).map(|n| {
        let mut client = Client::connect(addr);
        if n % 2 == 0 {
            client.send("POST /slow HTTP/1.1\r\nHost: h\r\nX-Never-Ends: ");
        }
        client
    });
    connected.collect()
}
