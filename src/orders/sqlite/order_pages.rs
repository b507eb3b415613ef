//! Orders in the order of their numbers, in pieces that are short whatever is looked for: a reader that looks through a
//! long history for a few orders would keep the log from being folded all the while.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::store::{OrderFilter, StoreError};
use super::rows::{self, ORDER_COLUMNS};
use crate::domain::{Order, OrderId, OrderStatus};

/// Orders looked at in one snapshot: some milliseconds.
const ORDERS_A_PIECE: usize = 8_192;

/// A search through the orders that is under way.
#[derive(Debug)]
pub(super) struct OrderSearch<'a> {
    filter: &'a OrderFilter,
    /// Looked at so far.
    after: i64,
    through: i64,
    limit: usize,
    /// What was found, oldest first.
    pub found: Vec<Order>,
}

impl<'a> OrderSearch<'a> {
    /// A search for at most `limit` orders above `after` and up to `through`.
    pub fn new(
        filter: &'a OrderFilter,
        after: Option<OrderId>,
        through: Option<OrderId>,
        limit: usize,
    ) -> Self {
        let after = after.map_or(-1, |id| id.number() as i64);
        let through = through.map_or(i64::MAX, |id| id.number() as i64);
        Self { filter, after, through, limit, found: Vec::new() }
    }

    /// Looks at the next piece. `false` when nothing more is to be looked at.
    ///
    /// # Errors
    /// What the database says.
    pub fn piece(&mut self, connection: &Connection) -> Result<bool, StoreError> {
        let Self { filter: OrderFilter { sale, buyer, status }, after, through, .. } = *self;
        let of_sale = if sale.is_some() { "AND sale_id = ?3" } else { "AND ?3 IS NULL" };
        let range = format!("order_id > ?1 AND order_id <= ?2 {of_sale} ORDER BY order_id");
        let sale = sale.map(|id| id.0);
        let snapshot = connection.unchecked_transaction()?;
        // Where every order is wanted, the limit itself keeps the piece short.
        let end: Option<i64> = if buyer.is_some() || status.is_some() {
            let select = format!("SELECT order_id FROM all_orders WHERE {range} LIMIT 1 OFFSET ?4");
            snapshot
                .prepare_cached(&select)?
                .query_row(params![after, through, sale, ORDERS_A_PIECE as i64], |row| row.get(0))
                .optional()?
        } else {
            None
        };
        let select = format!(
            "SELECT {ORDER_COLUMNS} FROM all_orders WHERE (?4 IS NULL OR buyer = ?4) AND (?5 IS NULL OR status = ?5) \
             AND {range} LIMIT ?6"
        );
        let mut statement = snapshot.prepare_cached(&select)?;
        let status = status.map(OrderStatus::code);
        let left = (self.limit - self.found.len()) as i64;
        let wanted = params![after, end.unwrap_or(through), sale, buyer, status, left];
        for order in statement.query_map(wanted, rows::order)? {
            self.found.push(order?);
        }
        self.after = end.unwrap_or(through);
        Ok(end.is_some() && self.found.len() < self.limit)
    }
}
