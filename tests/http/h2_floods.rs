//! Who floods a connection loses it, and a buyer beside is served all the while.

use seckill::edge::FrontEnd::Hyper;

use super::h2_client::Http2;
use super::h2_frames::*;
use super::server::Server;
use testbed::client::Client;

/// Bytes after which a flood has been let through.
const FLOOD_BYTES_MAX: usize = 64 << 20;

/// Sends `piece(n)` again and again until the server closes or has been sent too much.
fn flood(server: &Server, mut frames: Frames, piece: impl Fn(u32) -> Vec<u8> + Sync) -> Option<u32> {
    let (mut buyer, mut other) = (Http2::connect(server.addr), Client::connect(server.addr));
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let (mut sent, mut number) = (0, 0);
            while sent < FLOOD_BYTES_MAX {
                let bytes: Vec<u8> = (0..64).flat_map(|more| piece(number + more)).collect();
                number += 64;
                sent += bytes.len();
                if !frames.send(bytes) {
                    break;
                }
            }
            assert!(sent < FLOOD_BYTES_MAX, "the server takes everything");
            frames.farewell()
        });
        let mut served = 0;
        while !flooding.is_finished() || served < 20 {
            assert_eq!(buyer.ask("GET", "/b", &[], "").status, 200);
            other.send("GET /c HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(other.answer().unwrap().status, 200);
            served += 1;
        }
        flooding.join().unwrap()
    })
}

/// The code, if the end was told: a client that is still sending may lose it.
#[track_caller]
fn assert_calmed(code: Option<u32>) {
    assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
}

#[test]
fn frames_that_carry_no_request() {
    let server = Server::start(Hyper, |_| {});
    let floods: [(&str, Vec<u8>); 5] = [
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("settings", settings(&[(3, 100)])),
        ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("unknown frames", frame(200, 0, 0, b"x")),
        ("settings acknowledged", frame(SETTINGS, ACK, 0, &[])),
    ];
    for (name, piece) in floods {
        eprintln!("{name}");
        let code = flood(&server, Frames::connect(server.addr), |_| piece.clone());
        if name != "settings acknowledged" {
            assert_calmed(code);
        }
    }
}

#[test]
fn empty_data_and_windows_of_an_open_request() {
    let server = Server::start(Hyper, |_| {});
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "h")];
    for piece in [frame(DATA, 0, 1, b""), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])] {
        let mut frames = Frames::connect(server.addr);
        frames.send(frame(HEADERS, END_HEADERS, 1, &block(&fields)));
        assert_calmed(flood(&server, frames, |_| piece.clone()));
    }
}

#[test]
fn requests_that_are_taken_back_at_once() {
    let server = Server::start(Hyper, |_| {});
    let held = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/held"), (":authority", "h")]);
    let code = flood(&server, Frames::connect(server.addr), |number| {
        let stream = 2 * number + 1;
        [request(stream, &held), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    assert_calmed(code);
}

#[test]
fn more_requests_than_may_be_under_way() {
    let server = Server::start(Hyper, |_| {});
    let held = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/held"), (":authority", "h")]);
    assert_calmed(flood(&server, Frames::connect(server.addr), |number| request(2 * number + 1, &held)));
}

#[test]
fn a_header_that_never_ends() {
    let server = Server::start(Hyper, |_| {});
    let mut frames = Frames::connect(server.addr);
    frames.send(frame(HEADERS, END_STREAM, 1, &get(&[])));
    assert_calmed(flood(&server, frames, |_| frame(CONTINUATION, 0, 1, &field("x-a", "b"))));
}

#[test]
fn requests_that_are_broken_each_by_itself() {
    let server = Server::start(Hyper, |_| {});
    let broken = get(&[("connection", "close")]);
    let code = flood(&server, Frames::connect(server.addr), |number| request(2 * number + 1, &broken));
    assert_calmed(code);
}

#[test]
fn a_huge_header_is_refused_alone() {
    let server = Server::start(Hyper, |_| {});
    let mut client = Http2::connect(server.addr);
    let long = "x".repeat(12_000);
    let answer = client.ask("GET", "/a", &[("x-a", &long), ("x-b", &long)], "");
    assert_eq!((answer.status, server.recorder.take()), (431, vec![]));
    let many: Vec<(String, String)> = (0..101).map(|n| (format!("x-{n}"), "a".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(client.ask("GET", "/a", &many, "").status, 431);
    assert_eq!(client.ask("GET", "/a", &many[..90], "").status, 200);
    assert_eq!(server.recorder.take(), ["GET /a"]);
}

#[test]
fn a_buyer_who_does_not_read_ends_no_other_request_of_the_connection() {
    let server = Server::start(Hyper, |settings| settings.idle_timeout_ms = 5_000);
    let mut frames = Frames::silent(server.addr);
    let held = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/held"), (":authority", "h")]);
    frames.send([PREFACE, &settings(&[(4, 0)]), &request(1, &held), &request(3, &get(&[]))].concat());
    let given_up = frames.next_of(RST_STREAM).unwrap();
    assert_eq!((given_up.stream, given_up.code()), (3, CANCEL));
    server.recorder.release.notify_one();
    let answer = frames.next_of(HEADERS).unwrap();
    assert_eq!((answer.stream, answer.status()), (1, Some(200)));
}

#[test]
fn who_opens_no_window_for_answers_is_not_waited_for() {
    let server = Server::start(Hyper, |settings| settings.idle_timeout_ms = 500);
    let mut frames = Frames::silent(server.addr);
    frames.send([PREFACE, &settings(&[(4, 0)])].concat());
    for stream in [1, 3, 5] {
        frames.send(request(stream, &get(&[])));
    }
    assert_eq!(frames.next_of(HEADERS).unwrap().status(), Some(200));
    assert_eq!(frames.farewell(), Some(ENHANCE_YOUR_CALM));
    assert_eq!(server.recorder.take().len(), 3);
}
