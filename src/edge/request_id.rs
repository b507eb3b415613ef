//! What a request is called in its answer and in logs.

use std::fmt;

use super::random;

/// The longest request id and trace id that is echoed, in bytes.
pub const ECHO_BYTES_MAX: usize = 128;

/// The value if it can be sent back as it came: 1 to [`ECHO_BYTES_MAX`] visible ASCII characters.
pub fn echoable(value: Option<&[u8]>) -> Option<&str> {
    let value = value.filter(|value| (1..=ECHO_BYTES_MAX).contains(&value.len()))?;
    value.iter().all(u8::is_ascii_graphic).then(|| std::str::from_utf8(value).ok())?
}

/// What a request is called in its answer: the client's own name for it, or a made one.
#[derive(Clone, Copy)]
pub enum RequestId<'a> {
    /// The client's, 1 to 128 visible ASCII characters.
    Echoed(&'a str),
    /// Ours: 16 hexadecimal digits.
    Made([u8; 16]),
}

impl<'a> RequestId<'a> {
    /// The client's `X-Request-ID`, as it was sent, when it can be echoed, otherwise a new one: a random number of this thread, no lock.
    pub fn of(sent: Option<&'a [u8]>) -> Self {
        match echoable(sent) {
            Some(id) => Self::Echoed(id),
            None => Self::made(random::next()),
        }
    }

    fn made(number: u64) -> Self {
        let mut digits = [0; 16];
        for (place, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (60 - 4 * place) & 15) as usize];
        }
        Self::Made(digits)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Echoed(id) => id,
            Self::Made(digits) => std::str::from_utf8(digits).expect("hexadecimal digits are ASCII"),
        }
    }
}

impl fmt::Debug for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_echoed_only_when_they_are_visible_ascii() {
        let long = "x".repeat(129);
        for (sent, echoed) in
            [("abc-1", true), ("", false), ("a b", false), (long.as_str(), false), ("é", false)]
        {
            assert_eq!(RequestId::of(Some(sent.as_bytes())).as_str() == sent, echoed, "{sent:?}");
        }
        assert_eq!(RequestId::made(0x0123_4567_89ab_cdef).as_str(), "0123456789abcdef");
        assert_ne!(RequestId::of(None).as_str(), RequestId::of(None).as_str());
    }
}
