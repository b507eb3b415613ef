//! The other front end: stackful coroutines of `may` over the same handlers, for closed networks whose proxy strips
//! headers. One coroutine a connection, each on one thread for all its life.
//!
//! Requests are parsed by `httparse`; what is not framed by one plain `Content-Length` is answered and is the last
//! request of its connection ([`Framing`]); nothing behind it is executed. Connections are limited in number and in
//! time, and are drained at the end. What this front end does not do is told at [`FrontEnd::May`], where an operator
//! looks.
//!
//! [`Framing`]: super::Framing
//! [`FrontEnd::May`]: super::settings::FrontEnd::May

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::Shutdown;
use socket2::{Domain, Protocol, Socket, Type};

use super::Application;
use super::may_connection::{Connection, Limits, Server};
use super::may_connection_table::Connections;
use super::may_threads::Homes;
use super::settings::EdgeSettings;
use super::start_error::StartError;
use crate::clock::Clock;
use crate::supervisor::{Part, Supervisor};
use crate::telemetry::Telemetry;

const BACKLOG: i32 = 4096;
const SWEEP_EVERY: Duration = Duration::from_millis(20);
/// How often the accepting thread looks whether it is to stop.
const ACCEPT_WAIT: Duration = Duration::from_millis(50);
/// The running front end.
#[derive(Debug)]
pub struct MayServer {
    addr: SocketAddr,
    connections: Arc<Connections>,
    accepting: Part,
    drain: Duration,
}

impl MayServer {
    /// Listens and starts the coroutine scheduler. The handlers use the timers and blocking threads of the supervisor's
    /// runtime.
    ///
    /// The scheduler is one for the process: the number of its threads is that of the first server.
    ///
    /// # Errors
    /// The address is taken or not ours, or a thread cannot be started.
    pub fn start<A: Application>(
        settings: &EdgeSettings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
        application: Arc<A>,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let cannot = |source| StartError::Listen { listen: settings.listen, source };
        let listener = listen(settings.listen).map_err(cannot)?;
        let addr = listener.local_addr().map_err(cannot)?;
        let threads = settings.serving_threads();
        let connections = Arc::new(Connections::new(settings, clock.clone(), telemetry));
        let server = Arc::new(Server {
            application,
            clock,
            control: supervisor.control().clone(),
            homes: Homes::of_process(threads),
            limits: Limits {
                threads,
                keep_alive: settings.keep_alive,
                headers: settings.headers_max,
                header_bytes: settings.header_bytes_max,
                body_bytes: settings.body_bytes_max,
                idle_ms: settings.idle_timeout_ms,
                header_ms: settings.header_read_timeout_ms,
                body_ms: settings.body_read_timeout_ms,
            },
        });
        let entrance = Arc::clone(&connections);
        let accepting = supervisor.thread("edge-accept", move || {
            accept(&listener, &server, &entrance);
            Ok(())
        });
        let accepting = accepting.map_err(StartError::Thread)?;
        let swept = Arc::downgrade(&connections);
        let sweep = supervisor.thread("edge-sweep", move || {
            while let Some(connections) = swept.upgrade() {
                connections.cut_overdue();
                drop(connections);
                std::thread::sleep(SWEEP_EVERY);
            }
            Ok(())
        });
        sweep.map_err(StartError::Thread)?;
        Ok(Self { addr, connections, accepting, drain: Duration::from_millis(settings.drain_ms) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Has every answer from now on end its connection. New connections are still accepted.
    pub fn leave(&self) {
        self.connections.leave();
    }

    /// Takes no new connections, lets requests in flight finish, and closes. Returns how many connections had to be cut
    /// because they took longer than `drain_ms`, or because `hurry` ended.
    pub async fn drain(mut self, hurry: impl Future<Output = ()>) -> usize {
        self.connections.begin_draining();
        let all_closed = async {
            self.accepting.ended().await;
            // What has arrived can still be read and is still answered; then there is an end to read.
            self.connections.end_all(Shutdown::Read);
            while self.connections.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(self.drain, all_closed) => {}
            () = hurry => {}
        }
        self.connections.end_all(Shutdown::Both)
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Inherited by the accepted sockets.
    socket.set_tcp_nodelay(true)?;
    // Of accepting; accepted sockets do not block.
    socket.set_read_timeout(Some(ACCEPT_WAIT))?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until the drain, then what the kernel has accepted already: those connections hold requests that somebody
/// waits for.
fn accept<A: Application>(listener: &TcpListener, server: &Arc<Server<A>>, connections: &Arc<Connections>) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    while !connections.is_draining() {
        match listener.accept() {
            Ok((stream, _)) => take(server, connections, stream),
            Err(error)
                if matches!(
                    error.kind(),
                    WouldBlock | TimedOut | Interrupted | ConnectionAborted | ConnectionReset
                ) => {}
            Err(error) => {
                // Out of descriptors or memory: a pause lets others close theirs.
                tracing::warn!(%error, "cannot accept connections for now");
                std::thread::sleep(ACCEPT_WAIT);
            }
        }
    }
    if listener.set_nonblocking(true).is_ok() {
        while let Ok((stream, _)) = listener.accept() {
            take(server, connections, stream);
        }
    }
}

fn take<A: Application>(server: &Arc<Server<A>>, connections: &Arc<Connections>, stream: TcpStream) {
    let Some(place) = connections.enter(stream.as_raw_fd()) else { return };
    let started = Connection::new(Arc::clone(server), place, stream)
        .and_then(|connection| server.homes.start(connection.home(), move || connection.serve()));
    if let Err(error) = started {
        tracing::warn!(%error, "a connection cannot be served");
    }
}
