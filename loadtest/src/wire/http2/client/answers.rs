//! Answers as they come: heads, bodies, and what of them makes no sense.

use std::borrow::Cow;

use http2_wire::frame::{Code, FrameHead, flag};
use http2_wire::write;

use super::super::decode::Head;
use super::{ALL_WINDOW_BYTES, Client, Hear, NoAnswer, STREAM_WINDOW_BYTES};
use crate::wire::response::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Response};

impl Client {
    pub(super) fn continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        hear: &mut Hear<'_>,
    ) -> Result<(), Code> {
        let mut begun = self.header.take().ok_or(Code::Protocol)?;
        if begun.block.len() + payload.len() > HEAD_BYTES_MAX {
            return Err(Code::EnhanceYourCalm);
        }
        begun.block.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.header(begun.stream, begun.is_end, &begun.block, hear);
        }
        self.header = Some(begun);
        Ok(())
    }

    /// A whole header block: what an answer begins with, or ends with.
    pub(super) fn header(
        &mut self,
        stream: u32,
        is_end: bool,
        block: &[u8],
        hear: &mut Hear<'_>,
    ) -> Result<(), Code> {
        // Also of a stream that was given up: the table changes with each.
        let head = self.decoder.read(block)?;
        let Some(lane) = self.streams.lane_of(stream) else { return Ok(()) };
        let stream = self.streams.at(lane);
        let is_trailer = stream.head.is_some();
        let fits = if is_trailer { head.status == 0 && is_end } else { head.status >= 200 || !is_end };
        let has_status = is_trailer || head.status != 0;
        if head.is_malformed || !fits || !has_status {
            self.break_off(lane, Code::Protocol, hear);
        } else if is_trailer {
            self.end(lane, None, hear);
        } else if head.status >= 200 {
            // An interim answer (100, 103) precedes the real one.
            stream.head = Some(head);
            if is_end {
                self.end(lane, None, hear);
            }
        }
        Ok(())
    }

    pub(super) fn data(&mut self, head: FrameHead, payload: &[u8], hear: &mut Hear<'_>) -> Result<(), Code> {
        let length = head.length as i64;
        self.receive_window -= length;
        if self.receive_window < 0 {
            return Err(Code::FlowControl);
        }
        if self.receive_window < ALL_WINDOW_BYTES / 2 {
            write::window_update(&mut self.out, 0, (ALL_WINDOW_BYTES - self.receive_window) as u32);
            self.receive_window = ALL_WINDOW_BYTES;
        }
        let content = head.content(payload)?;
        let Some(lane) = self.streams.lane_of(head.stream) else { return Ok(()) };
        let stream = self.streams.at(lane);
        stream.receive_window -= length;
        if stream.receive_window < 0 {
            return Err(Code::FlowControl);
        }
        if stream.head.is_none() || stream.body.len() + content.len() > BODY_BYTES_MAX {
            self.break_off(lane, Code::Protocol, hear);
            return Ok(());
        }
        if head.has(flag::END_STREAM) {
            if stream.body.is_empty() {
                self.end(lane, Some(content), hear);
            } else {
                stream.body.extend_from_slice(content);
                self.end(lane, None, hear);
            }
            return Ok(());
        }
        stream.body.extend_from_slice(content);
        if stream.receive_window < STREAM_WINDOW_BYTES / 2 {
            let more = STREAM_WINDOW_BYTES - stream.receive_window;
            stream.receive_window = STREAM_WINDOW_BYTES;
            write::window_update(&mut self.out, head.stream, more as u32);
        }
        Ok(())
    }

    /// The answer is whole; `body` is where it lies, if not with the stream.
    fn end(&mut self, lane: u32, body: Option<&[u8]>, hear: &mut Hear<'_>) {
        let stream = self.streams.at(lane);
        let kept = std::mem::take(&mut stream.body);
        let body = body.unwrap_or(&kept);
        let Head { status, retry_after_ms, length, .. } = stream.head.unwrap_or_default();
        // A 304 says how long the body would be.
        if length.is_some_and(|length| length != body.len() as u64) && status != 304 {
            return self.break_off(lane, Code::Protocol, hear);
        }
        let has_asked_all = stream.unsent.is_empty();
        let closed = self.streams.close(lane);
        if let Some(number) = closed.filter(|_| !has_asked_all) {
            write::reset(&mut self.out, number, Code::Cancel);
        }
        let consumed = body.len();
        let answer =
            Response { status, keep_alive: true, retry_after_ms, body: Cow::Borrowed(body), consumed };
        hear(lane, Ok(&answer));
        self.streams.put_away(lane, kept);
    }

    /// What came for the stream makes no sense: the server hears why, and the other streams go on.
    pub(super) fn break_off(&mut self, lane: u32, why: Code, hear: &mut Hear<'_>) {
        if let Some(number) = self.streams.close(lane) {
            write::reset(&mut self.out, number, why);
            hear(lane, Err(NoAnswer::Lost));
        }
    }
}
