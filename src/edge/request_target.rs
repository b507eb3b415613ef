//! The request target: what is asked for, and of whom. Whatever stands in front decides by the target as it reads it, so
//! a form that two readers could take for two things is refused (RFC 9112, 3.2).

use http::Uri;

use super::problem::{self, ProblemAnswer};

/// The path that the target names, without the query. `host` is the `Host` field.
///
/// # Errors
/// It is neither in origin form nor an `http` or `https` address of that host.
pub(super) fn path_of_uri<'a>(uri: &'a Uri, host: Option<&[u8]>) -> Result<&'a str, ProblemAnswer> {
    let authority = uri.authority().map(http::uri::Authority::as_str);
    checked(uri.scheme_str(), authority, uri.path(), host)
}

/// The same for HTTP/2, which hands the parts over one by one.
///
/// # Errors
/// As [`path_of_uri`].
pub(super) fn path_of_parts<'a>(
    scheme: Option<&str>,
    authority: Option<&str>,
    path: &'a str,
    host: Option<&[u8]>,
) -> Result<&'a str, ProblemAnswer> {
    // A scheme is always told, and means nothing where no authority is.
    checked(authority.and(scheme), authority, path, host)
}

/// The same for a front end that hands the target over as text.
///
/// # Errors
/// As [`path_of_uri`].
pub(super) fn path_of_text<'a>(target: &'a str, host: Option<&[u8]>) -> Result<&'a str, ProblemAnswer> {
    let without_query = |text: &'a str| text.split_once('?').map_or(text, |(path, _)| path);
    if target.starts_with('/') {
        return checked(None, None, without_query(target), host);
    }
    let (scheme, rest) = target.split_once("://").ok_or_else(not_ours)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = without_query(path);
    checked(Some(scheme), Some(authority), if path.is_empty() { "/" } else { path }, host)
}

fn checked<'a>(
    scheme: Option<&str>,
    authority: Option<&str>,
    path: &'a str,
    host: Option<&[u8]>,
) -> Result<&'a str, ProblemAnswer> {
    let is_ours = match (scheme, authority) {
        (None, None) => true,
        (Some(scheme), Some(authority)) => {
            let is_web = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            // Clients send both, and they have to be the same; HTTP/1.0 knows no Host.
            is_web && host.is_none_or(|host| host.eq_ignore_ascii_case(authority.as_bytes()))
        }
        _ => false,
    };
    if is_ours && path.starts_with('/') { Ok(path) } else { Err(not_ours()) }
}

fn not_ours() -> ProblemAnswer {
    problem::BAD_REQUEST
        .detailed("The request target must be a path, or the http or https address of this path at Host.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_path_or_the_address_of_its_host() {
        for (target, path) in [
            ("/orders/a", Some("/orders/a")),
            ("/orders/a?x=/y", Some("/orders/a")),
            ("/a://b/c", Some("/a://b/c")),
            ("http://shop.example/orders/a?x", Some("/orders/a")),
            ("HTTPS://Shop.Example/orders/a", Some("/orders/a")),
            ("http://shop.example", Some("/")),
            ("http://shop.example?x", Some("/")),
            ("foo://shop.example/orders/a", None),
            ("http://other.example/orders/a", None),
            ("http://shop.example:81/orders/a", None),
            ("http://me@shop.example/orders/a", None),
            ("http:///orders/a", None),
            ("shop.example:80", None),
            ("*", None),
            ("", None),
        ] {
            let host = Some(&b"shop.example"[..]);
            assert_eq!(path_of_text(target, host).ok(), path, "{target}");
            if let Ok(uri) = target.parse::<Uri>() {
                assert_eq!(path_of_uri(&uri, host).ok(), path, "{target}");
            }
        }
        assert_eq!(path_of_text("http://any/a", None).ok(), Some("/a"), "HTTP/1.0 without Host");
    }
}
