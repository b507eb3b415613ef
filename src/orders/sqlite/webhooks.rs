//! Webhooks, in rows.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::super::store::StoreError;
use super::super::trail::TrailEntry;
use super::super::webhook_log::{
    LogCursor, LogEnds, WebhookAct, WebhookHealth, WebhookReader, WebhookRow, WebhookSave, WebhookState,
    WebhookStep, WebhookWriter, held_column, held_of,
};
use super::connection::damaged;
use super::reader::SqliteReader;
use super::trail;
use super::writer::SqliteWriter;
use crate::domain::EpochMs;

/// The columns that [`row`] reads, in its order.
const COLUMNS: &str = "name, owner, generation, orders_through, orders_held, sales_through, sales_held, failing_since_ms, \
     failures, failed_at_ms, failure, delivered_at_ms, next_try_ms, disabled_at_ms, disabled_why";

/// Pages that a step writes at most, for as many endpoints as there are in any sane configuration.
const FEW_PAGES: u32 = 64;

impl WebhookWriter for SqliteWriter {
    fn step_webhooks(&mut self, step: &WebhookStep) -> Result<bool, StoreError> {
        self.write(FEW_PAGES, |transaction| match step {
            WebhookStep::Enter(names) => enter(transaction, names).map(|()| true),
            WebhookStep::Claim { owner, names } => claim(transaction, *owner, names).map(|()| true),
            WebhookStep::Save(saves) => {
                let mut all = true;
                for save in saves {
                    all &= keep(transaction, save)?;
                }
                Ok(all)
            }
            WebhookStep::Act(act) => carry_out(transaction, act),
        })
    }
}

fn enter(transaction: &Transaction<'_>, names: &[String]) -> Result<(), StoreError> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO webhooks (name, orders_through, sales_through) VALUES (?, \
         (SELECT coalesce(max(last_seq), 0) FROM event_blocks), (SELECT coalesce(max(seq), 0) FROM trail)) \
         ON CONFLICT DO NOTHING",
    )?;
    for name in names {
        insert.execute([name])?;
    }
    Ok(())
}

fn claim(transaction: &Transaction<'_>, owner: i64, names: &[String]) -> Result<(), StoreError> {
    let mut update = transaction
        .prepare_cached("UPDATE webhooks SET owner = ?2, generation = generation + 1 WHERE name = ?1")?;
    for name in names {
        update.execute(params![name, owner])?;
    }
    Ok(())
}

/// Keeps how far deliveries have come, unless somebody else has had the endpoint since.
fn keep(transaction: &Transaction<'_>, save: &WebhookSave) -> Result<bool, StoreError> {
    let current = "SELECT 1 FROM webhooks WHERE name = ?1 AND owner = ?2 AND generation = ?3";
    let is_current =
        transaction.prepare_cached(current)?.exists(params![save.name, save.owner, save.generation])?;
    if is_current {
        write(transaction, &save.name, &save.state)?;
        if let Some(act) = &save.act {
            // What was left to be written before it is not kept any more.
            raise(transaction, &save.name)?;
            trail::append(transaction, act)?;
        }
    }
    Ok(is_current)
}

fn carry_out(transaction: &Transaction<'_>, wanted: &WebhookAct) -> Result<bool, StoreError> {
    let select = format!("SELECT {COLUMNS} FROM webhooks WHERE name = ?");
    let found = transaction.prepare_cached(&select)?.query_row([&wanted.name], row).optional()?;
    let Some(before) = found.transpose()? else { return Ok(false) };
    let (state, act) = wanted.decide(&before.state);
    write(transaction, &wanted.name, &state)?;
    raise(transaction, &wanted.name)?;
    trail::append(transaction, &act)?;
    Ok(true)
}

fn raise(transaction: &Transaction<'_>, name: &str) -> Result<(), StoreError> {
    let raise = "UPDATE webhooks SET generation = generation + 1 WHERE name = ?";
    transaction.prepare_cached(raise)?.execute([name])?;
    Ok(())
}

fn write(transaction: &Transaction<'_>, name: &str, state: &WebhookState) -> Result<(), StoreError> {
    let WebhookState { orders, sales, health, disabled } = state;
    transaction
        .prepare_cached(
            "UPDATE webhooks SET orders_through = ?2, orders_held = ?3, sales_through = ?4, sales_held = ?5, \
             failing_since_ms = ?6, failures = ?7, failed_at_ms = ?8, failure = ?9, delivered_at_ms = ?10, \
             next_try_ms = ?11, disabled_at_ms = ?12, disabled_why = ?13 WHERE name = ?1",
        )?
        .execute(params![
            name,
            orders.through,
            held_column(orders),
            sales.through,
            held_column(sales),
            health.failing_since.map(|at| at.0),
            health.failures,
            health.last_failure.as_ref().map(|(at, _)| at.0),
            health.last_failure.as_ref().map(|(_, why)| why),
            health.last_delivery.map(|at| at.0),
            health.next_try.map(|at| at.0),
            disabled.as_ref().map(|(at, _)| at.0),
            disabled.as_ref().map(|(_, why)| why),
        ])?;
    Ok(())
}

impl WebhookReader for SqliteReader {
    fn webhooks(&self) -> Result<(Vec<WebhookRow>, LogEnds), StoreError> {
        self.read(|connection| {
            let snapshot = connection.unchecked_transaction()?;
            let select = format!("SELECT {COLUMNS} FROM webhooks ORDER BY name");
            let mut statement = snapshot.prepare_cached(&select)?;
            let rows = statement.query_map([], row)?.collect::<rusqlite::Result<Result<Vec<_>, _>>>()??;
            Ok((rows, ends(&snapshot)?))
        })
    }

    fn all_acts_after(&self, after: u64, limit: usize) -> Result<Vec<TrailEntry>, StoreError> {
        self.read(|connection| trail::read_all(connection, after, limit))
    }
}

fn ends(connection: &Connection) -> Result<LogEnds, StoreError> {
    let last = "SELECT (SELECT coalesce(max(last_seq), 0) FROM event_blocks), (SELECT coalesce(max(seq), 0) FROM trail)";
    let ends = |row: &Row<'_>| Ok(LogEnds { orders: row.get(0)?, sales: row.get(1)? });
    Ok(connection.prepare_cached(last)?.query_row([], ends)?)
}

fn row(row: &Row<'_>) -> rusqlite::Result<Result<WebhookRow, StoreError>> {
    let at = |place: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(place)?.map(EpochMs));
    let (orders, sales): (String, String) = (row.get(4)?, row.get(6)?);
    let (Some(orders_held), Some(sales_held)) = (held_of(&orders), held_of(&sales)) else {
        return Ok(Err(damaged("sales that are held of a webhook")));
    };
    let (failure, disabled): (Option<String>, Option<String>) = (row.get(10)?, row.get(14)?);
    let state = WebhookState {
        orders: LogCursor { through: row.get(3)?, held: orders_held },
        sales: LogCursor { through: row.get(5)?, held: sales_held },
        health: WebhookHealth {
            failing_since: at(7)?,
            failures: row.get(8)?,
            last_failure: at(9)?.zip(failure),
            last_delivery: at(11)?,
            next_try: at(12)?,
        },
        disabled: at(13)?.zip(disabled),
    };
    Ok(Ok(WebhookRow { name: row.get(0)?, owner: row.get(1)?, generation: row.get(2)?, state }))
}
