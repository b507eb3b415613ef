//! A refusal allocates nothing, over HTTP/1.1 or HTTP/2. The counts are those of the whole process, so there is one test.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::Parser;
use perf::figures::print;
use seckill::config::Cli;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use testbed::PATIENCE;
use testbed::servers::process::free_address;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before the count.
const BEFORE: usize = 500;
/// Requests that are counted together, and how often at most. The engine's own clockwork allocates too, by time and not by request:
/// in some of the counts it does not, however slow the machine is.
const TOGETHER: usize = 10;
const COUNTS: usize = 500;
/// Less than one allocation in so many requests.
const TOLERANCE: f64 = 0.99 / TOGETHER as f64;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn a_refusal_allocates_nothing_of_its_own() {
    let (engine, admin) = start_engine();
    let waits = r#"{"stock":100,"queue":{"mode":"fifo"}}"#;
    for (what, change, status) in [("sold_out", r#"{"stock":0}"#, "409"), ("waiting_room", waits, "403")] {
        let began = Instant::now();
        while !is_changed(admin, change) {
            assert!(began.elapsed() < PATIENCE, "the engine does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        let refusal = one_answer(engine);
        let told = String::from_utf8_lossy(&refusal);
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        for (protocol, own) in
            [("http1", allocations(Http1::connect(engine))), ("http2", allocations(Http2::connect(engine)))]
        {
            print(format!("allocations.{what}.{protocol}"), own, "a_refusal");
            assert!(own <= TOLERANCE, "{what} over {protocol}: {own} allocations a refusal");
        }
    }
}

/// One request after the other, none of which allocates on this side.
trait Ask {
    fn ask(&mut self);
}

/// Allocations of the process for each request: the lowest of many counts, which holds what each request allocates and nothing else.
fn allocations(mut client: impl Ask) -> f64 {
    (0..BEFORE).for_each(|_| client.ask());
    let mut least = usize::MAX;
    for _ in 0..COUNTS {
        let before = COUNTING.stats();
        (0..TOGETHER).for_each(|_| client.ask());
        let after = COUNTING.stats();
        let count = after.allocations - before.allocations + after.reallocations - before.reallocations;
        least = least.min(count);
        // No other count is lower.
        if least == 0 {
            break;
        }
    }
    least as f64 / TOGETHER as f64
}

/// The name of one buyer after the other, in place: each may ask so and so often.
fn next_buyer(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = if *digit == b'9' { b'0' } else { *digit + 1 };
        if *digit != b'0' {
            break;
        }
    }
}

struct Http1 {
    stream: TcpStream,
    request: Vec<u8>,
    answer: [u8; 2_048],
}

/// It ends with the buyer's number and two line ends.
const REQUEST: &[u8] = b"POST /seckill/demo/widget HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nX-User-ID: buyer-000000001\r\n\r\n";
const DIGITS: usize = 9;

impl Http1 {
    fn connect(address: SocketAddr) -> Self {
        Self { stream: connect(address), request: REQUEST.to_vec(), answer: [0; 2_048] }
    }
}

impl Ask for Http1 {
    fn ask(&mut self) {
        let end = self.request.len() - 4;
        next_buyer(&mut self.request[end - DIGITS..end]);
        self.stream.write_all(&self.request).unwrap();
        // An answer is far smaller than what is read at once, and ends with its object.
        let mut length = 0;
        while length == 0 || self.answer[length - 1] != b'}' {
            let read = self.stream.read(&mut self.answer[length..]).unwrap();
            assert!(read > 0, "the server closes");
            length += read;
        }
    }
}

struct Http2 {
    stream: TcpStream,
    request: Vec<u8>,
    number: u32,
}

impl Http2 {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = connect(address);
        // No settings; a window for all answers of the connection together.
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let window = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0];
        stream.write_all(&[PREFACE, &settings, &window].concat()).unwrap();
        // Each field is spelled out, and none kept in the server's table.
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/seckill/demo/widget"),
            (":authority", "localhost"),
            ("x-user-id", "buyer-000000001"),
        ] {
            block.push(0);
            for text in [name, value] {
                block.push(text.len() as u8);
                block.extend_from_slice(text.as_bytes());
            }
        }
        // HEADERS, whole, and the end of the request.
        let mut request = vec![0, 0, block.len() as u8, 1, 5, 0, 0, 0, 0];
        request.extend(block);
        Self { stream, request, number: 1 }
    }

    fn frame(&mut self) -> (u8, u8, u32) {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = [0; 2_048];
        self.stream.read_exact(&mut payload[..length]).unwrap();
        (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]))
    }
}

impl Ask for Http2 {
    fn ask(&mut self) {
        self.request[5..9].copy_from_slice(&self.number.to_be_bytes());
        let end = self.request.len();
        next_buyer(&mut self.request[end - DIGITS..]);
        self.stream.write_all(&self.request).unwrap();
        loop {
            let (kind, flags, stream) = self.frame();
            assert!(kind != 7, "GOAWAY");
            // The last DATA of this answer.
            if (kind, flags & 1, stream) == (0, 1, self.number) {
                break;
            }
        }
        self.number += 2;
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The engine with one serving thread, in this process, as it begins to start: its edge and its admin plane.
fn start_engine() -> (SocketAddr, SocketAddr) {
    let (edge, admin) = (free_address(), free_address());
    let config = "[edge]\nthreads = 1\n[log]\nlevel = \"error\"\n";
    std::thread::spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seckill.toml");
        std::fs::write(&file, config).unwrap();
        let data = folder.path().join("data");
        let (edge, admin) = (edge.to_string(), admin.to_string());
        let words = ["seckill", "serve", "--edge-listen", &edge, "--admin-listen", &admin].map(Into::into);
        let paths = ["--config".into(), file.into_os_string(), "--data-dir".into(), data.into_os_string()];
        let cli = Cli::try_parse_from(words.into_iter().chain(paths)).unwrap();
        seckill::app::serve(cli.source().unwrap()).unwrap();
    });
    (edge, admin)
}

/// Whether the demo sale could be changed like this.
fn is_changed(admin: SocketAddr, change: &str) -> bool {
    let request = format!(
        "PATCH /api/v1/campaigns/demo/widget HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{change}",
        change.len()
    );
    let mut answer = String::new();
    TcpStream::connect(admin).is_ok_and(|mut stream| {
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.1 200 ")
    })
}

fn one_answer(address: SocketAddr) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(REQUEST).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 2_048];
    while answer.last() != Some(&b'}') {
        let read = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..read]);
    }
    answer
}
