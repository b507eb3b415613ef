//! What a header field of HTTP/2 is, and whether it may be at all (RFC 9113, 8.2 and 8.3).

/// A field as it was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub meaning: Meaning,
}

/// What a field is for. Found once: fields that a client repeats by number keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Method,
    Scheme,
    Path,
    Authority,
    /// `content-length`: digits.
    Length,
    /// `expect`.
    Expect,
    /// Any other field.
    Plain,
    /// It makes its request malformed.
    Malformed,
}

impl<'a> Field<'a> {
    /// A field with its meaning.
    pub fn of(name: &'a [u8], value: &'a [u8]) -> Self {
        Self { name, value, meaning: Meaning::of(name, value) }
    }
}

impl Meaning {
    /// What a field of this name and value means.
    pub fn of(name: &[u8], value: &[u8]) -> Self {
        let (meaning, is_well_formed) = match name {
            b":method" => (Self::Method, !value.is_empty() && value.iter().all(|byte| is_token(*byte))),
            b":scheme" => (Self::Scheme, is_scheme(value)),
            b":path" => (Self::Path, is_path(value)),
            b":authority" => (Self::Authority, is_authority(value)),
            b"content-length" => (Self::Length, !value.is_empty() && value.iter().all(u8::is_ascii_digit)),
            b"expect" => (Self::Expect, is_value(value)),
            b"te" => (Self::Plain, value == b"trailers"),
            // What only concerns a connection of HTTP/1.
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
                (Self::Malformed, false)
            }
            _ => (Self::Plain, is_name(name) && is_value(value)),
        };
        if is_well_formed { meaning } else { Self::Malformed }
    }
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is_token(*byte) && !byte.is_ascii_uppercase())
}

/// No control character, and no space around it.
fn is_value(value: &[u8]) -> bool {
    let is_text = |byte: &u8| *byte >= b' ' && *byte != 0x7f || *byte == b'\t';
    value.iter().all(is_text) && value.trim_ascii().len() == value.len()
}

fn is_scheme(value: &[u8]) -> bool {
    value.first().is_some_and(u8::is_ascii_alphabetic)
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

/// A path with perhaps a query, or the server as a whole. Characters that RFC 3986 does not have, but that browsers
/// send in a path as they are, are taken as on HTTP/1.1.
fn is_path(value: &[u8]) -> bool {
    let is_fitting = |byte: &u8| byte.is_ascii_graphic() && !b"#<>\\^`".contains(byte);
    value == b"*" || value.first() == Some(&b'/') && value.iter().all(is_fitting)
}

/// A host with perhaps a port. Who names a user in it is refused later, in words.
fn is_authority(value: &[u8]) -> bool {
    let is_fitting = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@[]".contains(byte);
    !value.is_empty() && value.iter().all(is_fitting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_what_they_are_for() {
        for (name, value, meaning) in [
            (":method", "POST", Meaning::Method),
            (":method", "P T", Meaning::Malformed),
            (":scheme", "https", Meaning::Scheme),
            (":path", "/a?b={c}|\"", Meaning::Path),
            (":path", "*", Meaning::Path),
            (":path", "/a b", Meaning::Malformed),
            (":path", "/a#b", Meaning::Malformed),
            (":path", "/ä", Meaning::Malformed),
            (":path", "", Meaning::Malformed),
            (":path", "http://a/", Meaning::Malformed),
            (":authority", "[::1]:80", Meaning::Authority),
            (":authority", "me@h", Meaning::Authority),
            (":authority", "h/", Meaning::Malformed),
            (":authority", "", Meaning::Malformed),
            (":status", "200", Meaning::Malformed),
            (":protocol", "websocket", Meaning::Malformed),
            ("content-length", "012", Meaning::Length),
            ("content-length", "1, 1", Meaning::Malformed),
            ("content-length", "", Meaning::Malformed),
            ("te", "trailers", Meaning::Plain),
            ("te", "trailers, gzip", Meaning::Malformed),
            ("upgrade", "h2c", Meaning::Malformed),
            ("x-a", "", Meaning::Plain),
            ("x-a", "b\tc ü", Meaning::Plain),
            ("x-a", " b", Meaning::Malformed),
            ("x-a", "b\t", Meaning::Malformed),
            ("x-a", "b\nc", Meaning::Malformed),
            ("x-a", "b\u{7f}", Meaning::Malformed),
            ("x-A", "b", Meaning::Malformed),
            ("x a", "b", Meaning::Malformed),
            ("x:a", "b", Meaning::Malformed),
            ("", "b", Meaning::Malformed),
        ] {
            assert_eq!(Meaning::of(name.as_bytes(), value.as_bytes()), meaning, "{name}: {value:?}");
        }
    }
}
