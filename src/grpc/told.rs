//! The edge's answers as messages.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tonic::Status;

use super::proto::{self, SaleState};
use super::status::retry_after;
use crate::domain::OrderStatus;
use crate::edge::Reply;

/// An order, as the edge shows it. One that is pending is a number only.
#[derive(Deserialize)]
struct OrderObject {
    order_id: String,
    status: String,
    #[serde(flatten)]
    rest: Option<OrderRest>,
}

#[derive(Deserialize)]
struct OrderRest {
    tenant: String,
    campaign: String,
    sku: String,
    buyer: String,
    quantity: u32,
    amount_cents: u64,
    currency: String,
    created_at: String,
    pay_before: String,
    paid_at: Option<String>,
    refunded_cents: u64,
}

/// A sale's state, as the edge shows it.
#[derive(Deserialize)]
struct SaleObject {
    campaign: String,
    sku: String,
    title: String,
    state: String,
    price_cents: u64,
    currency: String,
    starts_at: String,
    ends_at: Option<String>,
    server_time: String,
    remaining: u64,
    queue: Option<Value>,
}

/// An event, as the feed shows it.
#[derive(Deserialize)]
struct EventObject {
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
    at: String,
    order_id: String,
    tenant: String,
    campaign: String,
    sku: String,
    buyer: String,
    quantity: u32,
    amount_cents: u64,
    currency: String,
    status: String,
    pay_before: String,
    refund: Option<u32>,
    #[serde(default)]
    restock: bool,
    #[serde(default)]
    refunded_cents: u64,
}

/// What was bought.
pub(super) fn purchase(reply: &Reply) -> Result<proto::PurchaseResponse, Status> {
    let object: OrderObject = read(&reply.body)?;
    Ok(proto::PurchaseResponse {
        order_id: object.order_id.clone(),
        status: status_of(&object.status),
        order: object.into_order(),
        replayed: reply.status == http::StatusCode::OK,
        retry_after: retry_after(reply).map(duration),
    })
}

/// What came of a checkout.
pub(super) fn checkout(reply: &Reply) -> Result<proto::CheckoutResponse, Status> {
    Ok(proto::CheckoutResponse {
        order: read::<OrderObject>(&reply.body)?.into_order(),
        retry_after: retry_after(reply).map(duration),
    })
}

/// An order.
pub(super) fn order(reply: &Reply) -> Result<proto::GetOrderResponse, Status> {
    Ok(proto::GetOrderResponse { order: read::<OrderObject>(&reply.body)?.into_order() })
}

/// A sale's state.
pub(super) fn sale(reply: &Reply) -> Result<proto::GetSaleResponse, Status> {
    let sale: SaleObject = read(&reply.body)?;
    let state = match &*sale.state {
        "upcoming" => SaleState::Upcoming,
        "open" => SaleState::Open,
        "paused" => SaleState::Paused,
        "sold_out" => SaleState::SoldOut,
        "ended" => SaleState::Ended,
        _ => SaleState::Unspecified,
    };
    Ok(proto::GetSaleResponse {
        campaign: sale.campaign,
        sku: sale.sku,
        title: sale.title,
        state: state.into(),
        price_cents: sale.price_cents,
        currency: sale.currency,
        starts_at: time(&sale.starts_at),
        ends_at: sale.ends_at.as_deref().and_then(time),
        server_time: time(&sale.server_time),
        remaining: sale.remaining,
        has_waiting_room: sale.queue.is_some(),
    })
}

/// An event of the feed. `None` where it is not one: the feed has changed, and this room has not.
pub(super) fn event(event: Value) -> Option<proto::Event> {
    let event: EventObject = serde_json::from_value(event).ok()?;
    let (restock, refunded_cents) = (event.restock, event.refunded_cents);
    Some(proto::Event {
        seq: event.seq,
        r#type: event.kind,
        at: time(&event.at),
        order_id: event.order_id,
        tenant: event.tenant,
        campaign: event.campaign,
        sku: event.sku,
        buyer: event.buyer,
        quantity: event.quantity,
        amount_cents: event.amount_cents,
        currency: event.currency,
        status: status_of(&event.status),
        pay_before: time(&event.pay_before),
        refund: event.refund.map(|number| proto::Refund { number, restock, refunded_cents }),
    })
}

impl OrderObject {
    fn into_order(self) -> Option<proto::Order> {
        let rest = self.rest?;
        Some(proto::Order {
            order_id: self.order_id,
            tenant: rest.tenant,
            campaign: rest.campaign,
            sku: rest.sku,
            buyer: rest.buyer,
            quantity: rest.quantity,
            amount_cents: rest.amount_cents,
            currency: rest.currency,
            status: status_of(&self.status),
            created_at: time(&rest.created_at),
            pay_before: time(&rest.pay_before),
            paid_at: rest.paid_at.as_deref().and_then(time),
            refunded_cents: rest.refunded_cents,
        })
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(body)
        .map_err(|error| Status::internal(format!("an answer of another form: {error}")))
}

fn status_of(word: &str) -> i32 {
    let known = OrderStatus::ALL.into_iter().find(|status| status.as_str() == word);
    let status = known.map_or(proto::OrderStatus::Unspecified, |status| match status {
        OrderStatus::Pending => proto::OrderStatus::Pending,
        OrderStatus::PrePay => proto::OrderStatus::PrePay,
        OrderStatus::Paying => proto::OrderStatus::Paying,
        OrderStatus::Paid => proto::OrderStatus::Paid,
        OrderStatus::Cancelled => proto::OrderStatus::Cancelled,
        OrderStatus::Expired => proto::OrderStatus::Expired,
        OrderStatus::Rejected => proto::OrderStatus::Rejected,
        OrderStatus::Refunding => proto::OrderStatus::Refunding,
        OrderStatus::Refunded => proto::OrderStatus::Refunded,
    });
    status.into()
}

fn time(text: &str) -> Option<prost_types::Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    Some(prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
}

fn duration(wait: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: wait.subsec_nanos().cast_signed() }
}
