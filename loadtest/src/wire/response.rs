//! An HTTP/1.1 response, parsed from whatever bytes have arrived so far.
//!
//! The parser keeps no state: it is given all bytes since the last complete response. Nearly every answer of a
//! shop arrives in one read, so the usual case is one pass over one buffer without a copy.

use std::borrow::Cow;

use memchr::memmem;

/// The head of a response may not be longer; a server that sends more is broken.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A body may not be longer: an export page is the largest that is asked for.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A complete response.
#[derive(Debug, PartialEq)]
pub struct Response<'a> {
    /// Status code.
    pub status: u16,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// `Retry-After` in milliseconds, when given in seconds.
    pub retry_after_ms: Option<u64>,
    /// The body, without chunk framing.
    pub body: Cow<'a, [u8]>,
    /// Bytes of the buffer that belong to it.
    pub consumed: usize,
}

/// Bytes that are not an HTTP/1.x response within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid HTTP/1.1 response: {0}")]
pub struct Malformed(pub &'static str);

enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// Parses one response from the start of `bytes`; `None` asks for more of them.
///
/// `ended` says that no more will come, which completes a body that is framed by the end of the connection.
///
/// # Errors
/// When the bytes cannot become a response, however many follow.
pub fn parse(bytes: &[u8], ended: bool) -> Result<Option<Response<'_>>, Malformed> {
    let mut start = 0;
    loop {
        let Some(head_len) = memmem::find(&bytes[start..], b"\r\n\r\n").map(|at| at + 4) else {
            let too_long = bytes.len() - start > HEAD_BYTES_MAX;
            return if too_long { Err(Malformed("the head is too long")) } else { Ok(None) };
        };
        let head = parse_head(&bytes[start..start + head_len])?;
        start += head_len;
        if head.status < 200 {
            continue; // An interim answer (100, 103) precedes the real one.
        }
        let rest = &bytes[start..];
        let body = match head.framing {
            Framing::None => Some((Cow::Borrowed(&[][..]), 0)),
            Framing::Length(length) => rest.get(..length).map(|body| (Cow::Borrowed(body), length)),
            Framing::Chunked => unchunk(rest)?.map(|(body, length)| (Cow::Owned(body), length)),
            Framing::UntilClose if ended => Some((Cow::Borrowed(rest), rest.len())),
            Framing::UntilClose => None,
        };
        if body.is_none() && rest.len() > BODY_BYTES_MAX {
            return Err(Malformed("the body is too long"));
        }
        let keep_alive = head.keep_alive && !matches!(head.framing, Framing::UntilClose);
        return Ok(body.map(|(body, length)| Response {
            status: head.status,
            keep_alive,
            retry_after_ms: head.retry_after_ms,
            body,
            consumed: start + length,
        }));
    }
}

struct Head {
    status: u16,
    keep_alive: bool,
    retry_after_ms: Option<u64>,
    framing: Framing,
}

/// `Retry-After` in milliseconds, when it is given in seconds and within a day.
pub fn seconds_as_ms(value: &[u8]) -> Option<u64> {
    let seconds = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f64>().ok());
    seconds.filter(|s| (0.0..86_400.0).contains(s)).map(|s| (s * 1000.0) as u64)
}

fn parse_head(head: &[u8]) -> Result<Head, Malformed> {
    let mut lines = Lines(head);
    let status_line = lines.next().unwrap_or_default();
    let minor = match status_line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'1', b' ', ..] => *minor,
        _ => return Err(Malformed("no HTTP/1 status line")),
    };
    let digits = status_line.get(9..12).ok_or(Malformed("no status code"))?;
    let status =
        decimal(digits).filter(|status| (100..600).contains(status)).ok_or(Malformed("bad status"))?;

    let mut parsed = Head {
        status: status as u16,
        keep_alive: minor == b'1',
        retry_after_ms: None,
        framing: Framing::UntilClose,
    };
    let mut length = None;
    let mut chunked = false;
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = memchr::memchr(b':', line).ok_or(Malformed("a header without a colon"))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // The length of the name decides almost always; the comparison runs on few headers.
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let value = decimal(value).ok_or(Malformed("bad content-length"))?;
                if length.is_some_and(|before| before != value) {
                    return Err(Malformed("two content-lengths"));
                }
                length = Some(value);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                chunked = value.eq_ignore_ascii_case(b"chunked");
                if !chunked {
                    return Err(Malformed("unknown transfer-encoding"));
                }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                if value.eq_ignore_ascii_case(b"close") {
                    parsed.keep_alive = false;
                } else if value.eq_ignore_ascii_case(b"keep-alive") {
                    parsed.keep_alive = true;
                }
            }
            11 if name.eq_ignore_ascii_case(b"retry-after") => {
                parsed.retry_after_ms = seconds_as_ms(value);
            }
            _ => {}
        }
    }
    parsed.framing = match (status, chunked, length) {
        (..200 | 204 | 304, _, _) => Framing::None,
        (_, true, Some(_)) => return Err(Malformed("chunked and with a length")),
        (_, true, None) => Framing::Chunked,
        (_, false, Some(length)) if length > BODY_BYTES_MAX as u64 => {
            return Err(Malformed("the body is too long"));
        }
        (_, false, Some(length)) => Framing::Length(length as usize),
        (_, false, None) => Framing::UntilClose,
    };
    Ok(parsed)
}

/// Lines that end in CRLF; the end mark of the head makes the last one empty.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.0)?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// A number of digits alone, of which there are no more than bodies can be long.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

/// Takes chunk framing off; `None` while the last chunk is not there. Returns the body and the framed length.
fn unchunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line_len) = memmem::find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = &bytes[at..at + line_len];
        let size = size.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(size).ok().filter(|text| text.len() <= 8);
        let size =
            size.and_then(|text| usize::from_str_radix(text, 16).ok()).ok_or(Malformed("bad chunk size"))?;
        at += line_len + 2;
        if size == 0 {
            return Ok(skip_trailers(&bytes[at..])?.map(|trailers| (body, at + trailers)));
        }
        if body.len() + size > BODY_BYTES_MAX {
            return Err(Malformed("the body is too long"));
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let Some(data) = chunk.strip_suffix(b"\r\n") else {
            return Err(Malformed("a chunk without its end"));
        };
        body.extend_from_slice(data);
        at += size + 2;
    }
}

/// Length of the trailer lines including the empty one; `None` while it is not there.
fn skip_trailers(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if bytes.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    if bytes.len() > HEAD_BYTES_MAX {
        return Err(Malformed("the trailers are too long"));
    }
    Ok(memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4))
}

/// The string value of the first `"key"` in a flat JSON object, without unescaping.
///
/// The contract's codes, states and identifiers contain no escapes, so this finds them at a fraction of a JSON
/// parser's cost; a value with an escape is cut at it and then matches nothing.
pub fn json_text<'a>(body: &'a [u8], key: &str) -> &'a [u8] {
    let mut from = 0;
    while let Some(at) = memmem::find(&body[from..], key.as_bytes()) {
        let start = from + at;
        let end = start + key.len();
        from = end;
        if start == 0 || body[start - 1] != b'"' || body.get(end) != Some(&b'"') {
            continue;
        }
        let after = body[end + 1..].trim_ascii_start();
        let Some(value) = after.strip_prefix(b":").map(<[u8]>::trim_ascii_start) else { continue };
        let Some(value) = value.strip_prefix(b"\"") else { continue };
        let length = value.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        return &value[..length.unwrap_or(0)];
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nContent-Length: 19\r\nRetry-After: 2\r\n\r\n{\"code\":\"sold-out\"}";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n";

    #[test]
    fn a_response_is_complete_exactly_at_its_last_byte() {
        for whole in [PLAIN, CHUNKED] {
            for cut in 0..whole.len() {
                assert_eq!(parse(&whole[..cut], false), Ok(None), "cut at {cut}");
            }
            let mut with_next = whole.to_vec();
            with_next.extend_from_slice(b"HTTP/1.1 200");
            assert_eq!(parse(&with_next, false).unwrap().unwrap().consumed, whole.len());
        }
        let refused = parse(PLAIN, false).unwrap().unwrap();
        assert_eq!((refused.status, refused.keep_alive, refused.retry_after_ms), (409, true, Some(2000)));
        assert_eq!(json_text(&refused.body, "code"), b"sold-out");
        assert_eq!(parse(CHUNKED, false).unwrap().unwrap().body.as_ref(), b"abcde");
    }

    /// Bytes, whether they are all, and the status, keep-alive and body to be seen.
    type Case = (&'static [u8], bool, Option<(u16, bool, &'static [u8])>);

    #[test]
    fn framing_follows_the_head() {
        let table: [Case; 7] = [
            (b"HTTP/1.1 204 No Content\r\n\r\n", false, Some((204, true, b""))),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false, Some((200, false, b"x"))),
            (
                b"HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 0\r\n\r\n",
                false,
                Some((200, true, b"")),
            ),
            (
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
                false,
                Some((200, false, b"x")),
            ),
            (b"HTTP/1.1 200 OK\r\n\r\nhalf", false, None),
            (b"HTTP/1.1 200 OK\r\n\r\nwhole", true, Some((200, false, b"whole"))),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
                false,
                Some((201, true, b"")),
            ),
        ];
        for (bytes, ended, expected) in table {
            let parsed = parse(bytes, ended).unwrap();
            let seen = parsed.as_ref().map(|r| (r.status, r.keep_alive, r.body.as_ref()));
            assert_eq!(seen, expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn nonsense_is_refused_and_never_panics() {
        for bytes in [
            &b"HTTP/2 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 20x OK\r\n\r\n",
            b"HTTP/1.1 999 Odd\r\n\r\n",
            b"HTTP/1.1 \r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert!(parse(bytes, false).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        assert!(parse(&vec![b'x'; HEAD_BYTES_MAX + 1], false).is_err());
    }

    #[test]
    fn text_values_are_found_by_their_key() {
        let body = br#"{"the code":"no", "code" : "sold-out","order_id":"0198-a","n":7,"open":"cut"#;
        assert_eq!(json_text(body, "code"), b"sold-out");
        assert_eq!(json_text(body, "order_id"), b"0198-a");
        assert_eq!(json_text(body, "n"), b"");
        assert_eq!(json_text(body, "open"), b"");
        assert_eq!(json_text(body, "missing"), b"");
        assert_eq!(json_text(b"code", "code"), b"");
    }
}
