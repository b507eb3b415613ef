//! What is measured of an engine from outside, and how a table tells it.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use testbed::client::{Answer, Client, try_request};
use testbed::engine::{Engine, Launch};
use testbed::memory::Memory;
use testbed::{described, until};

const BYTES_PER_MIB: f64 = 1_048_576.0;

/// What a start has taken.
#[derive(Debug)]
pub struct Start {
    /// From its beginning until: the admin plane answers, the engine is ready, a buyer has bought.
    took: [Duration; 3],
    /// After that purchase.
    memory: Memory,
    /// The size of the file of orders, in bytes.
    file_bytes: u64,
}

impl Start {
    /// What stands above its cells.
    pub const HEAD: &str = "file, MiB | admin plane answers after, ms | ready after, ms | first purchase after, ms | resident memory, \
                            MiB | of that anonymous, MiB";
    /// The rule below.
    pub const RULE: &str = "---:|---:|---:|---:|---:|---:";

    /// Its cells.
    pub fn cells(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / BYTES_PER_MIB;
        let [answers, ready, sells] = self.took.map(|took| took.as_millis());
        format!(
            "{:.1} | {answers} | {ready} | {sells} | {:.1} | {:.1}",
            mib(self.file_bytes),
            mib(self.memory.resident_bytes),
            mib(self.memory.anonymous_bytes),
        )
    }
}

/// Starts an engine on addresses of its own, and looks every 10 ms how far it is, until somebody has bought of this sale.
///
/// # Panics
/// It does not start.
pub fn start(launch: &Launch, sku: &str) -> (Engine, Start) {
    // Read once, by another process of the same binary: not while the time runs.
    let _ = (described::edge(), described::admin());
    let file = fs::metadata(launch.folder().join("orders.sqlite")).expect("it was filled");
    let began = Instant::now();
    let (engine, took) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| look_until_it_sells(launch.addresses(), sku, began));
        let engine = launch.start();
        (engine, looking.join().expect("it starts"))
    });
    let memory = Memory::of(engine.pid()).expect("it runs");
    (engine, Start { took, memory, file_bytes: file.len() })
}

fn look_until_it_sells([edge, admin]: [SocketAddr; 2], sku: &str, began: Instant) -> [Duration; 3] {
    let status = |addr, method: &str, path: &str, lines: &str| {
        try_request(addr, method, path, lines, "").map(|answer| answer.status)
    };
    until("the admin plane answers", || status(admin, "GET", "/healthz", "").is_some());
    let answers = began.elapsed();
    until("it is ready", || status(admin, "GET", "/readyz", "") == Some(200));
    let ready = began.elapsed();
    let path = format!("/seckill/test/{sku}");
    until("it sells", || status(edge, "POST", &path, "X-User-ID: first\r\n") == Some(201));
    [answers, ready, began.elapsed()]
}

/// How long answers took.
#[derive(Debug)]
pub struct Times(Histogram<u64>);

impl Times {
    /// What stands above its cells; the unit is the caller's.
    pub const HEAD: &str = "times | median | P99 | longest";
    /// The rule below.
    pub const RULE: &str = "---:|---:|---:|---:";

    /// None so far.
    pub fn none() -> Self {
        Self(Histogram::new(3).expect("three digits can be kept"))
    }

    /// Asks on a connection that stays, waits for the answer, and notes how long that took.
    ///
    /// # Panics
    /// There is no answer.
    pub fn ask(&mut self, client: &mut Client, request: &str) -> Answer {
        let began = Instant::now();
        let answer = client.send(request).answer().expect("an answer");
        self.0.record(began.elapsed().as_nanos() as u64).expect("it adapts its size");
        answer
    }

    /// Its cells, times in `unit`.
    pub fn cells(&self, unit: Duration) -> String {
        let in_units = |ns: u64| ns as f64 / unit.as_nanos() as f64;
        let [median, p99] = [0.5, 0.99].map(|share| in_units(self.0.value_at_quantile(share)));
        format!("{} | {median:.2} | {p99:.2} | {:.2}", self.0.len(), in_units(self.0.max()))
    }
}
