//! `GET /openapi.json`, `GET /problems` and `GET /problems/{code}`: the same for everybody, until the engine is
//! another one.

use http::{HeaderValue, StatusCode};

use super::data_plane::DataPlane;
use super::openapi::document;
use super::problem::{self, KINDS};
use super::reply::{Content, Field, Keep, Reply};
use super::request::Request;
use crate::openapi::{Document, page_of, page_of_all};
use crate::telemetry::Outcome;

impl DataPlane {
    /// The description of this plane.
    pub(super) fn description(&self, request: &Request<'_>) -> Reply {
        let document = document();
        let is_known = request.head.if_none_match.is_some_and(|tags| document.is_known(tags));
        let (status, body) = if is_known {
            (StatusCode::NOT_MODIFIED, Default::default())
        } else {
            (StatusCode::OK, document.text.clone())
        };
        let reply = Reply::json(status, Outcome::Served, body).with(Field::ETag(&document.etag));
        reply.kept(self.kept())
    }

    /// The page about all problems.
    pub(super) fn problem_pages(&self) -> Reply {
        self.page(page_of_all(KINDS))
    }

    /// The page about the problems with this code.
    pub(super) fn problem_page(&self, request: &Request<'_>, code: &str) -> Reply {
        match page_of(KINDS, code) {
            Some(page) => self.page(page),
            None => problem::NOT_FOUND.reply(&request.id),
        }
    }

    fn page(&self, page: String) -> Reply {
        let reply = Reply::json(StatusCode::OK, Outcome::Served, page);
        Reply { content: Content::Html, ..reply }.kept(self.kept())
    }

    /// Pages of other sites that may read it are told so each by name: then caches have to tell them apart.
    fn kept(&self) -> Keep {
        let vary = self.tuning().sites.is_open().then(|| HeaderValue::from_static("origin"));
        Keep::Public { cache_control: HeaderValue::from_static(Document::CACHE_CONTROL), vary }
    }
}
