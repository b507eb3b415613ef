//! Requests as they come: headers, bodies, and what of them is taken back or wrong.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http2_wire::frame::{Code, FrameHead, WINDOW_BYTES, flag};

use super::super::hpack_encoder::write_status;
use super::super::request_head::RequestHead;
use super::super::streams::Stream;
use super::{Answer, BegunHeader, Ending, Machine};

/// Streams that we have ended and on which more may come that was on its way.
const ENDED_MAX: usize = 256;

impl Machine {
    pub(super) fn headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Instant,
    ) -> Result<Option<Box<RequestHead>>, Code> {
        let number = head.stream;
        let block = head.content(payload)?;
        if number.is_multiple_of(2) {
            return Err(Code::Protocol);
        }
        if number > self.last_opened {
            self.last_opened = number;
        } else if self.streams.get(number).is_none()
            && !self.was_ended(number)
            && self.ending < Ending::Draining
        {
            return Err(Code::Protocol);
        }
        let is_end = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.header(number, is_end, block, now);
        }
        self.header = Some(BegunHeader { stream: number, is_end, bytes: block.to_vec() });
        Ok(None)
    }

    pub(super) fn continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        now: Instant,
    ) -> Result<Option<Box<RequestHead>>, Code> {
        let mut header = self.header.take().ok_or(Code::Protocol)?;
        header.bytes.extend_from_slice(payload);
        if header.bytes.len() > self.head_limits.flood_bytes() {
            return Err(Code::EnhanceYourCalm);
        }
        if head.has(flag::END_HEADERS) {
            return self.header(header.stream, header.is_end, &header.bytes, now);
        }
        self.header = Some(header);
        Ok(None)
    }

    /// A whole header: a request's, or what stands behind its body. Read in any case: later ones build upon it.
    fn header(
        &mut self,
        number: u32,
        is_end: bool,
        block: &[u8],
        now: Instant,
    ) -> Result<Option<Box<RequestHead>>, Code> {
        let mut request = self.spare.pop().unwrap_or_default();
        request.begin(number);
        let limits = self.head_limits;
        self.decoder.read(block, |field| request.take(field, limits))?;
        if self.streams.get(number).is_some() {
            let is_trailer = is_end && request.is_trailer();
            self.give_back(request);
            return if is_trailer { self.body_ends(number) } else { self.fails(number, Code::Protocol) };
        }
        let is_late = self.ending >= Ending::Draining || self.was_ended(number);
        if is_late || self.streams.len() >= self.limits.http2.streams_max as usize {
            self.give_back(request);
            if !is_late {
                self.reset(number, Code::RefusedStream);
            }
            return Ok(None);
        }
        self.last_taken = number;
        let is_too_large = request.is_too_large();
        if !is_too_large && !request.is_request(is_end) {
            self.give_back(request);
            return self.fails(number, Code::Protocol);
        }
        request.body.begin(!is_end);
        self.streams.add(Stream {
            number,
            send_window: self.sender.first_window(),
            receive_window: i64::from(self.limits.http2.stream_window_bytes).max(WINDOW_BYTES),
            read: 0,
            due: request.length(),
            body: (!is_end).then(|| Rc::clone(&request.body)),
            request: None,
            answering: None,
            unsent: None,
        });
        if is_too_large {
            self.give_back(request);
            self.answer(number, Answer { body: Bytes::new(), now }, |out| write_status(out, 431));
            return Ok(None);
        }
        if is_end {
            return Ok(Some(request));
        }
        if let Some(stream) = self.streams.get(number) {
            stream.request = Some(request);
            self.waiting += 1;
        }
        Ok(None)
    }

    pub(super) fn data(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Box<RequestHead>>, Code> {
        let number = head.stream;
        self.opened(number)?;
        let piece = head.content(payload)?;
        // Padding counts, and whatever comes is out of our way at once.
        self.receive_window -= head.length as i64;
        if self.receive_window < 0 {
            return Err(Code::FlowControl);
        }
        self.read += head.length as u32;
        if self.read >= self.limits.http2.connection_window_bytes.max(WINDOW_BYTES as u32) / 2 {
            self.sender.window_update(0, self.read);
            self.receive_window += i64::from(std::mem::take(&mut self.read));
        }
        let body_bytes_max = self.limits.body_bytes_max;
        let half = self.limits.http2.stream_window_bytes / 2;
        let Some(stream) = self.streams.get(number) else {
            return if self.was_ended(number) || self.ending >= Ending::Draining {
                Ok(None)
            } else {
                Err(Code::StreamClosed)
            };
        };
        let Some(body) = &stream.body else { return self.fails(number, Code::StreamClosed) };
        stream.receive_window -= head.length as i64;
        if stream.receive_window < 0 {
            return self.fails(number, Code::FlowControl);
        }
        if let Some(due) = &mut stream.due {
            match due.checked_sub(piece.len() as u64) {
                Some(left) => *due = left,
                None => return self.fails(number, Code::Protocol),
            }
        }
        body.add(piece, body_bytes_max);
        if head.has(flag::END_STREAM) {
            return self.body_ends(number);
        }
        if body.is_too_large() {
            let request = stream.request.take();
            self.waiting -= usize::from(request.is_some());
            return Ok(request);
        }
        stream.read += head.length as u32;
        if stream.read >= half {
            self.sender.window_update(number, stream.read);
            stream.receive_window += i64::from(std::mem::take(&mut stream.read));
        }
        Ok(None)
    }

    /// The client has sent all of a request.
    fn body_ends(&mut self, number: u32) -> Result<Option<Box<RequestHead>>, Code> {
        let Some(stream) = self.streams.get(number) else { return Ok(None) };
        let Some(body) = stream.body.take() else { return self.fails(number, Code::StreamClosed) };
        if stream.due.unwrap_or(0) != 0 {
            return self.fails(number, Code::Protocol);
        }
        body.end();
        let request = stream.request.take();
        self.waiting -= usize::from(request.is_some());
        Ok(request)
    }

    /// The client takes a request back.
    pub(super) fn taken_back(&mut self, number: u32) -> Result<(), Code> {
        self.opened(number)?;
        if self.remove(number) {
            self.taken_back += 1;
            if self.taken_back > self.limits.http2.resets_pending_max {
                return Err(Code::EnhanceYourCalm);
            }
        }
        Ok(())
    }

    /// Whether the client has opened the stream, or has passed it over.
    ///
    /// # Errors
    /// It has not, or there is no such stream.
    pub(super) fn opened(&self, number: u32) -> Result<(), Code> {
        if number % 2 == 1 && number <= self.last_opened { Ok(()) } else { Err(Code::Protocol) }
    }

    /// Ends a stream whose answer was sent.
    pub(super) fn close(&mut self, number: u32) {
        let Some(Stream { body: Some(_), .. }) = self.streams.remove(number) else { return };
        // What is still to come of the request is not needed.
        self.reset(number, Code::NoError);
    }

    /// Ends a stream on which something is wrong.
    ///
    /// # Errors
    /// There were too many of them lately.
    pub(super) fn fails(&mut self, number: u32, code: Code) -> Result<Option<Box<RequestHead>>, Code> {
        self.remove(number);
        self.reset(number, code);
        self.credit.charge_error().map_err(|_| Code::EnhanceYourCalm)?;
        Ok(None)
    }

    /// Gives up the answers of which the client has taken nothing since then.
    pub fn give_up_unread(&mut self, since: Instant) {
        let unread = self.streams.unsent().filter(|(_, last)| *last <= since);
        for number in unread.map(|(number, _)| number).collect::<Vec<_>>() {
            self.remove(number);
            self.reset(number, Code::Cancel);
        }
    }

    /// Gives a stream up. True when nobody had looked at its request.
    fn remove(&mut self, number: u32) -> bool {
        let Some(stream) = self.streams.remove(number) else { return false };
        self.unsent -= usize::from(stream.unsent.is_some());
        let was_waiting = stream.request.is_some();
        self.waiting -= usize::from(was_waiting);
        was_waiting
    }

    fn reset(&mut self, number: u32, code: Code) {
        self.sender.reset(number, code);
        if self.ended.len() < ENDED_MAX {
            self.ended.push(number);
        } else {
            self.ended[self.next_ended] = number;
            self.next_ended = (self.next_ended + 1) % ENDED_MAX;
        }
    }

    fn was_ended(&self, number: u32) -> bool {
        self.ended.contains(&number)
    }
}
