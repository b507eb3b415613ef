//! Sales that have ended, in rows: how one is archived or deleted, and how its orders move.
//!
//! An archived sale is one row that says so, from one commit to the next; its orders are found in whichever table they are,
//! and move in batches of their own. What was moved is not read by any start.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::super::retirement::{Ending, Retirement, RetirementReceipt};
use super::super::store::StoreError;
use super::super::wanted_orders::WantedOrders;
use super::rows::{self, ORDER_COLUMNS, SALE_COLUMNS};
use super::trail;
use crate::domain::{Order, OrderId, OrderStatus, Sale, SaleId, SaleKey};

/// A sale that is no more; its row keeps its number from being given again, under a name that no sale can have.
const DELETED: u8 = 2;
/// A sale whose orders are kept apart.
const ARCHIVED: u8 = 1;

/// Units of a sale's orders whose refund is under way. From the refunds to their orders (`CROSS`): left to itself SQLite goes
/// through all orders of the sale, and nobody sells meanwhile.
const REFUNDING: &str = "SELECT coalesce(sum(o.quantity), 0) \
                         FROM refunds r INDEXED BY open_refunds CROSS JOIN orders o USING (order_id) \
                         WHERE r.state = 0 AND o.sale_id = ?";

/// Archives or deletes a sale.
pub(super) fn retire(
    transaction: &Transaction<'_>,
    retirement: &Retirement,
) -> Result<RetirementReceipt, StoreError> {
    let select = format!("SELECT {SALE_COLUMNS} FROM sales WHERE sale_id = ? AND retired < 2");
    let id = retirement.sale.0;
    let found = transaction.prepare_cached(&select)?.query_row([id], rows::sale).optional()?;
    let Some(sale) = found else { return Ok(RetirementReceipt::Unknown) };
    let has_orders =
        transaction.query_row("SELECT EXISTS (SELECT 1 FROM orders WHERE sale_id = ?)", [id], |row| {
            row.get::<_, bool>(0)
        })?;
    let refunding: u64 = transaction.query_row(REFUNDING, [id], |row| row.get(0))?;
    if let Err(refusal) = retirement.decide(&sale, has_orders, refunding) {
        return Ok(*refusal);
    }
    let at = retirement.act.at;
    let told = retirement.told(&sale);
    let (state, is_moving, name) = match retirement.ending {
        Ending::Archive { .. } => (ARCHIVED, true, "sku"),
        Ending::Delete => (DELETED, false, "sku || '/' || sale_id"),
    };
    let update = format!(
        "UPDATE sales SET retired = ?2, retired_at_ms = ?3, is_moving = ?4, change = change + 1, sku = {name} \
         WHERE sale_id = ?1"
    );
    transaction.execute(&update, params![id, state, at.0, is_moving])?;
    trail::append(transaction, &told)?;
    let archived_at = Some(at).filter(|_| state == ARCHIVED);
    Ok(RetirementReceipt::Done(Sale { archived_at, version: sale.version + 1, ..sale }))
}

/// Whether a sale is archived or deleted.
pub(super) fn is_retired(connection: &Connection, sale: SaleId) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached("SELECT retired > 0 FROM sales WHERE sale_id = ?")?;
    Ok(statement.query_row([sale.0], |row| row.get(0)).optional()?.unwrap_or(false))
}

/// Moves at most `max` orders of an archived sale away from those of running ones, or finds that all of it have moved. 0 when
/// no sale is left.
pub(super) fn move_orders(transaction: &Transaction<'_>, max: usize) -> Result<usize, StoreError> {
    let next = "SELECT sale_id FROM sales WHERE is_moving = 1 LIMIT 1";
    let next: Option<u32> = transaction.prepare_cached(next)?.query_row([], |row| row.get(0)).optional()?;
    let Some(sale) = next else { return Ok(0) };
    let last = "SELECT max(order_id) FROM (SELECT order_id FROM orders WHERE sale_id = ?1 ORDER BY order_id LIMIT ?2)";
    let last: Option<i64> =
        transaction.prepare_cached(last)?.query_row(params![sale, max as i64], |row| row.get(0))?;
    let Some(last) = last else {
        // One sale a transaction: of thousands at once most may have no orders.
        let done = "UPDATE sales SET is_moving = 0 WHERE sale_id = ?";
        return Ok(transaction.prepare_cached(done)?.execute([sale])?);
    };
    let copy = format!(
        "INSERT INTO archived_orders ({ORDER_COLUMNS}) SELECT {ORDER_COLUMNS} FROM orders \
         WHERE sale_id = ?1 AND order_id <= ?2"
    );
    let copied = transaction.prepare_cached(&copy)?.execute(params![sale, last])?;
    let remove = "DELETE FROM orders WHERE sale_id = ?1 AND order_id <= ?2";
    transaction.prepare_cached(remove)?.execute(params![sale, last])?;
    Ok(copied)
}

/// An order that was moved.
pub(super) fn order(connection: &Connection, id: OrderId) -> Result<Option<Order>, StoreError> {
    let select = format!("SELECT {ORDER_COLUMNS} FROM archived_orders WHERE order_id = ?");
    Ok(connection.prepare_cached(&select)?.query_row([id.number()], rows::order).optional()?)
}

/// Orders that were moved and whose refund is under way.
pub(super) fn refunding(connection: &Connection) -> Result<Vec<Order>, StoreError> {
    let select = format!("SELECT {ORDER_COLUMNS} FROM archived_orders WHERE status = 7 ORDER BY order_id");
    Ok(connection.prepare(&select)?.query_map([], rows::order)?.collect::<Result<_, _>>()?)
}

/// The highest number of the orders that were moved.
pub(super) fn newest_archived(connection: &Connection) -> Result<Option<OrderId>, StoreError> {
    let select = "SELECT max(order_id) FROM archived_orders";
    let newest: Option<u64> = connection.prepare_cached(select)?.query_row([], |row| row.get(0))?;
    Ok(newest.and_then(OrderId::from_number))
}

/// Archived sales whose orders have yet to move.
pub(super) fn moving(connection: &Connection) -> Result<Vec<SaleId>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT sale_id FROM sales WHERE is_moving = 1")?;
    Ok(statement.query_map([], |row| row.get(0).map(SaleId))?.collect::<Result<_, _>>()?)
}

/// The tenant's archived sales, oldest first.
pub(super) fn sales(connection: &Connection, tenant: &str) -> Result<Vec<Sale>, StoreError> {
    let select =
        format!("SELECT {SALE_COLUMNS} FROM sales WHERE retired = 1 AND tenant = ? ORDER BY sale_id");
    let mut statement = connection.prepare_cached(&select)?;
    Ok(statement.query_map([tenant], rows::sale)?.collect::<Result<_, _>>()?)
}

/// The archived sale of this name.
pub(super) fn sale(connection: &Connection, key: &SaleKey) -> Result<Option<Sale>, StoreError> {
    let select = format!(
        "SELECT {SALE_COLUMNS} FROM sales WHERE tenant = ? AND campaign = ? AND sku = ? AND retired = 1"
    );
    let mut statement = connection.prepare_cached(&select)?;
    Ok(statement.query_row([key.tenant(), key.campaign(), key.sku()], rows::sale).optional()?)
}

/// The buyer's orders that were moved, newest first; those that were refused are nobody's.
pub(super) fn orders_of(
    connection: &Connection,
    wanted: &WantedOrders,
) -> Result<Vec<(OrderId, SaleId)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT order_id, sale_id FROM archived_orders JOIN sales USING (sale_id) \
         WHERE buyer = ?1 AND order_id < ?2 AND tenant = ?3 AND status <> ?7 \
         AND (?4 IS NULL OR campaign = ?4) AND (?5 IS NULL OR sku = ?5) ORDER BY order_id DESC LIMIT ?6",
    )?;
    let before = wanted.before.map_or(i64::MAX, |id| id.number() as i64);
    let found = statement.query_map(
        params![
            wanted.buyer,
            before,
            wanted.tenant,
            wanted.campaign,
            wanted.sku,
            wanted.limit as i64,
            OrderStatus::Rejected.code()
        ],
        |row| Ok((rows::order_id(row, 0)?, SaleId(row.get(1)?))),
    )?;
    Ok(found.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::{SqliteSettings, open};
    use super::*;

    #[test]
    fn o5_who_archives_a_sale_looks_at_open_refunds_and_not_at_all_its_orders() {
        let folder = tempfile::tempdir().unwrap();
        let (_writer, _reader) = open(folder.path(), &SqliteSettings::default()).unwrap();
        let connection = Connection::open(folder.path().join("orders.sqlite")).unwrap();
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {REFUNDING}")).unwrap();
        let plan = explained.query_map([1], |row| row.get(3)).unwrap();
        let plan: Vec<String> = plan.collect::<Result<_, _>>().unwrap();
        assert!(plan.len() == 2 && plan[0].starts_with("SCAN r "), "{plan:?}");
        assert!(plan[1].contains("PRIMARY KEY"), "{plan:?}");
    }
}
