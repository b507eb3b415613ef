//! What a start reads: the orders on as many threads as there are cores, each of which makes memory of what it reads.
//!
//! # Of one moment
//!
//! Each thread has a connection of its own. They see the same commit, for nobody makes another one meanwhile: the lock on
//! the folder keeps other engines out, and of this one only the writer's connection changes rows, which is in the hands of
//! whoever starts until all is read; the checkpointer's changes none, and begins still later. What else may write to the file
//! (a person) is seen by the version of its data, which every commit changes: then one connection reads alone.
//!
//! # Each order once
//!
//! A thread takes the next [`run`](Runs) of numbers when it has done with its last. Runs follow each other without a gap from
//! the lowest number there may be to the highest, and who takes one finds its end under a lock.

use std::num::NonZero;
use std::ops::RangeInclusive;
use std::thread;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::super::store::{OrderVisitor, Record, StartVisitor, StoreError};
use super::retirement::{self, newest_archived};
use super::rows::{self, NOT_TRIED, NOT_TRIED_COLUMNS, ORDER_COLUMNS, SALE_COLUMNS};

/// Orders of a run: so few that their pages, which are passed to find its end, are still in the connection's cache (2 MiB)
/// when they are read.
const ORDERS_A_RUN: u32 = 4_096;
/// Threads at most: more would wait for each other where the ends of runs are found.
const THREADS_MAX: usize = 16;

/// Reads it, as of one moment, on connections that `connect` opens, and returns them to be used for something else.
///
/// # Errors
/// What the database says.
pub(super) fn read(
    connect: impl FnMut() -> Result<Connection, StoreError>,
    visitor: &mut dyn StartVisitor,
) -> Result<Vec<Connection>, StoreError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    read_on(cores.min(THREADS_MAX), connect, visitor)
}

fn read_on(
    threads: usize,
    connect: impl FnMut() -> Result<Connection, StoreError>,
    visitor: &mut dyn StartVisitor,
) -> Result<Vec<Connection>, StoreError> {
    let connections = at_one_moment(threads, connect)?;
    read_what_is_no_order(&connections[0], visitor)?;
    let runs = &Mutex::new(Runs::of(ORDERS_A_RUN));
    let visitor: &dyn StartVisitor = &*visitor;
    let ended: Vec<_> = thread::scope(|scope| {
        let reading: Vec<_> = connections
            .into_iter()
            .map(|connection| scope.spawn(move || read_orders(connection, runs, visitor)))
            .collect();
        // All of them, whoever fails: a thread that panics and is not asked has the scope panic.
        reading.into_iter().map(|thread| thread.join()).collect()
    });
    ended.into_iter().map(|outcome| outcome.unwrap_or_else(|_| Err(StoreError::cut_short()))).collect()
}

/// So many connections, each in a transaction, that see the same moment; the first one alone where somebody has committed
/// while they began theirs.
fn at_one_moment(
    count: usize,
    mut connect: impl FnMut() -> Result<Connection, StoreError>,
) -> Result<Vec<Connection>, StoreError> {
    // It stays outside of a transaction, in which it would see nothing new.
    let watching = connect()?;
    let version = || watching.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0));
    let before = version()?;
    let mut begun = Vec::with_capacity(count);
    for _ in 0..count {
        let connection = connect()?;
        connection.execute_batch("BEGIN")?;
        // What a transaction sees is settled when it first looks.
        connection.query_row("SELECT EXISTS (SELECT 1 FROM orders)", [], |_| Ok(()))?;
        begun.push(connection);
    }
    if version()? != before {
        begun.truncate(1);
    }
    Ok(begun)
}

fn read_what_is_no_order(snapshot: &Connection, visitor: &mut dyn StartVisitor) -> Result<(), StoreError> {
    let last_event = "SELECT coalesce(max(last_seq), 0) FROM event_blocks";
    visitor.see(Record::LastEvent(snapshot.query_row(last_event, [], |row| row.get(0))?));
    if let Some(newest) = newest_archived(snapshot)? {
        visitor.see(Record::NewestElsewhere(newest));
    }
    let archived = "SELECT tenant, campaign, sku FROM sales WHERE retired = 1";
    for key in snapshot.prepare(archived)?.query_map([], rows::sale_key)? {
        visitor.see(Record::Archived(key?));
    }
    // One whose orders have yet to move has its buyers in memory until they have.
    let sales =
        format!("SELECT {SALE_COLUMNS} FROM sales WHERE retired = 0 OR is_moving = 1 ORDER BY sale_id");
    for sale in snapshot.prepare(&sales)?.query_map([], rows::sale)? {
        visitor.see(Record::Sale(sale?));
    }
    for order in retirement::refunding(snapshot)? {
        visitor.see(Record::Refunding(order, None));
    }
    Ok(())
}

/// Shows the orders of one run after the other, until there is none left or somebody fails. The connection afterwards.
fn read_orders(
    connection: Connection,
    runs: &Mutex<Runs>,
    visitor: &dyn StartVisitor,
) -> Result<Connection, StoreError> {
    let mut orders = visitor.beside();
    if let Err(error) = show_orders(&connection, runs, &mut *orders) {
        runs.lock().end();
        return Err(error);
    }
    orders.done();
    connection.execute_batch("ROLLBACK")?;
    Ok(connection)
}

fn show_orders(
    snapshot: &Connection,
    runs: &Mutex<Runs>,
    orders: &mut dyn OrderVisitor,
) -> Result<(), StoreError> {
    let orders_of = |columns, which| {
        snapshot.prepare(&format!("SELECT {columns} FROM orders WHERE order_id BETWEEN ? AND ? AND {which}"))
    };
    let mut not_tried = orders_of(NOT_TRIED_COLUMNS, NOT_TRIED)?;
    let mut others = orders_of(ORDER_COLUMNS, &format!("NOT {NOT_TRIED}"))?;
    loop {
        let next = runs.lock().next(snapshot)?;
        let Some(run) = next else { return Ok(()) };
        let mut seen = 0;
        for order in not_tried.query_map([run.start(), run.end()], rows::order)? {
            orders.see(order?, None);
            seen += 1;
        }
        // Where these were all, the run's pages need not be passed again. The last run has fewer.
        if seen < ORDERS_A_RUN {
            for order in others.query_map([run.start(), run.end()], rows::order)? {
                orders.see(order?, None);
            }
        }
    }
}

/// The numbers of orders in runs, one after the other, each with so many orders in it, and the last with what is left.
struct Runs {
    length: u32,
    /// Where the next one begins; `None` behind the last.
    next: Option<i64>,
}

impl Runs {
    fn of(length: u32) -> Self {
        Self { length, next: Some(i64::MIN) }
    }

    /// There is no other one.
    fn end(&mut self) {
        self.next = None;
    }

    fn next(&mut self, snapshot: &Connection) -> Result<Option<RangeInclusive<i64>>, StoreError> {
        let Some(first) = self.next else { return Ok(None) };
        let passed = i64::from(self.length) - 1;
        let last = "SELECT order_id FROM orders WHERE order_id >= ? ORDER BY order_id LIMIT 1 OFFSET ?";
        let mut last = snapshot.prepare_cached(last)?;
        let last: Option<i64> = last.query_row([first, passed], |row| row.get(0)).optional()?;
        self.next = last.and_then(|last| last.checked_add(1));
        Ok(Some(first..=last.unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests;
