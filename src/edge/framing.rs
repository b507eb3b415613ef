//! Where a request of HTTP/1 ends, as we read it ourselves. Pure, so that it can be tried with any bytes.

use super::problem::{self, ProblemAnswer};

/// How a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Whether the connection ends after the answer.
    pub last: bool,
}

impl Framing {
    /// Reads the framing of an HTTP/1.0 or HTTP/1.1 request. Whatever two readers could understand differently is
    /// refused, and so is what only hyper does.
    ///
    /// # Errors
    /// The answer. The connection must end with it, because nobody knows where the next request begins.
    pub fn of<'a>(
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
        http_1_0: bool,
        body_bytes_max: usize,
    ) -> Result<Self, ProblemAnswer> {
        let mut length = None;
        let mut repeated = false;
        let mut last = http_1_0;
        for (name, value) in fields {
            match name.len() {
                6 if name.eq_ignore_ascii_case("expect") => {
                    return Err(problem::EXPECTATION_FAILED.answer());
                }
                10 if name.eq_ignore_ascii_case("connection") => last |= has_token(value, b"close"),
                14 if name.eq_ignore_ascii_case("content-length") => {
                    repeated |= length.replace(value).is_some();
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    return Err(problem::BAD_REQUEST.detailed("The body must be framed by Content-Length."));
                }
                _ => {}
            }
        }
        if repeated {
            return Err(problem::BAD_REQUEST.detailed("Content-Length may be given once only."));
        }
        let body_bytes = length.map_or(Ok(0), content_length)?;
        if body_bytes > body_bytes_max as u64 {
            return Err(problem::BODY_TOO_LARGE.answer().number("body_bytes_max", body_bytes_max as u32));
        }
        Ok(Self { body_bytes: body_bytes as usize, last })
    }
}

/// Digits only: no sign, no list, no space. A number of more than 64 bits is the largest.
fn content_length(value: &[u8]) -> Result<u64, ProblemAnswer> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(problem::BAD_REQUEST.detailed("Content-Length is not a number."));
    }
    let digit = |length: u64, byte: &u8| length.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    Ok(value.iter().fold(0, digit))
}

/// Whether a comma-separated list has the token.
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|entry| entry.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(fields: &[(&str, &str)], http_1_0: bool) -> Option<Framing> {
        let fields = fields.iter().map(|&(name, value)| (name, value.as_bytes()));
        Framing::of(fields, http_1_0, 100).ok()
    }

    #[test]
    fn one_length_in_digits_frames_a_body() {
        let one = |body_bytes| Some(Framing { body_bytes, last: false });
        assert_eq!(framing(&[], false), one(0));
        assert_eq!(framing(&[("Content-Length", "0")], false), one(0));
        assert_eq!(framing(&[("CONTENT-LENGTH", "100")], false), one(100));
        for bad in ["", "-1", "+1", "1 ", "0x10", "1,1", "1.0", "101", "99999999999999999999999", "¹"] {
            assert_eq!(framing(&[("content-length", bad)], false), None, "{bad:?}");
        }
    }

    #[test]
    fn what_two_readers_could_frame_differently_is_refused() {
        assert_eq!(framing(&[("content-length", "5"), ("Content-Length", "5")], false), None);
        assert_eq!(framing(&[("transfer-encoding", "chunked")], false), None);
        assert_eq!(framing(&[("Transfer-Encoding", "identity"), ("content-length", "5")], false), None);
        assert_eq!(framing(&[("expect", "100-continue")], false), None);
    }

    #[test]
    fn the_last_request_is_known() {
        let last = |fields: &[(&str, &str)], http_1_0| framing(fields, http_1_0).unwrap().last;
        assert!(last(&[], true));
        assert!(last(&[("Connection", "keep-alive")], true));
        assert!(last(&[("connection", "x, Close")], false));
        assert!(!last(&[("connection", "closed")], false));
    }
}
