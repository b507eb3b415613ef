//! The rules of a connection (RFC 9113) for the side that asks.

mod answers;

use std::sync::Arc;

use http2_wire::frame::{
    Code, FrameHead, HEAD_BYTES, PAYLOAD_BYTES_MAX, PREFACE, WINDOW_BYTES, WINDOW_BYTES_MAX, flag, kind,
    number, setting, widened,
};
use http2_wire::write;

use super::decode::Decoder;
use super::encode::{Asked, Common, Encoder};
use super::streams::{Stream, Streams};
use crate::wire::response::{HEAD_BYTES_MAX, Response};

/// Bytes of answers that the server may send ahead on a stream, and on all together: more than all that can be under way
/// have.
const STREAM_WINDOW_BYTES: i64 = 1 << 20;
const ALL_WINDOW_BYTES: i64 = STREAM_WINDOW_BYTES * 16;

/// Streams that may be open before the server has said how many.
const STREAMS_MAX_UNTOLD: u32 = 100;

/// Bytes that the server has not taken beyond which nothing more is asked.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// Frames that only want an answer, and have not been answered because the server takes nothing: more is a flood.
const OWED_MAX: u32 = 10_000;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The server has said that it did not look at the request (RFC 9113, 6.8 and 8.7): it can be asked again: on
    /// this connection, unless it is going away.
    NotTaken,
    /// It was given up, or made no sense.
    Lost,
}

/// Who is told what became of requests, each with its lane.
pub type Hear<'a> = dyn FnMut(u32, Result<&Response<'_>, NoAnswer>) + 'a;

/// A header block whose end is still to come.
#[derive(Debug)]
struct BegunHeader {
    stream: u32,
    is_end: bool,
    block: Vec<u8>,
}

/// One connection: what is to be sent, and what has come.
#[derive(Debug)]
pub struct Client {
    common: Arc<Common>,
    out: Vec<u8>,
    /// How much of that has been sent.
    sent: usize,
    /// Answers to the server's own frames in it.
    owed: u32,
    /// A frame whose end is still to come.
    partial: Vec<u8>,
    header: Option<BegunHeader>,
    encoder: Encoder,
    decoder: Decoder,
    streams: Streams,
    /// How many the server lets be open.
    streams_max: u32,
    /// Bytes of requests' bodies that it has room for: on a stream that begins, and on all together.
    first_window: i64,
    send_window: i64,
    frame_bytes_max: usize,
    /// Bytes of answers' bodies that it may still send.
    receive_window: i64,
    has_settings: bool,
    /// The last stream that it takes, once it has said so.
    last_taken: Option<u32>,
}

impl Client {
    /// One that has said who it is, and asked nothing, with this many lanes.
    pub fn new(common: Arc<Common>, lanes: u32) -> Self {
        let mut client = Self {
            out: PREFACE.to_vec(),
            sent: 0,
            owed: 0,
            partial: Vec::new(),
            header: None,
            encoder: Encoder::new(&common),
            decoder: Decoder::default(),
            streams: Streams::new(lanes),
            streams_max: STREAMS_MAX_UNTOLD,
            first_window: WINDOW_BYTES,
            send_window: WINDOW_BYTES,
            frame_bytes_max: PAYLOAD_BYTES_MAX,
            receive_window: ALL_WINDOW_BYTES,
            has_settings: false,
            last_taken: None,
            common,
        };
        let settings = [
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES as u32),
            (setting::MAX_HEADER_LIST_SIZE, HEAD_BYTES_MAX as u32),
        ];
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        write::frame(&mut client.out, kind::SETTINGS, 0, 0, &payload);
        write::window_update(&mut client.out, 0, (ALL_WINDOW_BYTES - WINDOW_BYTES) as u32);
        client
    }

    /// What is to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// So much of it has been.
    pub fn note_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.out.len() {
            self.out.clear();
            (self.sent, self.owed) = (0, 0);
        } else if self.sent > UNSENT_BYTES_MAX {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Whether a request can be sent now.
    pub fn may_ask(&self) -> bool {
        self.streams.open_count() < self.streams_max as usize
            && self.unsent().len() < UNSENT_BYTES_MAX
            && !self.is_leaving()
    }

    /// Whether no request can be sent any more.
    pub fn is_leaving(&self) -> bool {
        self.last_taken.is_some() || self.streams.are_used_up()
    }

    /// Requests that wait for an answer.
    pub fn under_way(&self) -> usize {
        self.streams.open_count()
    }

    /// Sends a request. To be called when it [may](Self::may_ask), for a lane in which none is under way.
    pub fn ask(&mut self, lane: u32, asked: &Asked) {
        let stream = self.streams.open(lane, self.first_window, STREAM_WINDOW_BYTES);
        let (encoder, common) = (&mut self.encoder, &self.common);
        write::headers(&mut self.out, stream.number, asked.body.is_empty(), self.frame_bytes_max, |out| {
            encoder.write(common, asked, out);
        });
        if !asked.body.is_empty() {
            stream.unsent.extend_from_slice(&asked.body);
            send_body(&mut self.out, stream, &mut self.send_window, self.frame_bytes_max);
        }
    }

    /// Gives up on what is under way in a lane, and tells the server.
    pub fn give_up(&mut self, lane: u32) {
        if let Some(stream) = self.streams.close(lane) {
            write::reset(&mut self.out, stream, Code::Cancel);
        }
    }

    /// Tells the server why the connection ends. Nothing that it says is read after this.
    pub fn fail(&mut self, code: Code) {
        write::go_away(&mut self.out, 0, code);
    }

    /// Takes what the server has sent. `hear` is told what became of requests, each with its lane, which is free then.
    ///
    /// # Errors
    /// The code with which the connection ends.
    pub fn read(&mut self, mut bytes: &[u8], hear: &mut Hear<'_>) -> Result<(), Code> {
        // The usual frame has come whole and is read where it lies; of another the rest is waited for.
        while !self.partial.is_empty() {
            let wanted = frame_bytes(&self.partial)?.unwrap_or(HEAD_BYTES);
            let (more, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(more);
            bytes = rest;
            match frame_bytes(&self.partial)? {
                Some(whole) if whole == self.partial.len() => {
                    let mut frame = std::mem::take(&mut self.partial);
                    self.frame(&frame, hear)?;
                    frame.clear();
                    self.partial = frame;
                    break;
                }
                _ if bytes.is_empty() => return Ok(()),
                _ => {}
            }
        }
        while let Some(length) = frame_bytes(bytes)?
            && let Some((frame, rest)) = bytes.split_at_checked(length)
        {
            self.frame(frame, hear)?;
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn frame(&mut self, frame: &[u8], hear: &mut Hear<'_>) -> Result<(), Code> {
        let Some(head) = FrameHead::read(frame) else { return Ok(()) };
        let payload = &frame[HEAD_BYTES..];
        if !self.has_settings && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Code::Protocol);
        }
        let goes_on = self.header.as_ref().map(|header| header.stream);
        if goes_on.is_some_and(|stream| head.kind != kind::CONTINUATION || head.stream != stream) {
            return Err(Code::Protocol);
        }
        let is_of_all = matches!(head.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        let is_of_one = matches!(
            head.kind,
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION
        );
        let is_idle = head.stream != 0 && !self.streams.has_begun(head.stream);
        if is_of_all && head.stream != 0
            || is_of_one && head.stream == 0
            || is_idle && (is_of_one || head.kind == kind::WINDOW_UPDATE) && head.kind != kind::PRIORITY
        {
            return Err(Code::Protocol);
        }
        match head.kind {
            kind::DATA => self.data(head, payload, hear),
            kind::HEADERS => {
                let block = head.content(payload)?;
                let is_end = head.has(flag::END_STREAM);
                if head.has(flag::END_HEADERS) {
                    return self.header(head.stream, is_end, block, hear);
                }
                self.header = Some(BegunHeader { stream: head.stream, is_end, block: block.to_vec() });
                Ok(())
            }
            kind::CONTINUATION => self.continuation(head, payload, hear),
            kind::RST_STREAM => {
                if let Some(lane) = self.streams.lane_of(head.stream) {
                    self.streams.close(lane);
                    let is_refused = number(payload) == Code::RefusedStream as u32;
                    hear(lane, Err(if is_refused { NoAnswer::NotTaken } else { NoAnswer::Lost }));
                }
                Ok(())
            }
            kind::SETTINGS if head.has(flag::ACK) => Ok(()),
            kind::SETTINGS => self.settings(payload),
            kind::PING if head.has(flag::ACK) => Ok(()),
            kind::PING => {
                write::frame(&mut self.out, kind::PING, flag::ACK, 0, payload);
                self.owe()
            }
            kind::GOAWAY => self.go_away(payload, hear),
            kind::WINDOW_UPDATE => self.window_update(head.stream, number(payload), hear),
            kind::PUSH_PROMISE => Err(Code::Protocol),
            _ => Ok(()),
        }
    }

    fn settings(&mut self, payload: &[u8]) -> Result<(), Code> {
        if !self.has_settings {
            (self.has_settings, self.streams_max) = (true, u32::MAX);
        }
        for entry in payload.chunks_exact(6) {
            let value = number(&entry[2..]);
            match u16::from_be_bytes([entry[0], entry[1]]) {
                setting::HEADER_TABLE_SIZE => self.encoder.set_table_bytes_max(value),
                setting::ENABLE_PUSH if value != 0 => return Err(Code::Protocol),
                setting::MAX_CONCURRENT_STREAMS => self.streams_max = value,
                setting::INITIAL_WINDOW_SIZE => {
                    if i64::from(value) > WINDOW_BYTES_MAX {
                        return Err(Code::FlowControl);
                    }
                    let change = i64::from(value) - self.first_window;
                    self.first_window = i64::from(value);
                    for (_, stream) in self.streams.iter_mut() {
                        stream.send_window =
                            widened(stream.send_window, change).map_err(|_| Code::FlowControl)?;
                    }
                }
                setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                    return Err(Code::Protocol);
                }
                setting::MAX_FRAME_SIZE => self.frame_bytes_max = value as usize,
                _ => {}
            }
        }
        write::frame(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
        self.send_bodies();
        self.owe()
    }

    fn go_away(&mut self, payload: &[u8], hear: &mut Hear<'_>) -> Result<(), Code> {
        let (last, code) = (number(payload) & i32::MAX as u32, number(&payload[4..]));
        if self.last_taken.is_some_and(|before| last > before) {
            return Err(Code::Protocol);
        }
        self.last_taken = Some(last);
        let why = if code == Code::NoError as u32 { NoAnswer::NotTaken } else { NoAnswer::Lost };
        for lane in self.streams.above(last) {
            self.streams.close(lane);
            hear(lane, Err(why));
        }
        Ok(())
    }

    fn window_update(&mut self, stream: u32, bytes: u32, hear: &mut Hear<'_>) -> Result<(), Code> {
        let more = i64::from(bytes & i32::MAX as u32);
        if stream == 0 {
            if more == 0 {
                return Err(Code::Protocol);
            }
            self.send_window = widened(self.send_window, more).map_err(|_| Code::FlowControl)?;
            self.send_bodies();
            return Ok(());
        }
        let Some(lane) = self.streams.lane_of(stream) else { return Ok(()) };
        let stream = self.streams.at(lane);
        match widened(stream.send_window, more) {
            _ if more == 0 => self.break_off(lane, Code::Protocol, hear),
            Ok(window) => {
                stream.send_window = window;
                send_body(&mut self.out, stream, &mut self.send_window, self.frame_bytes_max);
            }
            Err(_) => self.break_off(lane, Code::FlowControl, hear),
        }
        Ok(())
    }

    /// Sends what there is room for now of bodies that had to wait.
    fn send_bodies(&mut self) {
        for (_, stream) in self.streams.iter_mut() {
            send_body(&mut self.out, stream, &mut self.send_window, self.frame_bytes_max);
        }
    }

    /// Notes that a frame was answered.
    fn owe(&mut self) -> Result<(), Code> {
        self.owed += 1;
        if self.owed > OWED_MAX { Err(Code::EnhanceYourCalm) } else { Ok(()) }
    }
}

/// How long the frame is that the bytes begin with; none if they do not tell yet.
///
/// # Errors
/// Its kind may not have this length, or nothing we take may.
fn frame_bytes(bytes: &[u8]) -> Result<Option<usize>, Code> {
    match FrameHead::read(bytes) {
        Some(head) if !head.has_fitting_length() => Err(Code::FrameSize),
        head => Ok(head.map(|head| HEAD_BYTES + head.length)),
    }
}

/// As much of what is unsent as the windows have room for, with the end behind the last of it.
fn send_body(out: &mut Vec<u8>, stream: &mut Stream, window: &mut i64, frame_bytes_max: usize) {
    while !stream.unsent.is_empty() {
        let room = (*window).min(stream.send_window).max(0) as usize;
        let length = stream.unsent.len().min(room).min(frame_bytes_max);
        if length == 0 {
            return;
        }
        let end = if length == stream.unsent.len() { flag::END_STREAM } else { 0 };
        write::frame(out, kind::DATA, end, stream.number, &stream.unsent[..length]);
        stream.unsent.drain(..length);
        *window -= length as i64;
        stream.send_window -= length as i64;
    }
}

#[cfg(test)]
mod tests;
