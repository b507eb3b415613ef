//! One connection: reads what has come, has it answered, and writes all of that at once.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::future::{Abortable, abortable};
use futures_util::stream::{FuturesUnordered, Stream};
use http2_wire::frame::{Code, FrameHead, HEAD_BYTES, PREFACE, kind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::super::Application;
use super::super::connection_timeout::{ConnectionTimeout, Signal, Wait};
use super::super::exchange::Exchange;
use super::super::transport::Transport;
use super::machine::{Answer, Machine};
use super::request_head::RequestHead;
use super::shared::Shared;
use super::streams::Answering;
use super::worker::{Answered, Busy, Worker};
use crate::telemetry::{Http2End, Telemetry};

/// Workers that are kept for requests to come.
const IDLE_WORKERS_MAX: usize = 8;

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client was told, and hears it if the connection is closed in order.
    Told,
    /// The client is gone, or is not to be waited for.
    Gone,
}

/// A connection that is served.
pub struct Served<'a, A> {
    shared: &'a Shared,
    exchange: &'a Exchange<A>,
    telemetry: &'a Telemetry,
    timeout: &'a Rc<ConnectionTimeout>,
    names_clients: bool,
    transport: Transport,
    machine: Machine,
    /// What was read of a frame that is not whole; the preface is one.
    rest: Bytes,
    /// Frames that are whole stand there, too: too much was to be written when their turn came.
    is_held_up: bool,
    has_preface: bool,
    /// Bytes of what is to be sent that have been written.
    written: usize,
    idle: Vec<Worker<'a>>,
    under_way: FuturesUnordered<Abortable<Busy<'a>>>,
    has_answered: bool,
    /// When to look again whether the client reads its answers.
    look: Option<Pin<Box<Sleep>>>,
}

/// What reading has come to.
enum Read {
    Something,
    Nothing,
    End,
}

impl<'a, A: Application> Served<'a, A> {
    pub fn new(
        shared: &'a Shared,
        exchange: &'a Exchange<A>,
        telemetry: &'a Telemetry,
        transport: Transport,
        timeout: &'a Rc<ConnectionTimeout>,
        names_clients: bool,
    ) -> Self {
        Self {
            machine: Machine::new(Rc::clone(&shared.limits), timeout.now()),
            shared,
            exchange,
            telemetry,
            timeout,
            names_clients,
            transport,
            rest: Bytes::new(),
            is_held_up: false,
            has_preface: false,
            written: 0,
            idle: Vec::new(),
            under_way: FuturesUnordered::new(),
            has_answered: false,
            look: None,
        }
    }

    /// What the connection travels in.
    pub fn into_transport(self) -> Transport {
        self.transport
    }

    /// Does what can be done now.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        match self.timeout.signal() {
            Signal::Serve | Signal::Rest => {}
            Signal::Leave if !self.has_answered => self.timeout.acknowledge(),
            Signal::Leave | Signal::Finish => {
                self.machine.end();
                self.timeout.acknowledge();
            }
            // The client hears which of its requests were looked at, and may make the others elsewhere.
            Signal::Drop if !self.is_closing() => {
                self.timeout.acknowledge();
                self.close(Code::NoError);
            }
            Signal::Drop => return Poll::Ready(Ended::Gone),
        }
        self.shared.lend_output(&mut self.machine.sender.out);
        let ended = self.work(context);
        self.shared.take_back_output(&mut self.machine.sender.out);
        if ended.is_pending() {
            self.machine.keep_few();
            self.note_wait();
        }
        ended
    }

    fn work(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        loop {
            while let Poll::Ready(Some(answered)) = Pin::new(&mut self.under_way).poll_next(context) {
                // Otherwise its stream was given up.
                if let Ok((worker, answered)) = answered {
                    self.send(answered);
                    self.keep(worker);
                }
            }
            self.look_at_readers(context);
            self.machine.send_on(self.timeout.now());
            let has_room = self.machine.sender.has_room();
            let read = if has_room && !self.is_closing() { self.read(context) } else { Read::Nothing };
            let written = match self.write(context) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Gone),
                Poll::Pending => false,
            };
            if written && self.machine.is_over() {
                return Poll::Ready(Ended::Told);
            }
            match read {
                Read::Something => {}
                Read::End => return Poll::Ready(Ended::Gone),
                Read::Nothing if written => {
                    self.machine.send_on(self.timeout.now());
                    if has_room && self.machine.sender.out.is_empty() {
                        return Poll::Pending;
                    }
                }
                Read::Nothing => return Poll::Pending,
            }
        }
    }

    /// Takes what was held up, or reads once and takes what is whole of that.
    fn read(&mut self, context: &mut Context<'_>) -> Read {
        if self.is_held_up {
            let held_up = self.rest.clone();
            let taken = self.take(&held_up, context);
            self.rest.advance(taken);
            if !self.is_held_up {
                // An empty piece would keep the memory of all that was held up.
                self.rest = Bytes::copy_from_slice(&self.rest);
            }
            return Read::Something;
        }
        let mut input = self.shared.take_input();
        let begun = self.rest.len();
        input[..begun].copy_from_slice(&self.rest);
        let mut buffer = ReadBuf::new(&mut input[begun..]);
        let read = Pin::new(&mut self.transport).poll_read(context, &mut buffer);
        let end = begun + buffer.filled().len();
        let read = match read {
            Poll::Pending => Read::Nothing,
            Poll::Ready(Ok(())) if end > begun => {
                let taken = self.take(&input[..end], context);
                self.rest = Bytes::copy_from_slice(&input[taken..end]);
                Read::Something
            }
            Poll::Ready(_) => Read::End,
        };
        self.shared.give_input(input);
        read
    }

    /// Takes the frames that are whole, as far as there is room for what they ask for: each may be a request of some
    /// bytes whose answer has some hundred. Returns how many bytes they have.
    fn take(&mut self, bytes: &[u8], context: &mut Context<'_>) -> usize {
        let now = self.timeout.now();
        self.is_held_up = false;
        let mut at = 0;
        if !self.has_preface {
            let begun = &bytes[..bytes.len().min(PREFACE.len())];
            if !PREFACE.starts_with(begun) {
                self.fail(Code::Protocol);
                return bytes.len();
            }
            if begun.len() < PREFACE.len() {
                return 0;
            }
            self.has_preface = true;
            at = PREFACE.len();
        }
        while let Some(head) = FrameHead::read(&bytes[at..]) {
            if !self.machine.sender.has_room() {
                self.is_held_up = true;
                return at;
            }
            if !head.has_fitting_length() {
                self.fail(Code::FrameSize);
                return bytes.len();
            }
            let end = at + HEAD_BYTES + head.length;
            let Some(payload) = bytes.get(at + HEAD_BYTES..end) else { break };
            match self.machine.take(head, payload, now) {
                Ok(None) => {}
                Ok(Some(request)) => self.answer(request, context),
                Err(code) => {
                    self.fail(code);
                    return bytes.len();
                }
            }
            at = end;
        }
        while let Some(request) = self.machine.next_waiting() {
            self.answer(request, context);
        }
        at
    }

    /// Has a request answered; the answer is sent at once, or when it comes.
    fn answer(&mut self, request: Box<RequestHead>, context: &mut Context<'_>) {
        let stream = request.stream;
        let mut worker = self.idle.pop().unwrap_or_else(|| Worker::new(self.exchange, self.names_clients));
        match worker.ask(request, context) {
            Poll::Ready(answered) => {
                self.send(answered);
                self.keep(worker);
            }
            Poll::Pending => {
                let (busy, handle) = abortable(Busy::new(worker));
                self.machine.is_answered_by(stream, Answering(handle));
                self.under_way.push(busy);
            }
        }
    }

    fn keep(&mut self, worker: Worker<'a>) {
        if self.idle.len() < IDLE_WORKERS_MAX {
            self.idle.push(worker);
        }
    }

    fn send(&mut self, answered: Answered) {
        let Answered { request, reply, names } = answered;
        let is_head = request.method() == "HEAD";
        let body = if is_head { Bytes::new() } else { reply.body.clone() };
        let answer = Answer { body, now: self.timeout.now() };
        let (openings, date) = (&self.shared.openings, self.exchange.date());
        self.machine.answer(request.stream, answer, |out| openings.write(out, &reply, names, date.as_ref()));
        self.machine.give_back(request);
        self.has_answered = true;
        if !self.is_closing() {
            self.timeout.waits_for(Wait::Request);
        }
        if self.exchange.is_leaving() || !self.shared.keep_alive {
            self.machine.end();
        }
    }

    fn write(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let out = &mut self.machine.sender.out;
        while self.written < out.len() {
            let more = ready!(Pin::new(&mut self.transport).poll_write(context, &out[self.written..]))?;
            if more == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.written += more;
        }
        out.clear();
        self.written = 0;
        Pin::new(&mut self.transport).poll_flush(context)
    }

    /// Gives up the answers for which a client opens no window; and the connection, where nothing else is under way.
    fn look_at_readers(&mut self, context: &mut Context<'_>) {
        while let Some(since) = self.machine.unread_since() {
            let end = Instant::from_std(since + self.shared.unread_max);
            let look = self.look.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
            if look.as_mut().poll(context).is_pending() {
                // It wakes the task.
                return;
            }
            if Instant::now() < end {
                look.as_mut().reset(end);
                continue;
            }
            self.look = None;
            self.machine.give_up_unread(since);
            if self.machine.is_quiet() {
                self.telemetry.http2.ended(Http2End::Unread);
                self.close(Code::EnhanceYourCalm);
            }
        }
        self.look = None;
    }

    /// Ends the connection for what the client has done.
    fn fail(&mut self, code: Code) {
        let is_flood = code == Code::EnhanceYourCalm;
        self.telemetry.http2.ended(if is_flood { Http2End::Flood } else { Http2End::Malformed });
        self.close(code);
    }

    /// Tells the client that the connection ends, and gives up everything else.
    fn close(&mut self, code: Code) {
        self.machine.end_now(code);
        self.under_way = FuturesUnordered::new();
        self.look = None;
        self.timeout.waits_for(Wait::Close);
    }

    fn is_closing(&self) -> bool {
        self.timeout.wait() == Wait::Close
    }

    /// Notes what the connection waits for, each wait from its beginning.
    fn note_wait(&self) {
        // Behind its length stands a frame's kind. Half a ping is no sign of a request, and of what we have held up
        // ourselves the client owes nothing.
        let owes_rest = !self.is_held_up && self.rest.get(3) == Some(&kind::HEADERS);
        let is_within = !self.has_preface || owes_rest || self.machine.is_within_header();
        let wait = match self.timeout.wait() {
            Wait::Close => Wait::Close,
            _ if !self.machine.is_quiet() => Wait::Answer,
            _ if is_within => Wait::Header,
            _ if self.machine.is_ending() => Wait::Farewell,
            _ => Wait::Request,
        };
        if self.timeout.wait() != wait {
            self.timeout.waits_for(wait);
        }
    }
}

#[cfg(test)]
mod tests;
