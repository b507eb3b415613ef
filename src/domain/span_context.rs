//! The names of a span, as W3C Trace Context writes them.

use std::fmt;

/// Bytes of a `traceparent` of version 00; later versions begin the same way.
const TRACEPARENT_BYTES: usize = 55;

/// A span by its names: the trace that it is in, and the span itself. Neither is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: u128,
    /// The span.
    pub span_id: u64,
    /// Whether its spans are recorded.
    pub is_sampled: bool,
}

impl SpanContext {
    /// The caller's span, of a `traceparent` as it was sent; `None` where it does not follow the rules, and has to be taken
    /// for none.
    pub fn parse(traceparent: &[u8]) -> Option<Self> {
        let (known, rest) = traceparent.split_at_checked(TRACEPARENT_BYTES)?;
        let [a, b, b'-', ids @ .., b'-', c, d] = known else { return None };
        let version = number(&[*a, *b])?;
        let is_ended = if version == 0 { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
        let (trace_id, span_id) = (&ids[..32], &ids[33..]);
        if version == 0xff || !is_ended || ids[32] != b'-' {
            return None;
        }
        let flags = number(&[*c, *d])?;
        let found = Self {
            trace_id: number(trace_id)?,
            span_id: u64::try_from(number(span_id)?).ok()?,
            is_sampled: flags & 1 == 1,
        };
        (found.trace_id != 0 && found.span_id != 0).then_some(found)
    }
}

/// As `traceparent` tells it.
impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.is_sampled))
    }
}

/// The number that these hexadecimal digits are, of which capital ones are none.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_span_is_read_and_written_as_the_standard_says() {
        let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = SpanContext::parse(sent.as_bytes()).unwrap();
        assert_eq!(read.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((read.span_id, read.is_sampled), (0xb7ad_6b71_6920_3331, true));
        assert_eq!(read.to_string(), sent);
        for (sent, sampled) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", Some(false)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", Some(true)),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some(true)),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", Some(true)),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", None),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", None),
            ("00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(SpanContext::parse(sent.as_bytes()).map(|it| it.is_sampled), sampled, "{sent}");
        }
    }
}
