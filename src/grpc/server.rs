//! The server: an address, connections with their limits, and the drain.
//!
//! It runs on a thread of its own: what callers inside the network ask for takes nothing of the threads that refuse the
//! crowd, nor of those of the operators.

use std::future::ready;
use std::io::{self, Cursor};
use std::net::{SocketAddr, TcpListener as BoundListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use super::arrival::{Arrival, Patience};
use super::asking::Asker;
use super::calls::Calls;
use super::events::EventFeed;
use super::proto::DESCRIPTORS;
use super::proto::seckill_server::{SERVICE_NAME, SeckillServer};
use super::settings::GrpcSettings;
use super::stage::{Stage, reached};
use crate::admin::ControlPlane;
use crate::clock::Clock;
use crate::edge::{DataPlane, EdgeSettings};
use crate::orders::OrderDesk;
use crate::supervisor::{Part, Supervisor};
use crate::telemetry::{GrpcRecords, Seldom};
use crate::tls::{Certificates, HandshakeTurns};

/// How long accepting pauses after the system refused a connection: it is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that every client of HTTP/2 begins with.
const PREFACE_BYTES: usize = 24;
/// Bytes of a call's header fields together.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of one answer that are kept for a client that does not read.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// What the plane is made of.
pub struct GrpcParts<'a> {
    /// Checked settings.
    pub settings: &'a GrpcSettings,
    /// The edge's, whose body limit and serving threads count here as well.
    pub edge: &'a EdgeSettings,
    /// The time.
    pub clock: Clock,
    /// Where calls are counted.
    pub records: Arc<GrpcRecords>,
    /// Answers what buyers ask for.
    pub data_plane: Arc<DataPlane>,
    /// Knows who may follow events.
    pub control_plane: Arc<ControlPlane>,
    /// Has the events.
    pub desk: OrderDesk,
    /// What is shown to clients.
    pub certificates: Arc<Certificates>,
}

/// Why gRPC is not served.
#[derive(Debug, thiserror::Error)]
pub enum GrpcStartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The serving thread cannot be started.
    #[error("cannot start the serving thread: {0}")]
    Thread(io::Error),
    /// What reflection tells cannot be read: a fault of the build.
    #[error("cannot read the description of the services: {0}")]
    Description(String),
}

/// The running plane.
#[derive(Debug)]
pub struct GrpcServer {
    address: SocketAddr,
    stage: watch::Sender<Stage>,
    thread: Part,
    cut: Arc<Mutex<usize>>,
    hurry: watch::Sender<bool>,
}

impl GrpcServer {
    /// Listens, and starts the serving thread. `None` when no address is set.
    ///
    /// # Errors
    /// [`GrpcStartError`].
    pub fn start(parts: GrpcParts<'_>, supervisor: &Supervisor) -> Result<Option<Self>, GrpcStartError> {
        let Some(listen) = parts.settings.listen else { return Ok(None) };
        let listener = BoundListener::bind(listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|source| GrpcStartError::Listen { listen, source })?;
        let address = listener.local_addr().map_err(|source| GrpcStartError::Listen { listen, source })?;
        let (stage, told) = watch::channel(Stage::Serve);
        let (hurry, hurried) = watch::channel(false);
        let serving = Serving::new(parts, address, told)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(GrpcStartError::Thread)?;
        let cut = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&cut);
        let thread = supervisor.thread("grpc", move || {
            let listener = runtime.block_on(async { TcpListener::from_std(listener) });
            let listener = listener.map_err(|error| format!("the listener cannot be registered: {error}"))?;
            *counted.lock() = runtime.block_on(Arc::new(serving).run(listener, hurried));
            Ok(())
        });
        let thread = thread.map_err(GrpcStartError::Thread)?;
        Ok(Some(Self { address, stage, thread, cut, hurry }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says that it is not healthy any more, and has clients go elsewhere with their next calls. New connections are
    /// still accepted.
    pub fn leave(&self) {
        self.stage.send_replace(Stage::Leave);
    }

    /// Stops accepting, tells followers to go on elsewhere, finishes what is in flight, then closes. Returns how many
    /// connections had to be cut because they took longer than `grpc.drain_ms`, or because `hurry` ended.
    pub async fn drain(mut self, hurry: impl Future<Output = ()>) -> usize {
        self.stage.send_replace(Stage::Drain);
        let is_hurried = tokio::select! {
            _ = self.thread.ended() => false,
            () = hurry => true,
        };
        if is_hurried {
            self.hurry.send_replace(true);
            self.thread.ended().await;
        }
        *self.cut.lock()
    }
}

/// What the serving thread works with.
struct Serving {
    http: http2::Builder<TokioExecutor>,
    routes: Routes,
    health: HealthReporter,
    clock: Clock,
    records: Arc<GrpcRecords>,
    certificates: Arc<Certificates>,
    handshake_max: Duration,
    turns: HandshakeTurns,
    connections_max: usize,
    drain: Duration,
    stage: watch::Receiver<Stage>,
}

impl Serving {
    fn new(
        parts: GrpcParts<'_>,
        address: SocketAddr,
        stage: watch::Receiver<Stage>,
    ) -> Result<Self, GrpcStartError> {
        let GrpcParts { settings, edge, clock, records, data_plane, control_plane, desk, certificates } =
            parts;
        let calls = Calls {
            asker: Asker::new(data_plane, clock.clone(), edge.serving_threads()),
            feed: EventFeed::new(settings, desk, Arc::clone(&records), stage.clone()),
            viewers: control_plane,
            clock: clock.clone(),
            records: Arc::clone(&records),
            address,
            places: Arc::new(Semaphore::new(settings.calls_max)),
            followers: Arc::new(Semaphore::new(settings.followers_max)),
        };
        let service = SeckillServer::new(calls).max_decoding_message_size(edge.body_bytes_max);
        let (health, health_service) = health_reporter();
        let described = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let wrong = |error: tonic_reflection::server::Error| GrpcStartError::Description(error.to_string());
        let routes = Routes::new(service)
            .add_service(health_service)
            .add_service(described().build_v1().map_err(wrong)?)
            .add_service(described().build_v1alpha().map_err(wrong)?)
            .prepare();
        let ping = Duration::from_millis(settings.ping_ms);
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .keep_alive_interval(ping)
            .keep_alive_timeout(ping)
            .max_concurrent_streams(settings.streams_max)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
        Ok(Self {
            http,
            routes,
            health,
            clock,
            records,
            certificates,
            handshake_max: Duration::from_millis(settings.tls.handshake_ms_max),
            turns: HandshakeTurns::new(settings.tls.handshakes_max),
            connections_max: settings.connections_max,
            drain: Duration::from_millis(settings.drain_ms),
            stage,
        })
    }

    /// Serves until told to drain, and drains. Returns how many connections were cut.
    async fn run(self: Arc<Self>, listener: TcpListener, mut hurried: watch::Receiver<bool>) -> usize {
        let (mut leaving, mut draining) = (self.stage.clone(), self.stage.clone());
        let mut connections = JoinSet::new();
        self.say(ServingStatus::Serving).await;
        let mut is_leaving = false;
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer, &mut connections),
                    Err(error) => wait_out(&error).await,
                },
                () = reached(&mut leaving, Stage::Leave), if !is_leaving => {
                    is_leaving = true;
                    self.say(ServingStatus::NotServing).await;
                }
                () = reached(&mut draining, Stage::Drain) => break,
            }
        }
        drop(listener);
        // Whoever watches the health has heard the last of it.
        let mut health = self.health.clone();
        for name in ["", SERVICE_NAME] {
            health.clear_service_status(name).await;
        }
        let all_ended = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            _ = timeout(self.drain, all_ended) => {}
            _ = hurried.wait_for(|hurried| *hurried) => {}
        }
        while connections.try_join_next().is_some() {}
        let cut = connections.len();
        connections.shutdown().await;
        cut
    }

    async fn say(&self, status: ServingStatus) {
        for name in ["", SERVICE_NAME] {
            self.health.set_service_status(name, status).await;
        }
    }

    fn take(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        while connections.try_join_next().is_some() {}
        if connections.len() >= self.connections_max {
            self.records.connections_refused.increment();
            return;
        }
        // Small answers shall not wait for an acknowledgement; a socket that cannot is served all the same.
        let _ = stream.set_nodelay(true);
        let serving = Arc::clone(self);
        connections.spawn(async move {
            let _open = serving.records.connections.enter();
            match serving.certificates.config() {
                None => serving.open(ready(Ok(stream)), peer).await,
                Some(config) => serving.open(serving.turns.shake(config, stream), peer).await,
            }
        });
    }

    /// Serves a client that says in time that it speaks HTTP/2. hyper waits for that without end, and asks only
    /// afterwards whether the client lives: who says nothing would keep its place for ever.
    async fn open<S: AsyncRead + AsyncWrite>(
        &self,
        stream: impl Future<Output = io::Result<S>>,
        peer: SocketAddr,
    ) {
        let opening = async {
            let (mut reader, writer) = tokio::io::split(stream.await?);
            let mut preface = [0; PREFACE_BYTES];
            reader.read_exact(&mut preface).await?;
            // hyper reads it again.
            io::Result::Ok(tokio::io::join(Cursor::new(preface).chain(reader), writer))
        };
        let mut stage = self.stage.clone();
        let opened = tokio::select! {
            opened = timeout(self.handshake_max, opening) => opened,
            // It has asked for nothing yet, and does not hold up the stop.
            () = reached(&mut stage, Stage::Drain) => return,
        };
        if let Ok(Ok(stream)) = opened {
            self.serve(stream, peer).await;
        }
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr) {
        let service = service_fn(|mut request: http::Request<Incoming>| {
            let arrival = Arrival {
                at: self.clock.now(),
                peer,
                authority: request.uri().authority().map(|authority| authority.as_str().to_owned()),
                patience: Patience::of(request.headers()),
            };
            request.extensions_mut().insert(arrival);
            TowerToHyperService::new(self.routes.clone()).call(request)
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut stage = self.stage.clone();
        // One that comes while the plane is left is served until the drain.
        let goal = if *stage.borrow() == Stage::Serve { Stage::Leave } else { Stage::Drain };
        tokio::select! {
            // How a connection ends is its client's affair.
            _ = connection.as_mut() => {}
            () = reached(&mut stage, goal) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

async fn wait_out(error: &io::Error) {
    static SAID: Seldom = Seldom::new();
    if let Some(more) = SAID.now() {
        tracing::warn!(%error, more, "a gRPC connection could not be accepted");
    }
    sleep(ACCEPT_PAUSE).await;
}
