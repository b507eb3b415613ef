//! What is sent: frames behind one another in one buffer, as far as the client's windows allow.

use std::time::Instant;

use http2_wire::block::{TABLE_BYTES, TABLE_OF_NOTHING};
use http2_wire::frame::{Code, PAYLOAD_BYTES_MAX, TooWide, WINDOW_BYTES, flag, kind, widened};
use http2_wire::write;

use super::streams::Stream;

/// The sending half of a connection.
#[derive(Debug)]
pub struct Sender {
    /// What is to be written.
    pub out: Vec<u8>,
    /// Bytes of bodies that the client has room for, on all streams together.
    window: i64,
    /// The same on a stream that begins.
    first_window: i64,
    /// Bytes of bodies that were sent since somebody asked.
    body_bytes: usize,
    frame_bytes_max: usize,
    table: TableNotice,
    /// Bytes of `out` beyond which no more of a body is added, and nothing begun that adds to it.
    out_bytes_max: usize,
}

/// Our answers use no table; a client that has made its own smaller has to be told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableNotice {
    NotNeeded,
    Due,
    Given,
}

impl Sender {
    /// With the windows and sizes that everybody begins with.
    pub fn new(out_bytes_max: usize) -> Self {
        Self {
            out: Vec::new(),
            window: WINDOW_BYTES,
            first_window: WINDOW_BYTES,
            body_bytes: 0,
            frame_bytes_max: PAYLOAD_BYTES_MAX,
            table: TableNotice::NotNeeded,
            out_bytes_max,
        }
    }

    /// Whether more may be added to what is to be written.
    pub fn has_room(&self) -> bool {
        self.out.len() < self.out_bytes_max
    }

    /// The window of a stream that begins.
    pub fn first_window(&self) -> i64 {
        self.first_window
    }

    /// Opens the connection's window.
    ///
    /// # Errors
    /// [`TooWide`].
    pub fn widen(&mut self, bytes: u32) -> Result<(), TooWide> {
        self.window = widened(self.window, i64::from(bytes))?;
        Ok(())
    }

    /// Sets the window of streams that begin. Returns by how much that of each open one changes.
    pub fn set_first_window(&mut self, bytes: u32) -> i64 {
        let change = i64::from(bytes) - self.first_window;
        self.first_window = i64::from(bytes);
        change
    }

    /// Sets what a frame may have. No more than 64 KiB are used: a frame holds up all others.
    pub fn set_frame_bytes_max(&mut self, bytes: u32) {
        self.frame_bytes_max = (bytes as usize).min(4 * PAYLOAD_BYTES_MAX);
    }

    /// Notes the size that the client allows our table.
    pub fn set_table_bytes_max(&mut self, bytes: u32) {
        if (bytes as usize) < TABLE_BYTES && self.table == TableNotice::NotNeeded {
            self.table = TableNotice::Due;
        }
    }

    /// A frame with this payload.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        write::frame(&mut self.out, kind, flags, stream, payload);
    }

    /// RST_STREAM.
    pub fn reset(&mut self, stream: u32, code: Code) {
        write::reset(&mut self.out, stream, code);
    }

    /// GOAWAY.
    pub fn go_away(&mut self, last: u32, code: Code) {
        write::go_away(&mut self.out, last, code);
    }

    /// WINDOW_UPDATE.
    pub fn window_update(&mut self, stream: u32, bytes: u32) {
        write::window_update(&mut self.out, stream, bytes);
    }

    /// HEADERS with the block that `write` appends, and CONTINUATION where it is long.
    pub fn headers(&mut self, stream: u32, is_end: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let owes_notice = self.table == TableNotice::Due;
        write::headers(&mut self.out, stream, is_end, self.frame_bytes_max, |out| {
            if owes_notice {
                out.push(TABLE_OF_NOTHING);
            }
            write(out);
        });
        if owes_notice {
            self.table = TableNotice::Given;
        }
    }

    /// Bytes of bodies that were sent since this was asked last.
    pub fn take_body_bytes(&mut self) -> usize {
        std::mem::take(&mut self.body_bytes)
    }

    /// As much of what is unsent as the windows and our own buffer have room for. True when it has ended.
    pub fn send_on(&mut self, stream: &mut Stream, now: Instant) -> bool {
        let Some(unsent) = &mut stream.unsent else { return false };
        while self.has_room() {
            let window = self.window.min(stream.send_window).max(0) as usize;
            let length = unsent.body.len().min(window).min(self.frame_bytes_max);
            if length == 0 {
                return false;
            }
            let piece = unsent.body.split_to(length);
            unsent.since = now;
            self.window -= length as i64;
            self.body_bytes += length;
            stream.send_window -= length as i64;
            let is_end = unsent.body.is_empty();
            let flags = if is_end { flag::END_STREAM } else { 0 };
            self.frame(kind::DATA, flags, stream.number, &piece);
            if is_end {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http2_wire::frame::{FrameHead, HEAD_BYTES};

    use super::super::streams::Unsent;
    use super::*;

    fn frames(mut out: &[u8]) -> Vec<(u8, u8, usize)> {
        let mut frames = Vec::new();
        while let Some(head) = FrameHead::read(out) {
            frames.push((head.kind, head.flags, head.length));
            out = &out[HEAD_BYTES + head.length..];
        }
        frames
    }

    #[test]
    fn a_client_that_made_its_table_smaller_is_told_once() {
        let mut sender = Sender::new(1);
        sender.headers(1, true, |_| {});
        for bytes in [4_096, 0, 4_096, 100] {
            sender.set_table_bytes_max(bytes);
        }
        sender.headers(3, true, |_| {});
        sender.headers(5, true, |_| {});
        assert_eq!(frames(&sender.out), [(1, 5, 0), (1, 5, 1), (1, 5, 0)]);
    }

    #[test]
    fn a_body_goes_as_far_as_the_windows_and_our_buffer() {
        let mut sender = Sender::new(30_000);
        let now = Instant::now();
        let unsent = Unsent { body: Bytes::from(vec![1; 40_000]), since: now };
        let mut stream = Stream {
            number: 1,
            send_window: 10,
            receive_window: 0,
            read: 0,
            due: None,
            body: None,
            request: None,
            answering: None,
            unsent: Some(unsent),
        };
        assert!(!sender.send_on(&mut stream, now));
        stream.send_window -= 100;
        assert!(!sender.send_on(&mut stream, now));
        stream.send_window += 100_000;
        assert!(!sender.send_on(&mut stream, now));
        assert_eq!(frames(&sender.out), [(0, 0, 10), (0, 0, 16_384), (0, 0, 16_384)]);
        sender.out.clear();
        assert!(sender.send_on(&mut stream, now));
        assert_eq!(frames(&sender.out), [(0, 1, 7_222)]);
        assert_eq!(sender.window, WINDOW_BYTES - 40_000);
        assert_eq!(sender.widen(i32::MAX as u32), Err(TooWide));
    }
}
