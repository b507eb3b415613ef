//! Bodies are flat JSON objects: those of requests are read strictly, those of answers written straight into a buffer.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use serde::de::{DeserializeOwned, Error};

use super::arena;
use crate::domain::{EpochMs, OrderId};

/// Reads a body that must be a JSON object. (A plain deserializer would take an array for an object as well.)
///
/// # Errors
/// It is something else, or not what `T` says.
pub fn json_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(serde_json::Error::custom("not a JSON object"));
    }
    serde_json::from_slice(body)
}

/// A JSON object that is being written, member by member. Names are our own and need no escapes.
#[derive(Debug)]
pub struct JsonObject {
    buffer: BytesMut,
}

impl JsonObject {
    /// An empty object, with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = arena::room(bytes.max(2));
        buffer.extend_from_slice(b"{");
        Self { buffer }
    }

    /// Goes on after `opening`, which is an object without its last brace and with at least one member.
    pub fn after(opening: &[&str], room: usize) -> Self {
        let mut buffer = arena::room(opening.iter().map(|part| part.len()).sum::<usize>() + room);
        opening.iter().for_each(|part| buffer.extend_from_slice(part.as_bytes()));
        Self { buffer }
    }

    /// A member that is a text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        self.buffer.extend_from_slice(b"\"");
        self.end_text(value)
    }

    /// A member that is a text of these parts, one behind the other.
    pub fn text_of(&mut self, name: &str, parts: &[&str]) -> &mut Self {
        self.name(name);
        self.buffer.extend_from_slice(b"\"");
        parts.iter().for_each(|part| escape(&mut self.buffer, part));
        self.buffer.extend_from_slice(b"\"");
        self
    }

    /// A member that is bytes, as hexadecimal digits.
    pub fn hex(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        self.buffer.extend_from_slice(b"\"");
        for byte in value {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            self.buffer.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        self.buffer.extend_from_slice(b"\"");
        self
    }

    /// A member that is true or false.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.json(name, if value { b"true" } else { b"false" })
    }

    /// Ends a text member whose opening quote was the last byte of the opening.
    pub fn end_text(&mut self, value: &str) -> &mut Self {
        escape(&mut self.buffer, value);
        self.buffer.extend_from_slice(b"\"");
        self
    }

    /// A member that is an order's number.
    pub fn order_id(&mut self, name: &str, value: OrderId) -> &mut Self {
        self.name(name);
        self.buffer.extend_from_slice(b"\"");
        self.buffer.extend_from_slice(&value.text());
        self.buffer.extend_from_slice(b"\"");
        self
    }

    /// A member that is a number.
    pub fn number(&mut self, name: &str, value: impl itoa::Integer) -> &mut Self {
        self.name(name);
        self.buffer.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self
    }

    /// A member that is a time: RFC 3339, UTC, with milliseconds.
    pub fn time(&mut self, name: &str, value: EpochMs) -> &mut Self {
        self.name(name);
        self.buffer.extend_from_slice(b"\"");
        // A time outside the years that RFC 3339 can write is shown as the nearest that it can.
        let (first, last) = (-62_167_219_200_000, 253_402_207_200_999);
        let shown = jiff::Timestamp::from_millisecond(value.0.clamp(first, last)).unwrap_or_default();
        let _ = write!(self.buffer, "{shown:.3}\"");
        self
    }

    /// A member that is JSON already.
    pub fn json(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        self.buffer.extend_from_slice(value);
        self
    }

    /// A member that has no value.
    pub fn null(&mut self, name: &str) -> &mut Self {
        self.name(name);
        self.buffer.extend_from_slice(b"null");
        self
    }

    /// The object as text.
    pub fn finish(mut self) -> Bytes {
        self.buffer.extend_from_slice(b"}");
        self.buffer.freeze()
    }

    fn name(&mut self, name: &str) {
        if self.buffer.len() > 1 {
            self.buffer.extend_from_slice(b",");
        }
        self.buffer.extend_from_slice(b"\"");
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }
}

/// Appends the inside of a JSON string.
fn escape(buffer: &mut BytesMut, text: &str) {
    let needs = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    let mut rest = text.as_bytes();
    while let Some(place) = rest.iter().position(needs) {
        buffer.extend_from_slice(&rest[..place]);
        match rest[place] {
            control @ 0..=0x1f => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                buffer.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(control >> 4),
                    digit(control & 15),
                ]);
            }
            quoted => buffer.extend_from_slice(&[b'\\', quoted]),
        }
        rest = &rest[place + 1..];
    }
    buffer.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_are_written_as_they_should_be_read() {
        let mut object = JsonObject::with_capacity(0);
        object.text("a", "b").number("n", 7u32).time("t", EpochMs(1_700_000_000_005)).null("z");
        assert_eq!(
            std::str::from_utf8(&object.finish()).unwrap(),
            r#"{"a":"b","n":7,"t":"2023-11-14T22:13:20.005Z","z":null}"#
        );
        assert_eq!(JsonObject::with_capacity(0).finish(), b"{}"[..]);
    }

    #[test]
    fn no_time_is_too_far_away() {
        for time in [i64::MIN, i64::MAX, 0] {
            let mut object = JsonObject::with_capacity(0);
            object.time("t", EpochMs(time));
            let read: serde_json::Value = serde_json::from_slice(&object.finish()).unwrap();
            read["t"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in any::<String>()) {
            let mut object = JsonObject::with_capacity(0);
            object.text("a", &text);
            let read: serde_json::Value = serde_json::from_slice(&object.finish()).unwrap();
            prop_assert_eq!(read["a"].as_str().unwrap(), text);
        }
    }
}
