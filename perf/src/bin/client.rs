//! A closed-loop client: N keep-alive connections, each with one request under way, on one thread.
//!
//! It is the same for every server that is compared, so it does little: the request's bytes are prepared and only the
//! buyer's number in them changes; of an answer it reads the status and the length. Run it on a core of its own
//! (`taskset -c 1`), with the server's process id, to get the server's processor time a request.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use memchr::memmem;
use perf::figures::print;
use perf::process::{cpu_seconds, resident_bytes};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

#[derive(Parser)]
struct Args {
    /// The server.
    #[arg(long, default_value = "127.0.0.1:8080")]
    target: String,
    /// The path of the purchase.
    #[arg(long, default_value = "/seckill/demo/widget")]
    path: String,
    /// The method: for servers that answer others more cheaply.
    #[arg(long, default_value = "POST")]
    method: String,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds to measure, after a tenth as long to warm up.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// End after this many requests instead, without a warm-up. 0: by time.
    #[arg(long, default_value_t = 0)]
    requests: u64,
    /// Requests before a connection is closed and made anew. 0: never.
    #[arg(long, default_value_t = 0)]
    requests_a_connection: u64,
    /// The first buyer's number.
    #[arg(long, default_value_t = 0)]
    first_buyer: u64,
    /// Buyers in turn.
    #[arg(long, default_value_t = 1_000_000_000)]
    buyers: u64,
    /// The process ids of the server (and of what it needs), for their processor time.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Send one request, write its answer to this file, and end.
    #[arg(long)]
    capture: Option<PathBuf>,
    /// Pay for every unit that is won, on the same connection.
    #[arg(long)]
    pay: bool,
    /// Open the connections, send one request on each, show the server's memory a connection, and end.
    #[arg(long)]
    idle: bool,
}

const BUYER_DIGITS: usize = 9;

/// A request whose buyer is written in place.
struct RequestText {
    bytes: Vec<u8>,
    buyer_at: usize,
}

impl RequestText {
    fn new(args: &Args) -> Self {
        let head =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\nX-User-ID: buyer-", args.method, args.path, args.target);
        let rest = "\r\nContent-Length: 0\r\n\r\n";
        let bytes = format!("{head}{:0BUYER_DIGITS$}{rest}", 0).into_bytes();
        Self { bytes, buyer_at: head.len() }
    }

    /// Asks to pay for the order.
    fn checkout(buyer: u64, order_id: &str) -> Vec<u8> {
        let body = "{\"payment_method\":\"card\"}";
        format!(
            "POST /orders/{order_id}/checkout HTTP/1.1\r\nHost: perf\r\nX-User-ID: buyer-{buyer:0BUYER_DIGITS$}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn of_buyer(&mut self, mut number: u64) -> &[u8] {
        let digits = &mut self.bytes[self.buyer_at..self.buyer_at + BUYER_DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        &self.bytes
    }
}

struct Connection {
    stream: TcpStream,
    /// What has been read of the answer under way.
    read: Vec<u8>,
    sent_at: Instant,
    answers: u64,
    buyer: u64,
}

/// The status and the whole length of an answer, once its head is there.
fn frame(bytes: &[u8]) -> Option<(u16, usize)> {
    let head_end = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| usize::from(byte - b'0'));
    let number = |digits: &[u8]| digits.iter().map_while(digit).fold(0, |sum, digit| sum * 10 + digit);
    let head = &bytes[..head_end];
    // Servers write the name in one of these two ways.
    let length_at =
        memmem::find(head, b"content-length: ").or_else(|| memmem::find(head, b"Content-Length: "));
    let length = length_at.map_or(0, |at| number(&head[at + 16..]));
    Some((number(head.get(9..12)?) as u16, head_end + length))
}

/// The order's number in an answer.
fn order_id(answer: &[u8]) -> Option<String> {
    const FIELD: &[u8] = b"\"order_id\":\"";
    let rest = &answer[memmem::find(answer, FIELD)? + FIELD.len()..];
    let id = &rest[..memmem::find(rest, b"\"")?];
    String::from_utf8(id.to_vec()).ok()
}

/// From a microsecond to a minute, in nanoseconds.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are in order")
}

struct Client {
    args: Args,
    address: SocketAddr,
    request: RequestText,
    next_buyer: u64,
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    counted: BTreeMap<u16, u64>,
    latency_ns: BTreeMap<u16, Histogram<u64>>,
    reconnects: u64,
}

fn main() -> ExitCode {
    match Client::new(Args::parse()).and_then(Client::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Client {
    fn new(args: Args) -> io::Result<Self> {
        let address = args.target.to_socket_addrs()?.next().ok_or(ErrorKind::AddrNotAvailable)?;
        Ok(Self {
            request: RequestText::new(&args),
            next_buyer: args.first_buyer,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            counted: BTreeMap::new(),
            latency_ns: BTreeMap::new(),
            reconnects: 0,
            address,
            args,
        })
    }

    fn run(mut self) -> io::Result<()> {
        if let Some(file) = self.args.capture.clone() {
            return std::fs::write(file, self.one_answer()?);
        }
        if self.args.idle {
            return self.idle();
        }
        for key in 0..self.args.connections {
            let connection = self.connect(key)?;
            self.connections.push(connection);
            self.send(key)?;
        }
        if self.args.requests == 0 {
            self.drive(Duration::from_secs_f64(self.args.seconds / 10.0), u64::MAX)?;
            self.counted.clear();
            self.latency_ns.clear();
            self.reconnects = 0;
        }
        let cpu_before = self.server_cpu()?;
        let started = Instant::now();
        if self.args.requests == 0 {
            self.drive(Duration::from_secs_f64(self.args.seconds), u64::MAX)?;
        } else {
            self.drive(Duration::MAX, self.args.requests)?;
        }
        let took = started.elapsed().as_secs_f64();
        let cpu = self.server_cpu()? - cpu_before;
        let answers: u64 = self.counted.values().sum();
        print("client.rate", answers as f64 / took, "1/s");
        if !self.args.pid.is_empty() {
            print("client.server_cpu", cpu * 1e6 / answers as f64, "us/request");
            print("client.server_busy", cpu / took, "cores");
        }
        if self.reconnects > 0 {
            print("client.new_connections", self.reconnects as f64 / took, "1/s");
        }
        let mut all = histogram();
        for latency in self.latency_ns.values() {
            all.add(latency).expect("both have the same bounds");
        }
        print("client.p99", all.value_at_quantile(0.99) as f64 / 1e3, "us");
        for (status, count) in &self.counted {
            print(format!("client.status_{status}"), *count as f64, "answers");
            print(format!("client.rate_{status}"), *count as f64 / took, "1/s");
            if let Some(latency) = self.latency_ns.get(status) {
                print(format!("client.p50_{status}"), latency.value_at_quantile(0.5) as f64 / 1e3, "us");
                print(format!("client.p99_{status}"), latency.value_at_quantile(0.99) as f64 / 1e3, "us");
            }
        }
        Ok(())
    }

    fn server_cpu(&self) -> io::Result<f64> {
        self.args.pid.iter().map(|pid| cpu_seconds(*pid)).sum()
    }

    fn connect(&self, key: usize) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(key as u64), epoll::EventFlags::IN)?;
        Ok(Connection {
            stream,
            read: Vec::with_capacity(4096),
            sent_at: Instant::now(),
            answers: 0,
            buyer: 0,
        })
    }

    fn send(&mut self, key: usize) -> io::Result<()> {
        let buyer = self.args.first_buyer + (self.next_buyer - self.args.first_buyer) % self.args.buyers;
        self.next_buyer += 1;
        let connection = &mut self.connections[key];
        connection.sent_at = Instant::now();
        connection.buyer = buyer;
        // A request is far smaller than an empty socket buffer.
        connection.stream.write_all(self.request.of_buyer(buyer))
    }

    /// Sends and reads until the time is over or the answers are there.
    fn drive(&mut self, time: Duration, answers: u64) -> io::Result<()> {
        let started = Instant::now();
        let mut events = Vec::with_capacity(512);
        let mut seen = 0;
        while started.elapsed() < time && seen < answers {
            let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait))?;
            for event in events.drain(..) {
                seen += u64::from(self.receive(event.data.u64() as usize)?);
            }
        }
        Ok(())
    }

    /// Reads what is there; after a whole answer sends the next request. Whether an answer is complete.
    fn receive(&mut self, key: usize) -> io::Result<bool> {
        let connection = &mut self.connections[key];
        let mut chunk = [0; 4096];
        match connection.stream.read(&mut chunk) {
            Ok(0) => return self.reconnect(key).map(|()| false),
            Ok(bytes) => connection.read.extend_from_slice(&chunk[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return self.reconnect(key).map(|()| false);
            }
            Err(error) => return Err(error),
        }
        let framed = frame(&connection.read).filter(|(_, length)| connection.read.len() >= *length);
        let Some((status, length)) = framed else { return Ok(false) };
        let won = (self.args.pay && status == 201).then(|| order_id(&connection.read)).flatten();
        connection.read.drain(..length);
        connection.answers += 1;
        *self.counted.entry(status).or_default() += 1;
        let latency = connection.sent_at.elapsed().as_nanos() as u64;
        self.latency_ns.entry(status).or_insert_with(histogram).saturating_record(latency);
        if let Some(order_id) = won {
            let connection = &mut self.connections[key];
            let checkout = RequestText::checkout(connection.buyer, &order_id);
            connection.sent_at = Instant::now();
            connection.stream.write_all(&checkout)?;
            return Ok(true);
        }
        let limit = self.args.requests_a_connection;
        if limit > 0 && self.connections[key].answers >= limit {
            self.reconnect(key)?;
        } else {
            self.send(key)?;
        }
        Ok(true)
    }

    fn reconnect(&mut self, key: usize) -> io::Result<()> {
        self.connections[key] = self.connect(key)?;
        self.reconnects += 1;
        self.send(key)
    }

    fn one_answer(&mut self) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(self.request.of_buyer(self.args.first_buyer))?;
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let bytes = stream.read(&mut chunk)?;
            answer.extend_from_slice(&chunk[..bytes]);
            if bytes == 0 || frame(&answer).is_some_and(|(_, length)| answer.len() >= length) {
                return Ok(answer);
            }
        }
    }

    fn idle(&mut self) -> io::Result<()> {
        let pid = *self.args.pid.first().ok_or(ErrorKind::InvalidInput)?;
        let before = resident_bytes(pid)?;
        let mut open = Vec::with_capacity(self.args.connections);
        for number in 0..self.args.connections {
            let mut stream = TcpStream::connect(self.address)?;
            stream.write_all(self.request.of_buyer(self.args.first_buyer + number as u64))?;
            let mut chunk = [0; 4096];
            let _ = stream.read(&mut chunk)?;
            open.push(stream);
        }
        // Longer than until a silent connection gives back what it does not need.
        std::thread::sleep(Duration::from_secs(3));
        let grown = resident_bytes(pid)?.saturating_sub(before);
        print("client.memory_a_connection", grown as f64 / open.len() as f64, "bytes");
        Ok(())
    }
}
