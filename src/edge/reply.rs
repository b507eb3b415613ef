//! An answer, before a front end writes it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use smallvec::SmallVec;

use super::arena;
use super::random;
use crate::domain::{Nanos, OrderId, Rate, RateScope};
use crate::telemetry::Outcome;

/// What a handler answers.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// How it is counted.
    pub outcome: Outcome,
    /// The body's media type.
    pub content: Content,
    /// The body.
    pub body: Bytes,
    /// Who may keep it, and for how long.
    pub keep: Keep,
    /// Header fields beside those that every answer has.
    pub fields: Fields,
    /// The same, for pages of other sites.
    pub shown_to: Vec<(HeaderName, HeaderValue)>,
    /// Whether the connection ends with this answer.
    pub close: bool,
}

/// Header fields of an answer. No refusal has more than find place without an allocation.
pub type Fields = SmallVec<[Field; 2]>;

/// The media types of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `application/json`
    Json,
    /// `application/problem+json` (RFC 9457)
    Problem,
    /// `text/html`: a page for people.
    Html,
    /// `text/css`
    Css,
    /// `text/javascript`
    Script,
}

impl Content {
    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Problem => "application/problem+json",
            Self::Html => "text/html; charset=utf-8",
            Self::Css => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
        }
    }

    /// `Content-Security-Policy` of a page: nothing from any other address, no script and no style within the page, forms that
    /// lead here, and nobody's frame.
    pub const fn policy(self) -> Option<&'static str> {
        match self {
            Self::Html => Some(
                "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                 form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            ),
            _ => None,
        }
    }
}

/// `Referrer-Policy` of a page: its own forms say where they come from, and nobody else hears of it.
pub const REFERRER_POLICY: &str = "same-origin";

/// `X-Content-Type-Options` of every answer: the media type is meant.
pub const NOSNIFF: &str = "nosniff";

/// Whether an answer may be kept. The default is the only safe one, so that a document is public because somebody says
/// so, and never because nobody thought of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// By nobody: it is one visitor's.
    #[default]
    NoStore,
    /// As these fields say: it is the same for everybody, but for what `vary` names.
    Public {
        /// `Cache-Control`.
        cache_control: HeaderValue,
        /// `Vary`, if it depends on fields of the request.
        vary: Option<HeaderValue>,
    },
}

impl Keep {
    /// `Cache-Control` of an answer that nobody may keep.
    pub const NO_STORE: &'static str = "no-store";

    /// The value of `Cache-Control`.
    pub fn cache_control(&self) -> HeaderValue {
        match self {
            Self::NoStore => HeaderValue::from_static(Self::NO_STORE),
            Self::Public { cache_control, .. } => cache_control.clone(),
        }
    }

    /// The value of `Vary`.
    pub fn vary(&self) -> Option<HeaderValue> {
        match self {
            Self::NoStore => None,
            Self::Public { vary, .. } => vary.clone(),
        }
    }

    /// Whether others than its visitor may be shown it.
    pub const fn is_public(&self) -> bool {
        matches!(self, Self::Public { .. })
    }
}

/// A header field of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Where the order is.
    Location(OrderId),
    /// When to come back, in seconds.
    RetryAfter(u32),
    /// The methods of this path.
    Allow(&'static str),
    /// Where to look instead: a path.
    SeeOther(Box<HeaderValue>),
    /// The version of a public document.
    ETag(&'static str),
    /// What the browser is to send along from now on.
    SetCookie(Box<HeaderValue>),
    /// How the buyer proves who it is.
    WwwAuthenticate(&'static str),
    /// How much of the rate is left: nothing, for this many seconds; and the rate itself.
    RateLimit {
        /// Whose rate it is.
        scope: RateScope,
        /// Until there is something left again.
        wait_s: u32,
        /// The rate.
        rate: Rate,
    },
}

impl Field {
    /// Hands out names and values as they are written.
    pub fn each_written(&self, mut write: impl FnMut(HeaderName, HeaderValue)) {
        const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
        const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
        match self {
            Self::Location(id) => write(header::LOCATION, arena::text(40, format_args!("/orders/{id}"))),
            Self::RetryAfter(seconds) => {
                write(header::RETRY_AFTER, arena::text(10, format_args!("{seconds}")))
            }
            Self::Allow(methods) => write(header::ALLOW, HeaderValue::from_static(methods)),
            Self::SeeOther(place) => write(header::LOCATION, HeaderValue::clone(place)),
            Self::ETag(version) => write(header::ETAG, HeaderValue::from_static(version)),
            Self::SetCookie(cookie) => write(header::SET_COOKIE, HeaderValue::clone(cookie)),
            Self::WwwAuthenticate(scheme) => {
                write(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme))
            }
            Self::RateLimit { scope, wait_s, rate } => {
                let name = name_of(*scope);
                write(RATE_LIMIT, arena::text(40, format_args!("\"{name}\";r=0;t={wait_s}")));
                write(RATE_LIMIT_POLICY, arena::text(40, format_args!("\"{name}\";q={};w=1", rate.per_s)));
            }
        }
    }
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: StatusCode, outcome: Outcome, body: impl Into<Bytes>) -> Self {
        Self::of(Content::Json, status, outcome, body)
    }

    /// An answer of this media type.
    pub fn of(content: Content, status: StatusCode, outcome: Outcome, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            outcome,
            content,
            body: body.into(),
            keep: Keep::NoStore,
            fields: Fields::new(),
            shown_to: Vec::new(),
            close: false,
        }
    }

    /// With one more header field.
    #[must_use]
    pub fn with(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// With the word that it may be kept.
    #[must_use]
    pub fn kept(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// With the end of the connection.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

/// Whether an answer of this status says how long it is: with 204 it may not, and with 304 it would have to be the length of
/// what the client has (RFC 9110, 8.6).
pub const fn says_its_length(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The name of a rate in the `RateLimit` fields.
const fn name_of(scope: RateScope) -> &'static str {
    match scope {
        RateScope::Buyer => "buyer",
        RateScope::Sale => "sale",
        RateScope::Node => "node",
    }
}

/// `Retry-After` for a moment that is known: the seconds until then, rounded up. Who asks in vain a moment too early
/// asks twice, and who is told a later moment comes too late.
pub fn seconds_until(wait: Nanos) -> u32 {
    u32::try_from(wait.0.div_ceil(Nanos::SECOND.0)).unwrap_or(u32::MAX / 2).clamp(1, u32::MAX / 2)
}

/// `Retry-After` where only time heals, in about `wait`: rounded up to whole seconds, plus up to half as much again (at least one
/// second) by chance, so that those who were refused together do not come back together.
pub fn retry_after_s(wait: Nanos) -> u32 {
    let seconds = seconds_until(wait);
    seconds + random::up_to((seconds / 2).clamp(1, 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_and_spread() {
        for _ in 0..100 {
            assert!((1..=2).contains(&retry_after_s(Nanos(0))));
            assert!((1..=2).contains(&retry_after_s(Nanos(1))));
            assert!((11..=16).contains(&retry_after_s(Nanos(10_000_000_001))));
            assert!(retry_after_s(Nanos(u64::MAX)) > 0);
        }
    }
}
