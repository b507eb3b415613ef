//! Orders as the API shows them.

use serde_json::{Value, json};

use super::caller::Caller;
use super::control_plane::ControlPlane;
use super::problem::Problem;
use super::rfc3339::rfc3339;
use crate::admission::LiveSale;
use crate::domain::{Currency, Order, OrderId};

/// An order of `sale` as the feed shows it.
pub(super) fn order_json(sale: &LiveSale, order: &Order) -> Value {
    let Order { placed, status, paid_at, refunds, .. } = order;
    json!({
        "order_id": placed.id.to_string(),
        "tenant": sale.key.tenant(),
        "campaign": sale.key.campaign(),
        "sku": sale.key.sku(),
        "buyer": placed.buyer.as_str(),
        "quantity": placed.quantity,
        "amount_cents": placed.amount.0,
        "currency": sale.terms.currency.as_str(),
        "status": status.as_str(),
        "created_at": rfc3339(placed.created_at),
        "pay_before": rfc3339(placed.pay_before),
        "paid_at": paid_at.map(rfc3339),
        "refunded_cents": refunds.refunded.0,
        "restocked": refunds.restocked,
        "refunds": refunds.begun,
    })
}

impl ControlPlane {
    /// The durable order with this number, if its sale is the tenant's.
    pub(super) async fn order_of_tenant(&self, tenant: &str, id: &str) -> Result<Order, Problem> {
        let id: OrderId = id.parse().map_err(|_| Problem::unknown_order())?;
        let order = self.desk.order(id).await?.ok_or_else(Problem::unknown_order)?;
        let sale = self.desk.sale_of(order.placed.sale).await?;
        let is_theirs = sale.is_some_and(|sale| sale.key.tenant() == tenant);
        if is_theirs { Ok(order) } else { Err(Problem::unknown_order()) }
    }

    /// The durable order with this number, and its tenant, if the caller sees that one's.
    pub(super) async fn order_seen_by(&self, caller: &Caller, id: &str) -> Result<(Order, String), Problem> {
        let number: OrderId = id.parse().map_err(|_| Problem::unknown_order())?;
        let order = self.limited(self.desk.order(number)).await?.ok_or_else(Problem::unknown_order)?;
        let sale = self.desk.sale_of(order.placed.sale).await?.ok_or_else(Problem::unknown_order)?;
        let tenant = sale.key.tenant().to_owned();
        if caller.sees(&tenant) { Ok((order, tenant)) } else { Err(Problem::unknown_order()) }
    }

    /// What an order's amounts are in.
    pub(super) async fn currency_of(&self, order: &Order) -> Result<Currency, Problem> {
        let sale = self.desk.sale_of(order.placed.sale).await?.ok_or_else(Problem::unknown_order)?;
        Ok(sale.terms.currency)
    }

    /// An order as the API shows it.
    pub(super) async fn shown(&self, order: &Order) -> Result<Value, Problem> {
        let sale = self.desk.sale_of(order.placed.sale).await?.ok_or_else(Problem::unknown_order)?;
        Ok(order_json(&sale, order))
    }
}
