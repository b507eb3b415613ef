//! Refunds, in rows.

use std::collections::HashSet;

use tokio_postgres::Row;

use super::super::refund_record::{RefundRecord, RefundState};
use super::error::PgError;
use super::rows::{cents, column, damaged, order_id, text, whole};
use super::session::{Parameter, Session};
use crate::domain::{EpochMs, OrderId};

/// Refunds that begin or end with a batch, column by column.
#[derive(Default)]
pub(super) struct RefundColumns {
    order: Vec<i64>,
    number: Vec<i32>,
    state: Vec<i16>,
    amount: Vec<i64>,
    restock: Vec<i32>,
    begun_at: Vec<i64>,
    ended_at: Vec<Option<i64>>,
    reason: Vec<String>,
    why: Vec<Option<String>>,
    refunded: Vec<i64>,
}

impl RefundColumns {
    /// Whether none begins or ends.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// One more. Of a refund that begins and ends in one batch one row stands for both.
    pub(super) fn push(&mut self, order: OrderId, record: &RefundRecord) {
        let (order, number): (i64, i32) = (column(order.number()), column(record.number));
        let same = |place: &usize| self.order[*place] == order && self.number[*place] == number;
        if let Some(place) = (0..self.order.len()).find(same) {
            self.state[place] = record.state.code().into();
            self.ended_at[place] = record.ended_at.map(|at| at.0);
            self.why[place] = record.why.as_deref().map(text);
            self.refunded[place] = column(record.refunded.0);
            return;
        }
        self.order.push(order);
        self.number.push(number);
        self.state.push(record.state.code().into());
        self.amount.push(column(record.amount.0));
        self.restock.push(column(record.restock));
        self.begun_at.push(record.begun_at.0);
        self.ended_at.push(record.ended_at.map(|at| at.0));
        self.reason.push(text(&record.reason));
        self.why.push(record.why.as_deref().map(text));
        self.refunded.push(column(record.refunded.0));
    }

    /// The statement that writes them down, its parameters numbered behind the first `others`.
    pub(super) fn insert(others: usize) -> String {
        const TYPES: [&str; 10] = [
            "bigint", "integer", "smallint", "bigint", "integer", "bigint", "bigint", "text", "text",
            "bigint",
        ];
        let columns: Vec<_> =
            (others + 1..).zip(TYPES).map(|(number, kind)| format!("${number}::{kind}[]")).collect();
        format!(
            "INSERT INTO refunds (order_id, number, state, amount_cents, restock, begun_at_ms, ended_at_ms, reason, why, \
             refunded_cents) SELECT * FROM unnest({}) ON CONFLICT (order_id, number) DO UPDATE SET \
             state = excluded.state, ended_at_ms = excluded.ended_at_ms, why = excluded.why, \
             refunded_cents = excluded.refunded_cents",
            columns.join(", ")
        )
    }

    /// The columns, in the order of the statement's parameters.
    pub(super) fn parameters(&self) -> [Parameter<'_>; 10] {
        [
            &self.order,
            &self.number,
            &self.state,
            &self.amount,
            &self.restock,
            &self.begun_at,
            &self.ended_at,
            &self.reason,
            &self.why,
            &self.refunded,
        ]
    }
}

/// The refunds of these orders, each with its order, in order.
pub(super) async fn of_orders(
    session: &mut Session,
    orders: &[i64],
) -> Result<Vec<(OrderId, RefundRecord)>, PgError> {
    let select = "SELECT order_id, number, state, amount_cents, restock, begun_at_ms, ended_at_ms, reason, why, \
                  refunded_cents FROM refunds WHERE order_id = ANY ($1) ORDER BY order_id, number";
    session.rows(select, &[&orders]).await?.iter().map(record).collect()
}

fn record(row: &Row) -> Result<(OrderId, RefundRecord), PgError> {
    let state = u8::try_from(row.try_get::<_, i16>(2)?).ok().and_then(RefundState::from_code);
    let record = RefundRecord {
        number: whole(row.try_get(1)?)?,
        state: state.ok_or_else(|| damaged("no state of a refund"))?,
        amount: cents(row.try_get(3)?)?,
        restock: whole(row.try_get(4)?)?,
        begun_at: EpochMs(row.try_get(5)?),
        ended_at: row.try_get::<_, Option<i64>>(6)?.map(EpochMs),
        reason: row.try_get(7)?,
        why: row.try_get(8)?,
        refunded: cents(row.try_get(9)?)?,
    };
    Ok((order_id(row.try_get(0)?)?, record))
}

/// Those of these orders that are of a sale that is archived: nothing of it goes back on sale any more.
pub(super) async fn archived_among(
    session: &mut Session,
    orders: &[i64],
) -> Result<HashSet<OrderId>, PgError> {
    let archived = "SELECT o.order_id FROM all_orders o JOIN sales s USING (sale_id) \
                    WHERE o.order_id = ANY ($1) AND s.retired > 0";
    let archived = session.rows(archived, &[&orders]).await?;
    archived.iter().map(|row| order_id(row.try_get(0)?)).collect()
}
