//! A closed-loop client for what `client` does not speak: HTTP/2, in the clear or under TLS, and HTTP/1.1 under TLS. Each
//! connection has a number of requests under way; the server's processor time a request is what counts, so this one may
//! cost more than its simpler brother. Run it on a core of its own (`taskset -c 1`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use http::Request;
use memchr::memmem;
use perf::figures::print;
use perf::process::{cpu_seconds, resident_bytes};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsConnector;

#[derive(Parser)]
struct Args {
    /// The server.
    #[arg(long)]
    target: SocketAddr,
    /// The path of the purchase.
    #[arg(long, default_value = "/seckill/demo/widget")]
    path: String,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Speak HTTP/2, with so many requests under way on each connection. 0: HTTP/1.1, one at a time.
    #[arg(long, default_value_t = 0)]
    streams: usize,
    /// The authority of the server's certificate, for the name localhost; without it in the clear.
    #[arg(long)]
    cacert: Option<PathBuf>,
    /// Seconds to measure, after a tenth as long to warm up.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Requests before a connection is closed and made anew. 0: never.
    #[arg(long, default_value_t = 0)]
    requests_a_connection: u64,
    /// The first buyer's number.
    #[arg(long, default_value_t = 0)]
    first_buyer: u64,
    /// The process ids of the server, for their processor time.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Open the connections, send one request on each, show the server's memory a connection, and end.
    #[arg(long)]
    idle: bool,
}

type Failure = Box<dyn std::error::Error>;

trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// What all connections share.
struct Load {
    args: Args,
    connector: Option<TlsConnector>,
    seen: RefCell<Seen>,
}

struct Seen {
    next_buyer: u64,
    answers: BTreeMap<u16, u64>,
    latency_ns: Histogram<u64>,
    connections: u64,
    is_over: bool,
}

impl Load {
    fn buyer(&self) -> String {
        let mut seen = self.seen.borrow_mut();
        seen.next_buyer += 1;
        format!("buyer-{:09}", seen.next_buyer)
    }

    fn is_over(&self) -> bool {
        self.seen.borrow().is_over
    }

    fn answered(&self, status: u16, since: Instant) {
        let mut seen = self.seen.borrow_mut();
        *seen.answers.entry(status).or_default() += 1;
        seen.latency_ns.saturating_record(since.elapsed().as_nanos() as u64);
    }

    async fn connect(&self) -> Result<Box<dyn Io>, Failure> {
        let stream = TcpStream::connect(self.args.target).await?;
        stream.set_nodelay(true)?;
        self.seen.borrow_mut().connections += 1;
        Ok(match &self.connector {
            None => Box::new(stream),
            Some(connector) => Box::new(connector.connect(ServerName::try_from("localhost")?, stream).await?),
        })
    }

    /// Whether a connection may carry another request.
    fn may_ask(&self, asked: u64) -> bool {
        let most = self.args.requests_a_connection;
        !self.is_over() && (most == 0 || asked < most)
    }

    /// One request of HTTP/1.1 and its answer.
    async fn exchange(&self, stream: &mut Box<dyn Io>, read: &mut Vec<u8>) -> Result<(), Failure> {
        let since = Instant::now();
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nX-User-ID: {}\r\nContent-Length: 0\r\n\r\n",
            self.args.path,
            self.buyer()
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let (status, length) = loop {
            if let Some((status, length)) = frame(read).filter(|(_, length)| read.len() >= *length) {
                break (status, length);
            }
            if stream.read_buf(read).await? == 0 {
                return Err("the server closes".into());
            }
        };
        read.drain(..length);
        self.answered(status, since);
        Ok(())
    }

    async fn one_at_a_time(&self) -> Result<(), Failure> {
        while !self.is_over() {
            let mut stream = self.connect().await?;
            let (mut asked, mut read) = (0, Vec::with_capacity(4_096));
            while self.may_ask(asked) {
                asked += 1;
                self.exchange(&mut stream, &mut read).await?;
            }
        }
        Ok(())
    }

    /// Opens the connections, each for one request, and tells the server's memory for each of them.
    async fn idle(&self) -> Result<(), Failure> {
        let pid = *self.args.pid.first().ok_or("--idle needs the server's --pid")?;
        let before = resident_bytes(pid)?;
        let (mut kept, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..self.args.connections {
            let mut stream = self.connect().await?;
            if self.args.streams == 0 {
                self.exchange(&mut stream, &mut Vec::new()).await?;
                kept.push(stream);
            } else {
                let (asks, connection) = h2::client::handshake(stream).await?;
                tokio::task::spawn_local(connection);
                self.one_request(asks.clone()).await?;
                requests.push(asks);
            }
        }
        // Longer than until a silent connection gives back what it does not need.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let grown = resident_bytes(pid)?.saturating_sub(before);
        print("client.memory_a_connection", grown as f64 / (kept.len() + requests.len()) as f64, "bytes");
        Ok(())
    }

    async fn many_at_once(self: Rc<Self>) -> Result<(), Failure> {
        while !self.is_over() {
            let (requests, connection) = h2::client::Builder::new()
                .initial_connection_window_size(16 << 20)
                .handshake::<_, Bytes>(self.connect().await?)
                .await?;
            let mut streams = JoinSet::new();
            let asked = Rc::new(RefCell::new(0));
            for _ in 0..self.args.streams {
                let (load, requests, asked) = (Rc::clone(&self), requests.clone(), Rc::clone(&asked));
                streams.spawn_local(async move {
                    load.one_stream(requests, &asked).await.map_err(|e| e.to_string())
                });
            }
            drop(requests);
            let driving = tokio::task::spawn_local(connection);
            while let Some(ended) = streams.join_next().await {
                ended??;
            }
            driving.abort();
        }
        Ok(())
    }

    async fn one_stream(
        &self,
        mut requests: SendRequest<Bytes>,
        asked: &RefCell<u64>,
    ) -> Result<(), Failure> {
        while self.may_ask(*asked.borrow()) {
            *asked.borrow_mut() += 1;
            requests = self.one_request(requests).await?;
        }
        Ok(())
    }

    /// One request of HTTP/2 and its answer.
    async fn one_request(&self, requests: SendRequest<Bytes>) -> Result<SendRequest<Bytes>, Failure> {
        let scheme = if self.connector.is_some() { "https" } else { "http" };
        let since = Instant::now();
        let request = Request::post(format!("{scheme}://localhost{}", self.args.path));
        let request = request.header("x-user-id", self.buyer()).body(())?;
        let mut requests = requests.ready().await?;
        let (answer, _) = requests.send_request(request, true)?;
        let (head, mut body) = answer.await?.into_parts();
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        self.answered(head.status.as_u16(), since);
        Ok(requests)
    }

    fn server_cpu(&self) -> std::io::Result<f64> {
        self.args.pid.iter().map(|pid| cpu_seconds(*pid)).sum()
    }

    async fn run(self: Rc<Self>) -> Result<(), Failure> {
        if self.args.idle {
            return self.idle().await;
        }
        let mut connections = JoinSet::new();
        for _ in 0..self.args.connections {
            let load = Rc::clone(&self);
            connections.spawn_local(async move {
                let done = if load.args.streams == 0 {
                    load.one_at_a_time().await
                } else {
                    load.many_at_once().await
                };
                done.map_err(|error| error.to_string())
            });
        }
        let measured = async {
            tokio::time::sleep(Duration::from_secs_f64(self.args.seconds / 10.0)).await;
            {
                let mut seen = self.seen.borrow_mut();
                seen.answers.clear();
                seen.latency_ns.reset();
                seen.connections = 0;
            }
            let (cpu, began) = (self.server_cpu()?, Instant::now());
            tokio::time::sleep(Duration::from_secs_f64(self.args.seconds)).await;
            self.tell(self.server_cpu()? - cpu, began.elapsed().as_secs_f64());
            self.seen.borrow_mut().is_over = true;
            Ok::<_, Failure>(())
        };
        let served = async {
            while let Some(ended) = connections.join_next().await {
                ended??;
            }
            Ok::<_, Failure>(())
        };
        tokio::try_join!(measured, served).map(drop)
    }

    fn tell(&self, cpu_s: f64, took_s: f64) {
        let seen = self.seen.borrow();
        let answers: u64 = seen.answers.values().sum();
        print("client.rate", answers as f64 / took_s, "1/s");
        if !self.args.pid.is_empty() {
            print("client.server_cpu", cpu_s * 1e6 / answers as f64, "us/request");
            print("client.server_busy", cpu_s / took_s, "cores");
        }
        print("client.new_connections", seen.connections as f64 / took_s, "1/s");
        print("client.p99", seen.latency_ns.value_at_quantile(0.99) as f64 / 1e3, "us");
        for (status, count) in &seen.answers {
            print(format!("client.status_{status}"), *count as f64, "answers");
            print(format!("client.rate_{status}"), *count as f64 / took_s, "1/s");
        }
    }
}

/// The status and the whole length of an answer of HTTP/1.1, once its head is there.
fn frame(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    Some((head.get(9..12)?.parse().ok()?, end + length.unwrap_or(0)))
}

fn connector(cacert: &PathBuf, protocol: &str) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cacert)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let protocol = if args.streams == 0 { "http/1.1" } else { "h2" };
    let connector = args.cacert.as_ref().map(|file| connector(file, protocol)).transpose()?;
    let seen = Seen {
        next_buyer: args.first_buyer,
        answers: BTreeMap::new(),
        latency_ns: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
        connections: 0,
        is_over: false,
    };
    let load = Rc::new(Load { args, connector, seen: RefCell::new(seen) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, load.run())
}
