//! Operations on orders, and the feeds of what happened to them.

use serde_json::json;

use super::campaign_bodies::OnlyReason;
use super::live_bodies::Snapshot;
use super::order_bodies as bodies;
use super::parts::{act, after, look, of_order, page, tenant};
use crate::admin::problem_code::Code;
use crate::domain::{BuyerName, OrderStatus};
use crate::openapi::parts::sale_in_query;
use crate::openapi::{Access, Answer, Content, Operation, OrderNumber, Parameter, shape};

const TAG: &str = "orders";
const FEEDS: &str = "feeds";

fn order(status: u16, about: &'static str) -> Answer {
    Answer::json::<bodies::Order>(status, about)
}

/// `GET /api/v1/orders`
pub fn list() -> Operation {
    let statuses = OrderStatus::ALL.map(OrderStatus::as_str);
    let operation = look("/api/v1/orders", "exportOrders", "Durable orders, the oldest first")
        .about("Whoever goes on behind the last one that he has seen misses none. An empty body is the end.");
    page(
        operation.takes(sale_in_query()),
        after("Behind the order with this number.", shape::<OrderNumber>()),
    )
    .tag(FEEDS)
    .takes([
        Parameter::query("buyer", "Of this buyer only.").of(json!({
            "type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": BuyerName::BYTES_MAX,
        })),
        Parameter::query("status", "With this status only.")
            .of(json!({ "type": "string", "enum": statuses })),
    ])
    .answers(Answer::new(200, "The orders", Content::lines::<bodies::Order>()).with("Link"))
    .refuses([Code::UnknownSale, Code::OrdersInFlight])
}

/// `GET /api/v1/events`
pub fn events() -> Operation {
    let operation = look("/api/v1/events", "followEvents", "What happened to orders, in order")
        .about("At least once, in order per sale. Whoever goes on behind the last `seq` that he has seen misses none. A page may be \
                short, or empty, and still have a next one: much may happen to others.");
    page(operation.takes(sale_in_query()), after("Behind the event with this `seq`.", number()))
        .tag(FEEDS)
        .answers(Answer::new(200, "The events", Content::lines::<bodies::Event>()).with("Link"))
        .refuses([Code::UnknownSale])
}

/// `GET /api/v1/trail`
pub fn trail() -> Operation {
    let operation = look("/api/v1/trail", "readTrail", "What operators did, in order")
        .about("Who is bound to a tenant sees that one's; such a page may be short, or empty, and still have a next one.");
    page(operation, after("Behind the entry with this `seq`.", number()))
        .tag(FEEDS)
        .answers(Answer::new(200, "The entries", Content::lines::<bodies::TrailEntry>()).with("Link"))
}

/// `GET /api/v1/live`
pub fn live() -> Operation {
    look("/api/v1/live", "watchLive", "The whole picture once a second, as server-sent events")
        .about("Each event is a `snapshot` with everything; a slow reader is sent the newest, never a backlog. Without \
                `X-Tenant-ID` it shows all tenants that the token may see.")
        .tag(FEEDS)
        .takes([tenant()])
        .answers(Answer::new(200, "The events, until the engine stops", Content::events::<Snapshot>()))
        .refuses([Code::TooManyViewers])
}

/// `GET /api/v1/orders/{id}`
pub fn show() -> Operation {
    of_order(look("/api/v1/orders/{id}", "inspectOrder", "An order, with its refunds"))
        .tag(TAG)
        .answers(order(200, "The order"))
        .refuses([Code::Overloaded])
}

/// `POST /api/v1/orders/{id}/cancel`
pub fn cancel() -> Operation {
    of_order(act("/api/v1/orders/{id}/cancel", "cancelOrder", "Let an order go, as if its buyer did"))
        .tag(TAG)
        .body::<OnlyReason>()
        .answers(order(200, "It is cancelled."))
        .refuses([
            Code::OrderPaid,
            Code::OrderRefunded,
            Code::PaymentInProgress,
            Code::OrderExpired,
            Code::OrderRejected,
            Code::OrderPending,
        ])
}

/// `POST /api/v1/orders/{id}/extend`
pub fn extend() -> Operation {
    of_order(act("/api/v1/orders/{id}/extend", "extendOrder", "Give an order more time to be paid"))
        .tag(TAG)
        .body::<bodies::Extension>()
        .answers(order(200, "The order, with its deadline"))
        .refuses([Code::OrderEnded])
}

/// `POST /api/v1/orders/{id}/settle`
pub fn settle() -> Operation {
    of_order(act(
        "/api/v1/orders/{id}/settle",
        "settleOrder",
        "End a payment or a refund whose gateway never tells",
    ))
    .tag(TAG)
    .body::<bodies::Settlement>()
    .answers(order(200, "The order as it is now, and what was settled"))
    .refuses([Code::PaymentCaptured, Code::NoPaymentUnderWay, Code::PaymentInProgress])
}

/// `POST /api/v1/orders/{id}/refund`
pub fn refund() -> Operation {
    of_order(act("/api/v1/orders/{id}/refund", "refundOrder", "Give back what was paid, or a part of it"))
        .access(Access::Admin)
        .tag(TAG)
        .body::<bodies::NewRefund>()
        .answers(order(200, "It is given back."))
        .answers(
            order(202, "It is `refunding`: the outcome is not known yet; look it up.").with("Retry-After"),
        )
        .refuses([
            Code::OrderNotPaid,
            Code::OrderRefunded,
            Code::RefundInProgress,
            Code::RefundNumber,
            Code::TooManyRefunds,
            Code::RefundRefused,
            Code::RefundNotPossible,
            Code::GatewayNotConfigured,
            Code::CampaignArchived,
            Code::OlderEngines,
            Code::PaymentUnavailable,
        ])
}

fn number() -> serde_json::Value {
    json!({ "type": "integer", "minimum": 0 })
}
