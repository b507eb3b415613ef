//! The rules of a connection (RFC 9113): frames in, requests out, and what is to be sent in answer to the frames
//! themselves. Knows no socket and reads no clock.

mod requests;

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http2_wire::frame::{
    Code, FrameHead, WINDOW_BYTES, WINDOW_BYTES_MAX, flag, kind, number, setting, widened,
};

use super::super::http2_settings::Http2Settings;
use super::credit::Credit;
use super::hpack_decoder::Decoder;
use super::hpack_encoder::write_status;
use super::request_head::{HeadLimits, RequestHead};
use super::sender::Sender;
use super::streams::{Answering, Streams, Unsent};

/// What our own question says that a client answers when it has heard that we end.
const FAREWELL: &[u8; 8] = b"farewell";

/// Requests in whose memory others are read.
const SPARE_MAX: usize = 8;

/// What one connection may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    pub http2: Http2Settings,
    /// Fields of a request.
    pub headers_max: usize,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
}

/// One connection.
#[derive(Debug)]
pub struct Machine {
    limits: Rc<Limits>,
    head_limits: HeadLimits,
    pub sender: Sender,
    streams: Streams,
    credit: Credit,
    decoder: Decoder,
    #[expect(clippy::vec_box, reason = "they are handed on as they are")]
    spare: Vec<Box<RequestHead>>,
    /// A header whose end is to come in another frame.
    header: Option<BegunHeader>,
    has_settings: bool,
    /// The highest stream that the client has opened, and the highest whose request was looked at.
    last_opened: u32,
    last_taken: u32,
    /// Bytes of bodies that the client may send, and what of them was read since we last said so.
    receive_window: i64,
    read: u32,
    /// Requests that wait for somebody to look at them; those that were taken back before.
    waiting: usize,
    taken_back: usize,
    /// Streams that we have ended before the client did, and where the next of them is noted.
    ended: Vec<u32>,
    next_ended: usize,
    unsent: usize,
    ending: Ending,
}

#[derive(Debug)]
struct BegunHeader {
    stream: u32,
    is_end: bool,
    bytes: Vec<u8>,
}

/// How far the connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    No,
    /// The client was told, and asked whether it has heard.
    Announced,
    /// No requests are taken but those that were.
    Draining,
    /// Nothing is taken any more.
    Over,
}

/// An answer, but for its header block.
#[derive(Debug)]
pub struct Answer {
    /// Nothing, where there is none or the request asks for the header alone.
    pub body: Bytes,
    pub now: Instant,
}

impl Machine {
    /// A connection that has just begun; our settings are to be sent.
    pub fn new(limits: Rc<Limits>, now: Instant) -> Self {
        let http2 = &limits.http2;
        let mut sender = Sender::new(http2.send_buffer_bytes_max);
        let mut payload = Vec::with_capacity(18);
        for (id, value) in [
            (setting::MAX_CONCURRENT_STREAMS, http2.streams_max),
            (setting::INITIAL_WINDOW_SIZE, http2.stream_window_bytes),
            (setting::MAX_HEADER_LIST_SIZE, http2.header_list_bytes_max),
        ] {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        sender.frame(kind::SETTINGS, 0, 0, &payload);
        let receive_window = i64::from(http2.connection_window_bytes).max(WINDOW_BYTES);
        if receive_window > WINDOW_BYTES {
            sender.window_update(0, (receive_window - WINDOW_BYTES) as u32);
        }
        Self {
            head_limits: HeadLimits {
                list_bytes: http2.header_list_bytes_max as usize,
                fields: limits.headers_max,
            },
            credit: Credit::new(http2.control_frames_max, http2.errors_max, now),
            sender,
            streams: Streams::default(),
            decoder: Decoder::default(),
            spare: Vec::new(),
            header: None,
            has_settings: false,
            last_opened: 0,
            last_taken: 0,
            receive_window,
            read: 0,
            waiting: 0,
            taken_back: 0,
            ended: Vec::new(),
            next_ended: 0,
            unsent: 0,
            ending: Ending::No,
            limits,
        }
    }

    /// Takes a frame of a length that its kind may have. Returns a request that is here as a whole.
    ///
    /// # Errors
    /// The code with which the connection has to end.
    pub fn take(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Instant,
    ) -> Result<Option<Box<RequestHead>>, Code> {
        if !self.has_settings {
            if head.kind != kind::SETTINGS || head.has(flag::ACK) {
                return Err(Code::Protocol);
            }
            self.has_settings = true;
        }
        self.credit.pay_for_body(self.sender.take_body_bytes());
        self.credit.charge(head, now).map_err(|_| Code::EnhanceYourCalm)?;
        let goes_on = self.header.as_ref().map(|header| header.stream);
        if goes_on.is_some_and(|stream| head.kind != kind::CONTINUATION || head.stream != stream) {
            return Err(Code::Protocol);
        }
        match head.kind {
            kind::DATA => self.data(head, payload),
            kind::HEADERS => self.headers(head, payload, now),
            kind::CONTINUATION => self.continuation(head, payload, now),
            kind::RST_STREAM => self.taken_back(head.stream).map(|()| None),
            kind::SETTINGS => self.settings(head, payload, now).map(|()| None),
            kind::PING => self.ping(head, payload).map(|()| None),
            kind::WINDOW_UPDATE => self.window_update(head.stream, number(payload), now).map(|()| None),
            kind::PRIORITY if head.stream == 0 => Err(Code::Protocol),
            kind::GOAWAY if head.stream != 0 => Err(Code::Protocol),
            kind::PUSH_PROMISE => Err(Code::Protocol),
            // What a client prefers, or that it will ask no more, and what we do not know.
            _ => Ok(None),
        }
    }

    /// A request whose body is still to come and that nobody looks at yet. To be asked for when everything that was
    /// read has been taken.
    pub fn next_waiting(&mut self) -> Option<Box<RequestHead>> {
        self.taken_back = 0;
        if self.waiting == 0 {
            return None;
        }
        let mut waiting = self.streams.iter_mut().filter_map(|stream| stream.request.take());
        let request = waiting.next()?;
        drop(waiting);
        self.waiting -= 1;
        let may_come = request.length().unwrap_or(0) <= self.limits.body_bytes_max as u64;
        if request.expects_continue() && may_come && request.body.is_open() {
            self.sender.headers(request.stream, false, |out| write_status(out, 100));
        }
        Some(request)
    }

    /// Sends an answer whose header block is what `write` appends, as far as there is room. False when its request
    /// has been taken back.
    pub fn answer(&mut self, number: u32, answer: Answer, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(stream) = self.streams.get(number) else { return false };
        let Answer { body, now } = answer;
        self.sender.headers(number, body.is_empty(), write);
        let mut has_ended = body.is_empty();
        if !has_ended {
            stream.unsent = Some(Unsent { body, since: now });
            has_ended = self.sender.send_on(stream, now);
            if !has_ended {
                self.unsent += 1;
                // The request is over: more of its body goes nowhere.
                stream.body = stream.body.take().map(|_| Rc::default());
            }
        }
        if has_ended {
            self.close(number);
        }
        self.credit.pay();
        true
    }

    /// Sends what there is room for now of answers that were too long.
    pub fn send_on(&mut self, now: Instant) {
        if self.unsent == 0 {
            return;
        }
        let mut ended = Vec::new();
        for stream in self.streams.iter_mut() {
            if self.sender.send_on(stream, now) {
                stream.unsent = None;
                ended.push(stream.number);
            }
        }
        self.unsent -= ended.len();
        ended.into_iter().for_each(|number| self.close(number));
    }

    /// Since when the client has taken nothing of an answer: the longest of such times.
    pub fn unread_since(&self) -> Option<Instant> {
        if self.unsent == 0 { None } else { self.streams.unsent().map(|(_, since)| since).min() }
    }

    /// Gives back the memory of a request that was answered. While nothing is under way, that of one is enough.
    pub fn give_back(&mut self, mut request: Box<RequestHead>) {
        request.put_away();
        self.spare.push(request);
        self.keep_few();
    }

    /// Keeps the memory of few requests, and of one while nothing is under way.
    pub fn keep_few(&mut self) {
        self.spare.truncate(if self.is_quiet() { 1 } else { SPARE_MAX });
    }

    /// Notes who answers a request. Given up with its stream.
    pub fn is_answered_by(&mut self, number: u32, answering: Answering) {
        if let Some(stream) = self.streams.get(number) {
            stream.answering = Some(answering);
        }
    }

    /// Tells the client that the connection ends, and takes the requests that it has sent before it hears that.
    pub fn end(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Announced;
            self.sender.go_away(WINDOW_BYTES_MAX as u32, Code::NoError);
            self.sender.frame(kind::PING, 0, 0, FAREWELL);
        }
    }

    /// Tells the client why the connection ends, and gives up everything.
    pub fn end_now(&mut self, code: Code) {
        self.sender.go_away(self.last_taken, code);
        self.ending = Ending::Over;
        self.streams.clear();
        (self.waiting, self.unsent) = (0, 0);
    }

    /// Whether the client was told that the connection ends.
    pub fn is_ending(&self) -> bool {
        self.ending != Ending::No
    }

    /// Whether everything has been done that was promised.
    pub fn is_over(&self) -> bool {
        self.ending == Ending::Over || self.ending == Ending::Draining && self.streams.is_empty()
    }

    /// Whether no request is under way.
    pub fn is_quiet(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether the client owes the rest of a header, or has not begun.
    pub fn is_within_header(&self) -> bool {
        self.header.is_some() || !self.has_settings
    }

    fn settings(&mut self, head: FrameHead, payload: &[u8], now: Instant) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::Protocol);
        }
        if head.has(flag::ACK) {
            return Ok(());
        }
        for entry in payload.chunks_exact(6) {
            let value = number(&entry[2..]);
            match u16::from_be_bytes([entry[0], entry[1]]) {
                setting::HEADER_TABLE_SIZE => self.sender.set_table_bytes_max(value),
                setting::ENABLE_PUSH if value > 1 => return Err(Code::Protocol),
                setting::INITIAL_WINDOW_SIZE => {
                    if i64::from(value) > WINDOW_BYTES_MAX {
                        return Err(Code::FlowControl);
                    }
                    let change = self.sender.set_first_window(value);
                    for stream in self.streams.iter_mut() {
                        stream.send_window =
                            widened(stream.send_window, change).map_err(|_| Code::FlowControl)?;
                    }
                }
                setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                    return Err(Code::Protocol);
                }
                setting::MAX_FRAME_SIZE => self.sender.set_frame_bytes_max(value),
                _ => {}
            }
        }
        self.sender.frame(kind::SETTINGS, flag::ACK, 0, &[]);
        self.send_on(now);
        Ok(())
    }

    fn ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::Protocol);
        }
        if !head.has(flag::ACK) {
            self.sender.frame(kind::PING, flag::ACK, 0, payload);
        } else if self.ending == Ending::Announced && payload == FAREWELL {
            self.ending = Ending::Draining;
            self.sender.go_away(self.last_taken, Code::NoError);
        }
        Ok(())
    }

    fn window_update(&mut self, number: u32, bytes: u32, now: Instant) -> Result<(), Code> {
        let bytes = bytes & 0x7fff_ffff;
        if number == 0 {
            if bytes == 0 {
                return Err(Code::Protocol);
            }
            self.sender.widen(bytes).map_err(|_| Code::FlowControl)?;
            self.send_on(now);
            return Ok(());
        }
        self.opened(number)?;
        let Some(stream) = self.streams.get(number) else { return Ok(()) };
        let fault = match widened(stream.send_window, i64::from(bytes)) {
            _ if bytes == 0 => Code::Protocol,
            Ok(window) => {
                stream.send_window = window;
                self.send_on(now);
                return Ok(());
            }
            Err(_) => Code::FlowControl,
        };
        self.fails(number, fault).map(drop)
    }
}

#[cfg(test)]
mod tests;
