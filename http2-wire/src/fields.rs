//! The fields that both sides of every connection know by number (RFC 7541, appendix A).

/// Names and values; the first has number 1.
pub const FIELDS: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The number of `:method` with the value GET; POST is the next.
pub const METHOD_GET: usize = 2;

/// The number of `:path`.
pub const PATH: usize = 4;

/// The number of `:scheme` with the value http; https is the next.
pub const SCHEME_HTTP: usize = 6;

/// The number of `authorization`.
pub const AUTHORIZATION: usize = 23;

/// The number of `content-length`.
pub const CONTENT_LENGTH: usize = 28;

/// The number of the first field of this name.
pub fn number_of(name: &str) -> Option<u8> {
    // None of them begins like most of ours.
    if name.starts_with("x-") {
        return None;
    }
    FIELDS.iter().position(|(known, _)| *known == name).map(|place| place as u8 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_numbers_of_the_rfc() {
        for (name, number) in [(":authority", 1), (":status", 8), ("cookie", 32), ("www-authenticate", 61)] {
            assert_eq!(number_of(name), Some(number), "{name}");
        }
        for (number, field) in [
            (METHOD_GET, (":method", "GET")),
            (METHOD_GET + 1, (":method", "POST")),
            (PATH, (":path", "/")),
            (SCHEME_HTTP, (":scheme", "http")),
            (SCHEME_HTTP + 1, (":scheme", "https")),
            (AUTHORIZATION, ("authorization", "")),
            (CONTENT_LENGTH, ("content-length", "")),
        ] {
            assert_eq!(FIELDS[number - 1], field);
        }
        assert_eq!(number_of("x-user-id"), None);
    }
}
