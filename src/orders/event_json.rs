//! An order's event as JSON: the same in the feed, in the stream and in webhooks.

use serde_json::{Value, json};

use super::events::Event;
use super::rfc3339::rfc3339;
use crate::admission::LiveSale;
use crate::domain::StoreIdentity;

/// An event of `sale` as the feed shows it and as it is relayed.
pub fn event_json(sale: &LiveSale, event: &Event) -> Value {
    let placed = &event.order.placed;
    // An event that moved a deadline leaves the order as it was: what it is now is the nearest that is known.
    let status = event.kind.status().unwrap_or(event.order.status);
    let mut told = json!({
        "seq": event.seq,
        "type": event.kind.as_str(),
        "order_id": placed.id.to_string(),
        "campaign": sale.key.campaign(),
        "sku": sale.key.sku(),
        "tenant": sale.key.tenant(),
        "buyer": placed.buyer.as_str(),
        "quantity": placed.quantity,
        "amount_cents": placed.amount.0,
        "currency": sale.terms.currency.as_str(),
        "status": status.as_str(),
        "at": rfc3339(event.at),
        "pay_before": rfc3339(placed.pay_before),
    });
    // Of a refund the amount is what was given back with it, and the status what the order had from then on.
    if let Some(refund) = &event.refund {
        told["amount_cents"] = refund.amount.0.into();
        told["status"] = refund.order_status(placed.amount).as_str().into();
        told["refund"] = refund.number.into();
        told["restock"] = refund.restock.into();
        told["refunded_cents"] = refund.refunded.0.into();
    }
    told
}

/// What tells an order's event from every other, of whatever store, however often it is told. A store that was restored from
/// an older state gives numbers a second time, and hardly to an event of the same moment.
pub fn event_id(store: StoreIdentity, event: &Event) -> String {
    format!("evt_{store}_{}_{}", event.seq, event.at.0)
}
