//! Who may ask, and for which tenant.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use super::connection_places::Place;
use super::control_plane::ControlPlane;
use super::problem::Problem;
use super::settings::AdminSettings;
use crate::domain::{InvalidId, SaleKey};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The tenant of a request: `X-Tenant-ID`, or `default`.
pub(super) struct Tenant(pub String);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut sent = parts.headers.get_all("x-tenant-id").iter();
        let Some(tenant) = sent.next() else {
            return Ok(Self(SaleKey::DEFAULT_TENANT.into()));
        };
        if sent.next().is_some() {
            return Err(Problem::malformed("X-Tenant-ID may be given once only."));
        }
        let tenant = tenant.to_str().unwrap_or_default();
        SaleKey::check_part(tenant)
            .map_err(|InvalidId(rule)| Problem::malformed(format!("X-Tenant-ID {rule}")))?;
        Ok(Self(tenant.into()))
    }
}

/// Without a token, whoever can reach the loopback address may ask, and so could a page in the operator's browser whose
/// name was made to point here. So the request must name this machine, whatever it asks for.
pub(super) async fn check_host(
    State(settings): State<Arc<AdminSettings>>,
    request: Request,
    next: Next,
) -> Response {
    if settings.token.is_empty() && is_foreign_host(&request, &settings) {
        return foreign_host().into_response();
    }
    next.run(request).await
}

/// Browsers speak HTTP/1.1 and name a host, always. A balancer's check of HTTP/1.0 may name none.
fn is_foreign_host(request: &Request, settings: &AdminSettings) -> bool {
    let of_uri = request.uri().host();
    if request.version() < Version::HTTP_11
        && of_uri.is_none()
        && !request.headers().contains_key(header::HOST)
    {
        return false;
    }
    let named = of_uri.or_else(|| text(request.headers(), header::HOST));
    !named.is_some_and(|host| names_this_machine(host, &settings.hosts))
}

fn foreign_host() -> Problem {
    let detail = "Without admin.token the Host must be localhost, a loopback address, or one of admin.hosts.";
    Problem::new(StatusCode::FORBIDDEN, "foreign-host", detail)
}

/// Lets a request pass that carries the token, if one is set, and was not sent by another site's page. Its connection is
/// known from then on.
pub(super) async fn check(
    State(plane): State<Arc<ControlPlane>>,
    mut request: Request,
    next: Next,
) -> Response {
    let tokens = &plane.tokens;
    let problem = if is_foreign_page(request.method(), request.headers()) {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "Pages of other sites may not use the admin API.")
    } else if tokens.are_none() && is_foreign_host(&request, &plane.settings) {
        // The token was taken away while the engine runs.
        foreign_host()
    } else if !tokens.are_none() && !bearer(request.headers()).is_some_and(|given| tokens.accept(given)) {
        let detail = "Authorization must be: Bearer, then the value of admin.token.";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header(header::WWW_AUTHENTICATE, "Bearer")
    } else if request.extensions().get::<Arc<Place>>().is_some_and(|place| !place.become_known()) {
        too_many("There are as many connections as admin.connections_max allows.")
    } else {
        let caller = if tokens.are_none() { Caller::LOCAL } else { Caller::ADMIN };
        request.extensions_mut().insert(caller);
        return next.run(request).await;
    };
    problem.into_response()
}

/// Lets a probe pass: its connection is not closed before it is answered, however many others are opened.
pub(super) async fn probe(request: Request, next: Next) -> Response {
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let probe = place.map(|place| place.probe().ok_or(()));
    match probe.transpose() {
        Ok(_probe) => next.run(request).await,
        Err(()) => {
            too_many("As many probes as admin.unknown_connections_max are being answered.").into_response()
        }
    }
}

fn too_many(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-connections", detail)
        .header(header::RETRY_AFTER, "1")
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// A browser names the page's site in `Origin`, and in `Sec-Fetch-Site` how far that is from here. Only a page of this
/// engine may ask; following a link to a page of it is no asking.
fn is_foreign_page(method: &Method, headers: &HeaderMap) -> bool {
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

/// Whether nobody but this machine, or who set `more`, can have given this name.
fn names_this_machine(host: &str, more: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
        || more.iter().any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_token_follows_the_scheme() {
        let given = |value: &str| bearer(&headers(&[(header::AUTHORIZATION, value)])).map(<[u8]>::to_vec);
        assert_eq!(given("Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(given("bearer  abc "), Some(b"abc".to_vec()));
        for value in ["Basic abc", "Bearer", "abc", ""] {
            assert_eq!(given(value), None, "{value:?}");
        }
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

    #[test]
    fn o8_names_that_only_this_machine_can_have() {
        for host in ["localhost", "LOCALHOST:9090", "127.0.0.1:9090", "127.8.8.8", "[::1]:9090", "[::1]"] {
            assert!(names_this_machine(host, &[]), "{host}");
        }
        for host in
            ["evil.example", "evil.example:9090", "192.0.2.1", "localhost.evil.example", "", "0.0.0.0"]
        {
            assert!(!names_this_machine(host, &[]), "{host}");
        }
        assert!(names_this_machine("admin.internal:9090", &["admin.internal".into()]));
    }
}
