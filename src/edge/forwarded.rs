//! The client's address as the proxies in front tell it, in a header or ahead of the first request.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use proxy_header::{Error, ParseConfig, ProxyHeader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tokio::net::TcpStream;

/// Bytes that a PROXY header may have: an address with everything that proxies add takes some hundred.
const PROXY_HEADER_BYTES_MAX: usize = 4_096;

/// The header in which trusted proxies name the client. Only one is believed: the other may be the client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// The client's address: the last one in the chain that is not a trusted proxy's. What stands before it may be
    /// anybody's invention. `None` when the chain does not tell.
    pub(super) fn client<'a>(
        self,
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
        is_trusted: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let (header, element): (_, fn(&str) -> Option<IpAddr>) = match self {
            Self::XForwardedFor => ("x-forwarded-for", address),
            Self::Forwarded => ("forwarded", forwarded_for),
        };
        let lines: SmallVec<[&[u8]; 4]> =
            fields.filter(|(name, _)| name.eq_ignore_ascii_case(header)).map(|(_, line)| line).collect();
        for line in lines.iter().rev() {
            let line = std::str::from_utf8(line).unwrap_or_default();
            for hop in line.rsplit(',') {
                let hop = element(hop.trim())?;
                if !is_trusted(hop) {
                    return Some(hop);
                }
            }
        }
        None
    }
}

/// The address of an element of `Forwarded`: `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(node.trim_matches('"'))
}

/// An address, with a port or without, IPv6 with brackets or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

/// Reads a PROXY header (version 1 or 2) from the beginning of a connection. Returns the client's address, unless the
/// proxy speaks for itself, and what came behind the header.
///
/// # Errors
/// There is no such header, or the connection ends within it.
pub(super) async fn proxied_client(stream: &TcpStream) -> io::Result<(Option<IpAddr>, Bytes)> {
    let mut read = vec![0; PROXY_HEADER_BYTES_MAX];
    let mut length = 0;
    loop {
        match ProxyHeader::parse(&read[..length], ParseConfig::default()) {
            Ok((header, header_length)) => {
                let client = header.proxied_address().map(|address| address.source.ip());
                return Ok((client, Bytes::copy_from_slice(&read[header_length..length])));
            }
            Err(Error::BufferTooShort) if length < read.len() => {}
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        stream.readable().await?;
        match stream.try_read(&mut read[length..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: ForwardedHeader, lines: &[(&str, &str)]) -> Option<String> {
        let is_trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let fields = lines.iter().map(|&(name, line)| (name, line.as_bytes()));
        header.client(fields, is_trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        let xff = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("X-Forwarded-For", *line)).collect();
            client(ForwardedHeader::XForwardedFor, &lines)
        };
        assert_eq!(xff(&["1.1.1.1, 192.0.2.7, 10.0.0.1"]).as_deref(), Some("192.0.2.7"));
        assert_eq!(xff(&["1.1.1.1", "192.0.2.7:443", "10.0.0.1,10.0.0.2"]).as_deref(), Some("192.0.2.7"));
        assert_eq!(xff(&["[2001:db8::1]:443"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(xff(&["192.0.2.7, unknown"]), None);
        assert_eq!(xff(&["10.0.0.1"]), None);
        assert_eq!(xff(&[]), None);
    }

    #[test]
    fn only_the_configured_header_is_believed() {
        let lines = [
            ("forwarded", "for=1.1.1.1, for=\"[2001:db8::1]:4711\";proto=https;by=10.0.0.9"),
            ("x-forwarded-for", "192.0.2.7"),
        ];
        assert_eq!(client(ForwardedHeader::Forwarded, &lines).as_deref(), Some("2001:db8::1"));
        assert_eq!(client(ForwardedHeader::XForwardedFor, &lines).as_deref(), Some("192.0.2.7"));
        assert_eq!(client(ForwardedHeader::Forwarded, &[("forwarded", "for=_hidden")]), None);
        assert_eq!(client(ForwardedHeader::Forwarded, &[("forwarded", "proto=http")]), None);
    }
}
