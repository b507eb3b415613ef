//! The cookies that buyers' browsers bring along.

use http::HeaderValue;

use super::reply::Field;

/// Has the browser bring `pair`, a name and its value, along to `path` and below, for `kept_s` seconds. No script
/// reads it, no other site's form brings it along, and what came over TLS (`is_tls`) leaves the browser in no other way. `None`
/// for a text that no header may hold.
pub(super) fn kept_by_browser(pair: &str, path: &str, kept_s: i64, is_tls: bool) -> Option<Field> {
    let secure = if is_tls { "; Secure" } else { "" };
    let cookie = format!("{pair}; Path={path}; Max-Age={kept_s}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(cookie).ok().map(|cookie| Field::SetCookie(Box::new(cookie)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_over_tls_stays_within_it() {
        let text = |is_tls| match kept_by_browser("a=b", "/c", 60, is_tls) {
            Some(Field::SetCookie(cookie)) => cookie.to_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(false), "a=b; Path=/c; Max-Age=60; HttpOnly; SameSite=Lax");
        assert_eq!(text(true), "a=b; Path=/c; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(kept_by_browser("a=\n", "/c", 60, false), None);
    }
}
