//! What a header field of HTTP/2 is, and whether it may be at all (RFC 9113, 8.2 and 8.3).

/// A field as it was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    /// What its name says, whatever its value.
    pub by_name: Meaning,
    pub meaning: Meaning,
}

/// What a field is for. Found once: what a client repeats by number, a name or all of a field, keeps it.
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
    /// `te`: of HTTP/1's transfer codings nothing is left but trailers.
    Trailers,
    /// Any other field.
    Plain,
    /// It makes its request malformed.
    Malformed,
}

impl<'a> Field<'a> {
    /// A field with its meaning.
    pub fn of(name: &'a [u8], value: &'a [u8]) -> Self {
        Self::with(name, Meaning::of(name), value)
    }

    /// The same where it is known what the name says. It is not looked at again: a client can name a long one with a
    /// byte, as often as it likes.
    pub fn with(name: &'a [u8], by_name: Meaning, value: &'a [u8]) -> Self {
        let meaning = if by_name.may_have(value) { by_name } else { Meaning::Malformed };
        Self { name, value, by_name, meaning }
    }
}

impl Meaning {
    /// What a field of this name means.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":path" => Self::Path,
            b":authority" => Self::Authority,
            b"content-length" => Self::Length,
            b"expect" => Self::Expect,
            b"te" => Self::Trailers,
            // What only concerns a connection of HTTP/1.
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
                Self::Malformed
            }
            _ if is_name(name) => Self::Plain,
            _ => Self::Malformed,
        }
    }

    /// Whether a field that means this may have the value.
    fn may_have(self, value: &[u8]) -> bool {
        match self {
            Self::Method => !value.is_empty() && value.iter().all(|byte| is_token(*byte)),
            Self::Scheme => is_scheme(value),
            Self::Path => is_path(value),
            Self::Authority => is_authority(value),
            Self::Length => !value.is_empty() && value.iter().all(u8::is_ascii_digit),
            Self::Trailers => value == b"trailers",
            Self::Expect | Self::Plain => is_value(value),
            Self::Malformed => false,
        }
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
/// send as they are, are taken as on HTTP/1.1; only what looks like a fragment is taken there and cut off.
fn is_path(value: &[u8]) -> bool {
    let Ok(target) = std::str::from_utf8(value) else { return false };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_fitting = |byte: u8| !byte.is_ascii() || byte.is_ascii_graphic() && !b"#<>".contains(&byte);
    target == "*"
        || path.starts_with('/')
            && path.bytes().all(|byte| is_fitting(byte) && byte != b'`')
            && query.bytes().all(|byte| is_fitting(byte) && byte != b'"')
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
            (":path", "/a\"\\^?b=`{c}|?\\^", Meaning::Path),
            (":path", "/ä?ö", Meaning::Path),
            (":path", "*", Meaning::Path),
            (":path", "/a b", Meaning::Malformed),
            (":path", "/a#b", Meaning::Malformed),
            (":path", "/a`", Meaning::Malformed),
            (":path", "/a?\"", Meaning::Malformed),
            (":path", "/a?<", Meaning::Malformed),
            (":path", "/a\u{7f}", Meaning::Malformed),
            (":path", "?", Meaning::Malformed),
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
            ("te", "trailers", Meaning::Trailers),
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
            let field = Field::of(name.as_bytes(), value.as_bytes());
            assert_eq!(field.meaning, meaning, "{name}: {value:?}");
        }
    }
}
