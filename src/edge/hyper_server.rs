//! The conformant front end: `hyper`, one single-threaded runtime a core, each with a listener of its own.
//!
//! The kernel spreads new connections over the listeners (`SO_REUSEPORT`); a connection stays on its thread, and nothing
//! on its way is shared with another one. What nearly every request of HTTP/1.1 looks like is answered before hyper sees
//! it ([`FastPath`]).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, LocalSet};

use super::Application;
use super::address_limits::Addresses;
use super::connection::{Connection, NoPlace, refuse};
use super::connection_timeout::{ConnectionTimeout, ConnectionTimeouts, Signal, Wait, WaitLimits};
use super::exchange::Exchange;
use super::forwarded::proxied_client;
use super::handshake::Handshakes;
use super::http1_fast_path::{FastPath, Left};
use super::http2::Http2;
use super::listen::listen;
use super::load_watch::LoadWatch;
use super::reply_header::written;
use super::settings::EdgeSettings;
use super::start_error::StartError;
use super::transport::{Protocol, Socket, Transport};
use crate::clock::Clock;
use crate::supervisor::{Part, Supervisor};
use crate::telemetry::{Seldom, Telemetry};
use crate::tls::Certificates;

/// Refused connections that a thread keeps open at once so that they can read why: at most this many, and an eighth of
/// those that are served.
const REFUSED_OPEN_MAX: usize = 256;

/// What the serving threads are told, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Serve.
    Serve,
    /// Serve, and have every answer end its connection: clients and proxies go elsewhere with their next request.
    Leave,
    /// Accept nobody, finish what is in flight.
    Drain,
    /// Close whatever is still open.
    Cut,
}

/// The running front end.
#[derive(Debug)]
pub struct HyperServer {
    addr: SocketAddr,
    stage: watch::Sender<Stage>,
    threads: Vec<Part>,
    cut: Arc<Mutex<usize>>,
}

impl HyperServer {
    /// Listens, and starts the serving threads.
    ///
    /// # Errors
    /// The address is taken or not ours, or a thread cannot be started.
    pub fn start<A: Application>(
        settings: &EdgeSettings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
        application: Arc<A>,
        certificates: Arc<Certificates>,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let listeners = listen(settings.listen, settings.serving_threads())
            .map_err(|source| StartError::Listen { listen: settings.listen, source })?;
        let addr = listeners[0]
            .local_addr()
            .map_err(|source| StartError::Listen { listen: settings.listen, source })?;
        let addresses = Addresses::new(settings);
        let (stage, told) = watch::channel(Stage::Serve);
        let cut = Arc::new(Mutex::new(0));
        let mut threads = Vec::with_capacity(listeners.len());
        for (home, listener) in listeners.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(StartError::Thread)?;
            let (settings, telemetry, clock) = (settings.clone(), Arc::clone(&telemetry), clock.clone());
            let (application, told, cut) = (Arc::clone(&application), told.clone(), Arc::clone(&cut));
            let (addresses, certificates) = (Arc::clone(&addresses), Arc::clone(&certificates));
            let thread = supervisor.thread(&format!("edge-{home}"), move || {
                let core = Rc::new(Core::new(
                    &settings,
                    clock,
                    telemetry,
                    application,
                    addresses,
                    certificates,
                    home,
                ));
                *cut.lock() += LocalSet::new().block_on(&runtime, core.run(listener, told))?;
                Ok(())
            });
            threads.push(thread.map_err(StartError::Thread)?);
        }
        Ok(Self { addr, stage, threads, cut })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Has every answer from now on end its connection. New connections are still accepted.
    pub fn leave(&self) {
        self.stage.send_replace(Stage::Leave);
    }

    /// Stops accepting, lets requests in flight finish, and closes. Returns how many connections had to be cut because
    /// they took longer than `drain_ms`, or because `hurry` ended.
    pub async fn drain(mut self, hurry: impl Future<Output = ()>) -> usize {
        self.stage.send_replace(Stage::Drain);
        let mut threads = std::mem::take(&mut self.threads);
        let mut all_ended = pin!(async {
            for thread in &mut threads {
                thread.ended().await;
            }
        });
        tokio::select! {
            () = &mut all_ended => {}
            () = hurry => {
                self.stage.send_replace(Stage::Cut);
                all_ended.await;
            }
        }
        *self.cut.lock()
    }
}

/// One serving thread.
struct Core<A> {
    exchange: Exchange<A>,
    telemetry: Arc<Telemetry>,
    fast_path: FastPath,
    http1: http1::Builder,
    http2: Http2,
    handshakes: Handshakes,
    timeouts: ConnectionTimeouts,
    load: LoadWatch,
    addresses: Arc<Addresses>,
    proxy_protocol: bool,
    /// Refused connections that are being told, the longest first.
    refused: RefCell<VecDeque<AbortHandle>>,
    refused_open_max: usize,
    connections_max: u64,
    header_read_timeout: Duration,
    drain: Duration,
}

impl<A: Application> Core<A> {
    fn new(
        settings: &EdgeSettings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
        application: Arc<A>,
        addresses: Arc<Addresses>,
        certificates: Arc<Certificates>,
        home: usize,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .half_close(true)
            .keep_alive(settings.keep_alive)
            .header_read_timeout(None)
            .max_buf_size(settings.header_bytes_max)
            // Answers are small: one contiguous write beats two pieces.
            .writev(false);
        // hyper has room for 100 on the stack, and takes the heap as soon as it is told a number.
        if settings.headers_max != 100 {
            http1.max_headers(settings.headers_max);
        }
        Self {
            load: LoadWatch::new(settings, clock.clone(), home),
            exchange: Exchange::new(settings, clock, application, Arc::clone(&addresses), home),
            telemetry,
            fast_path: FastPath::new(settings),
            http1,
            http2: Http2::new(settings),
            handshakes: Handshakes::new(settings, certificates),
            timeouts: ConnectionTimeouts::new(WaitLimits {
                idle: Duration::from_millis(settings.idle_timeout_ms),
                header: Duration::from_millis(settings.header_read_timeout_ms),
            }),
            addresses,
            proxy_protocol: settings.proxy_protocol,
            refused: RefCell::default(),
            refused_open_max: (settings.connections_max / 8 / settings.serving_threads())
                .clamp(1, REFUSED_OPEN_MAX),
            connections_max: settings.connections_max as u64,
            header_read_timeout: Duration::from_millis(settings.header_read_timeout_ms),
            drain: Duration::from_millis(settings.drain_ms),
        }
    }

    /// Serves until told to drain, and drains. Returns how many connections were cut.
    async fn run(
        self: Rc<Self>,
        listener: std::net::TcpListener,
        mut told: watch::Receiver<Stage>,
    ) -> Result<usize, String> {
        let listener = TcpListener::from_std(listener)
            .map_err(|error| format!("the listener cannot be registered: {error}"))?;
        let core = Rc::clone(&self);
        let mut sweep = tokio::task::spawn_local(async move {
            tokio::join!(core.timeouts.sweep(), core.load.watch(&core.telemetry, &core.timeouts));
        });
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer.ip()),
                    Err(error) => Self::wait_out(&error).await,
                },
                // Without it nobody's time-outs would be kept, and no load seen.
                swept = &mut sweep => return Err(format!("the watch over connections and load ended: {swept:?}")),
                changed = told.changed() => match *told.borrow_and_update() {
                    Stage::Serve | Stage::Leave if changed.is_ok() => {
                        self.exchange.leave();
                        self.timeouts.send_all(Signal::Leave);
                    }
                    _ => break,
                }
            }
        }
        // Connections that the kernel has already accepted for us hold requests that somebody waits for.
        while let Ok(accepted) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            if let Ok((stream, peer)) = accepted {
                self.take(stream, peer.ip());
            }
        }
        drop(listener);
        Ok(self.drain(told).await)
    }

    /// Out of descriptors or memory: a pause lets others close theirs. Anything else concerns one connection only.
    async fn wait_out(error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            static SAID: Seldom = Seldom::new();
            if let Some(more) = SAID.now() {
                tracing::warn!(%error, more, "cannot accept connections for now");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn drain(&self, told: watch::Receiver<Stage>) -> usize {
        const LOOK_EVERY: Duration = Duration::from_millis(10);
        let give_up = tokio::time::Instant::now() + self.drain;
        // Requests that were sent before we stopped are still being read.
        tokio::time::sleep(LOOK_EVERY).await;
        self.timeouts.send_all(Signal::Finish);
        let is_hurried = || *told.borrow() == Stage::Cut;
        while self.timeouts.open() > 0 && tokio::time::Instant::now() < give_up && !is_hurried() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let cut = self.timeouts.open();
        self.timeouts.send_all(Signal::Drop);
        cut
    }

    fn take(self: &Rc<Self>, stream: TcpStream, peer: IpAddr) {
        let free = self.connections_max.saturating_sub(self.telemetry.edge_connections.value());
        let is_trusted = self.addresses.is_trusted(peer);
        let place = match free {
            0 => Err(NoPlace::Full),
            _ if is_trusted => Ok(None),
            _ => self.addresses.enter(peer, free).map(Some).ok_or(NoPlace::AddressFull),
        };
        let place = match place {
            Ok(place) => place,
            Err(why) => return self.turn_away(stream, why),
        };
        // Counted here and not by its task: many may be accepted before the first of them runs.
        let counted = Counted::enter(&self.telemetry);
        let core = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let _held = (counted, place);
            if is_trusted && core.proxy_protocol {
                core.serve_proxied(stream, free).await;
            } else {
                core.serve(stream, Bytes::new(), is_trusted).await;
            }
        });
    }

    /// Refuses a connection, and keeps it open until it has been told. When too many are being told, the one that has had
    /// the most time for it goes.
    fn turn_away(&self, stream: TcpStream, why: NoPlace) {
        self.telemetry.edge_connections_refused.increment();
        // Under TLS it could only be told after a handshake, and that is what there is no room for.
        if self.handshakes.are_needed() {
            return;
        }
        let mut refused = self.refused.borrow_mut();
        while refused.front().is_some_and(|told| told.is_finished() || refused.len() >= self.refused_open_max)
        {
            if let Some(longest) = refused.pop_front() {
                longest.abort();
            }
        }
        refused.push_back(tokio::task::spawn_local(refuse(stream, why)).abort_handle());
    }

    /// Serves the client whose address a trusted proxy tells first. One that tells nothing is not served.
    async fn serve_proxied(self: &Rc<Self>, stream: TcpStream, free: u64) {
        let header = tokio::time::timeout(self.header_read_timeout, proxied_client(&stream)).await;
        let Ok(Ok((client, begun))) = header else { return };
        // A proxy that speaks for itself asks whether we are well.
        let place = match client.map(|client| self.addresses.enter(client, free)) {
            Some(None) => return self.turn_away(stream, NoPlace::AddressFull),
            Some(place) => place,
            None => None,
        };
        self.serve(stream, begun, false).await;
        drop(place);
    }

    async fn serve(&self, stream: TcpStream, begun: Bytes, names_clients: bool) {
        let timeout = self.timeouts.start();
        let socket = Socket::new(stream, begun);
        let opened = self.handshakes.open(socket, &timeout, &self.telemetry.tls).await;
        match opened {
            None => {}
            Some((transport, Protocol::Http2)) => {
                let serving =
                    self.http2.serve(&self.exchange, &self.telemetry, transport, &timeout, names_clients);
                // Set aside: the many connections of HTTP/1.1 shall not carry the size of its state.
                Box::pin(serving).await;
            }
            Some((transport, Protocol::Http1)) => self.serve_http1(transport, &timeout, names_clients).await,
        }
    }

    /// Serves a connection; one that is silent for a while keeps its socket and none of what serves it.
    async fn serve_http1(&self, transport: Transport, timeout: &Rc<ConnectionTimeout>, names_clients: bool) {
        let mut io = Connection::new(transport, Rc::clone(timeout));
        timeout.can_rest();
        loop {
            match self.fast_path.serve(&self.exchange, &mut io, timeout, names_clients).await {
                Left::Over => break,
                Left::Idle => {}
                Left::Unusual(begun) => {
                    io.read_again(begun);
                    match self.serve_until_idle(io, timeout, names_clients).await {
                        Some(idle) => io = idle,
                        None => break,
                    }
                }
            }
            if !io.rest().await {
                break;
            }
        }
    }

    /// `None` when the connection is over.
    async fn serve_until_idle(
        &self,
        io: Connection,
        timeout: &Rc<ConnectionTimeout>,
        names_clients: bool,
    ) -> Option<Connection> {
        let service = service_fn(|request| self.answer(request, timeout, names_clients));
        let mut connection = self.http1.serve_connection(TokioIo::new(io), service);
        let mut is_watched = false;
        let is_idle = poll_fn(|context| {
            if !is_watched {
                timeout.belongs_to(context.waker());
                is_watched = true;
            }
            let signal = timeout.signal();
            match signal {
                Signal::Serve => {}
                Signal::Rest | Signal::Leave => timeout.acknowledge(),
                Signal::Finish => {
                    // What was read before hyper had the connection is looked at before it closes.
                    if Pin::new(&mut connection).poll(context).is_ready() {
                        return Poll::Ready(false);
                    }
                    Pin::new(&mut connection).graceful_shutdown();
                    timeout.acknowledge();
                }
                Signal::Drop => return Poll::Ready(false),
            }
            // How a connection ends (reset, malformed, half a request) is the client's affair: hyper has answered what
            // can be answered.
            if Pin::new(&mut connection).poll(context).is_ready() {
                return Poll::Ready(false);
            }
            // Something may have come meanwhile.
            if signal == Signal::Rest && timeout.is_idle() { Poll::Ready(true) } else { Poll::Pending }
        });
        if !is_idle.await {
            return None;
        }
        let parts = connection.into_parts();
        parts.read_buf.is_empty().then(|| parts.io.into_inner())
    }

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        timeout: &ConnectionTimeout,
        names_clients: bool,
    ) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
        timeout.waits_for(Wait::Answer);
        let (parts, body) = request.into_parts();
        let (reply, names) = self.exchange.reply(&parts, body, names_clients).await;
        let response = written(reply, names, parts.headers);
        timeout.waits_for(Wait::Request);
        Ok(response)
    }
}

/// A connection that is counted until it is dropped.
struct Counted(Arc<Telemetry>);

impl Counted {
    fn enter(telemetry: &Arc<Telemetry>) -> Self {
        telemetry.edge_connections.raise();
        Self(Arc::clone(telemetry))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.edge_connections.lower();
    }
}
