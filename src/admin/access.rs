//! Who may ask, and for which tenant.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ControlPlane;
use super::problem::Problem;
use crate::domain::{InvalidId, SaleKey};

/// The tenant of a request: `X-Tenant-ID`, or `default`.
pub(super) struct Tenant(pub String);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(tenant) = parts.headers.get("x-tenant-id") else {
            return Ok(Self(SaleKey::DEFAULT_TENANT.into()));
        };
        let tenant = tenant.to_str().unwrap_or_default();
        SaleKey::check_part(tenant)
            .map_err(|InvalidId(rule)| Problem::malformed(format!("X-Tenant-ID {rule}")))?;
        Ok(Self(tenant.into()))
    }
}

/// Lets a request pass that carries the token, if one is set, and was not sent by another site's page.
pub(super) async fn check(State(plane): State<Arc<ControlPlane>>, request: Request, next: Next) -> Response {
    let token = &plane.settings.token;
    let problem = if is_foreign_page(request.headers(), token.is_empty()) {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "Pages of other sites may not use the admin API.")
    } else if !token.is_empty() && !bearer(request.headers()).is_some_and(|given| token.matches(given)) {
        let detail = "Authorization must be: Bearer, then the value of admin.token.";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header(header::WWW_AUTHENTICATE, "Bearer")
    } else {
        return next.run(request).await;
    };
    problem.into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Without a token, whoever can reach the loopback address may ask, and so could any page in the operator's browser.
/// A browser names the page's site in `Origin`: it has to be this engine, and under a name that is surely this machine's.
fn is_foreign_page(headers: &HeaderMap, without_token: bool) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin, host) {
        (Some((_, origin)), Some(host)) => {
            !origin.eq_ignore_ascii_case(host) || (without_token && !names_this_machine(host))
        }
        _ => true,
    }
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
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
    fn only_pages_of_this_engine_may_ask() {
        let foreign = |origin: &str, host: &str, without_token: bool| {
            is_foreign_page(&headers(&[(header::ORIGIN, origin), (header::HOST, host)]), without_token)
        };
        assert!(!is_foreign_page(&headers(&[(header::HOST, "x")]), true));
        assert!(!foreign("http://127.0.0.1:9090", "127.0.0.1:9090", true));
        assert!(!foreign("http://[::1]:9090", "[::1]:9090", true));
        assert!(!foreign("http://localhost:9090", "localhost:9090", true));
        assert!(foreign("http://elsewhere.example", "127.0.0.1:9090", true));
        assert!(foreign("null", "127.0.0.1:9090", true));
        // A foreign name that was made to point at this machine.
        assert!(foreign("http://elsewhere.example:9090", "elsewhere.example:9090", true));
        assert!(!foreign("http://ops.example", "ops.example", false));
    }
}
