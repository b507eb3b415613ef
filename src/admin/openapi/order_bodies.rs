//! Bodies about orders, and the lines of feeds.

#![allow(dead_code, reason = "only their schemas are used")]

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::campaign_bodies::{Reason, ReasonIfAny};
use crate::openapi::{self, Count, Name, OrderNumber, Status, Time, word_lists};
use crate::orders::{ActKind, EventKind, RefundState};

word_lists! {
    /// How a refund stands.
    RefundWord = [RefundState::UnderWay, RefundState::Made, RefundState::Dropped].map(RefundState::as_str);
    /// How an operator settles what never ends.
    SettleWord = ["paid", "voided", "refunded", "not_refunded"];
}

/// What an event tells.
pub enum EventWord {}

impl JsonSchema for EventWord {
    fn schema_name() -> Cow<'static, str> {
        "EventType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let about = EventKind::ALL.map(|kind| format!("- `{}`: {}", kind.as_str(), told(kind))).join("\n");
        json_schema!({ "type": "string", "enum": EventKind::ALL.map(EventKind::as_str), "description": about })
    }
}

/// What has happened when an event of this kind is told.
const fn told(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Created => "the order is durable and waits to be paid",
        EventKind::Paid => "its money is taken",
        EventKind::Cancelled => "it was given up, its units are back on sale",
        EventKind::Expired => "it was not paid in time, its units are back on sale",
        EventKind::Extended => "its deadline was moved to a later time, `pay_before`",
        EventKind::Refunded => {
            "what was paid, or a part of it, was given back: `amount_cents`, `refund`, `restock`, \
                                `refunded_cents`"
        }
    }
}

/// An order, as operators see it.
#[derive(JsonSchema)]
pub struct Order {
    #[schemars(flatten)]
    of_buyer: openapi::Order,
    /// Units that refunds put back on sale.
    restocked: u32,
    /// Refunds that were begun; the next one has the number behind it.
    refunds: u32,
    /// The refunds, of an order that is looked up alone and has some.
    #[schemars(skip_serializing_if = "Option::is_none")]
    refund_history: Option<Vec<Refund>>,
    /// What was settled, in the answer to a settlement.
    #[schemars(skip_serializing_if = "Option::is_none")]
    settled: Option<Settled>,
}

/// A refund of an order.
#[derive(JsonSchema)]
pub struct Refund {
    /// Counted from 1 for each order.
    number: u32,
    state: RefundWord,
    amount_cents: Count,
    /// Units that go back on sale with it.
    restock: u32,
    begun_at: Time,
    ended_at: Option<Time>,
    /// Why it was made.
    reason: String,
    /// Why it came to nothing, or was ended by hand.
    why: Option<String>,
}

/// A payment or refund that an operator has ended.
#[derive(JsonSchema)]
pub struct Settled {
    /// The number of the payment at the gateway.
    attempt: u32,
    outcome: SettleWord,
    reason: String,
}

/// An event of an order.
#[derive(JsonSchema)]
pub struct Event {
    /// Its number; they grow.
    seq: Count,
    #[schemars(rename = "type")]
    kind: EventWord,
    order_id: OrderNumber,
    tenant: Name,
    campaign: Name,
    sku: Name,
    buyer: String,
    quantity: u32,
    /// Of the order; of `order.refunded` what was given back with this refund.
    amount_cents: Count,
    currency: String,
    /// Of the order from then on.
    status: Status,
    at: Time,
    pay_before: Time,
    /// Of `order.refunded`: the number of the refund.
    #[schemars(skip_serializing_if = "Option::is_none")]
    refund: Option<u32>,
    /// Of `order.refunded`: units that went back on sale with it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    restock: Option<u32>,
    /// Of `order.refunded`: given back by all refunds so far.
    #[schemars(skip_serializing_if = "Option::is_none")]
    refunded_cents: Option<Count>,
}

/// What an operator did.
pub enum ActWord {}

impl JsonSchema for ActWord {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Act".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // An entry of a later engine may have another one.
        json_schema!({ "type": "string", "examples": ActKind::ALL.map(ActKind::as_str) })
    }
}

/// An entry of the trail.
#[derive(JsonSchema)]
pub struct TrailEntry {
    /// Its number; they grow, and may have gaps.
    seq: Count,
    at: Time,
    /// The name that goes with the token; `local` where none is asked for, empty where it is not known.
    who: String,
    role: String,
    /// Where the request came from.
    address: String,
    request_id: String,
    /// `null` where it is about all tenants.
    tenant: Option<Name>,
    act: ActWord,
    /// What it was done to: a sale's name, an order's number.
    object: String,
    /// What was, as far as it has changed.
    from: Value,
    /// What is from then on.
    to: Value,
    reason: Option<String>,
}

/// More time to pay.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Extension {
    /// The order has at least until then: later than now, within seven days.
    pay_before: Time,
    reason: Option<ReasonIfAny>,
}

/// How a payment or a refund has ended whose gateway never tells.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Settlement {
    /// Of a payment `paid` or `voided`, of a refund `refunded` or `not_refunded`.
    outcome: SettleWord,
    reason: Reason,
}

/// What is to be given back.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NewRefund {
    /// All that is left, if it is not said.
    amount_cents: Option<Count>,
    /// Units that go back on sale: `true` is all, none if it is not said.
    restock: Option<Restock>,
    /// Which refund of the order it is to be: asked for twice under one number, it is made once.
    number: Option<u32>,
    /// The money was given back by another way than the gateway: it is only noted.
    by_hand: Option<bool>,
    reason: Reason,
}

/// Units that go back on sale.
pub enum Restock {}

impl JsonSchema for Restock {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Restock".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["boolean", "integer"], "minimum": 0, "maximum": u32::MAX })
    }
}
