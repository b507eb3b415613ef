//! The writing half: one connection, one transaction a batch.

use std::fs::File;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement, ToSql, Transaction as SqlTransaction, params};

use super::super::events::EventKind;
use super::super::graces::Graces;
use super::super::log_watch::LogWatch;
use super::super::refund_record::RefundRecord;
use super::super::retirement::{Retirement, RetirementReceipt};
use super::super::sale_change::{ChangeReceipt, SaleChange, StopChange};
use super::super::store::{Batch, DeadlineStep, DeadlineStepped, Receipt, StoreError, StoreWriter};
use super::super::trail::{Act, SaleAct};
use super::super::transition::{Applied, Transition};
use super::event_log::EventLog;
use super::log::{Checkpointer, Log, WriterLog};
use super::rows::{self, ORDER_COLUMNS, SALE_COLUMNS};
use super::sold_units::SoldUnits;
use super::{deadlines, refunds, retirement, room_marks, stops, trail};
use crate::domain::{NewOrder, OrderStatus, RoomFailure, Sale, SaleId, SaleKey, SaleTerms, Stops, Units};

/// The one connection that writes, and the lock that makes it the one.
#[derive(Debug)]
pub struct SqliteWriter {
    connection: Connection,
    last_event_seq: u64,
    /// All that was granted, once it is read. Nobody else writes it.
    graces: Option<Graces>,
    log: WriterLog,
    /// Held as long as the writer lives.
    _lock: File,
}

impl SqliteWriter {
    pub(super) fn new(connection: Connection, lock: File, log: Arc<Log>) -> Result<Self, StoreError> {
        let last = "SELECT coalesce(max(last_seq), 0) FROM event_blocks";
        let last_event_seq = connection.query_row(last, [], |row| row.get(0))?;
        Ok(Self { connection, last_event_seq, graces: None, log: WriterLog::new(log), _lock: lock })
    }

    /// Does the work in one transaction that writes so many pages, and rather fewer.
    pub(super) fn write<T>(
        &mut self,
        pages: u32,
        work: impl FnOnce(&SqlTransaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.log.begin(&mut self.connection, pages)?;
        let done = work(&transaction)?;
        self.log.commit(transaction)?;
        Ok(done)
    }

    /// Has `watch` told of syncs and folds, and makes who folds beside this writer. Without one the writer folds by itself,
    /// when the log is three quarters full.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn checkpointer(&mut self, watch: Arc<dyn LogWatch>) -> Result<Checkpointer, StoreError> {
        self.log.watch(watch);
        self.log.checkpointer()
    }
}

/// Pages that a change of a sale or of a deadline writes at most.
const FEW_PAGES: u32 = 64;
/// Orders in a page, at least.
const ORDERS_A_PAGE: usize = 8;
/// Pages that a step of an order writes: its own, and what is told of it.
const PAGES_A_STEP: usize = 2;

/// About as many pages as the batch writes, and rather more.
fn pages_of(batch: &Batch) -> u32 {
    let orders = (batch.placed.len() + batch.rejected.len()).div_ceil(ORDERS_A_PAGE);
    let steps = batch.transitions.len() * PAGES_A_STEP;
    FEW_PAGES + u32::try_from(orders + steps).unwrap_or(u32::MAX - FEW_PAGES)
}

/// Runs a statement that returns the sale it wrote, if it wrote one. Its parameters are the terms, the total, and
/// `others`. Within a transaction: a statement that commits by itself commits when it is put away, where nobody hears of an
/// error.
fn write_sale(
    transaction: &SqlTransaction<'_>,
    sql: &str,
    terms: &SaleTerms,
    total: Units,
    others: &[&dyn ToSql],
) -> Result<Option<Sale>, StoreError> {
    let (per_s, burst) = (terms.rate.map(|rate| rate.per_s), terms.rate.map(|rate| rate.burst));
    let currency = terms.currency.as_str();
    let paused_until = terms.paused_until.map(|until| until.0);
    let room = terms.room.as_ref();
    let (mode, opens_at) =
        (room.map(|room| room.mode.code()), room.and_then(|room| room.opens_at).map(|at| at.0));
    let (room_rate, grace_s) = (room.and_then(|room| room.rate_per_s), room.map(|room| room.grace_s));
    let (holds, seed) = (room.map(|room| room.on_failure == RoomFailure::Hold), room.map(|room| room.seed.0));
    let beacon = room.and_then(|room| room.beacon);
    let (source, round) = (beacon.map(|of| of.source.code()), beacon.map(|of| of.round));
    let wait_s = beacon.map(|of| of.wait_s);
    let mut values: Vec<&dyn ToSql> = vec![
        &terms.title,
        &terms.price.0,
        &currency,
        &terms.per_buyer_limit,
        &terms.starts_at.0,
        &terms.ends_at.0,
        &terms.pay_within_s,
        &per_s,
        &burst,
        &terms.paused,
        &total,
        &paused_until,
        &mode,
        &opens_at,
        &room_rate,
        &grace_s,
        &holds,
        &seed,
        &source,
        &round,
        &wait_s,
    ];
    values.extend(others);
    Ok(transaction.prepare_cached(sql)?.query_row(values.as_slice(), rows::sale).optional()?)
}

impl StoreWriter for SqliteWriter {
    fn commit(&mut self, batch: &Batch) -> Result<Receipt, StoreError> {
        let transaction = self.log.begin(&mut self.connection, pages_of(batch))?;
        let mut log = EventLog { transaction: &transaction, last_seq: self.last_event_seq };
        let mut sold = SoldUnits::default();

        insert(&transaction, &batch.placed, OrderStatus::PrePay)?;
        insert(&transaction, &batch.rejected, OrderStatus::Rejected)?;
        for order in &batch.placed {
            sold.add(order.sale, i64::from(order.quantity));
        }
        // What was granted a moment ago stands here before memory knows it.
        let granted = match self.graces.take() {
            Some(granted) => granted,
            None => Graces::new(deadlines::graces(&transaction)?),
        };
        let graces = granted.with_ongoing(batch.graces.ongoing());
        let mut applied = Vec::with_capacity(batch.transitions.len());
        for transition in &batch.transitions {
            let outcome = apply(&transaction, transition, &graces)?;
            if let Applied::Done(order) = &outcome {
                sold.add(order.placed.sale, -i64::from(transition.frees(order)));
            }
            applied.push(outcome);
        }
        self.graces = Some(graces);
        log.append(batch, &applied)?;
        let last_event_seq = log.last_seq;

        let oversold = sold.write(&transaction)?;
        if !oversold.is_empty() {
            transaction.rollback()?;
            return Ok(Receipt::Oversold(oversold));
        }
        self.log.commit(transaction)?;
        self.last_event_seq = last_event_seq;
        Ok(Receipt::Committed { applied, refused: Vec::new() })
    }

    fn create_sale(
        &mut self,
        key: &SaleKey,
        terms: &SaleTerms,
        total: Units,
        act: Option<&SaleAct>,
    ) -> Result<Option<Sale>, StoreError> {
        let insert = format!(
            "INSERT INTO sales (title, price_cents, currency, per_buyer_limit, starts_at_ms, ends_at_ms, pay_within_s, \
             rate_per_s, burst, paused, total, paused_until_ms, room_mode, room_opens_at_ms, room_rate_per_s, room_grace_s, \
             room_holds, room_seed, room_beacon, room_beacon_round, room_beacon_wait_s, tenant, campaign, sku) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, \
             ?24) \
             ON CONFLICT DO NOTHING RETURNING {SALE_COLUMNS}"
        );
        let name: [&dyn ToSql; 3] = [&key.tenant(), &key.campaign(), &key.sku()];
        let transaction = self.log.begin(&mut self.connection, FEW_PAGES)?;
        let created = write_sale(&transaction, &insert, terms, total, &name)?;
        if let (Some(sale), Some(act)) = (&created, act) {
            trail::append(&transaction, &act.made(sale))?;
        }
        self.log.commit(transaction)?;
        Ok(created)
    }

    fn change_sale(&mut self, change: &SaleChange) -> Result<ChangeReceipt, StoreError> {
        self.write(FEW_PAGES, |transaction| change_row(transaction, change))
    }

    fn change_stops(&mut self, change: &StopChange) -> Result<Stops, StoreError> {
        self.write(FEW_PAGES, |transaction| stops::change(transaction, change))
    }

    fn move_deadlines(
        &mut self,
        step: &DeadlineStep,
        act: Option<&Act>,
    ) -> Result<DeadlineStepped, StoreError> {
        let transaction = self.log.begin(&mut self.connection, FEW_PAGES)?;
        let mut log = EventLog { transaction: &transaction, last_seq: self.last_event_seq };
        let mut stepped = DeadlineStepped::Done;
        match step {
            DeadlineStep::Extend { order, pay_before, at } => {
                let applied = deadlines::extend(&transaction, *order, *pay_before)?;
                if matches!(applied, Applied::Done(_)) {
                    log.append_block(
                        EventKind::Extended.block_code(0),
                        *at,
                        std::iter::once(order.number()),
                    )?;
                }
                stepped = DeadlineStepped::Order(Box::new(applied));
            }
            DeadlineStep::Tell { orders, at } => {
                log.append_block(
                    EventKind::Extended.block_code(0),
                    *at,
                    orders.iter().map(|order| order.number()),
                )?;
            }
            DeadlineStep::Alive(_) => deadlines::note(&transaction, step)?,
            DeadlineStep::Grant(_) | DeadlineStep::Forget(_) => {
                self.graces = None;
                deadlines::note(&transaction, step)?;
            }
        }
        let last_event_seq = log.last_seq;
        if let Some(act) = act.filter(|_| stepped.is_done()) {
            trail::append(&transaction, act)?;
        }
        self.log.commit(transaction)?;
        self.last_event_seq = last_event_seq;
        Ok(stepped)
    }

    fn tell(&mut self, acts: &[Act]) -> Result<(), StoreError> {
        // An act has less than a page.
        let pages = u32::try_from(acts.len()).unwrap_or(u32::MAX - FEW_PAGES) + FEW_PAGES;
        self.write(pages, |transaction| acts.iter().try_for_each(|act| trail::append(transaction, act)))
    }

    fn retire_sale(&mut self, wanted: &Retirement) -> Result<RetirementReceipt, StoreError> {
        self.write(FEW_PAGES, |transaction| retirement::retire(transaction, wanted))
    }

    fn move_archived(&mut self, max: usize) -> Result<usize, StoreError> {
        // Each in a page of its own, at worst, in either table and both of the other's indexes.
        self.write(FEW_PAGES + 4 * max as u32, |transaction| retirement::move_orders(transaction, max))
    }

    fn units_of(&mut self, sale: SaleId) -> Result<(Units, Units), StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT total, sold FROM sales WHERE sale_id = ?")?;
        Ok(statement.query_row([sale.0], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Folds the write-ahead log into the table file: what a clean stop leaves is one file.
    fn close(self: Box<Self>) -> Result<(), StoreError> {
        // The log's half goes last, for it holds what is closed after the connection: what is bound last is dropped first.
        let Self { log, connection, .. } = *self;
        log.close(&connection)?;
        connection.close().map_err(|(_, error)| error.into())
    }
}

/// Changes the sale within the transaction, looking at its own row only.
fn change_row(transaction: &SqlTransaction<'_>, change: &SaleChange) -> Result<ChangeReceipt, StoreError> {
    let found =
        transaction.prepare_cached(&select_sale())?.query_row([change.sale.0], rows::sale).optional()?;
    let Some(before) = found else { return Ok(ChangeReceipt::Unknown) };
    let marks = room_marks::of_sale(transaction, change.sale)?.unwrap_or_default();
    let (terms, total) = match change.decide(&before, &marks) {
        Ok(decided) => decided,
        Err(refusal) => return Ok(*refusal),
    };
    let sale = if terms == before.terms && total == before.total {
        before.clone()
    } else {
        let written = write_sale(transaction, &update_sale(), &terms, total, &[&change.sale.0])?;
        let Some(sale) = written else { return Ok(ChangeReceipt::BelowSold(before.sold)) };
        sale
    };
    if let Some(act) = &change.act {
        trail::append(transaction, &act.changed(&before, &sale))?;
    }
    Ok(ChangeReceipt::Changed { sale, total_before: before.total })
}

fn select_sale() -> String {
    format!("SELECT {SALE_COLUMNS} FROM sales WHERE sale_id = ? AND retired < 2")
}

fn update_sale() -> String {
    format!(
        "UPDATE sales SET title = ?1, price_cents = ?2, currency = ?3, per_buyer_limit = ?4, starts_at_ms = ?5, \
         ends_at_ms = ?6, pay_within_s = ?7, rate_per_s = ?8, burst = ?9, paused = ?10, total = ?11, \
         paused_until_ms = ?12, room_mode = ?13, room_opens_at_ms = ?14, room_rate_per_s = ?15, room_grace_s = ?16, \
         room_holds = ?17, room_seed = ?18, room_beacon = ?19, room_beacon_round = ?20, room_beacon_wait_s = ?21, \
         change = change + 1 WHERE sale_id = ?22 AND sold <= ?11 \
         RETURNING {SALE_COLUMNS}"
    )
}

/// Rows of one INSERT statement: what the database does around a row, it does once for so many.
const ROWS_A_STATEMENT: usize = 32;
const COLUMNS_A_ROW: usize = 9;

/// Inserts `ROWS` rows in one statement.
fn insert_sql<const ROWS: usize>() -> String {
    let row = "(?, ?, ?, ?, ?, ?, ?, ?, ?)";
    format!(
        "INSERT INTO orders (order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, \
         idempotency_key) VALUES {}",
        [row; ROWS].join(", ")
    )
}

fn insert(
    transaction: &SqlTransaction<'_>,
    orders: &[NewOrder],
    status: OrderStatus,
) -> Result<(), StoreError> {
    let (full, rest) = orders.as_chunks::<ROWS_A_STATEMENT>();
    insert_rows::<ROWS_A_STATEMENT>(transaction, full, status)?;
    insert_rows::<1>(transaction, rest.as_chunks().0, status)
}

fn insert_rows<const ROWS: usize>(
    transaction: &SqlTransaction<'_>,
    chunks: &[[NewOrder; ROWS]],
    status: OrderStatus,
) -> Result<(), StoreError> {
    if chunks.is_empty() {
        return Ok(());
    }
    let mut statement = transaction.prepare_cached(&insert_sql::<ROWS>())?;
    for orders in chunks {
        for (row, order) in orders.iter().enumerate() {
            bind(&mut statement, row * COLUMNS_A_ROW, order, status)?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

/// Binds one row; `before` parameters stand before its own.
fn bind(
    statement: &mut Statement<'_>,
    before: usize,
    order: &NewOrder,
    status: OrderStatus,
) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(before + 1, order.id.number())?;
    statement.raw_bind_parameter(before + 2, order.sale.0)?;
    statement.raw_bind_parameter(before + 3, order.buyer.as_str())?;
    statement.raw_bind_parameter(before + 4, order.quantity)?;
    statement.raw_bind_parameter(before + 5, order.amount.0)?;
    statement.raw_bind_parameter(before + 6, status.code())?;
    statement.raw_bind_parameter(before + 7, order.created_at.0)?;
    statement.raw_bind_parameter(before + 8, order.pay_before.0)?;
    statement.raw_bind_parameter(before + 9, order.idempotency_key.as_ref().map(|key| key.as_str()))
}

fn apply(
    transaction: &SqlTransaction<'_>,
    transition: &Transition,
    graces: &Graces,
) -> Result<Applied, StoreError> {
    let select = format!("SELECT {ORDER_COLUMNS} FROM orders WHERE order_id = ?");
    let mut statement = transaction.prepare_cached(&select)?;
    let found = statement.query_row([transition.order.number()], rows::order).optional()?;
    // What is archived is final, but for money that is given back.
    let (table, found) = match found {
        Some(order) => ("orders", Some(order)),
        None => ("archived_orders", retirement::order(transaction, transition.order)?),
    };
    let Some(mut order) = found else { return Ok(Applied::UnknownOrder) };
    let was = order.clone();
    // Also where it has yet to move.
    let is_barred = transition.restocks() && retirement::is_retired(transaction, order.placed.sale)?;
    if is_barred || !transition.advance(&mut order, graces) {
        return Ok(Applied::Refused(order));
    }
    transaction
        .prepare_cached(&format!(
            "UPDATE {table} SET status = ?2, paid_at_ms = ?3, payment_attempt = ?4, payment_method = ?5, \
             payment_gateway = ?6, payment_key_form = ?7, payment_direction = ?8, payment_why = ?9, refunds = ?10, \
             refund_cents = ?11, refund_restock = ?12, refunded_cents = ?13, restocked = ?14 WHERE order_id = ?1"
        ))?
        .execute(params![
            order.placed.id.number(),
            order.status.code(),
            order.paid_at.map(|at| at.0),
            order.payment_attempt,
            order.payment_method,
            order.payment.gateway,
            order.payment.key_form.code(),
            order.payment.direction.code(),
            order.payment.direction.why(),
            order.refunds.begun,
            order.refunds.amount.0,
            order.refunds.restock,
            order.refunds.refunded.0,
            order.refunds.restocked,
        ])?;
    if let Some(record) = RefundRecord::of_step(transition, &was, &order) {
        refunds::note(transaction, order.placed.id, &record)?;
    }
    if let Some(reason) = &transition.settled_because {
        transaction
            .prepare_cached(
                "INSERT INTO operator_settlements (order_id, payment_attempt, status, at_ms, reason) \
                 VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![
                order.placed.id.number(),
                order.payment_attempt,
                order.status.code(),
                transition.at.0,
                reason,
            ])?;
    }
    if let Some(act) = &transition.act {
        trail::append(transaction, &act.moved(&was, &order))?;
    }
    Ok(Applied::Done(order))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::super::test_sale::{make_sale, purchases};
    use super::super::{SqliteSettings, open};
    use super::*;
    use crate::domain::{SaleEdit, SaleLimits};

    #[test]
    fn o2_pausing_takes_as_many_steps_whatever_was_sold() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, _reader) = open(folder.path(), &SqliteSettings::default()).unwrap();
        let sale = make_sale(&mut writer, 10_000);
        // All the steps that a pause makes SQLite's machine take.
        let pause = |writer: &mut SqliteWriter, paused| {
            let edit = SaleEdit { paused: Some(paused), ..SaleEdit::default() };
            let limits = SaleLimits::default();
            let change = SaleChange { sale, edit, limits, if_version: None, withdrawn: 0, act: None };
            let receipt = writer.change_sale(&change).unwrap();
            assert!(matches!(receipt, ChangeReceipt::Changed { sale, .. } if sale.terms.paused == paused));
            [select_sale(), update_sale()].map(|sql| {
                let statement = writer.connection.prepare_cached(&sql).unwrap();
                assert_eq!(statement.reset_status(StatementStatus::FullscanStep), 0, "{sql}");
                assert_eq!(statement.reset_status(StatementStatus::Sort), 0, "{sql}");
                statement.reset_status(StatementStatus::VmStep)
            })
        };
        pause(&mut writer, true);
        pause(&mut writer, false);
        let with_none = pause(&mut writer, true);
        writer.commit(&purchases(sale, 1, 2_000)).unwrap();
        pause(&mut writer, false);
        assert_eq!(pause(&mut writer, true), with_none);
    }
}
