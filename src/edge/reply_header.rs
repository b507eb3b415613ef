//! The header of an answer, whichever front end writes it: what every answer has, what this one has, and the names by which the
//! visitor's own systems know the request.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::Full;

use super::arena;
use super::random;
use super::reply::{Content, Keep, NOSNIFF, REFERRER_POLICY, Reply};
use super::request::Head;
use super::request_id::{RequestId, echoable};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_B3_TRACEID: HeaderName = HeaderName::from_static("x-b3-traceid");

/// The names of one visit, ready to be written.
pub(super) struct Names {
    request_id: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
    b3_trace_id: Option<HeaderValue>,
}

impl Names {
    /// What the request called itself. A name that cannot be sent back is replaced by one of ours: what only serves
    /// tracing refuses nobody.
    pub fn of(head: &Head<'_>, id: &RequestId<'_>) -> Self {
        Self {
            request_id: named(id.as_str()),
            traceparent: echo(head.traceparent, || {
                format!("00-{:016x}{:016x}-{:016x}-00", random::next(), random::next(), random::next())
            }),
            b3_trace_id: echo(head.b3_trace_id, || format!("{:016x}", random::next())),
        }
    }
}

fn named(name: &str) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(arena::copied(name.as_bytes())).ok()
}

fn echo(sent: Option<&[u8]>, replacement: impl Fn() -> String) -> Option<HeaderValue> {
    sent?;
    match echoable(sent) {
        Some(name) => named(name),
        None => HeaderValue::try_from(replacement()).ok(),
    }
}

/// Hands out every field of the answer but those that frame it: what all answers have, and what this one has.
pub(super) fn each_field(reply: &Reply, names: Names, mut write: impl FnMut(HeaderName, HeaderValue)) {
    each_common_field(reply.content, &reply.keep, &mut write);
    each_own_field(reply, names, write);
}

/// The first of them: what all answers have of this media type that may be kept like this.
pub(super) fn each_common_field(
    content: Content,
    keep: &Keep,
    mut write: impl FnMut(HeaderName, HeaderValue),
) {
    write(header::CONTENT_TYPE, HeaderValue::from_static(content.media_type()));
    write(header::CACHE_CONTROL, keep.cache_control());
    write(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static(NOSNIFF));
    if let Some(policy) = content.policy() {
        write(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        write(header::REFERRER_POLICY, HeaderValue::from_static(REFERRER_POLICY));
    }
    if let Some(vary) = keep.vary() {
        write(header::VARY, vary);
    }
}

/// The rest of them: what this answer has.
pub(super) fn each_own_field(reply: &Reply, names: Names, mut write: impl FnMut(HeaderName, HeaderValue)) {
    // What a cache may show to others carries nobody's name.
    if !reply.keep.is_public() {
        let Names { request_id, traceparent, b3_trace_id } = names;
        let names = [(X_REQUEST_ID, request_id), (TRACEPARENT, traceparent), (X_B3_TRACEID, b3_trace_id)];
        for (name, value) in names {
            if let Some(value) = value {
                write(name, value);
            }
        }
    }
    reply.fields.iter().for_each(|field| field.each_written(&mut write));
    for (name, value) in &reply.shown_to {
        write(name.clone(), value.clone());
    }
}

/// The header of the answer, in the map that the request came in.
pub(super) fn header_of(reply: &Reply, names: Names, mut headers: HeaderMap) -> HeaderMap {
    headers.clear();
    // A field may come twice: each cookie has one.
    each_field(reply, names, |name, value| {
        headers.append(name, value);
    });
    headers
}

/// The answer as hyper takes it.
pub(super) fn written(reply: Reply, names: Names, headers: HeaderMap) -> hyper::Response<Full<Bytes>> {
    let mut headers = header_of(&reply, names, headers);
    if reply.close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let mut response = hyper::Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = headers;
    response
}
