//! What a start reads: on a thread of its own, while the caller makes memory of it, which takes as long.

use std::sync::mpsc;

use rusqlite::Connection;

use super::super::store::{Record, StoreError};
use super::retirement::{self, newest_archived};
use super::rows::{self, ORDER_COLUMNS, SALE_COLUMNS};

/// Records that are handed over at once.
const RECORDS_A_BATCH: usize = 1_024;
/// Batches that wait to be taken.
const BATCHES_AHEAD: usize = 4;

/// Shows `visit` what `read` reads, in its order, which goes on reading meanwhile.
///
/// # Errors
/// What `read` says.
pub(super) fn read_ahead(
    read: impl FnOnce(&mut dyn FnMut(Record)) -> Result<(), StoreError> + Send,
    visit: &mut dyn FnMut(Record),
) -> Result<(), StoreError> {
    let (batches, taken) = mpsc::sync_channel::<Vec<Record>>(BATCHES_AHEAD);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut batch = Vec::with_capacity(RECORDS_A_BATCH);
            let outcome = read(&mut |record| {
                batch.push(record);
                if batch.len() == RECORDS_A_BATCH {
                    let full = std::mem::replace(&mut batch, Vec::with_capacity(RECORDS_A_BATCH));
                    // Who has panicked takes nothing more.
                    let _ = batches.send(full);
                }
            });
            let _ = batches.send(batch);
            outcome
        });
        for batch in taken {
            batch.into_iter().for_each(&mut *visit);
        }
        reading.join().unwrap_or_else(|_| Err(StoreError::cut_short()))
    })
}

/// Reads it, as of one moment.
///
/// # Errors
/// What the database says.
pub(super) fn read(connection: &Connection, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
    let sales =
        format!("SELECT {SALE_COLUMNS} FROM sales WHERE retired = 0 OR is_moving = 1 ORDER BY sale_id");
    let orders = format!("SELECT {ORDER_COLUMNS} FROM orders ORDER BY order_id");
    let snapshot = connection.unchecked_transaction()?;
    let last_event = "SELECT coalesce(max(last_seq), 0) FROM event_blocks";
    visit(Record::LastEvent(snapshot.query_row(last_event, [], |row| row.get(0))?));
    if let Some(newest) = newest_archived(&snapshot)? {
        visit(Record::NewestElsewhere(newest));
    }
    let archived = "SELECT tenant, campaign, sku FROM sales WHERE retired = 1";
    for key in snapshot.prepare(archived)?.query_map([], rows::sale_key)? {
        visit(Record::Archived(key?));
    }
    // One whose orders have yet to move has its buyers in memory until they have.
    for sale in snapshot.prepare(&sales)?.query_map([], rows::sale)? {
        visit(Record::Sale(sale?));
    }
    retirement::refunding(&snapshot)?.into_iter().for_each(|order| visit(Record::Refunding(order, None)));
    for order in snapshot.prepare(&orders)?.query_map([], rows::order)? {
        visit(Record::Order(order?, None));
    }
    Ok(())
}
