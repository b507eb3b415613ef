//! One connection of HTTP/2: many requests under way at once, driven from the worker's loop.
//!
//! The library's connection and its answers are futures, and no runtime polls them: this file does, when the socket has
//! something, when something was asked, and again as long as one of them has woken another meanwhile.
//!
//! Protocol of the atomic: one flag, set by whatever is woken and taken back by the loop that polls, both on one thread.
//! Relaxed.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::{FuturesUnordered, Stream as _};
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::{HeaderMap, Request, header};
use mio::{Interest, Registry, Token};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::InFlight;
use super::stream::Stream;
use crate::outcome::Outcome;
use crate::wire::request::Target;
use crate::wire::response::{Response, seconds_as_ms};

/// Bytes of answers that the server may send ahead: more than all that can be under way have.
const WINDOW_BYTES: u32 = 1 << 20;

/// The answer to a request, whole.
struct Whole {
    status: u16,
    retry_after_ms: Option<u64>,
    body: Vec<u8>,
}

/// Why there is none.
enum NoAnswer {
    /// The server has said that it did not look at the request: it is asked again, on the next connection.
    NotTaken,
    Lost,
}

impl From<h2::Error> for NoAnswer {
    /// A server that says goodbye names the last stream that it took, and whoever asked after that gets this error; one that
    /// has too many refuses the stream. Neither was looked at (RFC 9113, 6.8 and 8.7).
    fn from(error: h2::Error) -> Self {
        let reason = error.reason();
        let says_goodbye = error.is_go_away() && reason == Some(h2::Reason::NO_ERROR);
        let refuses = error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM);
        if error.is_remote() && (says_goodbye || refuses) { Self::NotTaken } else { Self::Lost }
    }
}

/// Which request it is: the lane and the number of its request. What has been given up is still heard of.
type Which = (u32, u64);
type Answering = Pin<Box<dyn Future<Output = (Which, Result<Whole, NoAnswer>)>>>;
type Opening = Pin<Box<dyn Future<Output = Result<Opened, h2::Error>>>>;
type Opened = (SendRequest<Bytes>, Connection<Socket, Bytes>);

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Connecting(Stream),
    /// The TCP connection is up, TLS is not.
    Handshaking(Stream),
    /// The preface is being sent.
    Opening(Opening),
    Open(Box<Opened>),
}

/// What becomes of one request at a time.
#[derive(Default)]
struct Lane {
    request: Option<InFlight>,
    /// What was handed over, for a server that does not take it.
    asked: Option<(Request<()>, Bytes)>,
    number: u64,
    abort: Option<AbortHandle>,
    /// It was offered while the connection was going away; it is free again when that is gone.
    is_parked: bool,
}

/// What an event brought, beside answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is open, or on the way to it.
    Well,
    /// It is over; the lanes that were parked are free.
    Over,
}

/// A connection of a worker.
pub struct Http2Connection {
    state: State,
    lanes: Vec<Lane>,
    answers: FuturesUnordered<Answering>,
    /// Asked, and not yet handed to the library.
    waiting: VecDeque<(Which, Request<()>, Bytes)>,
    /// Requests handed over since it was opened.
    requests: u32,
    is_leaving: bool,
    woken: Arc<Flag>,
    waker: Waker,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Http2Connection {
    /// One that is closed, with room for this many requests under way.
    pub fn new(streams: u32) -> Self {
        let woken = Arc::new(Flag::default());
        Self {
            state: State::Closed,
            lanes: std::iter::repeat_with(Lane::default).take(streams as usize).collect(),
            answers: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            requests: 0,
            is_leaving: false,
            waker: Waker::from(Arc::clone(&woken)),
            woken,
        }
    }

    /// Whether it has no socket.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether requests can be sent on it.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// The request in this lane.
    pub fn request(&self, lane: u32) -> Option<&InFlight> {
        self.lanes[lane as usize].request.as_ref()
    }

    /// Whether the lane can be used now. One that cannot is free again when the connection is over.
    pub fn takes(&mut self, lane: u32) -> bool {
        self.lanes[lane as usize].is_parked = self.is_leaving;
        !self.is_leaving
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn connect(&mut self, target: &Target, registry: &Registry, token: Token) -> io::Result<()> {
        let mut socket = mio::net::TcpStream::connect(target.address())?;
        socket.set_nodelay(true)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.state = State::Connecting(Stream::over(socket, target.tls(), true)?);
        Ok(())
    }

    /// Asks; it is sent when the connection is next looked at, or as soon as it is open.
    pub fn ask(&mut self, lane: u32, request: InFlight, head: Request<()>, body: Bytes) {
        let place = &mut self.lanes[lane as usize];
        place.number += 1;
        place.request = Some(request);
        self.waiting.push_back(((lane, place.number), head, body));
    }

    /// Gives up on what is under way in this lane; the server hears that, and the others go on.
    pub fn give_up(&mut self, lane: u32) -> Option<InFlight> {
        let place = &mut self.lanes[lane as usize];
        if let Some(abort) = place.abort.take() {
            abort.abort();
        }
        place.asked = None;
        let number = place.number;
        self.waiting.retain(|(which, ..)| *which != (lane, number));
        place.request.take()
    }

    /// Goes on as far as the socket lets it. `hear` is told what became of requests, each with its lane; `freed` gets
    /// lanes that were parked.
    pub fn go_on(
        &mut self,
        writable: bool,
        closing: bool,
        requests_max: u32,
        freed: &mut Vec<u32>,
        mut hear: impl FnMut(u32, InFlight, Result<&Response<'_>, Outcome>),
    ) -> Health {
        if self.open(writable, closing).is_err() {
            self.end(Outcome::ConnectFailed, freed, hear);
            return Health::Over;
        }
        if !self.is_open() {
            return Health::Well;
        }
        let is_over = self.drive(requests_max, &mut hear);
        let asked = self.lanes.iter().filter(|lane| lane.request.is_some()).count();
        if is_over || (self.is_leaving && asked == self.waiting.len()) {
            self.end(Outcome::ConnectionLost, freed, hear);
            return Health::Over;
        }
        Health::Well
    }

    /// From a socket to a connection that can be asked.
    fn open(&mut self, writable: bool, closing: bool) -> Result<(), ()> {
        self.state = match std::mem::take(&mut self.state) {
            State::Connecting(stream) if writable || closing => {
                let refused = !matches!(stream.socket().take_error(), Ok(None));
                match stream.socket().peer_addr() {
                    Ok(_) if !refused => State::Handshaking(stream),
                    Err(error) if !refused && error.kind() == ErrorKind::NotConnected && !closing => {
                        State::Connecting(stream)
                    }
                    _ => return Err(()),
                }
            }
            other => other,
        };
        self.state = match std::mem::take(&mut self.state) {
            State::Handshaking(mut stream) => match stream.shake_hands() {
                Ok(true) if stream.speaks_http2() => State::Opening(Box::pin(
                    Builder::new()
                        .enable_push(false)
                        .initial_window_size(WINDOW_BYTES)
                        .initial_connection_window_size(WINDOW_BYTES * 16)
                        .handshake(Socket(stream)),
                )),
                Ok(false) if !closing => State::Handshaking(stream),
                _ => return Err(()),
            },
            other => other,
        };
        self.state = match std::mem::take(&mut self.state) {
            State::Opening(mut opening) => {
                match opening.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                    Poll::Ready(opened) => State::Open(Box::new(opened.map_err(drop)?)),
                    Poll::Pending => State::Opening(opening),
                }
            }
            other => other,
        };
        Ok(())
    }

    /// Sends what waits, reads what has come. Whether the connection is over.
    fn drive(
        &mut self,
        requests_max: u32,
        hear: &mut impl FnMut(u32, InFlight, Result<&Response<'_>, Outcome>),
    ) -> bool {
        loop {
            self.woken.0.store(false, Ordering::Relaxed);
            self.hand_over(requests_max);
            let State::Open(opened) = &mut self.state else { return true };
            let mut context = Context::from_waker(&self.waker);
            let is_over = Pin::new(&mut opened.1).poll(&mut context).is_ready();
            while let Poll::Ready(Some(((lane, number), whole))) =
                Pin::new(&mut self.answers).poll_next(&mut context)
            {
                let place = &mut self.lanes[lane as usize];
                if place.number != number {
                    continue;
                }
                place.abort = None;
                let asked = place.asked.take();
                if let (Err(NoAnswer::NotTaken), Some((head, body)), true) =
                    (&whole, asked, place.request.is_some())
                {
                    self.waiting.push_front(((lane, number), head, body));
                    self.is_leaving = true;
                    continue;
                }
                let Some(request) = place.request.take() else { continue };
                match whole {
                    Err(_) => hear(lane, request, Err(Outcome::ConnectionLost)),
                    Ok(Whole { status, retry_after_ms, body }) => {
                        let consumed = body.len();
                        let body = Cow::Owned(body);
                        let answer = Response { status, keep_alive: true, retry_after_ms, body, consumed };
                        hear(lane, request, Ok(&answer));
                    }
                }
            }
            if is_over {
                return true;
            }
            if !self.woken.0.load(Ordering::Relaxed) {
                return false;
            }
        }
    }

    /// Hands what waits to the library, as much as the server takes at once.
    fn hand_over(&mut self, requests_max: u32) {
        let State::Open(opened) = &mut self.state else { return };
        let mut context = Context::from_waker(&self.waker);
        while !self.is_leaving && !self.waiting.is_empty() {
            match opened.0.poll_ready(&mut context) {
                Poll::Pending => return,
                // It has said goodbye. What waits is asked on the next connection.
                Poll::Ready(Err(_)) => self.is_leaving = true,
                Poll::Ready(Ok(())) => {
                    let Some((which, head, body)) = self.waiting.pop_front() else { return };
                    self.requests += 1;
                    self.is_leaving = requests_max > 0 && self.requests >= requests_max;
                    let place = &mut self.lanes[which.0 as usize];
                    place.asked = Some((head.clone(), body.clone()));
                    let (answering, abort) =
                        abortable(whole(opened.0.send_request(head, body.is_empty()), body));
                    place.abort = Some(abort);
                    let answer = async move { (which, answering.await.unwrap_or(Err(NoAnswer::Lost))) };
                    self.answers.push(Box::pin(answer));
                }
            }
        }
    }

    /// Closes it. Who has not been answered hears `outcome`, but those who were not sent yet: they stay.
    fn end(
        &mut self,
        outcome: Outcome,
        freed: &mut Vec<u32>,
        mut hear: impl FnMut(u32, InFlight, Result<&Response<'_>, Outcome>),
    ) {
        // One that could not be opened would fail them again and again.
        if outcome == Outcome::ConnectFailed {
            self.waiting.clear();
        }
        self.state = State::Closed;
        self.answers.clear();
        (self.requests, self.is_leaving) = (0, false);
        let waiting: Vec<u32> = self.waiting.iter().map(|((lane, _), ..)| *lane).collect();
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let number = number as u32;
            (lane.abort, lane.asked) = (None, None);
            if std::mem::take(&mut lane.is_parked) {
                freed.push(number);
            }
            if let Some(request) = lane.request.take_if(|_| !waiting.contains(&number)) {
                hear(number, request, Err(outcome));
            }
        }
    }

    /// Whether something waits for a connection to be opened.
    pub fn needs_connection(&self) -> bool {
        self.is_closed() && !self.waiting.is_empty()
    }
}

/// Reads an answer to its end.
async fn whole(
    sent: Result<(ResponseFuture, h2::SendStream<Bytes>), h2::Error>,
    body: Bytes,
) -> Result<Whole, NoAnswer> {
    let (answer, mut sending) = sent?;
    if !body.is_empty() {
        sending.send_data(body, true)?;
    }
    let (head, mut read) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = read.data().await {
        let data = data?;
        read.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(Whole { status: head.status.as_u16(), retry_after_ms: retry_after_ms(&head.headers), body })
}

fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    seconds_as_ms(headers.get(header::RETRY_AFTER)?.as_bytes())
}

/// A socket as the library wants it. Who is told to wait is woken by nobody: the worker comes back when the socket is
/// ready, and polls everything.
struct Socket(Stream);

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut self.get_mut().0;
        let read = pending_if_blocked(|| stream.read(buffer.initialize_unfilled()));
        read.map_ok(|read| buffer.advance(read))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = &mut self.get_mut().0;
        pending_if_blocked(|| stream.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut self.get_mut().0;
        match stream.flush() {
            Ok(()) if stream.is_flushed() => Poll::Ready(Ok(())),
            Ok(()) => Poll::Pending,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn pending_if_blocked(mut call: impl FnMut() -> io::Result<usize>) -> Poll<io::Result<usize>> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            done => return Poll::Ready(done),
        }
    }
}
