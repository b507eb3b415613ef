//! Answers, and the life of a connection from the first request to the drain.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use seckill::edge::FrontEnd::{self, Hyper, May};
use testbed::client::Client;

use super::server::{BOTH, Server};

#[test]
fn a_connection_that_was_silent_for_a_while_is_served_and_ended_as_any() {
    let request = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    for http2 in [true, false] {
        let server = Server::start(Hyper, |settings| settings.http2.enabled = http2);
        let mut silent: Vec<_> = (0..3).map(|_| Client::connect(server.addr)).collect();
        // One has asked before, one has not, and one is in the middle of asking.
        assert_eq!(silent[0].send(request).answer().unwrap().status, 200);
        silent[2].send(&request[..20]);
        std::thread::sleep(Duration::from_millis(1_600));
        silent[2].send(&request[20..]);
        for client in &mut silent[..2] {
            client.send(request);
        }
        for client in &mut silent {
            assert_eq!(client.answer().unwrap().status, 200);
            // Two at once: what is read first is not all.
            client.send(format!("{request}{request}"));
            assert_eq!([client.answer(), client.answer()].map(|answer| answer.unwrap().status), [200; 2]);
        }
        // Told to go while they rest.
        std::thread::sleep(Duration::from_millis(1_600));
        assert_eq!(server.drain(), 0);
        silent.iter_mut().for_each(Client::wait_for_close);
        // Silent for too long.
        let server = Server::start(Hyper, |settings| {
            settings.idle_timeout_ms = 1_500;
            settings.http2.enabled = http2;
        });
        let mut silent = Client::connect(server.addr);
        assert_eq!(silent.send(request).answer().unwrap().status, 200);
        silent.wait_for_close();
    }
}

#[test]
fn the_names_of_a_request_come_back() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let mut client = Client::connect(server.addr);
        client.send(
        "GET /a HTTP/1.1\r\nHost: h\r\nX-Request-ID: my-id\r\ntraceparent: 00-ab-cd-01\r\nX-B3-TraceId: b3\r\n\r\n",
    );
        let answer = client.answer().unwrap();
        assert_eq!(answer.field("x-request-id"), Some("my-id"));
        assert_eq!(answer.field("traceparent"), Some("00-ab-cd-01"));
        assert_eq!(answer.field("x-b3-traceid"), Some("b3"));
        assert_eq!(answer.field("content-type"), Some("application/json"));
        // What cannot be echoed safely is replaced, and no two requests share a made name.
        let made = |client: &mut Client, sent: &str| {
            client.send(format!("GET /a HTTP/1.1\r\nHost: h\r\n{sent}\r\n"));
            client.answer().unwrap().field("x-request-id").unwrap().to_owned()
        };
        let names =
            [made(&mut client, ""), made(&mut client, "X-Request-ID: a b\r\n"), made(&mut client, "")];
        assert!(names.iter().all(|name| name.len() == 16), "{names:?}");
        assert!(names[0] != names[1] && names[1] != names[2]);
    }
}

#[test]
fn head_is_answered_without_a_body() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let mut client = Client::connect(server.addr);
        client.send(
            "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        );
        // Were there a body, it would stand where the next status line is looked for.
        let raw = client.raw();
        assert_eq!(raw.matches("HTTP/1.1 200").count(), 2, "{front_end:?}: {raw}");
        assert_eq!(raw.matches("{}").count(), 1, "{front_end:?}: {raw}");
    }
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let server = Server::start(Hyper, |_| {});
    let mut client = Client::connect(server.addr);
    client.send(
        "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(client.answer().unwrap().status, 100);
    assert_eq!(client.send("abc").statuses(), [200]);
    assert_eq!(server.recorder.take(), ["POST /a abc"]);

    // A body that will be refused is not asked for.
    let mut client = Client::connect(server.addr);
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n");
    assert_eq!(client.answer().unwrap().status, 413);

    let may = Server::start(May, |_| {});
    let mut client = Client::connect(may.addr);
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.statuses(), [417]);
    assert_eq!(may.recorder.take(), [""; 0]);
}

#[test]
fn without_keep_alive_each_request_has_its_connection() {
    for front_end in BOTH {
        let server = Server::start(front_end, |settings| settings.keep_alive = false);
        let answers = Client::connect(server.addr).send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").answers();
        assert_eq!(answers.len(), 1, "{front_end:?}");
        assert_eq!(answers[0].field("connection"), Some("close"));
    }
}

#[test]
fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    for front_end in BOTH {
        // On a busy machine the used one may be used too late: then it is given more time.
        let kept = [1_000, 4_000, 16_000, 60_000].into_iter().any(|ms| used_outlives_idle(front_end, ms));
        assert!(kept, "{front_end:?}");
    }
}

/// Whether a connection that is used all the time is still there when one that is not is closed.
fn used_outlives_idle(front_end: FrontEnd, idle_timeout_ms: u64) -> bool {
    let server = Server::start(front_end, |settings| settings.idle_timeout_ms = idle_timeout_ms);
    let (mut idle, mut used) = (Client::connect(server.addr), Client::connect(server.addr));
    std::thread::scope(|scope| {
        let idle = scope.spawn(move || idle.wait_for_close());
        while !idle.is_finished() {
            used.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            match used.answer() {
                Some(answer) => assert_eq!(answer.status, 200, "{front_end:?}"),
                None => return false,
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        true
    })
}

#[test]
fn draining_finishes_what_is_in_flight_and_closes_the_rest() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let (addr, recorder) = (server.addr, Arc::clone(&server.recorder));
        let mut idle = Client::connect(addr);
        idle.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(idle.answer().unwrap().status, 200);
        let mut held = Client::connect(addr);
        held.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        block_on(recorder.held.notified());

        let drained = std::thread::spawn(move || server.drain());
        idle.wait_for_close();
        assert!(!drained.is_finished(), "the held request is still in flight");
        recorder.release.notify_one();
        assert_eq!(held.statuses(), [200], "{front_end:?}");
        assert_eq!(drained.join().unwrap(), 0, "nothing had to be cut");
        assert_eq!(recorder.take(), ["GET /a", "GET /held"]);
        assert!(TcpStream::connect(addr).is_err(), "{front_end:?}: nobody is there any more");
        assert_eq!(recorder.take(), [""; 0]);
    }
}

#[test]
fn draining_cuts_what_takes_too_long() {
    for front_end in BOTH {
        let server = Server::start(front_end, |settings| settings.drain_ms = 100);
        let recorder = Arc::clone(&server.recorder);
        let mut held = Client::connect(server.addr);
        held.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        block_on(recorder.held.notified());
        assert_eq!(server.drain(), 1, "{front_end:?}");
        recorder.release.notify_one();
    }
}

#[test]
fn a_port_has_one_engine() {
    let first = Server::start(Hyper, |_| {});
    let settings = seckill::edge::EdgeSettings { listen: first.addr, ..Default::default() };
    let control = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let second = seckill::edge::Edge::start(
        &settings,
        seckill::clock::Clock::start(),
        Arc::new(seckill::telemetry::Telemetry::new(1)),
        Arc::new(super::server::Recorder::default()),
        settings.certificates().unwrap(),
        &seckill::supervisor::Supervisor::new(control.handle().clone()).0,
    );
    assert!(second.unwrap_err().to_string().contains("cannot listen on"));
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
