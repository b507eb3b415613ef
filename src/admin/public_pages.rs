//! `GET /openapi.json`, `GET /problems` and `GET /problems/{code}`: the same for everybody, and no secret of this
//! engine.

use axum::Extension;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::{Code, Problem};
use crate::openapi::{Document, page_of, page_of_all};

/// `GET /openapi.json`
pub(super) async fn description(
    Extension(document): Extension<&'static Document>,
    headers: HeaderMap,
) -> Response {
    let kept = [(header::CACHE_CONTROL, Document::CACHE_CONTROL), (header::ETAG, document.etag.as_str())];
    let is_known =
        headers.get_all(header::IF_NONE_MATCH).iter().any(|tags| document.is_known(tags.as_bytes()));
    if is_known {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    (kept, [(header::CONTENT_TYPE, "application/json")], document.text.clone()).into_response()
}

/// `GET /problems`
pub(super) async fn problems() -> Response {
    page(page_of_all(Code::KINDS))
}

/// `GET /problems/{code}`
pub(super) async fn problem(Path(code): Path<String>) -> Result<Response, Problem> {
    page_of(Code::KINDS, &code).map(page).ok_or_else(Problem::not_found)
}

fn page(page: String) -> Response {
    let kept = (header::CACHE_CONTROL, Document::CACHE_CONTROL);
    ([kept, (header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}
