//! The style and the script of the pages.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::super::problem::Problem;

const STYLE: &str = include_str!("console.css");
const SCRIPT: &str = include_str!("console.js");
const ZONE_SCRIPT: &str = include_str!("zone.js");

/// `GET /assets/{file}`
pub(super) async fn asset(Path(file): Path<String>) -> Response {
    let (kind, text) = match file.as_str() {
        "console.css" => ("text/css; charset=utf-8", STYLE),
        "console.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "zone.js" => ("text/javascript; charset=utf-8", ZONE_SCRIPT),
        _ => return Problem::not_found().into_response(),
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
