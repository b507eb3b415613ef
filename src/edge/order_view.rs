//! An order as its buyer sees it.

use bytes::Bytes;

use super::json::JsonObject;
use crate::admission::{LiveSale, Placed};
use crate::domain::{Cents, EpochMs, Order, OrderId, OrderStatus, Units};

/// The order object of the API, before it is written.
#[derive(Debug)]
pub(super) struct OrderView<'a> {
    sale: &'a LiveSale,
    order_id: OrderId,
    buyer: &'a str,
    quantity: Units,
    amount: Cents,
    status: OrderStatus,
    created_at: EpochMs,
    pay_before: EpochMs,
    paid_at: Option<EpochMs>,
    refunded: Cents,
}

impl<'a> OrderView<'a> {
    /// An order the moment it became durable.
    pub(super) fn of_placed(sale: &'a LiveSale, buyer: &'a str, placed: &Placed) -> Self {
        Self {
            sale,
            order_id: placed.order_id,
            buyer,
            quantity: placed.quantity,
            amount: placed.amount,
            status: OrderStatus::PrePay,
            created_at: placed.created_at,
            pay_before: placed.pay_before,
            paid_at: None,
            refunded: Cents(0),
        }
    }

    /// An order of the store.
    pub(super) fn of_order(sale: &'a LiveSale, order: &'a Order) -> Self {
        let placed = &order.placed;
        Self {
            sale,
            order_id: placed.id,
            buyer: placed.buyer.as_str(),
            quantity: placed.quantity,
            amount: placed.amount,
            status: order.status,
            created_at: placed.created_at,
            pay_before: placed.pay_before,
            paid_at: order.paid_at,
            refunded: order.refunds.refunded,
        }
    }

    /// The order object of the API.
    pub(super) fn object(&self) -> Bytes {
        let mut object = JsonObject::with_capacity(408);
        object
            .order_id("order_id", self.order_id)
            .text("tenant", self.sale.key.tenant())
            .text("campaign", self.sale.key.campaign())
            .text("sku", self.sale.key.sku())
            .text("buyer", self.buyer)
            .number("quantity", self.quantity)
            .number("amount_cents", self.amount.0)
            .text("currency", self.sale.terms.currency.as_str())
            .text("status", self.status.as_str())
            .time("created_at", self.created_at)
            .time("pay_before", self.pay_before);
        match self.paid_at {
            Some(paid_at) => object.time("paid_at", paid_at),
            None => object.null("paid_at"),
        };
        object.number("refunded_cents", self.refunded.0);
        object.finish()
    }
}
