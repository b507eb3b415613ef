//! One request as both front ends hand it over: what the handlers look at, found in one pass over the header fields.

use super::problem::{self, ProblemAnswer};
use super::request_id::RequestId;
use crate::admission::Moment;
use crate::domain::Nanos;

/// A request whose framing the front end has checked and whose body it has read.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method, as sent: methods are case-sensitive.
    pub method: &'a str,
    /// The path without the query.
    pub path: &'a str,
    /// The query without its question mark; empty if there is none.
    pub query: &'a str,
    /// The header fields that matter.
    pub head: Head<'a>,
    /// The whole body.
    pub body: &'a [u8],
    /// The name of this request in answers and logs.
    pub id: RequestId<'a>,
    /// When the end of the header was read.
    pub arrived: Moment,
    /// When the answer has to be on its way, on the stopwatch, where the caller says how long it waits.
    pub answer_by: Option<Nanos>,
    /// The serving thread: where stock is taken first and latency recorded.
    pub home: usize,
}

/// How the cookie begins that may hold a pass.
const PASS_COOKIE: &[u8] = b"sale_pass=";
/// And the one that may name a guest of the page.
const GUEST_COOKIE: &[u8] = b"sale_guest=";

/// The values of the header fields that the engine knows. All of them are unchecked bytes from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<&'a [u8]>,
    /// `Transfer-Encoding`.
    pub transfer_encoding: Option<&'a [u8]>,
    /// `Host`.
    pub host: Option<&'a [u8]>,
    /// `traceparent`.
    pub traceparent: Option<&'a [u8]>,
    /// `X-B3-TraceId`.
    pub b3_trace_id: Option<&'a [u8]>,
    /// `X-Origin-Secret`.
    pub origin_secret: Option<&'a [u8]>,
    /// `X-Platform`.
    pub platform: Option<&'a [u8]>,
    /// `X-Request-ID`.
    pub request_id: Option<&'a [u8]>,
    /// `X-Tenant-ID`.
    pub tenant: Option<&'a [u8]>,
    /// `X-User-ID`.
    pub user: Option<&'a [u8]>,
    /// `Origin`.
    pub origin: Option<&'a [u8]>,
    /// `X-Sale-Pass`.
    pub sale_pass: Option<&'a [u8]>,
    /// The cookie `sale_pass`, where it leads its field: over HTTP/2 each may have a field of its own.
    pub pass_cookie: Option<&'a [u8]>,
    /// The cookie `sale_guest`, likewise.
    pub guest_lead: Option<&'a [u8]>,
    /// The first other `Cookie`.
    pub cookie: Option<&'a [u8]>,
    /// The first `Accept-Language`.
    pub accept_language: Option<&'a [u8]>,
    /// The first `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `X-Gate-Token`.
    pub gate_token: Option<&'a [u8]>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a [u8]>,
    /// The first `If-None-Match`. A second one costs its sender the bytes of a document, and nobody anything else.
    pub if_none_match: Option<&'a [u8]>,
    /// `Access-Control-Request-Method`.
    pub preflight_method: Option<&'a [u8]>,
    /// A field above that came more than once. Two proxies that each read another one of them is how identities are
    /// stolen, so a request that has one is malformed.
    pub repeated: Option<&'static str>,
}

impl<'a> Head<'a> {
    /// Looks at each field once.
    pub fn read(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut head = Self::default();
        for (name, value) in fields {
            head.note(name, value);
        }
        head
    }

    /// The buyer's pass of a waiting room: the field of its own, or else the cookie.
    pub fn pass(&self) -> Option<&'a [u8]> {
        self.sale_pass.or_else(|| self.in_cookies(PASS_COOKIE))
    }

    /// What the cookie of a guest says.
    pub fn guest_cookie(&self) -> Option<&'a [u8]> {
        self.in_cookies(GUEST_COOKIE)
    }

    fn in_cookies(&self, name: &[u8]) -> Option<&'a [u8]> {
        let fields = [self.pass_cookie, self.guest_lead, self.cookie];
        fields.into_iter().flatten().find_map(|cookies| {
            let mut cookies = cookies.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            cookies.find_map(|cookie| cookie.strip_prefix(name))
        })
    }

    /// Refuses what no handler should see: a field that came twice, and an HTTP/1.1 request that names no host.
    ///
    /// # Errors
    /// The answer.
    pub fn check(&self, http_1_0: bool) -> Result<(), ProblemAnswer> {
        if let Some(name) = self.repeated {
            return Err(problem::BAD_REQUEST.detailed(&format!("{name} may be given once only.")));
        }
        if self.host.is_none() && !http_1_0 {
            return Err(problem::BAD_REQUEST.detailed("Host is missing."));
        }
        Ok(())
    }

    /// Takes the field if it is one that matters. Most are not, and their length alone says so.
    fn note(&mut self, name: &str, value: &'a [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        // Of these nothing depends but names in logs: repeated, one is as invalid as empty, and is replaced.
        let traced = match name.len() {
            11 if is("traceparent") => Some(&mut self.traceparent),
            12 if is("x-request-id") => Some(&mut self.request_id),
            12 if is("x-b3-traceid") => Some(&mut self.b3_trace_id),
            _ => None,
        };
        if let Some(slot) = traced {
            *slot = Some(if slot.is_none() { value } else { b"" });
            return;
        }
        if name.len() == 6 && is("cookie") {
            // Browsers may send many, and none that matters is a reason to refuse the request.
            let slot = match value {
                pass if pass.starts_with(PASS_COOKIE) => &mut self.pass_cookie,
                guest if guest.starts_with(GUEST_COOKIE) => &mut self.guest_lead,
                _ => &mut self.cookie,
            };
            slot.get_or_insert(value);
            return;
        }
        let described = match name.len() {
            10 if is("user-agent") => Some(&mut self.user_agent),
            15 if is("accept-language") => Some(&mut self.accept_language),
            _ => None,
        };
        if let Some(slot) = described {
            slot.get_or_insert(value);
            return;
        }
        if name.len() == 13 && is("if-none-match") {
            self.if_none_match.get_or_insert(value);
            return;
        }
        let (slot, shown) = match name.len() {
            4 if is("host") => (&mut self.host, "Host"),
            6 if is("origin") => (&mut self.origin, "Origin"),
            9 if is("x-user-id") => (&mut self.user, "X-User-ID"),
            10 if is("x-platform") => (&mut self.platform, "X-Platform"),
            11 if is("x-sale-pass") => (&mut self.sale_pass, "X-Sale-Pass"),
            11 if is("x-tenant-id") => (&mut self.tenant, "X-Tenant-ID"),
            12 if is("x-gate-token") => (&mut self.gate_token, "X-Gate-Token"),
            13 if is("authorization") => (&mut self.authorization, "Authorization"),
            14 if is("sec-fetch-site") => (&mut self.fetch_site, "Sec-Fetch-Site"),
            15 if is("idempotency-key") => (&mut self.idempotency_key, "Idempotency-Key"),
            15 if is("x-origin-secret") => (&mut self.origin_secret, "X-Origin-Secret"),
            17 if is("transfer-encoding") => (&mut self.transfer_encoding, "Transfer-Encoding"),
            29 if is("access-control-request-method") => {
                (&mut self.preflight_method, "Access-Control-Request-Method")
            }
            _ => return,
        };
        if slot.replace(value).is_some() {
            self.repeated = Some(shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request_id::echoable;
    use super::*;

    fn head<'a>(fields: &[(&'a str, &'a str)]) -> Head<'a> {
        Head::read(fields.iter().map(|&(name, value)| (name, value.as_bytes())))
    }

    #[test]
    fn fields_are_found_in_any_case_and_others_are_passed_over() {
        let head =
            head(&[("HOST", "a"), ("x-user-id", "u1"), ("X-Tenant-Id", "t"), ("x-user-ix", "no"), ("", "")]);
        assert_eq!(head.host, Some(&b"a"[..]));
        assert_eq!(head.user, Some(&b"u1"[..]));
        assert_eq!(head.tenant, Some(&b"t"[..]));
        assert_eq!(head.repeated, None);
    }

    #[test]
    fn a_second_identity_is_seen() {
        assert_eq!(head(&[("x-user-id", "u1"), ("X-User-ID", "u2")]).repeated, Some("X-User-ID"));
    }

    #[test]
    fn a_pass_is_found_in_its_field_or_among_the_cookies() {
        let pass = |fields: &[(&'static str, &'static str)]| {
            head(fields).pass().map(|pass| std::str::from_utf8(pass).unwrap())
        };
        for (fields, expected) in [
            (&[("X-Sale-Pass", "p")][..], Some("p")),
            (&[("cookie", "sale_pass=c")][..], Some("c")),
            (&[("cookie", "a=b; sale_pass=c; d=e")][..], Some("c")),
            (&[("cookie", "sale_pass=c;a=b")][..], Some("c")),
            (&[("cookie", "a=b"), ("cookie", "d=e"), ("cookie", "sale_pass=c")][..], Some("c")),
            (&[("cookie", "sale_pass=c"), ("x-sale-pass", "p")][..], Some("p")),
            (&[("cookie", "no_sale_pass=c")][..], None),
            (&[][..], None),
        ] {
            assert_eq!(pass(fields), expected, "{fields:?}");
        }
        assert_eq!(head(&[("x-sale-pass", "p"), ("X-Sale-Pass", "q")]).repeated, Some("X-Sale-Pass"));
    }

    #[test]
    fn a_guest_is_found_among_the_cookies_and_what_describes_a_browser_may_come_twice() {
        for fields in [
            &[("cookie", "sale_guest=g; sale_pass=p")][..],
            &[("cookie", "sale_pass=p; sale_guest=g")],
            &[("cookie", "sale_pass=p"), ("cookie", "a=b"), ("cookie", "sale_guest=g")],
        ] {
            let head = head(fields);
            assert_eq!((head.guest_cookie(), head.pass()), (Some(&b"g"[..]), Some(&b"p"[..])), "{fields:?}");
        }
        let head = head(&[
            ("Accept-Language", "de"),
            ("accept-language", "fr"),
            ("User-Agent", "x"),
            ("user-agent", "y"),
        ]);
        assert_eq!((head.accept_language, head.user_agent), (Some(&b"de"[..]), Some(&b"x"[..])));
        assert_eq!(head.repeated, None);
    }

    #[test]
    fn a6_a_repeated_name_of_tracing_is_replaced_and_refuses_nobody() {
        for name in ["x-request-id", "traceparent", "x-b3-traceid"] {
            for fields in [&[(name, "a"), (name, "b")][..], &[(name, "a"), (name, "b"), (name, "c")]] {
                let head = head(fields);
                assert_eq!(head.repeated, None, "{name}");
                let slot = [head.request_id, head.traceparent, head.b3_trace_id].into_iter().flatten().next();
                assert_eq!((slot, echoable(slot)), (Some(&b""[..]), None), "{name}");
            }
        }
    }
}
