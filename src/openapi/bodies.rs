//! What bodies of both planes have: the orders of buyers and operators, and what every error says first.

#![allow(dead_code, reason = "only their schemas are used")]

use schemars::JsonSchema;

use super::shapes::{Count, Name, OrderNumber, Status, Time};

/// An order, as its buyer sees it.
#[derive(JsonSchema)]
pub struct Order {
    /// Its number. Later orders of a node have higher ones.
    order_id: OrderNumber,
    tenant: Name,
    campaign: Name,
    sku: Name,
    /// Who has it.
    buyer: String,
    /// Units.
    quantity: u32,
    /// What they cost together, in the currency's smallest unit.
    amount_cents: Count,
    /// A code of ISO 4217.
    currency: String,
    status: Status,
    created_at: Time,
    /// Until when it may be paid.
    pay_before: Time,
    /// When it was paid; `null` before.
    paid_at: Option<Time>,
    /// What was given back of the amount.
    refunded_cents: Count,
}

/// The six members that every problem has (RFC 9457).
#[derive(JsonSchema)]
pub struct ProblemHead {
    /// The page about the code, on this address.
    #[schemars(rename = "type", extend("format" = "uri-reference"))]
    kind: String,
    title: String,
    /// The status of the answer.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What programs go by: it stays what it is.
    code: String,
    /// What is wrong with this request, for people.
    detail: String,
    /// The id of the request, as in `X-Request-ID`.
    instance: String,
}
