//! The description of the admin plane: for each route what is sent and what is answered, by topic. `api.rs` makes the
//! routes of these operations.

mod campaign_bodies;
pub(super) mod campaigns;
pub(super) mod engine;
mod figure_bodies;
pub(super) mod figures;
mod hook_bodies;
pub(super) mod hooks;
pub(super) mod index;
mod index_bodies;
mod live_bodies;
mod order_bodies;
pub(super) mod orders;
mod parts;
mod problem_body;

use serde_json::json;

use super::problem_code::Code;
use crate::openapi::{Access, Description, Document, Method, Operation, ProblemKind};

const ABOUT: &str = "\
Operators' requests, feeds and figures. Without a token in the configuration whoever is on this machine may ask, \
as an admin; with tokens each has a role (`viewer`, `operator`, `admin`) and perhaps the only tenant that it is \
for. What only looks needs `viewer`, what acts `operator`, unless the operation says more; this document, the \
pages about problems and the probes need nothing. What is done is kept in the trail, with its `reason`.\n\n\
`X-Tenant-ID` names the tenant that a request is about: `default`, or the token's own, if it is not said. Every \
error is `application/problem+json` (RFC 9457): programs go by its `code`, its `type` leads to a page about the \
code. A campaign's `ETag` is its version, which `If-Match` may ask for.\n\n\
Feeds are NDJSON, a JSON document a line: the schema of a line is in `x-item-schema`, the next page in `Link`. \
Answers may get more members: pass over those that you do not know. `HEAD` is answered as `GET` without the \
body. Times are RFC 3339 in UTC, money is whole numbers of the currency's smallest unit. Not described here are \
the pages of the console, which are for people and change as they need.";

/// The document about these operations.
pub(super) fn document(operations: Vec<Operation>) -> Document {
    description(operations).document::<problem_body::Problem>()
}

fn description(operations: Vec<Operation>) -> Description {
    Description {
        title: "seckill: admin plane",
        about: ABOUT,
        tags: &[
            ("campaigns", "Making, changing, watching and ending sales."),
            ("orders", "Durable orders, and what operators do to them."),
            ("webhooks", "Who is told of orders and sales, how far, and again."),
            ("search", "The index that documents of sales are written to."),
            ("feeds", "Everything that happened, in order; and what happens now."),
            ("figures", "How fast, how many, how well."),
            ("engine", "Stopping everything, configuration, the three books."),
            ("description", "This document, and the pages about problems."),
        ],
        schemes: json!({
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "The value of `admin.token` or of one of `admin.tokens`. Without any no token is asked for.",
            },
        }),
        accepts: &["token"],
        kinds: Code::KINDS.to_vec(),
        common,
        operations,
    }
}

/// What any request may hear, by who may ask and by what it does.
fn common(operation: &Operation) -> Vec<ProblemKind> {
    let mut common =
        vec![Code::BadRequest, Code::ForeignHost, Code::TooManyConnections, Code::Timeout, Code::Starting];
    if operation.access != Access::Anybody {
        common.extend([
            Code::Unauthorized,
            Code::Forbidden,
            Code::ClientCertificateRequired,
            Code::ForeignTenant,
            Code::RoleTooLow,
            Code::TooManyWrongTokens,
        ]);
    }
    if operation.method != Method::Get {
        common.extend([Code::BodyTooLarge, Code::InvalidField, Code::StoreUnavailable]);
    }
    common.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::api;
    use super::*;
    use crate::openapi::roles_table;

    #[test]
    fn each_code_is_one_that_an_operation_may_answer_with() {
        let document: Value = serde_json::from_slice(&api::document().text).unwrap();
        let paths = document["paths"].to_string();
        for kind in Code::KINDS.iter().filter(|kind| **kind != *Code::MethodNotAllowed.kind()) {
            assert!(
                paths.contains(&format!("(/problems/{})", kind.code)),
                "{} stands at no operation",
                kind.code
            );
        }
    }

    #[test]
    fn operations_have_names_of_their_own_and_known_headings() {
        let document: Value = serde_json::from_slice(&api::document().text).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let operations = || paths.values().flat_map(|path| path.as_object().unwrap().values());
        let mut names: Vec<_> = operations().map(|operation| operation["operationId"].to_string()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert!(names.len() == count && count > 30, "{names:?}");
        let headings: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        for operation in operations() {
            assert!(headings.contains(&&operation["tags"][0]), "{}", operation["operationId"]);
        }
    }

    #[test]
    fn the_page_says_who_may_do_what() {
        let table = roles_table(&api::routes().operations());
        let page = include_str!("../ROLES.md");
        assert!(page.contains(&table), "src/admin/ROLES.md has to hold this:\n\n{table}");
    }
}
