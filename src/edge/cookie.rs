//! The cookies that buyers' browsers bring along.

use http::HeaderValue;

use super::reply::Field;

/// For how many seconds a browser keeps a cookie at least: 30 days. A pass that is over still has its place, and its buyer
/// gets it back with the pass alone.
const KEPT_S_MIN: i64 = 30 * 24 * 3600;

/// Has the browser bring `pair`, a name and its value, along to `path` and below, for `wanted_s` seconds or longer. No script
/// reads it, no other site's form brings it along, and what came over TLS (`is_tls`) leaves the browser in no other way. `None`
/// for a text that no header may hold.
pub(super) fn kept_by_browser(pair: &str, path: &str, wanted_s: i64, is_tls: bool) -> Option<Field> {
    let kept_s = wanted_s.max(KEPT_S_MIN);
    let secure = if is_tls { "; Secure" } else { "" };
    let cookie = format!("{pair}; Path={path}; Max-Age={kept_s}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(cookie).ok().map(|cookie| Field::SetCookie(Box::new(cookie)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_kept_for_a_month_or_longer_and_stays_within_tls() {
        let text = |wanted_s, is_tls| match kept_by_browser("a=b", "/c", wanted_s, is_tls) {
            Some(Field::SetCookie(cookie)) => cookie.to_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(60, false), "a=b; Path=/c; Max-Age=2592000; HttpOnly; SameSite=Lax");
        assert_eq!(text(2_592_001, true), "a=b; Path=/c; Max-Age=2592001; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(kept_by_browser("a=\n", "/c", 60, false), None);
    }
}
