//! A connection by itself, over a socket whose room is known.

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http2_wire::frame::flag;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use super::super::super::address_limits::Addresses;
use super::super::super::connection_timeout::{ConnectionTimeouts, WaitLimits};
use super::super::super::reply::Reply;
use super::super::super::request::Request;
use super::super::super::settings::EdgeSettings;
use super::super::super::transport::Socket;
use super::*;
use crate::clock::Clock;
use crate::telemetry::Outcome;

/// Answers at once.
struct AtOnce;

impl Application for AtOnce {
    fn answer(&self, _: &Request<'_>) -> impl Future<Output = Reply> {
        ready(Reply::json(StatusCode::OK, Outcome::Served, "{}"))
    }
}

/// What a connection is served with.
struct Stage {
    shared: Shared,
    exchange: Exchange<AtOnce>,
    telemetry: Telemetry,
    timeouts: ConnectionTimeouts,
}

impl Stage {
    fn new() -> Self {
        let settings = EdgeSettings::default();
        let (addresses, second) = (Addresses::new(&settings), Duration::from_secs(1));
        Self {
            shared: Shared::new(&settings),
            exchange: Exchange::new(&settings, Clock::start(), Arc::new(AtOnce), addresses, 0),
            telemetry: Telemetry::new(1),
            timeouts: ConnectionTimeouts::new(WaitLimits { idle: 60 * second, header: 10 * second }),
        }
    }

    /// A connection of which this was read already.
    fn serve<'a>(
        &'a self,
        timeout: &'a Rc<ConnectionTimeout>,
        socket: TcpStream,
        begun: Vec<u8>,
    ) -> Served<'a, AtOnce> {
        let transport = Transport::Plain(Socket::new(socket, begun.into()));
        Served::new(&self.shared, &self.exchange, &self.telemetry, transport, timeout, false)
    }
}

/// The server's end and the client's. Between them is room for some hundred KiB that nobody reads.
async fn ends() -> (TcpStream, TcpStream) {
    let (listening, connecting) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
    listening.set_recv_buffer_size(32 * 1024).unwrap();
    connecting.set_send_buffer_size(32 * 1024).unwrap();
    listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listening.listen(1).unwrap();
    let server = connecting.connect(listener.local_addr().unwrap()).await.unwrap();
    (server, listener.accept().await.unwrap().0)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&FrameHead { length: payload.len(), kind, flags, stream }.bytes()[..], payload].concat()
}

/// A field that stays in the table; its name has this number.
fn kept(number: u8, value: &str) -> Vec<u8> {
    [&[0x40 | number, value.len() as u8][..], value.as_bytes()].concat()
}

fn kept_as(name: &str, value: &str) -> Vec<u8> {
    [&[0x40, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// So many requests for a header alone, of 16 bytes each but for the first: all of their fields are in the table.
fn short_requests(count: u32) -> Vec<u8> {
    let long = "a".repeat(100);
    let names = ["x-request-id", "traceparent", "x-b3-traceid"].map(|name| kept_as(name, &long));
    let line = [&kept(2, "HEAD")[..], &kept(4, "/a"), &kept(1, "h"), &[0x86]].concat();
    let first = [line, names.concat()].concat();
    let later = [0x80 | 67, 0x86, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62];
    let whole = flag::END_HEADERS | flag::END_STREAM;
    let mut bytes = [&PREFACE[..], &frame(kind::SETTINGS, 0, 0, &[])].concat();
    bytes.extend(frame(kind::HEADERS, whole, 1, &first));
    (1..count).for_each(|n| bytes.extend(frame(kind::HEADERS, whole, 2 * n + 1, &later)));
    bytes
}

/// Reads until so many headers have come.
async fn headers(mut client: TcpStream, count: usize) {
    let (mut came, mut seen) = (Vec::new(), 0);
    while seen < count {
        assert!(client.read_buf(&mut came).await.unwrap() > 0, "{seen} have come");
        let mut at = 0;
        while let Some(head) = FrameHead::read(&came[at..]) {
            let end = at + HEAD_BYTES + head.length;
            if end > came.len() {
                break;
            }
            assert!([kind::SETTINGS, kind::WINDOW_UPDATE, kind::HEADERS].contains(&head.kind), "{head:?}");
            seen += usize::from(head.kind == kind::HEADERS);
            at = end;
        }
        came.drain(..at);
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

#[test]
fn who_does_not_read_is_not_answered_beyond_the_buffer_and_loses_no_answer() {
    const REQUESTS: usize = 4_096;
    /// What one answer has at most.
    const ANSWER_BYTES: usize = 1_024;
    block_on(async {
        let stage = Stage::new();
        let timeout = stage.timeouts.start();
        let (server, client) = ends().await;
        let mut served = stage.serve(&timeout, server, short_requests(REQUESTS as u32));
        let most = stage.shared.limits.http2.send_buffer_bytes_max + ANSWER_BYTES;
        let mut longest = 0;
        let mut serving = poll_fn(|context| {
            let polled = served.poll(context);
            longest = longest.max(served.machine.sender.out.len());
            polled
        });
        tokio::select! {
            // First: the client reads only when nothing more is done for it.
            biased;
            ended = &mut serving => panic!("{ended:?}"),
            () = headers(client, REQUESTS) => {}
        }
        assert!((1..most).contains(&longest), "{longest} of {most}");
    });
}

#[test]
fn half_a_frame_is_a_request_only_if_it_may_become_one() {
    for (of, stream, wait) in [(kind::PING, 0, Wait::Request), (kind::HEADERS, 1, Wait::Header)] {
        block_on(async {
            let stage = Stage::new();
            let timeout = stage.timeouts.start();
            let (server, _client) = ends().await;
            let (settings, half) = (frame(kind::SETTINGS, 0, 0, &[]), frame(of, 0, stream, &[0; 8]));
            let begun = [&PREFACE[..], &settings, &half[..12]].concat();
            let mut served = stage.serve(&timeout, server, begun);
            let polled = poll_fn(|context| Poll::Ready(served.poll(context))).await;
            assert!(polled.is_pending());
            assert_eq!(timeout.wait(), wait);
        });
    }
}
