//! Reads of orders that several halves of the store make.

use super::error::PgError;
use super::rows::{self, ORDER_COLUMNS};
use super::session::Session;
use crate::domain::{Order, OrderId};

/// The orders with these numbers, in no order.
pub(super) async fn orders_by_id(session: &mut Session, ids: &[i64]) -> Result<Vec<Order>, PgError> {
    let select = format!("SELECT {ORDER_COLUMNS} FROM orders WHERE order_id = ANY ($1)");
    session.rows(&select, &[&ids]).await?.iter().map(rows::order).collect()
}

/// The highest number of a durable order.
pub(super) async fn newest_order(session: &mut Session) -> Result<Option<OrderId>, PgError> {
    let row = session.row("SELECT max(order_id) FROM orders", &[]).await?;
    row.map_or(Ok(None), |row| row.try_get::<_, Option<i64>>(0))?.map(rows::order_id).transpose()
}
