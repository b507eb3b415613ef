//! The embedded order store: SQLite in WAL mode, every commit synced, one owner.
//!
//! One [`SqliteWriter`] holds the only writing connection and the lock on the data folder; [`SqliteReader`]s see the
//! last commit; a [`Checkpointer`] folds the log into the table file beside the writer.

mod audit;
mod backup;
mod connection;
mod deadlines;
mod event_log;
mod everything;
mod folder;
mod log;
mod order_pages;
mod reader;
mod reads;
mod refunds;
mod retirement;
mod room_marks;
mod rows;
mod schema;
mod settings;
mod sold_units;
mod stops;
#[cfg(test)]
mod test_sale;
mod trail;
mod waiting_rooms;
mod webhooks;
mod writer;

use std::path::Path;
use std::sync::Arc;

use rusqlite::OpenFlags;

pub use backup::{BackupContents, SaleContents, back_up, check_backup};
pub use log::Checkpointer;
pub use reader::SqliteReader;
pub use settings::SqliteSettings;
pub use writer::SqliteWriter;

use self::connection::connect;
use self::folder::{keep_private, lock_folder};
use self::log::Log;
use super::store::StoreError;

/// Opens the store in `folder`, making it if there is none, and takes the lock on it.
///
/// # Errors
/// Another engine owns the folder, a newer engine wrote it, or the database cannot be opened.
pub fn open(folder: &Path, settings: &SqliteSettings) -> Result<(SqliteWriter, SqliteReader), StoreError> {
    let lock = lock_folder(folder)?;
    let path = folder.join("orders.sqlite");
    keep_private(&path)?;
    let log = Arc::new(Log::new(path.clone(), settings)?);
    let mut connection = connect(&path, OpenFlags::default(), settings)?;
    // The journal mode answers with a row, and is a property of the file; the rest are of this connection.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -i64::from(settings.cache_kib))?;
    // Nothing is folded inside a commit.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    schema::migrate(&mut connection)?;
    let reader = SqliteReader::new(Arc::clone(&log), settings);
    Ok((SqliteWriter::new(connection, lock, log)?, reader))
}
