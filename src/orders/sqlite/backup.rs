//! A copy of the embedded store that can be started from, made while an engine sells, and the look whether it is whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::super::store::StoreError;
use super::connection::connect;
use super::reader::holding;
use super::schema;
use super::settings::SqliteSettings;

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupContents {
    /// The version of its tables.
    pub schema: usize,
    /// Orders of any status.
    pub orders: u64,
    /// The number of the last event.
    pub last_event: u64,
    /// Its sales, oldest first.
    pub sales: Vec<SaleContents>,
    /// What is wrong with it, in words. Empty: it can be started from.
    pub damage: Vec<String>,
}

/// What a backup holds of one sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleContents {
    /// Tenant, campaign and SKU, as `tenant:campaign/sku`.
    pub name: String,
    /// Units ever put on sale.
    pub total: u64,
    /// Sold units, as the guard counts them.
    pub sold_by_guard: u64,
    /// Sold units, as its orders hold them.
    pub sold_by_orders: u64,
}

/// Copies the store in `folder` to `target`, as of one moment. An engine may sell from it meanwhile, and does not wait; its
/// log grows until the copy is done. When this returns, the copy is on the disk and readable by its owner only.
///
/// # Errors
/// `target` exists (it is left as it is), there is no store in `folder`, or one of them cannot be read or written.
pub fn back_up(folder: &Path, target: &Path, settings: &SqliteSettings) -> Result<(), StoreError> {
    let failed = |what: &str, error: io::Error| {
        StoreError::fatal(format!("{} {what}: {error}", target.display())).caused_by(error)
    };
    if target.try_exists().map_err(|error| failed("cannot be looked at", error))? {
        return Err(StoreError::fatal(format!("{} exists already; name another file", target.display())));
    }
    let part = beside(target, ".part");
    // Whoever else makes a copy under this name at the moment is told so here.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(|error| {
        let message =
            format!("{} cannot be made: {error}; remove it if no other backup runs", part.display());
        StoreError::fatal(message).caused_by(error)
    })?;
    let copied = copy(&folder.join("orders.sqlite"), &part, settings).and_then(|()| {
        let synced = File::open(&part).and_then(|file| file.sync_all());
        synced.map_err(|error| failed("is not on the disk", error))?;
        // A link never replaces a file that has come up meanwhile.
        fs::hard_link(&part, target).map_err(|error| failed("cannot be made", error))
    });
    let removed = fs::remove_file(&part);
    copied?;
    removed.map_err(|error| failed("has a second name that cannot be removed", error))?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(|error| failed("is not on the disk", error))
}

fn copy(from: &Path, to: &Path, settings: &SqliteSettings) -> Result<(), StoreError> {
    let source = connect(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX, settings)?;
    // One snapshot from the first page to the last, whatever is committed meanwhile.
    let snapshot = source.unchecked_transaction()?;
    let version: usize = snapshot.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        return Err(StoreError::fatal(format!("{} holds no orders", from.display())));
    }
    let mut copy = Connection::open(to)?;
    let copying = Backup::new(&snapshot, &mut copy)?;
    if copying.step(-1)? != StepResult::Done {
        return Err(StoreError::transient("SQLite: the copy was held up by a lock; try again"));
    }
    drop(copying);
    // One file, without a log of its own.
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    copy.close().map_err(|(_, error)| error.into())
}

/// Reads a backup and compares what its sales count with what their orders hold. Writes nothing.
///
/// # Errors
/// It cannot be read at all, or is none of ours.
pub fn check_backup(file: &Path) -> Result<BackupContents, StoreError> {
    let log = beside(file, "-wal");
    if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        let (file, log) = (file.display(), log.display());
        return Err(StoreError::fatal(format!(
            "{file} is an engine's own file, with a log beside it ({log}), and no backup"
        )));
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Nobody writes to a backup: neither locks nor a log are needed, nor a folder that can be written.
    let backup = Connection::open_with_flags(format!("file:{}?immutable=1", quoted(file)), flags)?;
    backup.pragma_update(None, "temp_store", "MEMORY")?;
    let schema: usize = backup.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if schema == 0 || schema > schema::VERSION {
        return Err(StoreError::fatal(format!(
            "{} is no backup of this engine: its tables have version {schema}, this engine knows 1 to {}",
            file.display(),
            schema::VERSION
        )));
    }
    let mut contents = BackupContents { schema, ..BackupContents::default() };
    let mut integrity = backup.prepare("PRAGMA integrity_check")?;
    for finding in integrity.query_map([], |row| row.get::<_, String>(0))? {
        contents.damage.extend(Some(finding?).filter(|finding| finding != "ok"));
    }
    // Since the seventh version those of archived sales stand apart.
    let orders = if schema >= 7 { "all_orders" } else { "orders" };
    contents.orders = backup.query_row(&format!("SELECT count(*) FROM {orders}"), [], |row| row.get(0))?;
    contents.last_event =
        backup.query_row("SELECT coalesce(max(last_seq), 0) FROM event_blocks", [], |row| row.get(0))?;
    // A backup of before has no refunds.
    let held = if schema >= schema::WITH_REFUNDS { "sum(quantity - restocked)" } else { "sum(quantity)" };
    let mut sales = backup.prepare(&format!(
        "SELECT tenant || ':' || campaign || '/' || sku, total, sold, coalesce(held, 0) FROM sales LEFT JOIN \
         (SELECT sale_id, {held} AS held FROM {orders} WHERE status IN ({}) GROUP BY sale_id) USING (sale_id) \
         {} ORDER BY sale_id",
        holding(),
        // Of one that was deleted nothing is left but its number.
        if schema >= 7 { "WHERE retired < 2" } else { "" }
    ))?;
    let sales = sales.query_map([], |row| {
        Ok(SaleContents {
            name: row.get(0)?,
            total: row.get(1)?,
            sold_by_guard: row.get(2)?,
            sold_by_orders: row.get(3)?,
        })
    })?;
    contents.sales = sales.collect::<Result<_, _>>()?;
    for sale in &contents.sales {
        if sale.sold_by_guard != sale.sold_by_orders || sale.sold_by_guard > sale.total {
            contents.damage.push(format!(
                "{}: {} of {} units are counted as sold, its orders hold {}",
                sale.name, sale.sold_by_guard, sale.total, sale.sold_by_orders
            ));
        }
    }
    let strays = format!("SELECT count(*) FROM {orders} WHERE sale_id NOT IN (SELECT sale_id FROM sales)");
    let strays: u64 = backup.query_row(&strays, [], |row| row.get(0))?;
    if strays > 0 {
        contents.damage.push(format!("{strays} orders are of no sale"));
    }
    Ok(contents)
}

/// The file beside this one whose name ends so.
fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// A path as SQLite reads it in a URI.
fn quoted(file: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut quoted = String::new();
    for &byte in file.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => quoted.push(byte.into()),
            _ => quoted.push_str(&format!("%{byte:02x}")),
        }
    }
    quoted
}
