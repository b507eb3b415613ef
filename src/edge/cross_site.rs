//! Requests that another site's page sends with its visitor's browser: refused where they would act, unless the operator
//! listed the page's origin; for those on the list the browser is told so (CORS).

use std::str::FromStr;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri, header};

use super::auth_settings::CorsSettings;
use super::problem;
use super::reply::Reply;
use super::request::{Head, Request};
use crate::domain::FieldError;
use crate::settings::within;
use crate::telemetry::Outcome;

const METHODS: &str = "DELETE, GET, HEAD, POST";
const FIELDS_IN: &str = "Authorization, Content-Type, Idempotency-Key, X-B3-TraceId, X-Gate-Token, X-Platform, X-Request-ID, X-Sale-Pass, X-Tenant-ID, traceparent";
const FIELDS_OUT: &str = "Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID";

/// The origins whose pages may act, and what their browsers are told.
#[derive(Debug)]
pub(super) struct CrossSite {
    origins: Vec<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

/// Whose page sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit<'a> {
    /// Nobody's, or our own.
    Own,
    /// One of the list: the origin as the list spells it.
    Listed(&'a HeaderValue),
    /// Another site's.
    Foreign,
}

impl CrossSite {
    /// Reads the list.
    ///
    /// # Errors
    /// Names what is no origin.
    pub fn new(settings: &CorsSettings) -> Result<Self, FieldError> {
        within("cors.max_age_s", settings.max_age_s, 0..=86_400)?;
        let origins = settings.origins.iter().map(|origin| read(origin)).collect::<Result<_, _>>()?;
        Ok(Self { origins, credentials: settings.credentials, max_age: settings.max_age_s.into() })
    }

    /// Whether any other site's pages may ask, so that public documents depend on who does.
    pub fn is_open(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Whose page sent this. Browsers say where a request comes from in `Sec-Fetch-Site`, which no page can set; older
    /// ones say the page's origin when the request acts, and it has to be the host that was asked.
    pub fn visit(&self, head: &Head<'_>) -> Visit<'_> {
        if let Some(sent) = head.origin
            && let Some(origin) =
                self.origins.iter().find(|listed| listed.as_bytes().eq_ignore_ascii_case(sent))
        {
            return Visit::Listed(origin);
        }
        let is_own = match (head.fetch_site, head.origin) {
            (Some(site), _) => site == b"same-origin" || site == b"none",
            (None, Some(origin)) => host_of(origin)
                .is_some_and(|host| head.host.is_some_and(|asked| asked.eq_ignore_ascii_case(host))),
            (None, None) => true,
        };
        if is_own { Visit::Own } else { Visit::Foreign }
    }

    /// The answer to a browser that asks what its page may do; `None` when this is not such a question.
    pub fn preflight(&self, request: &Request<'_>, visit: Visit<'_>) -> Option<Reply> {
        if request.method != "OPTIONS" || request.head.preflight_method.is_none() {
            return None;
        }
        let Visit::Listed(_) = visit else { return Some(problem::CROSS_SITE.reply(&request.id)) };
        let mut reply = Reply::json(StatusCode::NO_CONTENT, Outcome::Served, Bytes::new());
        reply.shown_to.extend([
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS)),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(FIELDS_IN)),
            (header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()),
        ]);
        Some(self.shown_to(visit, reply))
    }

    /// The answer, readable for the page that asked if its origin is listed.
    pub fn shown_to(&self, visit: Visit<'_>, mut reply: Reply) -> Reply {
        let Visit::Listed(origin) = visit else { return reply };
        reply.shown_to.extend([
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(FIELDS_OUT)),
        ]);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            reply.shown_to.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes));
        }
        reply
    }
}

/// Whether a method changes something.
pub(super) fn acts(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS")
}

fn read(origin: &str) -> Result<HeaderValue, FieldError> {
    let is_origin = Uri::from_str(origin).is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && host_of(origin.as_bytes()).is_some_and(|host| !host.contains(&b'/'))
    });
    HeaderValue::from_str(origin).ok().filter(|_| is_origin).ok_or_else(|| FieldError {
        field: "cors.origins",
        problem: format!("holds {origin:?}; an origin looks like https://shop.example, without a path"),
    })
}

/// Host and port of an origin.
fn host_of(origin: &[u8]) -> Option<&[u8]> {
    let start = origin.windows(3).position(|three| three == b"://")? + 3;
    Some(&origin[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(origins: &[&str]) -> Result<CrossSite, FieldError> {
        let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        CrossSite::new(&CorsSettings { origins, ..CorsSettings::default() })
    }

    #[test]
    fn a_page_is_told_by_what_its_browser_says() {
        let sites = listed(&["https://shop.example"]).unwrap();
        for (origin, fetch_site, visit) in [
            (None, None, "own"),
            (Some("https://here.example"), None, "own"),
            (Some("http://HERE.example"), None, "own"),
            (Some("https://here.example:81"), None, "foreign"),
            (Some("https://evil.example"), None, "foreign"),
            (Some("null"), None, "foreign"),
            (None, Some("cross-site"), "foreign"),
            (None, Some("same-site"), "foreign"),
            (None, Some("none"), "own"),
            (Some("https://behind.example"), Some("same-origin"), "own"),
            (Some("https://here.example"), Some("cross-site"), "foreign"),
            (Some("https://shop.example"), Some("cross-site"), "listed"),
            (Some("https://SHOP.example"), None, "listed"),
            (Some("http://shop.example"), None, "foreign"),
        ] {
            let head = Head {
                host: Some(b"here.example"),
                origin: origin.map(str::as_bytes),
                fetch_site: fetch_site.map(str::as_bytes),
                ..Head::default()
            };
            let told = match sites.visit(&head) {
                Visit::Own => "own",
                Visit::Listed(_) => "listed",
                Visit::Foreign => "foreign",
            };
            assert_eq!(told, visit, "{origin:?} {fetch_site:?}");
        }
    }

    #[test]
    fn what_is_no_origin_is_told_at_the_start() {
        for wrong in
            ["*", "null", "shop.example", "https://shop.example/", "ftp://a", "https://a@b", "https://"]
        {
            assert!(listed(&[wrong]).is_err(), "{wrong}");
        }
        assert!(listed(&["https://shop.example:8443", "http://localhost:3000"]).is_ok());
    }
}
