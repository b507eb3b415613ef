//! What a header block asks for, in one piece of memory that is used again for the next request.

use std::rc::Rc;

use http2_wire::frame::Code;

use super::super::exchange::Target;
use super::body::Body;
use super::field::{Field, Meaning};
use super::hpack_decoder::KEPT_BYTES_MAX;

/// What each field counts beside its bytes (RFC 9113, 6.5.2).
const FIELD_BYTES: usize = 32;

/// What a header may be at most.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of all fields together, each with 32 more.
    pub list_bytes: usize,
    /// Fields, without those that stand for the first line.
    pub fields: usize,
}

impl HeadLimits {
    /// Bytes beyond which a header is a flood: as it is sent, and as it is meant. What a client repeats by number is
    /// longer by far than what it sends.
    pub fn flood_bytes(&self) -> usize {
        4 * self.list_bytes
    }
}

/// A request without its body, or what stands behind a body.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The stream that it came on.
    pub stream: u32,
    /// Its body, which may be still to come.
    pub body: Rc<Body>,
    bytes: Vec<u8>,
    fields: Vec<Span>,
    method: Option<Span>,
    scheme: Option<Span>,
    path: Option<Span>,
    authority: Option<Span>,
    length: Option<u64>,
    expects_continue: bool,
    is_malformed: bool,
    list_bytes: usize,
    is_too_large: bool,
}

/// Where a field is.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    name_bytes: u32,
    value_bytes: u32,
}

impl RequestHead {
    /// Begins anew.
    pub fn begin(&mut self, stream: u32) {
        self.bytes.clear();
        self.fields.clear();
        (self.method, self.scheme, self.path, self.authority) = (None, None, None, None);
        (self.length, self.expects_continue) = (None, false);
        (self.is_malformed, self.list_bytes, self.is_too_large) = (false, 0, false);
        self.stream = stream;
    }

    /// Lets go of what it has, but for memory that most requests need.
    pub fn put_away(&mut self) {
        // Of a body that nobody wanted, pieces may be there.
        self.body.begin(false);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }

    /// Bytes of memory that its fields have.
    #[cfg(test)]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes the next field.
    ///
    /// # Errors
    /// [`Code::EnhanceYourCalm`]: they are far more than they may be.
    pub fn take(&mut self, field: Field<'_>, limits: HeadLimits) -> Result<(), Code> {
        self.list_bytes += field.name.len() + field.value.len() + FIELD_BYTES;
        if self.list_bytes > limits.flood_bytes() {
            return Err(Code::EnhanceYourCalm);
        }
        self.is_too_large |= self.list_bytes > limits.list_bytes;
        if !self.is_too_large && !self.is_malformed {
            self.keep(field, limits);
        }
        Ok(())
    }

    fn keep(&mut self, field: Field<'_>, limits: HeadLimits) {
        let span = Span {
            start: self.bytes.len() as u32,
            name_bytes: field.name.len() as u32,
            value_bytes: field.value.len() as u32,
        };
        self.bytes.extend_from_slice(field.name);
        self.bytes.extend_from_slice(field.value);
        let part = match field.meaning {
            Meaning::Method => &mut self.method,
            Meaning::Scheme => &mut self.scheme,
            Meaning::Path => &mut self.path,
            Meaning::Authority => &mut self.authority,
            Meaning::Malformed => {
                self.is_malformed = true;
                return;
            }
            Meaning::Length => {
                let length = number(field.value);
                self.is_malformed |= self.length.replace(length).is_some_and(|before| before != length);
                return self.add(span, limits);
            }
            Meaning::Expect => {
                self.expects_continue |= field.value.eq_ignore_ascii_case(b"100-continue");
                return self.add(span, limits);
            }
            Meaning::Trailers | Meaning::Plain => return self.add(span, limits),
        };
        // Each comes once, and before all others.
        self.is_malformed |= part.replace(span).is_some() || !self.fields.is_empty();
    }

    fn add(&mut self, span: Span, limits: HeadLimits) {
        self.is_too_large |= self.fields.len() == limits.fields;
        self.fields.push(span);
    }

    /// Whether it is more than it may be; then its fields are not all here.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// Whether it is a request as it may be (8.3.1). `has_ended`: nothing follows.
    pub fn is_request(&self, has_ended: bool) -> bool {
        let has_line = if self.method() == "CONNECT" {
            self.scheme.is_none() && self.path.is_none() && self.authority.is_some()
        } else {
            self.method.is_some() && self.scheme.is_some() && self.path.is_some()
        };
        !self.is_malformed && has_line && (!has_ended || self.length.unwrap_or(0) == 0)
    }

    /// Whether it may stand behind a body (8.1).
    pub fn is_trailer(&self) -> bool {
        let parts = [self.method, self.scheme, self.path, self.authority];
        !self.is_malformed && !self.is_too_large && parts.iter().all(Option::is_none)
    }

    /// Bytes that the body has, if it says so.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether the client waits for a word before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The method; empty if there is none.
    pub fn method(&self) -> &str {
        self.method.map_or("", |method| self.text(method))
    }

    /// What it asks for, and of whom.
    pub fn target(&self) -> Target<'_> {
        let part = |span: Option<Span>| span.map(|span| self.text(span));
        let target = part(self.path).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Target { scheme: part(self.scheme), authority: part(self.authority), path, query }
    }

    /// The fields, without those that stand for the first line.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|span| {
            let start = span.start as usize;
            let (name, rest) = self.bytes[start..].split_at(span.name_bytes as usize);
            // Names were found to be ASCII.
            (std::str::from_utf8(name).unwrap_or_default(), &rest[..span.value_bytes as usize])
        })
    }

    /// The value of a part of the first line, which was found to be text.
    fn text(&self, span: Span) -> &str {
        let start = (span.start + span.name_bytes) as usize;
        std::str::from_utf8(&self.bytes[start..start + span.value_bytes as usize]).unwrap_or_default()
    }
}

/// Digits as a number; one of more than 64 bits is the largest.
fn number(digits: &[u8]) -> u64 {
    let digit = |number: u64, byte: &u8| number.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    digits.iter().fold(0, digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { list_bytes: 400, fields: 3 };

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.begin(1);
        for (name, value) in fields {
            head.take(Field::of(name.as_bytes(), value.as_bytes()), LIMITS).unwrap();
        }
        head
    }

    const LINE: [(&str, &str); 4] =
        [(":method", "POST"), (":scheme", "http"), (":path", "/a?b=c"), (":authority", "h")];

    #[test]
    fn a_request_has_its_parts_and_fields() {
        let head = head(&[&LINE[..], &[("x-a", "1"), ("content-length", "12")]].concat());
        assert!(head.is_request(false) && !head.is_request(true), "a body is missing");
        let Target { scheme, authority, path, query } = head.target();
        assert_eq!((head.method(), scheme, authority), ("POST", Some("http"), Some("h")));
        assert_eq!((path, query, head.length()), ("/a", "b=c", Some(12)));
        let fields: Vec<_> = head.fields().collect();
        assert_eq!(fields, [("x-a", &b"1"[..]), ("content-length", b"12")]);
    }

    #[test]
    fn what_is_no_request_is_seen() {
        let [method, scheme, path, authority] = LINE;
        for (fields, is_request) in [
            (vec![method, scheme, path], true),
            (vec![scheme, path, authority], false),
            (vec![method, path, authority], false),
            (vec![method, scheme, authority], false),
            (vec![method, scheme, path, path], false),
            (vec![method, scheme, path, ("x-a", "b"), authority], false),
            (vec![method, scheme, path, ("connection", "close")], false),
            (vec![method, scheme, path, ("content-length", "1"), ("content-length", "2")], false),
            (vec![method, scheme, path, ("content-length", "0"), ("content-length", "0")], true),
            (vec![(":method", "CONNECT"), authority], true),
            (vec![(":method", "CONNECT"), authority, path], false),
            (vec![(":method", "CONNECT")], false),
        ] {
            assert_eq!(head(&fields).is_request(true), is_request, "{fields:?}");
        }
    }

    #[test]
    fn trailers_have_no_first_line() {
        assert!(head(&[("x-a", "b")]).is_trailer());
        assert!(!head(&[(":path", "/a")]).is_trailer());
        assert!(!head(&[("te", "gzip")]).is_trailer());
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let field = ("x-a", "b");
        assert!(!head(&[field; 3]).is_too_large());
        assert!(head(&[field; 4]).is_too_large());
        let long = "a".repeat(364);
        assert!(!head(&[("x-ab", &long)]).is_too_large());
        let over = head(&[("x-abc", &long), field]);
        assert!(over.is_too_large() && over.bytes.is_empty());
    }

    #[test]
    fn what_is_far_too_large_is_not_taken() {
        let mut head = RequestHead::default();
        let field = Field::of(b"x-a", &[b'a'; 365]);
        (0..4).for_each(|_| head.take(field, LIMITS).unwrap());
        assert_eq!(head.take(field, LIMITS), Err(Code::EnhanceYourCalm));
    }
}
