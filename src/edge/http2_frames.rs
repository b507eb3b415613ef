//! What a client's HTTP/2 frames cost, seen from their nine first bytes while they are read.
//!
//! The protocol lets a client send frames that ask for work and carry no request: pings, settings, window updates,
//! resets. A connection has credit for some of them; answers give credit back.

use std::cell::Cell;
use std::time::{Duration, Instant};

use h2::Reason;

/// What stands before the first frame of a connection.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEADER_BYTES: usize = 9;
/// In which credit that was used comes back without an answer.
const CREDIT_PERIOD: Duration = Duration::from_secs(10);
/// Frames that an answer pays for: the request's own, what opens the window for the answer, and as many again.
const PAID_BY_ANSWER: u32 = 4;

mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

mod flag {
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// Where in the stream of frames a connection is, and what credit it has. One thread reads it and its bytes.
#[derive(Debug)]
pub(super) struct FrameMeter {
    /// Bytes that belong to what has begun: the preface, a frame's payload.
    skip: Cell<usize>,
    header: Cell<[u8; FRAME_HEADER_BYTES]>,
    header_bytes: Cell<usize>,
    is_in_header_block: Cell<bool>,
    has_begun: Cell<bool>,
    credit_max: u32,
    credit: Cell<u32>,
    verdict: Cell<Option<Reason>>,
    full_at: Cell<Instant>,
}

impl FrameMeter {
    /// At the beginning of a connection.
    pub fn new(credit_max: u32, now: Instant) -> Self {
        Self {
            skip: Cell::new(PREFACE.len()),
            header: Cell::default(),
            header_bytes: Cell::new(0),
            is_in_header_block: Cell::new(false),
            has_begun: Cell::new(false),
            credit_max,
            credit: Cell::new(credit_max),
            verdict: Cell::new(None),
            full_at: Cell::new(now),
        }
    }

    /// Whether the client owes the rest of something: a frame, or a header that goes on in another one.
    pub fn is_within(&self) -> bool {
        self.skip.get() > 0 || self.header_bytes.get() > 0 || self.is_in_header_block.get()
    }

    /// Why the connection has to end, if it has to: more frames came without a request than may
    /// (`ENHANCE_YOUR_CALM`), the first one is none that may begin a connection, or one has a length that its kind cannot
    /// have. Stays so.
    pub fn verdict(&self) -> Option<Reason> {
        self.verdict.get()
    }

    /// One request was answered.
    pub fn pay(&self) {
        self.credit.set(self.credit.get().saturating_add(PAID_BY_ANSWER).min(self.credit_max));
    }

    /// Looks at bytes that were read.
    pub fn read(&self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() {
            let skipped = self.skip.get().min(bytes.len());
            self.skip.set(self.skip.get() - skipped);
            bytes = &bytes[skipped..];
            let have = self.header_bytes.get();
            let more = (FRAME_HEADER_BYTES - have).min(bytes.len());
            let mut header = self.header.get();
            header[have..have + more].copy_from_slice(&bytes[..more]);
            self.header.set(header);
            bytes = &bytes[more..];
            if have + more < FRAME_HEADER_BYTES {
                self.header_bytes.set(have + more);
                return;
            }
            self.header_bytes.set(0);
            self.begin(header, now);
        }
    }

    fn begin(&self, header: [u8; FRAME_HEADER_BYTES], now: Instant) {
        let [high, middle, low, kind, flags, ..] = header;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.skip.set(length);
        if !self.has_begun.replace(true) && (kind != kind::SETTINGS || flags & flag::ACK != 0) {
            self.verdict.set(Some(Reason::PROTOCOL_ERROR));
        }
        if matches!(kind, kind::HEADERS | kind::CONTINUATION) {
            self.is_in_header_block.set(flags & flag::END_HEADERS == 0);
        }
        if !has_a_length_of_its_kind(kind, flags, length) {
            self.verdict.set(self.verdict.get().or(Some(Reason::FRAME_SIZE_ERROR)));
        }
        let carries_body = kind == kind::DATA && (length > 0 || flags & flag::END_STREAM != 0);
        if !carries_body {
            self.charge(now);
        }
    }

    fn charge(&self, now: Instant) {
        if now.saturating_duration_since(self.full_at.get()) >= CREDIT_PERIOD {
            self.full_at.set(now);
            self.credit.set(self.credit_max);
        }
        match self.credit.get().checked_sub(1) {
            Some(left) => self.credit.set(left),
            None => self.verdict.set(self.verdict.get().or(Some(Reason::ENHANCE_YOUR_CALM))),
        }
    }
}

/// Whether a frame of this kind may have this length, where its kind says (RFC 9113, 6).
fn has_a_length_of_its_kind(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        kind::PRIORITY => length == 5,
        kind::RST_STREAM | kind::WINDOW_UPDATE => length == 4,
        kind::SETTINGS if flags & flag::ACK != 0 => length == 0,
        kind::SETTINGS => length.is_multiple_of(6),
        kind::PING => length == 8,
        kind::GOAWAY => length >= 8,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    const SETTINGS: [u8; 9] = [0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0];

    fn meter(credit: u32) -> (FrameMeter, Instant) {
        let now = Instant::now();
        let meter = FrameMeter::new(credit + 1, now);
        meter.read(PREFACE, now);
        meter.read(&SETTINGS, now);
        (meter, now)
    }

    fn is_overdrawn(meter: &FrameMeter) -> bool {
        meter.verdict() == Some(Reason::ENHANCE_YOUR_CALM)
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let ping = frame(6, 0, &[0; 8]);
        let sent = [PREFACE.to_vec(), SETTINGS.to_vec(), ping.repeat(3), frame(1, 4, b"block")].concat();
        for cut in 1..sent.len() {
            let now = Instant::now();
            let meter = FrameMeter::new(5, now);
            sent.chunks(cut).for_each(|piece| meter.read(piece, now));
            assert!(!meter.is_within() && meter.verdict().is_none(), "cut at {cut}");
            assert_eq!(meter.credit.get(), 0, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_finished_is_known() {
        let (meter, now) = meter(100);
        assert!(!meter.is_within());
        meter.read(&frame(1, 0, b"block"), now);
        assert!(meter.is_within(), "a header goes on in another frame");
        meter.read(&frame(9, 4, b"block"), now);
        assert!(!meter.is_within());
        meter.read(&[0, 0], now);
        assert!(meter.is_within());
    }

    #[test]
    fn a_connection_begins_with_settings() {
        for (first, verdict) in [
            (SETTINGS.to_vec(), None),
            (frame(4, 1, b""), Some(Reason::PROTOCOL_ERROR)),
            (frame(6, 0, &[0; 8]), Some(Reason::PROTOCOL_ERROR)),
        ] {
            let now = Instant::now();
            let meter = FrameMeter::new(100, now);
            meter.read(PREFACE, now);
            meter.read(&first, now);
            assert_eq!(meter.verdict(), verdict, "{first:?}");
        }
    }

    #[test]
    fn answers_and_time_give_credit_back_and_bodies_cost_none() {
        let (meter, now) = meter(4);
        let ping = frame(6, 0, &[0; 8]);
        meter.read(&frame(0, 0, b"x").repeat(100), now);
        meter.read(&frame(0, 1, b"").repeat(100), now);
        meter.read(&ping.repeat(4), now);
        assert!(!is_overdrawn(&meter));
        meter.pay();
        meter.read(&ping.repeat(4), now);
        assert!(!is_overdrawn(&meter));
        meter.read(&ping.repeat(4), now + CREDIT_PERIOD);
        assert!(!is_overdrawn(&meter));
        meter.read(&frame(0, 0, b"").repeat(2), now + CREDIT_PERIOD);
        assert!(is_overdrawn(&meter));
        meter.pay();
        assert!(is_overdrawn(&meter), "once over, it is over");
    }
}
