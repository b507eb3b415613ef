//! What moves deadlines, in rows.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::super::graces::Grace;
use super::super::store::{DeadlineStep, StoreError};
use super::super::transition::Applied;
use super::retirement;
use super::rows::{self, ORDER_COLUMNS};
use crate::domain::{EpochMs, OrderId, OrderStatus, SaleId};

/// Writes down what is not about single orders.
pub(super) fn note(transaction: &Transaction<'_>, step: &DeadlineStep) -> Result<(), StoreError> {
    match step {
        DeadlineStep::Alive(at) => transaction
            .prepare_cached(
                "INSERT INTO alive (only_row, at_ms) VALUES (1, ?1) \
                 ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms",
            )?
            .execute([at.0])?,
        DeadlineStep::Grant(Grace { sale, from, until, by_ms, reason }) => {
            let sale = sale.map_or(0, |sale| sale.0);
            let from = if until.is_none() { free_moment(transaction, sale, *from)? } else { *from };
            transaction
                .prepare_cached(
                    "INSERT INTO graces (sale_id, from_ms, is_gift, until_ms, by_ms, reason) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                     ON CONFLICT DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)",
                )?
                .execute(params![sale, from.0, until.is_none(), until.map(|at| at.0), by_ms, reason])?
        }
        DeadlineStep::Forget(before) => transaction
            .prepare_cached("DELETE FROM graces WHERE coalesce(until_ms, from_ms) < ?1")?
            .execute([before.0])?,
        DeadlineStep::Extend { .. } | DeadlineStep::Tell { .. } => 0,
    };
    Ok(())
}

/// The first moment from this one on at which the sale has been given nothing yet: a gift is known by its moment.
fn free_moment(transaction: &Transaction<'_>, sale: u32, from: EpochMs) -> Result<EpochMs, StoreError> {
    let mut statement = transaction.prepare_cached(
        "SELECT from_ms FROM graces WHERE sale_id = ?1 AND is_gift AND from_ms >= ?2 ORDER BY from_ms",
    )?;
    let mut free = from;
    for taken in statement.query_map(params![sale, from.0], |row| row.get(0).map(EpochMs))? {
        if taken? != free {
            break;
        }
        free = free.plus_ms(1);
    }
    Ok(free)
}

/// Has the row of an order that can still be paid name a later time.
pub(super) fn extend(
    transaction: &Transaction<'_>,
    id: OrderId,
    pay_before: EpochMs,
) -> Result<Applied, StoreError> {
    let select = format!("SELECT {ORDER_COLUMNS} FROM orders WHERE order_id = ?");
    let found = transaction.prepare_cached(&select)?.query_row([id.number()], rows::order).optional()?;
    let Some(mut order) = found else {
        return Ok(retirement::order(transaction, id)?.map_or(Applied::UnknownOrder, Applied::Refused));
    };
    if !matches!(order.status, OrderStatus::PrePay | OrderStatus::Paying) {
        return Ok(Applied::Refused(order));
    }
    order.placed.pay_before = order.placed.pay_before.max(pay_before);
    transaction
        .prepare_cached("UPDATE orders SET pay_before_ms = ?2 WHERE order_id = ?1")?
        .execute(params![id.number(), order.placed.pay_before.0])?;
    Ok(Applied::Done(order))
}

/// All graces.
pub(super) fn graces(connection: &Connection) -> Result<Vec<Grace>, StoreError> {
    let select = "SELECT sale_id, from_ms, until_ms, by_ms, reason FROM graces";
    let grace = |row: &Row<'_>| {
        Ok(Grace {
            sale: Some(row.get(0)?).filter(|sale| *sale > 0).map(SaleId),
            from: EpochMs(row.get(1)?),
            until: row.get::<_, Option<i64>>(2)?.map(EpochMs),
            by_ms: row.get(3)?,
            reason: row.get(4)?,
        })
    };
    Ok(connection.prepare_cached(select)?.query_map([], grace)?.collect::<Result<_, _>>()?)
}

/// When an engine is last known to have lived.
pub(super) fn last_alive(connection: &Connection) -> Result<Option<EpochMs>, StoreError> {
    Ok(connection.query_row("SELECT at_ms FROM alive", [], |row| row.get(0)).optional()?.map(EpochMs))
}
