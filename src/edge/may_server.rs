//! The other front end: `may_minihttp`, stackful coroutines over the same handlers, for closed networks whose proxy
//! strips headers.
//!
//! What `may_minihttp` leaves out is added here as far as it can be, from outside:
//!
//! - Framing is checked before a body is touched ([`Framing`]). What is not framed by one plain `Content-Length` is
//!   answered and is the last request of its connection; nothing behind it is executed.
//! - Bodies are always read to their end; a body that ends early is not executed.
//! - HTTP/1.0 and `Connection: close` end the connection after the answer.
//! - Connections are limited in number and in idle time, and are drained at the end.
//!
//! What stays is told at [`FrontEnd::May`], where an operator looks.
//!
//! [`FrontEnd::May`]: super::settings::FrontEnd::May

use std::collections::HashMap;
use std::future::Future;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use may::coroutine::{self, Coroutine};
use may_minihttp::{HttpService, HttpServiceFactory};
use nix::sys::socket::{Shutdown, shutdown};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::Application;
use super::clock::Clock;
use super::may_framing::Framing;
use super::problem::{self, ProblemAnswer};
use super::reply::{Content, Field, Reply};
use super::request::{Head, Request, RequestId};
use super::settings::{EdgeSettings, StartError};
use crate::admission::Moment;
use crate::supervisor::Supervisor;
use crate::telemetry::Telemetry;

/// Words of a coroutine's stack: 256 KiB, of which only the pages in use take memory. Checking a token needs more than
/// the 32 KiB that coroutines have by default, and a coroutine that leaves its stack ends the process.
const STACK_WORDS: usize = 0x8000;
const SWEEP_EVERY: Duration = Duration::from_millis(20);
/// The moment at which a connection that is being answered is cut.
const NEVER: u64 = u64::MAX;
const RETRY_AFTER_S_MAX: u32 = 120;

/// The running front end.
#[derive(Debug)]
pub struct MayServer {
    addr: SocketAddr,
    connections: Arc<Connections>,
    drain: Duration,
}

impl MayServer {
    /// Listens and starts the coroutine scheduler. The handlers use the timers and blocking threads of the supervisor's
    /// runtime.
    ///
    /// The scheduler is one for the process: the number of its threads is that of the first server.
    ///
    /// # Errors
    /// The address is taken or not ours, or the sweeping thread cannot be started.
    pub fn start<A: Application>(
        settings: &EdgeSettings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
        application: Arc<A>,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let threads = settings.serving_threads();
        may::config().set_workers(threads).set_stack_size(STACK_WORDS);
        let cannot = |source| StartError::Listen { listen: settings.listen, source };
        // may_minihttp does not tell its address, so a free port is looked for first.
        let addr = TcpListener::bind(settings.listen).and_then(|free| free.local_addr()).map_err(cannot)?;
        let connections = Arc::new(Connections {
            clock,
            idle_ms: settings.idle_timeout_ms,
            connections_max: settings.connections_max,
            telemetry,
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let server = Server {
            application,
            clock,
            control: supervisor.control().clone(),
            connections: Arc::clone(&connections),
            homes: threads,
            keep_alive: settings.keep_alive,
            body_bytes_max: settings.body_bytes_max,
            body_read_timeout_ms: settings.body_read_timeout_ms,
        };
        Factory(Arc::new(server)).start(addr).map_err(cannot)?;
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
        Ok(Self { addr, connections, drain: Duration::from_millis(settings.drain_ms) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Has every answer from now on end its connection. New connections are still accepted.
    pub fn leave(&self) {
        self.connections.leaving.store(true, Ordering::Relaxed);
    }

    /// Takes no new connections, lets requests in flight finish, and closes. Returns how many connections had to be cut
    /// because they took longer than `drain_ms`, or because `hurry` ended.
    pub async fn drain(self, hurry: impl Future<Output = ()>) -> usize {
        self.connections.draining.store(true, Ordering::SeqCst);
        // What has arrived can still be read and is still answered; then there is an end to read.
        self.connections.end_all(Shutdown::Read);
        let all_closed = async {
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

/// The open sockets, by descriptor.
///
/// `may_minihttp` keeps its sockets to itself, but tells each service the descriptor of its own. A service is dropped
/// before its socket, and is taken from this table when it is: a descriptor in the table is never another socket's.
#[derive(Debug)]
struct Connections {
    clock: Clock,
    idle_ms: u64,
    connections_max: usize,
    telemetry: Arc<Telemetry>,
    /// Every answer ends its connection. Alone, so relaxed.
    leaving: AtomicBool,
    draining: AtomicBool,
    /// For each socket the moment, in milliseconds of the stopwatch, at which it is cut.
    open: Mutex<HashMap<RawFd, Arc<AtomicU64>>>,
}

impl Connections {
    fn now_ms(&self) -> u64 {
        self.clock.stopwatch().ceil_ms()
    }

    /// Takes a connection in, or ends it when there are too many.
    fn enter(&self, socket: RawFd) -> Arc<AtomicU64> {
        let cut_at = Arc::new(AtomicU64::new(self.now_ms() + self.idle_ms));
        let mut open = self.open.lock();
        if self.draining.load(Ordering::SeqCst) || open.len() >= self.connections_max {
            self.telemetry.edge_connections_refused.increment();
            end(socket, Shutdown::Both);
        }
        open.insert(socket, Arc::clone(&cut_at));
        self.telemetry.edge_connections.raise();
        cut_at
    }

    fn leave(&self, socket: RawFd) {
        self.open.lock().remove(&socket);
        self.telemetry.edge_connections.lower();
    }

    fn count(&self) -> usize {
        self.open.lock().len()
    }

    fn end_all(&self, how: Shutdown) -> usize {
        let open = self.open.lock();
        open.keys().for_each(|&socket| end(socket, how));
        open.len()
    }

    fn cut_overdue(&self) {
        let now = self.now_ms();
        let open = self.open.lock();
        let overdue = open.iter().filter(|(_, cut_at)| cut_at.load(Ordering::Relaxed) <= now);
        overdue.for_each(|(&socket, _)| end(socket, Shutdown::Both));
    }
}

/// Ends one or both directions. The coroutine that waits for the socket wakes and finds the end.
fn end(socket: RawFd, how: Shutdown) {
    // It fails when the other side has ended both already: that is what was wanted.
    let _ = shutdown(socket, how);
}

/// What all connections share.
struct Server<A> {
    application: Arc<A>,
    clock: Clock,
    control: Handle,
    connections: Arc<Connections>,
    homes: usize,
    keep_alive: bool,
    body_bytes_max: usize,
    body_read_timeout_ms: u64,
}

struct Factory<A>(Arc<Server<A>>);

impl<A: Application> HttpServiceFactory for Factory<A> {
    type Service = Connection<A>;

    fn new_service(&self, id: usize) -> Connection<A> {
        let socket = id as RawFd;
        let cut_at = self.0.connections.enter(socket);
        Connection { server: Arc::clone(&self.0), socket, cut_at, ending: false }
    }
}

/// One connection's service.
struct Connection<A> {
    server: Arc<Server<A>>,
    socket: RawFd,
    cut_at: Arc<AtomicU64>,
    /// The last request has been answered: what follows is not executed.
    ending: bool,
}

impl<A> Drop for Connection<A> {
    fn drop(&mut self) {
        self.server.connections.leave(self.socket);
    }
}

impl<A: Application> HttpService for Connection<A> {
    fn call(
        &mut self,
        request: may_minihttp::Request<'_, '_, '_>,
        response: &mut may_minihttp::Response<'_>,
    ) -> io::Result<()> {
        let arrived = self.server.clock.now();
        let head_only = request.method() == "HEAD";
        let reply = if self.ending {
            let answer = problem::BAD_REQUEST.detailed("The connection was to end before this request.");
            answer.reply(&RequestId::of(&Head::default())).closing()
        } else {
            self.answer(request, arrived)
        };
        if reply.close {
            self.ending = true;
            end(self.socket, Shutdown::Read);
        }
        self.cut_in(self.server.connections.idle_ms);
        write(reply, head_only, response);
        Ok(())
    }
}

impl<A: Application> Connection<A> {
    fn cut_in(&self, ms: u64) {
        self.cut_at.store(self.server.connections.now_ms().saturating_add(ms), Ordering::Relaxed);
    }

    fn answer(&self, request: may_minihttp::Request<'_, '_, '_>, arrived: Moment) -> Reply {
        let http_1_0 = request.version() == 0;
        let fields = || request.headers().iter().map(|field| (field.name, field.value));
        let framing = match Framing::of(fields(), http_1_0, self.server.body_bytes_max) {
            Ok(framing) => framing,
            Err(answer) => return answer.reply(&RequestId::of(&Head::read(fields()))).closing(),
        };
        if framing.body_bytes == 0 {
            let (method, path) = (request.method(), path_of(request.path()));
            return self.execute(method, path, Head::read(fields()), &[], http_1_0, framing, arrived);
        }
        // Reading the body takes the buffer in which the header stands.
        let method = request.method().to_owned();
        let path = path_of(request.path()).to_owned();
        let copies: Vec<_> = fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let head = Head::read(copies.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        self.cut_in(self.server.body_read_timeout_ms);
        let mut body = vec![0; framing.body_bytes];
        if request.body().read_exact(&mut body).is_err() {
            let answer = problem::BAD_REQUEST.detailed("The body ended early.");
            return answer.reply(&RequestId::of(&head)).closing();
        }
        self.execute(&method, &path, head, &body, http_1_0, framing, arrived)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one request, which the server hands out one by one"
    )]
    fn execute(
        &self,
        method: &str,
        path: &str,
        head: Head<'_>,
        body: &[u8],
        http_1_0: bool,
        framing: Framing,
        arrived: Moment,
    ) -> Reply {
        let home = self.socket as usize % self.server.homes;
        let id = RequestId::of(&head);
        let request = Request { method, path, head, body, id, arrived, home };
        self.cut_at.store(NEVER, Ordering::Relaxed);
        let mut reply = match head.check(http_1_0) {
            Ok(()) => block_on(&self.server.control, self.server.application.answer(&request)),
            Err(answer) => ProblemAnswer::reply(answer, &id).closing(),
        };
        let connections = &self.server.connections;
        let ending =
            connections.leaving.load(Ordering::Relaxed) || connections.draining.load(Ordering::Relaxed);
        reply.close |= framing.last || ending || !self.server.keep_alive;
        reply
    }
}

/// The path of a request target, which may be a whole address, without the query.
fn path_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |start| &rest[start..]),
        _ => target,
    };
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn write(reply: Reply, head_only: bool, response: &mut may_minihttp::Response<'_>) {
    let reason = reply.status.canonical_reason().unwrap_or_default();
    response.status_code(usize::from(reply.status.as_u16()), reason);
    response.header(match reply.content {
        Content::Json => "Content-Type: application/json",
        Content::Problem => "Content-Type: application/problem+json",
    });
    if reply.close {
        response.header("Connection: close");
    }
    for field in &reply.fields {
        if let Some(line) = known_line(field) {
            response.header(line);
        }
    }
    // This server would write a body behind the answer to HEAD, and the client would take it for the next answer.
    if !head_only {
        response.body_vec(reply.body.into());
    }
}

/// The line of a field whose value is one of a few that are known beforehand: `may_minihttp` takes no others.
fn known_line(field: &Field) -> Option<&'static str> {
    static LINES: LazyLock<Mutex<HashMap<String, &'static str>>> = LazyLock::new(Mutex::default);
    let field = match field {
        Field::Location(_) | Field::RateLimit { .. } | Field::RateLimitPolicy { .. } => return None,
        Field::RetryAfter(seconds) => Field::RetryAfter(RETRY_AFTER_S_MAX.min(*seconds)),
        few @ (Field::Allow(_) | Field::WwwAuthenticate(_) | Field::CacheControl(_) | Field::Vary(_)) => {
            few.clone()
        }
    };
    let (name, value) = field.written();
    let line = format!("{name}: {}", value.to_str().ok()?);
    let mut lines = LINES.lock();
    if let Some(&known) = lines.get(&line) {
        return Some(known);
    }
    // Each of the few values once: 120 waits, and what the settings and this crate spell out.
    let kept: &'static str = line.clone().leak();
    lines.insert(line, kept);
    Some(kept)
}

/// Drives the future on the current coroutine, which gives its thread to others while it waits.
fn block_on<F: Future>(control: &Handle, future: F) -> F::Output {
    struct Unpark(Coroutine);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(coroutine::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        let polled = {
            // Of the thread, not of the coroutine, which may wake on another one: held only while polling.
            let _entered = control.enter();
            future.as_mut().poll(&mut context)
        };
        match polled {
            Poll::Ready(output) => return output,
            Poll::Pending => coroutine::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_found_in_every_form_of_target() {
        for (target, path) in [
            ("/orders/a", "/orders/a"),
            ("/orders/a?x=/y", "/orders/a"),
            ("http://shop.example/orders/a?x", "/orders/a"),
            ("http://shop.example", "/"),
            ("/a://b/c", "/a://b/c"),
            ("*", "*"),
        ] {
            assert_eq!(path_of(target), path);
        }
    }
}
