//! The embedded order store: SQLite in WAL mode, every commit synced, one owner.
//!
//! One [`SqliteWriter`] holds the only writing connection and the lock on the data folder; [`SqliteReader`]s see the
//! last commit and never make the writer wait.

mod backup;
mod deadlines;
mod reader;
mod rows;
mod schema;
mod writer;

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use backup::{BackupContents, SaleContents, back_up, check_backup};
pub use reader::SqliteReader;
pub use writer::SqliteWriter;

use super::store::{Fault, StoreError};

/// For the owner alone.
const FILE_MODE: u32 = 0o600;

/// Settings of the embedded store.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteSettings {
    /// How long one attempt to commit waits for a lock that another process holds, in ms. Attempts are repeated.
    pub lock_wait_ms: u32,
    /// Page cache of the writing connection, in KiB.
    pub cache_kib: u32,
    /// Size of the write-ahead log at which it is folded into the table file, in 4 KiB pages.
    pub wal_pages_max: u32,
    /// Connections for reading.
    pub readers: u32,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { lock_wait_ms: 100, cache_kib: 65_536, wal_pages_max: 8_192, readers: 4 }
    }
}

/// Opens the store in `folder`, making it if there is none, and takes the lock on it.
///
/// # Errors
/// Another engine owns the folder, a newer engine wrote it, or the database cannot be opened.
pub fn open(folder: &Path, settings: &SqliteSettings) -> Result<(SqliteWriter, SqliteReader), StoreError> {
    let lock = lock_folder(folder)?;
    let path = folder.join("orders.sqlite");
    keep_private(&path)?;
    let mut connection = connect(&path, OpenFlags::default(), settings)?;
    // The journal mode answers with a row, and is a property of the file; the rest are of this connection.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -i64::from(settings.cache_kib))?;
    connection.pragma_update(None, "wal_autocheckpoint", settings.wal_pages_max)?;
    schema::migrate(&mut connection)?;
    let reader = SqliteReader::open(&path, settings)?;
    Ok((SqliteWriter::new(connection, lock)?, reader))
}

fn lock_folder(folder: &Path) -> Result<File, StoreError> {
    let fatal = |message: String| StoreError { kind: Fault::Fatal, message };
    // Who buys what is nobody's business but its owner's: a folder that is made here is for one user.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| fatal(format!("the data folder {} cannot be made: {error}", folder.display())))?;
    let path: PathBuf = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(|error| fatal(format!("{} cannot be opened: {error}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(fatal(format!(
            "another engine runs on the data in {}; stop it, or give this one a folder of its own with --data-dir",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) => {
            Err(fatal(format!("{} cannot be locked: {error}", path.display())))
        }
    }
}

/// Makes the database for its owner alone before SQLite would make it for everybody; its log and its index get the
/// mode that it has. Files of older engines, which were readable by others, are closed to them.
fn keep_private(database: &Path) -> Result<(), StoreError> {
    let fatal = |path: &Path, error: std::io::Error| StoreError {
        kind: Fault::Fatal,
        message: format!("{} cannot be kept from other users: {error}", path.display()),
    };
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(database)
        .map_err(|error| fatal(database, error))?;
    for suffix in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        let path = PathBuf::from(path);
        match std::fs::metadata(&path) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                std::fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))
                    .map_err(|error| fatal(&path, error))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(fatal(&path, error)),
        }
    }
    Ok(())
}

fn connect(path: &Path, flags: OpenFlags, settings: &SqliteSettings) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(settings.lock_wait_ms.into()))?;
    connection.set_prepared_statement_cache_capacity(64);
    // What a sort or a sum keeps on the way stays in memory: there may be no folder for it that can be written.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OperationInterrupted) => {
                Fault::Transient
            }
            _ => Fault::Fatal,
        };
        Self { kind, message: format!("SQLite: {error}") }
    }
}
