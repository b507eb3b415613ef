//! Frames as bytes (RFC 9113, 4 and 6), and the codes that tell what is wrong with them.

/// What stands before the first frame of a connection.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes before a frame's payload.
pub const HEAD_BYTES: usize = 9;

/// Bytes of a payload that we take: the least that everybody must.
pub const PAYLOAD_BYTES_MAX: usize = 16_384;

/// The largest window that the protocol knows, and the first one of everybody.
pub const WINDOW_BYTES_MAX: i64 = i32::MAX as i64;
pub const WINDOW_BYTES: i64 = 65_535;

pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

pub mod flag {
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// Why a stream or a connection ends (RFC 9113, 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    NoError = 0,
    Protocol = 1,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Cancel = 8,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl FrameHead {
    /// What the bytes begin with; `None` if there are too few.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [high, middle, low, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD_BYTES>()?;
        Some(Self {
            length: usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        })
    }

    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether we take a frame of this length, and its kind may have it.
    pub const fn has_fitting_length(&self) -> bool {
        self.length <= PAYLOAD_BYTES_MAX
            && match self.kind {
                kind::PRIORITY => self.length == 5,
                kind::RST_STREAM | kind::WINDOW_UPDATE => self.length == 4,
                kind::SETTINGS if self.has(flag::ACK) => self.length == 0,
                kind::SETTINGS => self.length.is_multiple_of(6),
                kind::PING => self.length == 8,
                kind::GOAWAY => self.length >= 8,
                _ => true,
            }
    }

    /// The payload without what may stand around it: padding, and of HEADERS a priority.
    ///
    /// # Errors
    /// There is more padding than payload, or less payload than a priority has.
    pub fn content<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], Code> {
        let mut content = payload;
        if self.has(flag::PADDED) {
            let (padding, rest) = content.split_first().ok_or(Code::Protocol)?;
            let end = rest.len().checked_sub(usize::from(*padding)).ok_or(Code::Protocol)?;
            content = &rest[..end];
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            content = content.get(5..).ok_or(Code::Protocol)?;
        }
        Ok(content)
    }

    /// Writes it behind what is in `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    /// As bytes.
    pub fn bytes(&self) -> [u8; HEAD_BYTES] {
        let [_, high, middle, low] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [high, middle, low, self.kind, self.flags, s0, s1, s2, s3]
    }
}

/// The number that a payload of four bytes or its beginning is.
pub fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = FrameHead { length: 70_000, kind: 1, flags: 5, stream: 0x7fff_ffff };
        assert_eq!(FrameHead::read(&head.bytes()), Some(head));
        assert_eq!(FrameHead::read(&head.bytes()[..8]), None);
        assert_eq!(FrameHead::read(&[0, 0, 0, 0, 0, 0xff, 0, 0, 1]).unwrap().stream, 0x7f00_0001);
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let head = |kind, flags| FrameHead { length: 0, kind, flags, stream: 1 };
        let data = head(kind::DATA, flag::PADDED);
        assert_eq!(data.content(&[2, b'a', 0, 0]), Ok(&b"a"[..]));
        assert_eq!(data.content(&[3, 0, 0, 0]), Ok(&b""[..]));
        assert_eq!(data.content(&[4, 0, 0, 0]), Err(Code::Protocol));
        assert_eq!(data.content(&[]), Err(Code::Protocol));
        let both = head(kind::HEADERS, flag::PADDED | flag::PRIORITY);
        assert_eq!(both.content(&[1, 0, 0, 0, 1, 9, b'a', 0]), Ok(&b"a"[..]));
        assert_eq!(both.content(&[1, 0, 0, 0, 1, 9]), Err(Code::Protocol));
    }

    #[test]
    fn each_kind_has_its_lengths() {
        let fits = |kind, flags, length| FrameHead { length, kind, flags, stream: 0 }.has_fitting_length();
        assert!(fits(kind::SETTINGS, 0, 12) && !fits(kind::SETTINGS, 0, 5) && !fits(kind::SETTINGS, 1, 6));
        assert!(fits(kind::PING, 0, 8) && !fits(kind::PING, 0, 7) && !fits(kind::GOAWAY, 0, 7));
        assert!(fits(kind::DATA, 0, 16_384) && !fits(kind::DATA, 0, 16_385) && !fits(99, 0, 16_385));
    }
}
