//! A crowd that shakes hands all at once, beside buyers who are connected already: everybody comes in, and no purchase is left
//! without its order.
//!
//! `cargo xtask tls-burst` is the long form, on the release binary, with its figures.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use testbed::certificates::{Authority, Files};
use testbed::client::Client;
use testbed::engine::{Engine, Launch};
use testbed::memory::Memory;
use testbed::open_files::{allow_open_files, open_files_of};
use testbed::{PATIENCE, asked, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::tls::connect;
use super::tls_identities::Believed;

/// Connections of the burst; `cargo xtask tls-burst` asks for more.
const CONNECTIONS: usize = 200;
/// Addresses that they come from: one has too few ports for a large burst.
const ADDRESSES: usize = 16;
/// Before who was not let in tries again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
const BUYERS: u64 = 8;
/// From when a purchase of a buyer is due to when the next one is.
const PERIOD: Duration = Duration::from_millis(10);
/// From one look at the engine to the next.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
const BYTES_PER_MIB: f64 = 1_048_576.0;

#[test]
fn a_burst_of_handshakes_comes_in_and_leaves_no_buyer_without_an_order() {
    let wanted = asked("SECKILL_TLS_BURST").unwrap_or(CONNECTIONS);
    let connections = fitting(wanted);
    let (authority, files) = (Authority::new("ca"), Files::default());
    let (certificate, key) = files.write_pair("edge", &authority.sign("localhost"));
    let launch = Launch::new(&[
        ("EDGE__TLS__CERT_FILE", certificate.to_str().unwrap()),
        ("EDGE__TLS__KEY_FILE", key.to_str().unwrap()),
        ("EDGE__CONNECTIONS_PER_ADDRESS_MAX", "100000"),
        // Who is in says nothing until all are.
        ("EDGE__IDLE_TIMEOUT_MS", "3600000"),
    ]);
    let engine = launch.start();
    engine.sale("phone", 100_000_000, "");
    let mut config = ClientConfig::clone(&authority.client(&["http/1.1"], None));
    // Everybody comes for the first time.
    config.resumption = Resumption::disabled();
    let config = &Arc::new(config);

    let purchases = &Purchases::default();
    let more = (connections / 4) as u64;
    let (seen, burst, waits) = std::thread::scope(|scope| {
        let _over = Over(purchases);
        let buyers: Vec<_> = (0..BUYERS)
            .map(|buyer| {
                let session = connect(engine.edge(), config, "localhost");
                let socket = session.sock.try_clone().unwrap();
                let client = Client::above(&socket, session);
                scope.spawn(move || purchases.buy(client, buyer))
            })
            .collect();
        purchases.wait_for_more(more);
        let before = Seen::of(&engine);
        let edge = engine.edge();
        let bursting = scope.spawn(move || Burst::of(edge, config, connections));
        let mut most = before;
        while !bursting.is_finished() {
            most = most.most(Seen::of(&engine));
            std::thread::sleep(LOOK_PAUSE);
        }
        let mut burst = bursting.join().expect("everybody comes in");
        let held = Seen::of(&engine);
        assert!(held.files >= connections, "{held:?}");
        assert!(held.opened >= before.opened + connections as u64, "{held:?}");
        purchases.wait_for_more(more);
        burst.leave();
        let left = before.files + connections / 4;
        until("what they took is given back", || open_files_of(engine.pid()) <= left);
        purchases.is_over.store(true, Relaxed);
        let waits: Vec<_> =
            buyers.into_iter().flat_map(|buyer| buyer.join().expect("each is served")).collect();
        ([before, most.most(held), held, Seen::of(&engine)], burst, waits)
    });
    assert_eq!(engine.audit("phone").durable_orders, waits.len() as u64);

    println!("{connections} of {wanted} connections (what the limit of open files leaves)");
    burst.tell();
    println!("| engine | anonymous memory, MiB | descriptors | handshakes opened | failed | late |");
    for (when, seen) in ["before", "at most", "all are in", "all have left"].into_iter().zip(seen) {
        let Seen { anonymous_bytes, files, opened, failed, late } = seen;
        let mib = anonymous_bytes as f64 / BYTES_PER_MIB;
        println!("| {when} | {mib:.1} | {files} | {opened} | {failed} | {late} |");
    }
    println!("| purchases that were due | number | P50, ms | P99, ms | longest, ms |");
    tell("before", waits.iter().filter(|(due, _)| *due < burst.began));
    tell("during the burst", waits.iter().filter(|(due, _)| (burst.began..burst.ended).contains(due)));
    tell("after it", waits.iter().filter(|(due, _)| *due >= burst.ended));
}

/// Of so many connections those for which this process and the engine may have files enough: the engine keeps an eighth beside
/// them, and some for itself.
fn fitting(wanted: usize) -> usize {
    let allowed = usize::try_from(allow_open_files(2 * wanted as u64)).unwrap_or(usize::MAX);
    wanted.min(allowed / 10 * 8)
}

/// Buyers on connections that are open already.
#[derive(Default)]
struct Purchases {
    is_over: AtomicBool,
    answered: AtomicU64,
}

struct Over<'a>(&'a Purchases);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Relaxed);
    }
}

impl Purchases {
    /// Buys by a timetable until it is over: when each purchase was due, and how long after that it was durable.
    fn buy(&self, mut client: Client, buyer: u64) -> Vec<(Instant, Duration)> {
        let (begun, mut waits) = (Instant::now(), Vec::new());
        for click in 0_u32.. {
            let due = begun + PERIOD * click;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.is_over.load(Relaxed) {
                break;
            }
            let bought = client
                .send(format!(
                    "POST /seckill/test/phone HTTP/1.1\r\nHost: localhost\r\nX-User-ID: b-{buyer}-{click}\r\n\
                     Content-Length: 0\r\n\r\n"
                ))
                .answer()
                .expect("an answer");
            assert_eq!(bought.status, 201, "{}", bought.body);
            waits.push((due, due.elapsed()));
            self.answered.fetch_add(1, Relaxed);
        }
        waits
    }

    fn wait_for_more(&self, purchases: u64) {
        let enough = self.answered.load(Relaxed) + purchases;
        until("served", || self.answered.load(Relaxed) >= enough);
    }
}

/// What an engine has and tells at a moment.
#[derive(Clone, Copy, Debug)]
struct Seen {
    anonymous_bytes: u64,
    files: usize,
    opened: u64,
    failed: u64,
    late: u64,
}

impl Seen {
    fn of(engine: &Engine) -> Self {
        let figures = engine.admin("GET", "/metrics", "").body;
        let handshakes = |outcome: &str| {
            let name = format!("seckill_edge_tls_handshakes_total{{outcome=\"{outcome}\"}} ");
            let value = figures.lines().find_map(|line| line.strip_prefix(&name)).expect(outcome);
            value.parse::<f64>().expect("a number") as u64
        };
        Self {
            anonymous_bytes: Memory::of(engine.pid()).expect("it runs").anonymous_bytes,
            files: open_files_of(engine.pid()),
            opened: handshakes("opened"),
            failed: handshakes("failed"),
            late: handshakes("late"),
        }
    }

    /// The higher of each.
    fn most(self, other: Self) -> Self {
        Self {
            anonymous_bytes: self.anonymous_bytes.max(other.anonymous_bytes),
            files: self.files.max(other.files),
            opened: self.opened.max(other.opened),
            failed: self.failed.max(other.failed),
            late: self.late.max(other.late),
        }
    }
}

/// Connections that were opened at once.
struct Burst {
    began: Instant,
    ended: Instant,
    sockets: Vec<std::net::TcpStream>,
    /// How long after the beginning each was in, in µs.
    in_after: Histogram<u64>,
    /// Tries that were refused, or closed before an answer.
    in_vain: u64,
}

impl Burst {
    /// Opens them, each again and again until it is in.
    fn of(edge: SocketAddr, config: &Arc<ClientConfig>, connections: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let connector = TlsConnector::from(Arc::clone(config));
            let in_vain = Arc::new(AtomicU64::new(0));
            let began = Instant::now();
            let mut coming = JoinSet::new();
            for number in 0..connections {
                let source = SocketAddr::from(([127, 0, 0, (1 + number % ADDRESSES) as u8], 0));
                let (connector, in_vain) = (connector.clone(), Arc::clone(&in_vain));
                coming.spawn(async move {
                    loop {
                        match come_in(edge, source, &connector).await {
                            Ok(socket) => return (socket, began.elapsed()),
                            Err(_not_let_in) => in_vain.fetch_add(1, Relaxed),
                        };
                        tokio::time::sleep(TRY_AGAIN).await;
                    }
                });
            }
            let (mut sockets, mut in_after) = (Vec::new(), Histogram::new(3).unwrap());
            let all = async {
                while let Some(came) = coming.join_next().await {
                    let (socket, after) = came.unwrap();
                    sockets.push(socket);
                    in_after.record(after.as_micros() as u64).unwrap();
                }
            };
            tokio::time::timeout(PATIENCE, all).await.expect("everybody comes in");
            Self { began, ended: Instant::now(), sockets, in_after, in_vain: in_vain.load(Relaxed) }
        })
    }

    /// Closes all of them.
    fn leave(&mut self) {
        self.sockets.clear();
    }

    fn tell(&self) {
        let [half, most, all] = [0.5, 0.99, 1.0].map(|share| ms(&self.in_after, share));
        println!(
            "half are in after {half:.0} ms, 99 % after {most:.0} ms, all after {all:.0} ms; {} tries in vain",
            self.in_vain
        );
    }
}

/// A connection on which hands have been shaken, and something was answered: only that says that the engine has it, too. Without
/// what the client has of TLS, which is large: nothing more is said.
async fn come_in(
    edge: SocketAddr,
    source: SocketAddr,
    connector: &TlsConnector,
) -> io::Result<std::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(source)?;
    let stream = socket.connect(edge).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = connector.connect(name, stream).await?;
    session.write_all(b"GET /seckill/test/phone HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    session.flush().await?;
    if session.read(&mut [0; 1_024]).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    session.into_inner().0.into_std()
}

fn ms(us: &Histogram<u64>, share: f64) -> f64 {
    us.value_at_quantile(share) as f64 / 1e3
}

/// A row of the purchases that were due at a time.
fn tell<'a>(when: &str, waits: impl Iterator<Item = &'a (Instant, Duration)>) {
    let mut us = Histogram::new(3).unwrap();
    waits.for_each(|(_, wait)| us.record(wait.as_micros() as u64).unwrap());
    let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|share| ms(&us, share));
    println!("| {when} | {} | {p50:.2} | {p99:.2} | {longest:.2} |", us.len());
}
