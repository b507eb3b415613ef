//! Header blocks of answers. Of a field that nobody looks at only its size is kept, which the table counts.

use std::collections::VecDeque;
use std::sync::OnceLock;

use http2_wire::block::{ENTRY_BYTES, Name, Part, TABLE_BYTES, Text, Unreadable};
use http2_wire::fields::FIELDS;
use http2_wire::frame::Code;

use crate::wire::response::{decimal, seconds_as_ms};

/// What an answer says before its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its status; 0 if it has none.
    pub status: u16,
    /// `Retry-After` in milliseconds, when given in seconds.
    pub retry_after_ms: Option<u64>,
    /// How long it says that its body is.
    pub length: Option<u64>,
    /// It breaks the rules of answers (RFC 9113, 8.1 to 8.3).
    pub is_malformed: bool,
}

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Status,
    RetryAfter,
    Length,
    Other,
    Malformed,
}

impl Meaning {
    fn of(name: &[u8]) -> Self {
        match name {
            b":status" => Self::Status,
            b"retry-after" => Self::RetryAfter,
            b"content-length" => Self::Length,
            // What only concerns a connection of HTTP/1.
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
                Self::Malformed
            }
            [] | [b':', ..] => Self::Malformed,
            _ if name.iter().any(u8::is_ascii_uppercase) => Self::Malformed,
            _ => Self::Other,
        }
    }

    /// What a field of this name says with this value. Values that nobody looks at are not judged.
    fn with(self, value: &[u8]) -> Field {
        match self {
            Self::Status => match *value {
                [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
                    Field::Status(value.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
                }
                _ => Field::Malformed,
            },
            Self::RetryAfter => Field::RetryAfter(seconds_as_ms(value)),
            Self::Length => decimal(value).map_or(Field::Malformed, Field::Length),
            Self::Other => Field::Other,
            Self::Malformed => Field::Malformed,
        }
    }
}

/// What a field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Status(u16),
    RetryAfter(Option<u64>),
    Length(u64),
    Other,
    Malformed,
}

/// A field that has a number.
#[derive(Clone, Copy, Debug)]
struct Known {
    by_name: Meaning,
    field: Field,
    name_bytes: usize,
    value_bytes: usize,
}

impl Known {
    fn of(name: &str, value: &str) -> Self {
        let by_name = Meaning::of(name.as_bytes());
        let field = by_name.with(value.as_bytes());
        Self { by_name, field, name_bytes: name.len(), value_bytes: value.len() }
    }

    fn bytes(&self) -> usize {
        self.name_bytes + self.value_bytes + ENTRY_BYTES
    }
}

/// One connection's reader of header blocks.
#[derive(Debug)]
pub struct Decoder {
    known: &'static [Known; FIELDS.len()],
    /// What the server has named before, the newest first.
    table: VecDeque<Known>,
    /// What it counts, and may.
    bytes: usize,
    bytes_max: usize,
    /// Where texts are decoded.
    room: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        static KNOWN: OnceLock<[Known; FIELDS.len()]> = OnceLock::new();
        let known = KNOWN.get_or_init(|| FIELDS.map(|(name, value)| Known::of(name, value)));
        Self { known, table: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES, room: Vec::new() }
    }
}

impl Decoder {
    /// Reads a whole block.
    ///
    /// # Errors
    /// It cannot be read, and no later one can be.
    pub fn read(&mut self, mut block: &[u8]) -> Result<Head, Code> {
        let mut head = Head::default();
        let mut fields = 0;
        let mut is_plain = false;
        while !block.is_empty() {
            let field = match Part::take(&mut block)? {
                Part::Field(number) => self.known(number)?.field,
                Part::Literal { name, value, is_kept } => self.literal(name, value, is_kept)?,
                // A table's size stands before all fields.
                Part::TableBytes(bytes) if fields > 0 || bytes > TABLE_BYTES => {
                    return Err(Code::Compression);
                }
                Part::TableBytes(bytes) => {
                    self.bytes_max = bytes;
                    self.make_room(0);
                    continue;
                }
            };
            fields += 1;
            match field {
                Field::Status(status) => {
                    head.is_malformed |= is_plain || head.status != 0;
                    head.status = status;
                    continue;
                }
                Field::RetryAfter(after_ms) => head.retry_after_ms = after_ms,
                Field::Length(length) => {
                    head.is_malformed |= head.length.is_some_and(|before| before != length);
                    head.length = Some(length);
                }
                Field::Other => {}
                Field::Malformed => head.is_malformed = true,
            }
            is_plain = true;
        }
        Ok(head)
    }

    /// A field that is spelled out, at least its value.
    fn literal(&mut self, name: Name<'_>, value: Text<'_>, is_kept: bool) -> Result<Field, Unreadable> {
        let (by_name, name_bytes) = match name {
            Name::Text(name) => {
                let name = name.plain(&mut self.room)?;
                (Meaning::of(name), name.len())
            }
            Name::Number(number) => {
                let Known { by_name, name_bytes, .. } = self.known(number)?;
                (by_name, name_bytes)
            }
        };
        let value = value.plain(&mut self.room)?;
        let known = Known { by_name, field: by_name.with(value), name_bytes, value_bytes: value.len() };
        if is_kept {
            self.keep(known);
        }
        Ok(known.field)
    }

    /// The field with this number.
    fn known(&self, number: usize) -> Result<Known, Unreadable> {
        let place = number.checked_sub(1).ok_or(Unreadable)?;
        match self.known.get(place) {
            Some(known) => Ok(*known),
            None => self.table.get(place - FIELDS.len()).copied().ok_or(Unreadable),
        }
    }

    /// Adds a field to the table. One that is larger than that leaves it empty.
    fn keep(&mut self, known: Known) {
        self.make_room(known.bytes());
        if known.bytes() <= self.bytes_max {
            self.bytes += known.bytes();
            self.table.push_front(known);
        }
    }

    /// Forgets the oldest until there is room for so much.
    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.bytes_max
            && let Some(oldest) = self.table.pop_back()
        {
            self.bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use http2_wire::block::{write_field, write_kept, write_known};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    fn answer(status: u16) -> Head {
        Head { status, ..Head::default() }
    }

    /// The answers of RFC 7541, C.5 and C.6: in plain text and in the code, in a table of 256 bytes, where each drives out
    /// an older one.
    #[test]
    fn the_answers_of_the_rfc_are_read() {
        let plain = [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54\
             6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f\
             3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076\
             657273696f6e3d31",
        ];
        let coded = [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ];
        for answers in [plain, coded] {
            let mut decoder = Decoder::default();
            assert_eq!(decoder.read(&bytes("3fe101")), Ok(Head::default()));
            for (hex, (status, table_bytes)) in answers.iter().zip([(302, 222), (307, 222), (200, 215)]) {
                assert_eq!(decoder.read(&bytes(hex)), Ok(answer(status)), "{hex}");
                assert_eq!(decoder.bytes, table_bytes, "{hex}");
            }
        }
    }

    #[test]
    fn what_is_looked_at_is_found_also_by_number() {
        let mut decoder = Decoder::default();
        let mut block = Vec::new();
        for (name, value) in
            [(":status", "409"), ("retry-after", "2"), ("content-length", "19"), ("x-a", "b")]
        {
            write_kept(&mut block, name, value.as_bytes());
        }
        let head = Head { status: 409, retry_after_ms: Some(2_000), length: Some(19), is_malformed: false };
        assert_eq!(decoder.read(&block), Ok(head));
        // The newest has the lowest number.
        assert_eq!(decoder.read(&[0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]), Ok(head));
        // A name by its number, with another value.
        assert_eq!(decoder.read(&[0x80 | 65, 0x0f, 64 - 15, 1, b'7']).unwrap().retry_after_ms, Some(7_000));
    }

    #[test]
    fn answers_against_the_rules_are_malformed() {
        for fields in [
            &[("x-a", "b"), (":status", "200")][..],
            &[(":status", "200"), (":status", "200")],
            &[(":status", "20")],
            &[(":status", "2000")],
            &[(":status", "099")],
            &[(":status", "200"), (":path", "/")],
            &[(":status", "200"), ("X-A", "b")],
            &[(":status", "200"), ("", "b")],
            &[(":status", "200"), ("connection", "close")],
            &[(":status", "200"), ("content-length", "-1")],
            &[(":status", "200"), ("content-length", "1"), ("content-length", "2")],
        ] {
            let mut block = Vec::new();
            for (name, value) in fields {
                write_field(&mut block, name, value.as_bytes());
            }
            assert!(Decoder::default().read(&block).unwrap().is_malformed, "{fields:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let mut behind_a_field = Vec::new();
        write_known(&mut behind_a_field, 8);
        behind_a_field.push(0x20);
        for block in [
            behind_a_field,
            bytes("80"),
            bytes("be"),
            bytes("3fe21f"),
            bytes("7f80"),
            bytes("00 81ff"),
            bytes("00 84ffffffff 00"),
            bytes("48 05 32"),
        ] {
            assert_eq!(Decoder::default().read(&block), Err(Code::Compression), "{block:x?}");
        }
    }
}
