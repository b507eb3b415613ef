//! Frames as bytes (RFC 9113, 4 and 6), and the codes that tell what is wrong with them.

use super::block::Unreadable;

/// What stands before the first frame of a connection.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes before a frame's payload.
pub const HEAD_BYTES: usize = 9;

/// Bytes of a payload that we take: the least that everybody must.
pub const PAYLOAD_BYTES_MAX: usize = 16_384;

/// The largest window that the protocol knows.
pub const WINDOW_BYTES_MAX: i64 = i32::MAX as i64;

/// The first window of everybody.
pub const WINDOW_BYTES: i64 = 65_535;

/// What a frame is.
pub mod kind {
    /// A piece of a body.
    pub const DATA: u8 = 0;
    /// The beginning of a header block.
    pub const HEADERS: u8 = 1;
    /// What nobody looks at any more.
    pub const PRIORITY: u8 = 2;
    /// A stream is over before its end.
    pub const RST_STREAM: u8 = 3;
    /// What the sender wants.
    pub const SETTINGS: u8 = 4;
    /// A request that the server makes up.
    pub const PUSH_PROMISE: u8 = 5;
    /// A question that is answered with its own bytes.
    pub const PING: u8 = 6;
    /// The connection ends.
    pub const GOAWAY: u8 = 7;
    /// More may be sent.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More of a header block.
    pub const CONTINUATION: u8 = 9;
}

/// What is special about a frame.
pub mod flag {
    /// Of SETTINGS and PING: the answer to one.
    pub const ACK: u8 = 1;
    /// Nothing follows on its stream.
    pub const END_STREAM: u8 = 1;
    /// The header block is whole.
    pub const END_HEADERS: u8 = 4;
    /// The payload begins with the length of padding, and ends with that.
    pub const PADDED: u8 = 8;
    /// Of HEADERS: five bytes of what nobody looks at any more come first.
    pub const PRIORITY: u8 = 32;
}

/// What one side tells the other about itself.
pub mod setting {
    /// Bytes that a table of header fields may have.
    pub const HEADER_TABLE_SIZE: u16 = 1;
    /// Whether PUSH_PROMISE may come.
    pub const ENABLE_PUSH: u16 = 2;
    /// Streams that the other side may have open.
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    /// The first window of each stream.
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    /// Bytes of a payload.
    pub const MAX_FRAME_SIZE: u16 = 5;
    /// Bytes of fields of one header.
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// Why a stream or a connection ends (RFC 9113, 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Nothing is wrong.
    NoError = 0,
    /// A rule was broken that has no code of its own.
    Protocol = 1,
    /// More was sent than the window had room for.
    FlowControl = 3,
    /// A frame came for a stream that is over.
    StreamClosed = 5,
    /// A frame has a length that its kind may not have.
    FrameSize = 6,
    /// The request was not looked at.
    RefusedStream = 7,
    /// The stream is not wanted any more.
    Cancel = 8,
    /// A header block cannot be read.
    Compression = 9,
    /// Too much of something.
    EnhanceYourCalm = 11,
}

impl From<Unreadable> for Code {
    fn from(_: Unreadable) -> Self {
        Self::Compression
    }
}

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub length: usize,
    /// One of [`kind`], or what nobody knows.
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// 0 for the connection.
    pub stream: u32,
}

impl FrameHead {
    /// What the bytes begin with; `None` if there are too few.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [high, middle, low, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD_BYTES>()?;
        Some(Self {
            length: usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        })
    }

    /// Whether it has this flag.
    #[inline]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether we take a frame of this length, and its kind may have it.
    #[inline]
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
    #[inline]
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
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    /// As bytes.
    #[inline]
    pub fn bytes(&self) -> [u8; HEAD_BYTES] {
        let [_, high, middle, low] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [high, middle, low, self.kind, self.flags, s0, s1, s2, s3]
    }
}

/// A window would be wider than the protocol knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooWide;

/// A window that was opened by so much, or closed.
///
/// # Errors
/// [`TooWide`].
#[inline]
pub fn widened(window: i64, bytes: i64) -> Result<i64, TooWide> {
    let window = window + bytes;
    if window > WINDOW_BYTES_MAX { Err(TooWide) } else { Ok(window) }
}

/// The number that a payload of four bytes or its beginning is.
#[inline]
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
