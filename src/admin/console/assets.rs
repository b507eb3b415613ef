//! The style and the scripts of the pages. Pages name them with what is in them, so that a browser keeps them for ever, and the
//! next page waits for nothing but itself.

use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::super::problem::Problem;
use crate::openapi::fingerprint;

/// An address that is another one once the content is: what is there may be kept for as long as anybody likes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// What pages are made of, beside themselves.
pub(super) struct Asset {
    file: &'static str,
    kind: &'static str,
    text: &'static str,
    version: LazyLock<String>,
}

/// The style of all pages.
pub(super) static STYLE: Asset = Asset {
    file: "console.css",
    kind: "text/css; charset=utf-8",
    text: include_str!("console.css"),
    version: LazyLock::new(|| fingerprint(STYLE.text)),
};

/// The script that keeps the figures of the first page fresh.
pub(super) static SCRIPT: Asset = Asset {
    file: "console.js",
    kind: "text/javascript; charset=utf-8",
    text: include_str!("console.js"),
    version: LazyLock::new(|| fingerprint(SCRIPT.text)),
};

/// The script that fills in the zone of the browser.
pub(super) static ZONE_SCRIPT: Asset = Asset {
    file: "zone.js",
    kind: "text/javascript; charset=utf-8",
    text: include_str!("zone.js"),
    version: LazyLock::new(|| fingerprint(ZONE_SCRIPT.text)),
};

impl Asset {
    /// Where it is.
    pub fn address(&self) -> String {
        format!("/assets/{}?{}", self.file, *self.version)
    }

    /// The element of a head that has it run once the page is there.
    pub fn script(&self) -> String {
        format!("<script src=\"{}\" defer></script>", self.address())
    }
}

/// `GET /assets/{file}?version`
pub(super) async fn asset(Path(file): Path<String>, RawQuery(version): RawQuery) -> Response {
    reply(&file, version.as_deref())
}

fn reply(file: &str, version: Option<&str>) -> Response {
    let Some(asset) = [&STYLE, &SCRIPT, &ZONE_SCRIPT].into_iter().find(|asset| asset.file == file) else {
        return Problem::not_found().into_response();
    };
    let mut response = ([(header::CONTENT_TYPE, asset.kind)], asset.text).into_response();
    // The page of another version of the engine gets what there is, and is not to keep it under that name.
    if version == Some(asset.version.as_str()) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn what_a_page_names_is_kept_and_what_another_version_names_is_not() {
        for asset in [&STYLE, &SCRIPT, &ZONE_SCRIPT] {
            let address = asset.address();
            let (path, version) = address.split_once('?').expect("it names a version");
            let file = path.strip_prefix("/assets/").expect("it is among the assets");
            let kept = |version| {
                let reply = reply(file, version);
                assert_eq!(reply.status(), StatusCode::OK);
                assert_eq!(reply.headers()[header::CONTENT_TYPE], asset.kind);
                reply.headers().get(header::CACHE_CONTROL).cloned()
            };
            assert_eq!(kept(Some(version)), Some(HeaderValue::from_static(FOR_EVER)), "{file}");
            assert_eq!((kept(Some("0123456789abcdef")), kept(None)), (None, None), "{file}");
        }
        assert_eq!(reply("console.txt", None).status(), StatusCode::NOT_FOUND);
    }
}
