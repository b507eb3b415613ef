//! One connection of the `may` front end: read a request, answer it, write the answer, then read the next one.
//!
//! Nothing more is read while an answer cannot be written, and no request may be longer than its limits: what a
//! connection holds is bounded, whatever its client does.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf, BytesMut};
use http::HeaderValue;
use httparse::Status;
use may::io::CoIo;
use tokio::runtime::Handle;

use super::Application;
use super::connection::DISCARDED_BYTES_MAX;
use super::framing::Framing;
use super::http1_answer::write_answer;
use super::may_connection_table::Place;
use super::may_threads::{HomeId, Homes};
use super::problem::{self, ProblemAnswer};
use super::reply::Reply;
use super::reply_header::Names;
use super::request::{Head, Request};
use super::request_id::RequestId;
use super::request_target;
use crate::admission::Moment;
use crate::clock::Clock;

/// The most header fields that `edge.headers_max` may ask for.
const HEADERS_MAX: usize = 1_000;
const READ_BYTES: usize = 4_096;
/// After our last answer, how long the other side may take to close.
const CLOSE_WAIT_MS: u64 = 1_000;
const TOO_LONG: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What all connections share.
pub struct Server<A> {
    pub application: Arc<A>,
    pub clock: Clock,
    pub control: Handle,
    pub homes: &'static Homes,
    pub limits: Limits,
}

/// What a connection may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Serving threads that latency is recorded by.
    pub threads: usize,
    pub keep_alive: bool,
    pub headers: usize,
    pub header_bytes: usize,
    pub body_bytes: usize,
    pub idle_ms: u64,
    pub header_ms: u64,
    pub body_ms: u64,
}

/// A connection. Its place is given up before its socket is closed.
pub struct Connection<A> {
    server: Arc<Server<A>>,
    place: Place,
    socket: Socket,
    home: HomeId,
    input: BytesMut,
    wait: Option<Wait>,
    arrived: Option<Moment>,
}

/// What is missing from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Its first byte.
    Request,
    /// The end of its header.
    Header,
    /// The end of its body.
    Body,
}

/// How far a request has come.
enum Step {
    Missing(Wait),
    Answered { answer: BytesMut, request_bytes: usize, last: bool },
}

impl<A: Application> Connection<A> {
    /// Takes the socket, whose place is `place`.
    ///
    /// # Errors
    /// The socket cannot be polled.
    pub fn new(server: Arc<Server<A>>, place: Place, stream: TcpStream) -> io::Result<Self> {
        let home = server.homes.of_socket(stream.as_raw_fd());
        let socket = Socket::new(stream)?;
        Ok(Self { server, place, socket, home, input: BytesMut::new(), wait: None, arrived: None })
    }

    /// The thread that it must be served on.
    pub fn home(&self) -> HomeId {
        self.home
    }

    /// Serves until either side ends the connection. How it ends (reset, half a request) is the client's affair.
    pub fn serve(mut self) {
        let _ = self.serve_requests();
    }

    fn serve_requests(&mut self) -> io::Result<()> {
        loop {
            match self.step() {
                Step::Missing(wait) => {
                    self.begin(wait);
                    if !self.read_more()? {
                        return Ok(());
                    }
                }
                Step::Answered { answer, request_bytes, last } => {
                    self.place.cut_in(self.server.limits.idle_ms);
                    self.socket.io().write_all(&answer)?;
                    self.input.advance(request_bytes);
                    (self.wait, self.arrived) = (None, None);
                    if last {
                        return self.say_goodbye();
                    }
                }
            }
        }
    }

    /// From now on this is waited for; each has its time.
    fn begin(&mut self, wait: Wait) {
        if self.wait == Some(wait) {
            return;
        }
        if wait == Wait::Body {
            self.arrived = Some(self.server.clock.now());
        }
        self.wait = Some(wait);
        let limits = &self.server.limits;
        self.place.cut_in(match wait {
            Wait::Request => limits.idle_ms,
            Wait::Header => limits.header_ms,
            Wait::Body => limits.body_ms,
        });
    }

    /// False at the end.
    fn read_more(&mut self) -> io::Result<bool> {
        let mut piece = [0; READ_BYTES];
        let read = self.socket.io().read(&mut piece)?;
        self.input.extend_from_slice(&piece[..read]);
        Ok(read > 0)
    }

    /// Ends our side, then reads what still comes until the other side ends too, or has sent more than was on its way: closing a
    /// socket that holds unread bytes resets it, and a reset can destroy the answer before it is read.
    fn say_goodbye(&mut self) -> io::Result<()> {
        self.place.cut_in(CLOSE_WAIT_MS);
        self.socket.io().inner().shutdown(Shutdown::Write)?;
        let (mut unread, mut discarded) = ([0; READ_BYTES], 0);
        while discarded < DISCARDED_BYTES_MAX {
            match self.socket.io().read(&mut unread)? {
                0 => break,
                read => discarded += read,
            }
        }
        Ok(())
    }

    /// Looks at what has been read, and answers the first request if all of it is there.
    fn step(&self) -> Step {
        let limits = &self.server.limits;
        let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut []);
        let head_bytes = match parsed.parse_with_uninit_headers(&self.input, &mut fields[..limits.headers]) {
            Ok(Status::Complete(bytes)) if bytes <= limits.header_bytes => bytes,
            Ok(Status::Partial) if self.input.is_empty() => return Step::Missing(Wait::Request),
            Ok(Status::Partial) if self.input.len() < limits.header_bytes => {
                return Step::Missing(Wait::Header);
            }
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return self.last(TOO_LONG.into()),
            Err(_) => {
                let head = Head::default();
                let id = RequestId::of(head.request_id);
                return self.last(written(&problem::BAD_REQUEST.reply(&id).closing(), &head, &id, false));
            }
        };
        let fields = || parsed.headers.iter().map(|field| (field.name, field.value));
        let head = Head::read(fields());
        let id = RequestId::of(head.request_id);
        let http_1_0 = parsed.version == Some(0);
        let refused =
            |answer: ProblemAnswer| self.last(written(&answer.reply(&id).closing(), &head, &id, false));
        if let Some(answer) =
            self.server.application.turned_away(&head, self.socket.number() % limits.threads)
        {
            return refused(answer);
        }
        let framing = match Framing::of(fields(), http_1_0, limits.body_bytes) {
            Ok(framing) => framing,
            Err(answer) => return refused(answer),
        };
        let target = parsed.path.unwrap_or_default();
        let path = match request_target::path_of_text(target, head.host) {
            Ok(path) => path,
            Err(answer) => return refused(answer),
        };
        let request_bytes = head_bytes + framing.body_bytes;
        let Some(body) = self.input.get(head_bytes..request_bytes) else {
            return Step::Missing(Wait::Body);
        };
        let method = parsed.method.unwrap_or_default();
        let request = Request {
            method,
            path,
            query: target.split_once('?').map_or("", |(_, query)| query),
            head,
            body,
            id,
            arrived: self.arrived.unwrap_or_else(|| self.server.clock.now()),
            answer_by: None,
            home: self.socket.number() % limits.threads,
        };
        let mut reply = match head.check(http_1_0) {
            Ok(()) => self.execute(&request),
            Err(answer) => ProblemAnswer::reply(answer, &id).closing(),
        };
        reply.close |= framing.last || self.place.is_ending() || !limits.keep_alive;
        let last = reply.close;
        Step::Answered { answer: written(&reply, &head, &id, method == "HEAD"), request_bytes, last }
    }

    fn execute(&self, request: &Request<'_>) -> Reply {
        // What it waits for has its own limits.
        self.place.never_cut();
        let Server { application, control, homes, .. } = &*self.server;
        homes.block_on(self.home, control, application.answer(request))
    }

    /// An answer behind which nobody knows where the next request begins.
    fn last(&self, answer: BytesMut) -> Step {
        Step::Answered { answer, request_bytes: self.input.len(), last: true }
    }
}

/// A socket that `may` polls.
struct Socket(Option<CoIo<TcpStream>>);

impl Socket {
    fn new(stream: TcpStream) -> io::Result<Self> {
        CoIo::new(stream).map(|io| Self(Some(io))).map_err(Into::into)
    }

    fn io(&mut self) -> &mut CoIo<TcpStream> {
        self.0.as_mut().expect("taken only when it is dropped")
    }

    fn number(&self) -> usize {
        self.0.as_ref().map_or(0, |io| io.as_raw_fd() as usize)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Out of the poll first: a descriptor that is closed while it is polled may by then be another connection's,
        // which would be taken out instead.
        drop(self.0.take().map(CoIo::into_inner));
    }
}

/// The answer as bytes.
fn written(reply: &Reply, head: &Head<'_>, id: &RequestId<'_>, is_head: bool) -> BytesMut {
    let date = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())).ok();
    let mut out = BytesMut::new();
    write_answer(&mut out, reply, Names::of(head, id), date.as_ref(), is_head);
    out
}
