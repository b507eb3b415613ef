//! The id of a request: taken from `X-Request-ID` or made, told in the answer and in the body of a problem.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::Problem;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ids are replaced by one of ours.
const BYTES_MAX: usize = 128;

/// The id of the request, for those who handle it.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub String);

/// Outermost of all layers: writes the id into the answer, and that nobody may guess at its media type, nor keep it
/// unless it says itself that it is public.
pub(super) async fn attach(mut request: Request, next: Next) -> Response {
    let id = given(request.headers()).cloned().unwrap_or_else(fresh);
    request.extensions_mut().insert(RequestId(id.to_str().unwrap_or_default().to_owned()));
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = Body::from(problem.body(id.to_str().unwrap_or_default()));
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !is_public(headers) {
        headers.insert(X_REQUEST_ID, id);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Whether a cache may show the answer to others, so that it carries nobody's name.
fn is_public(headers: &HeaderMap) -> bool {
    headers.get(header::CACHE_CONTROL).is_some_and(|kept| kept.as_bytes().starts_with(b"public"))
}

/// The id that the request came with, if it has exactly one that can be sent back.
fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut ids = headers.get_all(X_REQUEST_ID).iter();
    let id = ids.next().filter(|id| is_usable(id));
    if ids.next().is_none() { id } else { None }
}

fn is_usable(id: &HeaderValue) -> bool {
    (1..=BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn fresh() -> HeaderValue {
    HeaderValue::try_from(format!("{:016x}", rand::random::<u64>()))
        .expect("hexadecimal digits are visible ASCII")
}
