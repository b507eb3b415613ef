//! Bodies about webhooks.

#![allow(dead_code, reason = "only their schemas are used")]

use schemars::JsonSchema;

use super::campaign_bodies::Reason;
use crate::openapi::{Count, Name, Time, word_lists};
use crate::orders::ToldLog;

word_lists! {
    /// How an endpoint is.
    StateWord = ["unknown", "disabled", "failing", "delivering"];
    /// What endpoints are told of.
    LogWord = ToldLog::ALL.map(ToldLog::as_str);
}

/// From where on to tell.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Replay {
    /// The number of the first event that is told: 1 to the next one.
    #[schemars(range(min = 1))]
    from: u64,
    /// `orders` if it is not said.
    log: Option<LogWord>,
    /// Whether the events before that one are left out for good of sales that are held; they are not, if it is not said.
    skip_held: Option<bool>,
    reason: Reason,
}

/// The endpoints that the caller sees.
#[derive(JsonSchema)]
pub struct Endpoints {
    webhooks: Vec<Endpoint>,
}

/// An endpoint of webhooks.
#[derive(JsonSchema)]
pub struct Endpoint {
    name: String,
    /// Without its path, which may be secret.
    url: String,
    /// What it is told of.
    events: Vec<String>,
    /// Of this tenant's only.
    tenant: Option<Name>,
    /// Of this campaign's only.
    campaign: Option<Name>,
    /// Of this SKU's only.
    sku: Option<Name>,
    envelope: String,
    /// `unknown` until an engine has begun with it.
    state: StateWord,
    disabled: Option<Told>,
    failing_since: Option<Time>,
    /// In a row.
    failures: Count,
    last_failure: Option<Told>,
    last_delivery_at: Option<Time>,
    next_try_at: Option<Time>,
    orders: Progress,
    sales: Progress,
    by_this_node: Attempts,
}

/// Something that happened to an endpoint.
#[derive(JsonSchema)]
pub struct Told {
    at: Time,
    why: String,
}

/// How far an endpoint was told of a log.
#[derive(JsonSchema)]
pub struct Progress {
    /// Everything up to here, but for sales that are held.
    through: Count,
    /// The last event that there is.
    end: Count,
    lag_events: Count,
    held_sales: Vec<Held>,
}

/// A sale whose events the endpoint refuses.
#[derive(JsonSchema)]
pub struct Held {
    /// The sale.
    sale: String,
    from: Count,
}

/// Attempts at deliveries since the start.
#[derive(JsonSchema)]
pub struct Attempts {
    taken: Count,
    failed: Count,
}
