//! Operations on the search index.

use super::campaign_bodies::OnlyReason;
use super::index_bodies::Index;
use super::parts::{act, look, tenant};
use crate::admin::problem_code::Code;
use crate::openapi::{Access, Answer, Operation};

const TAG: &str = "search";

/// `GET /api/v1/search`
pub fn show() -> Operation {
    look("/api/v1/search", "getSearch", "How far the search index follows the sales")
        .about("The figures are those of the node that is asked; `writer` says whether it is the one that writes.")
        .tag(TAG)
        .takes([tenant()])
        .answers(Answer::json::<Index>(200, "How it stands"))
        .refuses([Code::NoSearch, Code::StoreUnavailable])
}

/// `POST /api/v1/search/rebuild`
pub fn rebuild() -> Operation {
    act("/api/v1/search/rebuild", "rebuildSearch", "Build the search index anew")
        .access(Access::AdminOfAll)
        .about("A new index is filled and put in the place of the one that is there, which is found until then. Any node may be asked.")
        .tag(TAG)
        .takes([tenant()])
        .body::<OnlyReason>()
        .answers(Answer::json::<Index>(202, "It is asked for; `rebuild` says how it goes."))
        .refuses([Code::NoSearch])
}
