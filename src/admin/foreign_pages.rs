//! Requests that another site's page has a browser send.

use axum::http::{HeaderMap, HeaderName, Method, header};

use super::problem::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// A browser names the page's site in `Origin`, and in `Sec-Fetch-Site` how far that is from here. Only a page of this
/// engine may ask; following a link to a page of it is no asking.
pub(super) fn is_foreign_page(method: &Method, headers: &HeaderMap) -> bool {
    let follows_a_link = method.is_safe() && text(headers, SEC_FETCH_MODE) == Some("navigate");
    let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
    let is_far = site.is_some_and(|site| site != b"same-origin" && site != b"none") && !follows_a_link;
    let Some(origin) = headers.get(header::ORIGIN) else { return is_far };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let is_here = match (origin, text(headers, header::HOST)) {
        (Some((_, origin)), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    };
    is_far || !is_here
}

/// What such a request is answered.
pub(super) fn foreign_page() -> Problem {
    Problem::new(Code::Forbidden, "Pages of other sites may not use the admin API.")
}

/// The value of a field, if it is a text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn o8_only_pages_of_this_engine_may_ask() {
        let foreign = |method: Method, pairs: &[(HeaderName, &str)]| {
            is_foreign_page(&method, &headers(&[pairs, &[(header::HOST, "127.0.0.1:9090")]].concat()))
        };
        let origin = |origin| foreign(Method::POST, &[(header::ORIGIN, origin)]);
        assert!(!foreign(Method::POST, &[]), "no browser");
        assert!(!origin("http://127.0.0.1:9090"));
        for other in ["http://elsewhere.example", "null", "http://127.0.0.1:3000", "http://localhost:9090"] {
            assert!(origin(other), "{other}");
        }
        let site = |method, site, mode| foreign(method, &[(SEC_FETCH_SITE, site), (SEC_FETCH_MODE, mode)]);
        assert!(site(Method::GET, "cross-site", "no-cors") && site(Method::POST, "same-site", "navigate"));
        assert!(!site(Method::GET, "cross-site", "navigate"), "a link to the page");
        assert!(!site(Method::POST, "same-origin", "cors") && !site(Method::GET, "none", "navigate"));
    }
}
