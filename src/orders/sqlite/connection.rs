//! What every connection to the database has, and what its errors mean.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::store::{Fault, StoreError};
use super::settings::SqliteSettings;

/// Opens the database, for writing or reading as `flags` say.
///
/// # Errors
/// What SQLite says.
pub(super) fn connect(
    path: &Path,
    flags: OpenFlags,
    settings: &SqliteSettings,
) -> Result<Connection, StoreError> {
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
        Self { kind, ..Self::transient(format!("SQLite: {error}")).caused_by(error) }
    }
}

/// What is in the file is not what an engine writes.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::fatal(format!("the order store is damaged ({what}); restore it from a backup"))
}
