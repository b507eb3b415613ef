//! What operations of both planes have in common, and the three that both have: the description and the pages of problems.

use serde_json::{Map, Value};

use super::operation::{Answer, Content, Method, Operation, Parameter};
use super::problem::ProblemKind;
use super::shapes::{Name, OrderNumber, shape};

/// The heading under which a plane describes itself.
const TAG: &str = "description";
const PAGE: Content = Content::text("text/html");

/// The name of a sale in the path.
pub fn sale_in_path() -> [Parameter; 2] {
    [
        Parameter::path("campaign", "The campaign.").of(shape::<Name>()).such_as("demo"),
        Parameter::path("sku", "The stock-keeping unit.").of(shape::<Name>()).such_as("widget"),
    ]
}

/// A campaign and a SKU in the query, to which an answer is narrowed down.
pub fn sale_in_query() -> [Parameter; 2] {
    [
        Parameter::query("campaign", "Of this campaign only.").of(shape::<Name>()),
        Parameter::query("sku", "Of this SKU only.").of(shape::<Name>()),
    ]
}

/// The number of an order in the path.
pub fn order_in_path() -> Parameter {
    Parameter::path("id", "The order's number.").of(shape::<OrderNumber>()).such_as("0fq3kz7t9c400")
}

/// `GET /openapi.json`
pub fn description() -> Operation {
    let etag = Parameter::header("If-None-Match", "The `ETag` of the document that the client has.");
    let document = Answer::new(200, "The document", Content::json::<Map<String, Value>>());
    Operation::new(Method::Get, "/openapi.json", "getDescription", "This document")
        .tag(TAG)
        .takes([etag])
        .answers(document.with("ETag").public())
        .answers(Answer::empty(304, "The client has it.").with("ETag").public())
}

/// `GET /problems`
pub fn problems() -> Operation {
    Operation::new(Method::Get, "/problems", "listProblems", "The page about all problems")
        .tag(TAG)
        .answers(Answer::new(200, "The page", PAGE).public())
}

/// `GET /problems/{code}`, where an example is this code, and what is none is answered with `unknown`.
pub fn problem(example: &'static str, unknown: impl Into<ProblemKind>) -> Operation {
    Operation::new(Method::Get, "/problems/{code}", "getProblem", "The page about the problems with a code")
        .about("Where the `type` of a problem leads: what it means, and what helps.")
        .tag(TAG)
        .takes([Parameter::path("code", "The code.").such_as(example)])
        .answers(Answer::new(200, "The page", PAGE).public())
        .refuses([unknown])
}
