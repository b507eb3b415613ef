//! Refunds, in rows.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};

use super::super::refund_record::{RefundRecord, RefundState};
use super::super::store::StoreError;
use crate::domain::{Cents, EpochMs, OrderId};

const COLUMNS: &str =
    "number, state, amount_cents, restock, begun_at_ms, ended_at_ms, reason, why, refunded_cents";

/// Writes down that a refund begins, or how it ends.
pub(super) fn note(
    transaction: &Transaction<'_>,
    order: OrderId,
    record: &RefundRecord,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO refunds (order_id, number, state, amount_cents, restock, begun_at_ms, ended_at_ms, reason, why, \
             refunded_cents) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO UPDATE SET \
             state = excluded.state, ended_at_ms = excluded.ended_at_ms, why = excluded.why, \
             refunded_cents = excluded.refunded_cents",
        )?
        .execute(params![
            order.number(),
            record.number,
            record.state.code(),
            record.amount.0,
            record.restock,
            record.begun_at.0,
            record.ended_at.map(|at| at.0),
            record.reason,
            record.why,
            record.refunded.0,
        ])?;
    Ok(())
}

/// The refunds of an order, in order.
pub(super) fn of_order(connection: &Connection, order: OrderId) -> Result<Vec<RefundRecord>, StoreError> {
    let select = format!("SELECT {COLUMNS} FROM refunds WHERE order_id = ? ORDER BY number");
    let mut statement = connection.prepare_cached(&select)?;
    let found = statement.query_map([order.number()], record)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<RefundRecord> {
    let state = RefundState::from_code(row.get(1)?).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(1, Type::Integer, "no state of a refund".into())
    });
    Ok(RefundRecord {
        number: row.get(0)?,
        state: state?,
        amount: Cents(row.get(2)?),
        restock: row.get(3)?,
        begun_at: EpochMs(row.get(4)?),
        ended_at: row.get::<_, Option<i64>>(5)?.map(EpochMs),
        reason: row.get(6)?,
        why: row.get(7)?,
        refunded: Cents(row.get(8)?),
    })
}
