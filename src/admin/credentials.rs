//! Whose the credentials of a request are: a token, or the session of a browser.

use axum::http::{HeaderMap, header};

use super::caller::Caller;
use super::control_plane::ControlPlane;

/// The token that a request carries, if it carries one.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

impl ControlPlane {
    /// Whose credentials a request carries, at this moment. A token goes before a session.
    pub(super) fn known(&self, headers: &HeaderMap) -> Option<Caller> {
        match bearer(headers) {
            Some(token) => self.tokens.caller(token),
            None => self.sessions.caller(headers, &self.tokens, self.now()),
        }
    }

    /// Whether somebody whose request was let in with these headers still sees the tenant; `None` is all of them. Tokens are
    /// taken away and sessions end while a long answer goes on. Where no token is asked for, nobody has one to lose.
    pub(super) fn still_sees(&self, headers: &HeaderMap, tenant: Option<&str>) -> bool {
        let sees = |caller: Caller| tenant.map_or(caller.tenant.is_none(), |tenant| caller.sees(tenant));
        !self.asks_for_token() || self.known(headers).is_some_and(sees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_follows_the_scheme() {
        let given = |value: &str| {
            let headers: HeaderMap = [(header::AUTHORIZATION, value.parse().unwrap())].into_iter().collect();
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(given("Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(given("bearer  abc "), Some(b"abc".to_vec()));
        for value in ["Basic abc", "Bearer", "abc", ""] {
            assert_eq!(given(value), None, "{value:?}");
        }
    }
}
