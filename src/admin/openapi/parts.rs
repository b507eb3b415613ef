//! What many operations have in common.

use serde_json::{Value, json};

use super::super::problem_code::Code;
use crate::openapi::parts::{order_in_path, sale_in_path};
use crate::openapi::{Access, Method, Name, Operation, Parameter, shape};

/// An operation that only looks.
pub(super) fn look(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Get, path, id, summary).access(Access::Viewer)
}

/// An operation that does something.
pub(super) fn act(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Post, path, id, summary).access(Access::Operator)
}

/// The name of a sale in the path, and its tenant.
pub(super) fn of_sale(operation: Operation) -> Operation {
    operation.takes(sale_in_path()).takes([tenant()]).refuses([Code::UnknownSale, Code::StoreUnavailable])
}

/// The number of an order in the path, and its tenant.
pub(super) fn of_order(operation: Operation) -> Operation {
    operation.takes([order_in_path(), tenant()]).refuses([Code::UnknownOrder, Code::StoreUnavailable])
}

/// A change that may be bound to a version.
pub(super) fn if_match(operation: Operation) -> Operation {
    let tags = r#"^(\*|(W/)?"[^",]*"(\s*,\s*(W/)?"[^",]*")*)$"#;
    let field =
        Parameter::header("If-Match", "The versions that the change may be made from, as `ETag` gives them.");
    operation
        .takes([field.of(json!({ "type": "string", "pattern": tags }))])
        .refuses([Code::ChangedMeanwhile])
}

/// Where a page of a feed begins, and how long it is.
pub(super) fn page(operation: Operation, after: Parameter) -> Operation {
    let rows = json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "" }] });
    operation
        .takes([tenant(), after, Parameter::query("limit", "Lines of the answer at most.").of(rows)])
        .refuses([Code::InvalidField, Code::StoreUnavailable, Code::Overloaded])
}

/// Where to go on: this, or nothing for the beginning.
pub(super) fn after(about: &'static str, schema: Value) -> Parameter {
    Parameter::query("after", about).of(json!({ "anyOf": [schema, { "const": "" }] }))
}

pub(super) fn tenant() -> Parameter {
    Parameter::header("X-Tenant-ID", "The tenant that this is about.").of(shape::<Name>())
}
