//! The orders of one buyer: found by what memory knows of the buyer, and by what the store says that the buyer holds, then
//! read by their numbers. No history is looked through, and no table that is sold to needs an index for it, which would cost
//! every purchase a write in a random place: only orders of archived sales have one.

use std::sync::Arc;

use super::desk::OrderDesk;
use super::store::{StoreError, StoreReader};
use super::wanted_orders::WantedOrders;
use crate::admission::{Admission, LiveSale};
use crate::domain::{Order, OrderId, SaleId};

impl WantedOrders {
    /// The sales that they may be of.
    fn sales(&self, admission: &Admission) -> Vec<Arc<LiveSale>> {
        let is_wanted =
            |wanted: &Option<String>, part: &str| wanted.as_deref().is_none_or(|name| name == part);
        let sales = admission.board().sales();
        let wanted = sales.iter().filter(|sale| {
            sale.key.tenant() == self.tenant
                && is_wanted(&self.campaign, sale.key.campaign())
                && is_wanted(&self.sku, sale.key.sku())
        });
        wanted.cloned().collect()
    }

    /// Their numbers and their sales, the newest first.
    fn numbers(
        &self,
        sales: &[Arc<LiveSale>],
        store: &dyn StoreReader,
    ) -> Result<Vec<(OrderId, SaleId)>, StoreError> {
        let ids: Vec<SaleId> = sales.iter().map(|sale| sale.id).collect();
        let mut found = store.held_orders(&ids, &self.buyer)?;
        for sale in sales {
            let orders = sale.state.claims().orders_of(&self.buyer).into_iter();
            found.extend(orders.map(|order| (order, sale.id)));
        }
        found.extend(store.archived_orders_of(self)?);
        found.retain(|(order, _)| self.before.is_none_or(|before| *order < before));
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        found.truncate(self.limit);
        Ok(found)
    }

    fn read(&self, admission: &Admission, store: &dyn StoreReader) -> Result<Vec<Order>, StoreError> {
        let sales = self.sales(admission);
        let numbers = self.numbers(&sales, store)?;
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        // Looked for in memory first: an order that becomes durable in between is found in the store.
        let pending = |(order, of): &(OrderId, SaleId)| {
            sales.iter().find(|sale| sale.id == *of)?.pending_order(&self.buyer, *order)
        };
        let pending: Vec<Option<Order>> = numbers.iter().map(pending).collect();
        let ids: Vec<OrderId> = numbers.iter().map(|(order, _)| *order).collect();
        let orders = store.orders(&ids)?.into_iter().zip(pending);
        Ok(orders.filter_map(|(durable, pending)| durable.or(pending)).collect())
    }
}

impl OrderDesk {
    /// The buyer's orders, the newest first, those included that are still on their way (`pending`). Of those that were
    /// cancelled or have expired, the latest of each sale.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn orders_of(&self, wanted: WantedOrders) -> Result<Vec<Order>, StoreError> {
        let admission = self.admission();
        let found = self.read(move |store| wanted.read(&admission, store)).await?;
        Ok(found.into_iter().map(|order| self.shown(order)).collect())
    }
}
