//! The id of a request: taken from `X-Request-ID` or made, told in the answer and in the body of a problem.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::Problem;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ids are replaced by one of ours.
const BYTES_MAX: usize = 128;

/// Outermost of all layers: writes the id into the answer.
pub(super) async fn attach(request: Request, next: Next) -> Response {
    let id = request.headers().get(X_REQUEST_ID).filter(|id| is_usable(id)).cloned().unwrap_or_else(fresh);
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = Body::from(problem.body(id.to_str().unwrap_or_default()));
    }
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

fn is_usable(id: &HeaderValue) -> bool {
    (1..=BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn fresh() -> HeaderValue {
    HeaderValue::try_from(format!("{:016x}", rand::random::<u64>()))
        .expect("hexadecimal digits are visible ASCII")
}
