//! Reads of orders that several halves of the store make.

use std::collections::HashSet;

use super::error::PgError;
use super::rows::{self, ORDER_COLUMNS};
use super::session::Session;
use crate::domain::{Order, OrderId};

/// The orders with these numbers, in no order. Those of archived sales are looked for second: they move there, and never
/// back.
pub(super) async fn orders_by_id(session: &mut Session, ids: &[i64]) -> Result<Vec<Order>, PgError> {
    let select = |table| format!("SELECT {ORDER_COLUMNS} FROM {table} WHERE order_id = ANY ($1)");
    let found = session.rows(&select("orders"), &[&ids]).await?;
    let mut orders = found.iter().map(rows::order).collect::<Result<Vec<_>, _>>()?;
    if orders.len() < ids.len() {
        let found: HashSet<OrderId> = orders.iter().map(|order| order.placed.id).collect();
        let is_missing = |id: &&i64| rows::order_id(**id).is_ok_and(|id| !found.contains(&id));
        let missing: Vec<i64> = ids.iter().filter(is_missing).copied().collect();
        if !missing.is_empty() {
            let archived = session.rows(&select("archived_orders"), &[&missing]).await?;
            orders.extend(archived.iter().map(rows::order).collect::<Result<Vec<_>, _>>()?);
        }
    }
    Ok(orders)
}

/// The highest number of a durable order.
pub(super) async fn newest_order(session: &mut Session) -> Result<Option<OrderId>, PgError> {
    let row = session.row("SELECT max(order_id) FROM all_orders", &[]).await?;
    row.map_or(Ok(None), |row| row.try_get::<_, Option<i64>>(0))?.map(rows::order_id).transpose()
}
