//! Orders in the order of their numbers, piece by piece.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::order_search::{OrderFilter, PIECES_MAX, TenantSales};
use super::super::store::StoreError;
use super::rows::{self, ORDER_COLUMNS};
use crate::domain::{Order, OrderId, OrderStatus};

/// A search through the orders that is under way.
#[derive(Debug)]
pub(super) struct OrderSearch<'a> {
    filter: &'a OrderFilter,
    /// Looked at so far.
    after: i64,
    through: i64,
    limit: usize,
    pieces_left: usize,
    /// Whether the last piece had nothing that is wanted: only then is the next one sought, which costs a look a sale.
    in_vain: bool,
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
        Self { filter, after, through, limit, pieces_left: PIECES_MAX, in_vain: false, found: Vec::new() }
    }

    /// Up to which number everything was looked at that lies up to `through`.
    pub fn looked_through(&self, through: OrderId) -> OrderId {
        let last = self.found.last().filter(|_| self.found.len() >= self.limit);
        let looked = u64::try_from(self.after).ok().and_then(OrderId::from_number);
        last.map(|order| order.placed.id).or(looked).unwrap_or(through)
    }

    /// Looks at the next piece. `false` when nothing more is to be looked at now.
    ///
    /// # Errors
    /// What the database says.
    pub fn piece(&mut self, connection: &Connection) -> Result<bool, StoreError> {
        let OrderFilter { sale, sales, buyer, status } = self.filter;
        let snapshot = connection.unchecked_transaction()?;
        self.pieces_left -= 1;
        if let Some(sales) = sales.as_ref().filter(|_| self.in_vain) {
            let next = next_of(&snapshot, sales, self.after)?.filter(|next| *next <= self.through);
            let Some(next) = next else {
                self.after = self.through;
                return Ok(false);
            };
            self.after = next - 1;
        }
        let (after, through) = (self.after, self.through);
        let of_sale = if sale.is_some() { "AND sale_id = ?3" } else { "AND ?3 IS NULL" };
        let range = format!("order_id > ?1 AND order_id <= ?2 {of_sale} ORDER BY order_id");
        let sale = sale.map(|id| id.0);
        let end: Option<i64> = match self.filter.piece() {
            Some(orders) => {
                let select = format!("SELECT order_id FROM all_orders WHERE {range} LIMIT 1 OFFSET ?4");
                snapshot
                    .prepare_cached(&select)?
                    .query_row(params![after, through, sale, orders as i64], |row| row.get(0))
                    .optional()?
            }
            None => None,
        };
        let of_sales = match sales {
            // By the orders' numbers: with IN, SQLite goes through each sale's index.
            Some(_) => format!(
                "EXISTS (SELECT 1 FROM sales AS s WHERE s.sale_id = all_orders.sale_id AND {})",
                named(7)
            ),
            None => "?7 IS NULL AND ?8 IS NULL AND ?9 IS NULL".into(),
        };
        let select = format!(
            "SELECT {ORDER_COLUMNS} FROM all_orders WHERE (?4 IS NULL OR buyer = ?4) AND (?5 IS NULL OR status = ?5) \
             AND {of_sales} AND {range} LIMIT ?6"
        );
        let mut statement = snapshot.prepare_cached(&select)?;
        let status = status.map(OrderStatus::code);
        let left = (self.limit - self.found.len()) as i64;
        let tenant = sales.as_ref().map(|sales| &sales.tenant);
        let campaign = sales.as_ref().and_then(|sales| sales.campaign.as_ref());
        let sku = sales.as_ref().and_then(|sales| sales.sku.as_ref());
        let wanted = params![after, end.unwrap_or(through), sale, buyer, status, left, tenant, campaign, sku];
        let before = self.found.len();
        for order in statement.query_map(wanted, rows::order)? {
            self.found.push(order?);
        }
        self.in_vain = self.found.len() == before;
        self.after = end.unwrap_or(through);
        Ok(end.is_some() && self.found.len() < self.limit && self.pieces_left > 0)
    }
}

/// What holds for sales whose tenant, campaign and SKU are the parameters from number `first` on.
fn named(first: usize) -> String {
    let (campaign, sku) = (first + 1, first + 2);
    format!(
        "tenant = ?{first} AND (?{campaign} IS NULL OR campaign = ?{campaign}) AND (?{sku} IS NULL OR sku = ?{sku}) \
         AND retired < 2"
    )
}

/// The number of the next order of these sales: one look at the index of each, whatever others have sold meanwhile.
fn next_of(connection: &Connection, sales: &TenantSales, after: i64) -> Result<Option<i64>, StoreError> {
    let next = |table| {
        format!(
            "SELECT (SELECT min(order_id) FROM {table} WHERE sale_id = s.sale_id AND order_id > ?1) AS next \
             FROM sales s WHERE {}",
            named(2)
        )
    };
    let select = format!("SELECT min(next) FROM ({} UNION ALL {})", next("orders"), next("archived_orders"));
    let TenantSales { tenant, campaign, sku } = sales;
    let mut statement = connection.prepare_cached(&select)?;
    Ok(statement.query_row(params![after, tenant, campaign, sku], |row| row.get(0))?)
}
