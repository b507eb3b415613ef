//! The body of every error of the admin plane.

#![allow(dead_code, reason = "only their schemas are used")]

use schemars::JsonSchema;

use crate::openapi::{Count, ProblemHead, Time};

/// What every error is: RFC 9457. Which members a code has beside the first six, its page says.
#[derive(JsonSchema)]
pub struct Problem {
    #[schemars(flatten)]
    head: ProblemHead,
    /// Of `invalid-field` and `stock-in-use`: the field.
    #[schemars(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Of `invalid-field` for `limit`: what it may be at most.
    #[schemars(skip_serializing_if = "Option::is_none")]
    max: Option<Count>,
    /// Of `stock-in-use`, `orders-open` and a refund's `restock`: how many.
    #[schemars(skip_serializing_if = "Option::is_none")]
    units: Option<Count>,
    /// Of a refund's `amount_cents`: what is left of what was paid.
    #[schemars(skip_serializing_if = "Option::is_none")]
    refundable_cents: Option<Count>,
    /// Of `too-many-campaigns`: how many there are.
    #[schemars(skip_serializing_if = "Option::is_none")]
    campaigns: Option<Count>,
    /// Of `changed-meanwhile`: the version now.
    #[schemars(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// Of `campaign-not-over`: when it ends by itself; `null`: never.
    #[schemars(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Time>,
    /// Of `beacon-not-due`: when it is.
    #[schemars(skip_serializing_if = "Option::is_none")]
    due_at: Option<Time>,
    /// Of `draw-decided`: what was decided, `mixed` or `plain`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// Of `order-ended`, and of refunds and settlements that are not taken: where the order is.
    #[schemars(skip_serializing_if = "Option::is_none")]
    order_status: Option<String>,
    /// Of `refund-number`, and of a replay beyond the last event: the next one.
    #[schemars(skip_serializing_if = "Option::is_none")]
    next: Option<Count>,
    /// Of a replay beyond the last event: the first one that there is.
    #[schemars(skip_serializing_if = "Option::is_none")]
    oldest: Option<Count>,
    /// Of `refund-refused`: why, in the gateway's words.
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Of `gateway-not-configured`: its name; of `refund-not-possible`: what it said.
    #[schemars(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    /// Of `invalid-config` and `restart-required`: the keys that are to blame.
    #[schemars(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
    /// Of `role-too-low`: the role that is needed.
    #[schemars(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
}
