//! The write-ahead log: how long it is, who folds it into the table file, and when it begins anew.
//!
//! Nothing is folded inside a commit. The [`Checkpointer`] folds beside the writer, in small steps, and syncs the table file
//! after each, so that whoever folds next has little to sync. A log begins anew when all of it is folded and nobody reads
//! it; while orders come, the checkpointer always leaves what has come meanwhile. So the writer folds that rest itself
//! between two batches, once it is little, and its next batch is written to the log's beginning. The file is never cut short
//! while the engine runs: writing over what is there costs the file system nothing but the data.
//!
//! # Protocol
//!
//! Only the writer appends to the log and has it begin anew. Whoever folds holds `folding`: SQLite has a lock of its own for
//! that, on which nobody can wait. A checkpointer that works makes the writer wait only when the log is three quarters full. A
//! reader keeps what it sees of the log from being folded and written over; when that has filled the log, the writer's
//! batch fails as "busy" and is offered again, and the intake is stalled meanwhile. Once a sync of the table file has failed
//! nobody knows what of it is on the disk, and a second try may say that all is well: nothing is folded any more and the log
//! stays as it is, whoever asks; the next start has all of it. The figures are for who looks at them; they decide nothing and
//! publish nothing: relaxed.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::super::log_watch::{FoldedBy, LogFigures, LogWatch};
use super::super::store::StoreError;
use super::connection::connect;
use super::reads::Reads;
use super::settings::SqliteSettings;

/// What SQLite writes and reads at once, in bytes.
const PAGE_BYTES: u64 = 4_096;
/// The most pages that are left for the writer to fold, and about as many as the checkpointer folds in one step.
const STEP_PAGES_MAX: u32 = 256;

/// The log as the writer, the readers and the checkpointer share it.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    settings: SqliteSettings,
    pages: AtomicU32,
    folded: AtomicU32,
    times_full: AtomicU64,
    folding: Mutex<Folding>,
    /// What reads the store at the moment.
    pub reads: Reads,
    /// The table file, for syncing it. To close any handle of a file gives up all locks that this process has on it, those of
    /// SQLite's connections included: whoever has a connection keeps this one open for as long.
    table: File,
}

/// What whoever folds has to know.
#[derive(Debug, Default)]
struct Folding {
    /// A sync of the table file has failed.
    has_failed: bool,
}

/// How far the log has come, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    pages: u32,
    folded: u32,
}

impl Progress {
    fn left(self) -> u32 {
        self.pages.saturating_sub(self.folded)
    }
}

/// What SQLite is to do with the log.
#[derive(Clone, Copy, Debug)]
enum Checkpoint {
    /// Look at it.
    Noop,
    /// Fold what can be folded without waiting for anybody.
    Passive,
    /// Fold all of it, and wait until the next batch can be written to its beginning.
    Restart,
    /// The same, and leave an empty file.
    Truncate,
}

impl Checkpoint {
    const fn sql(self) -> &'static str {
        match self {
            Self::Noop => "PRAGMA wal_checkpoint(NOOP)",
            Self::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Self::Restart => "PRAGMA wal_checkpoint(RESTART)",
            Self::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        }
    }

    /// Whether all of it was done, and how far the log has come then; `None` where somebody else folds.
    fn run(self, connection: &Connection) -> Result<(bool, Option<Progress>), StoreError> {
        let mut statement = connection.prepare_cached(self.sql())?;
        Ok(statement.query_row([], |row| {
            let (busy, pages, folded) =
                (row.get::<_, bool>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
            let progress = u32::try_from(pages).ok().zip(u32::try_from(folded).ok());
            Ok((!busy, progress.map(|(pages, folded)| Progress { pages, folded })))
        })?)
    }
}

impl Log {
    /// The log of the database at `path`, which exists.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn new(path: PathBuf, settings: &SqliteSettings) -> Result<Self, StoreError> {
        let table = File::open(&path).map_err(|error| {
            StoreError::fatal(format!("{} cannot be opened: {error}", path.display())).caused_by(error)
        })?;
        Ok(Self {
            path,
            settings: settings.clone(),
            pages: AtomicU32::new(0),
            folded: AtomicU32::new(0),
            times_full: AtomicU64::new(0),
            folding: Mutex::default(),
            reads: Reads::default(),
            table,
        })
    }

    /// A connection that only reads.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn connect_reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        connect(&self.path, flags, &self.settings)
    }

    /// How it stands, as of the last batch.
    pub fn figures(&self) -> LogFigures {
        let (pages, folded) = (self.pages.load(Relaxed), self.folded.load(Relaxed));
        LogFigures {
            bytes: u64::from(pages) * PAGE_BYTES,
            bytes_max: u64::from(self.pages_max()) * PAGE_BYTES,
            unfolded_bytes: u64::from(pages.saturating_sub(folded)) * PAGE_BYTES,
            times_full: self.times_full.load(Relaxed),
            oldest_read: self.reads.oldest(),
        }
    }

    /// Waits until nobody else folds.
    ///
    /// # Errors
    /// Nothing may be folded any more.
    fn fold_alone(&self) -> Result<MutexGuard<'_, Folding>, StoreError> {
        foldable(self.folding.lock())
    }

    fn publish(&self, progress: Progress) {
        self.pages.store(progress.pages, Relaxed);
        self.folded.store(progress.folded, Relaxed);
    }

    fn pages_max(&self) -> u32 {
        self.settings.wal_pages_max
    }

    /// So many pages are few: the checkpointer leaves them, and the writer may fold them between two batches.
    fn step_pages(&self) -> u32 {
        (self.pages_max() / 64).clamp(16, STEP_PAGES_MAX)
    }

    /// From so many pages on the log should begin anew.
    fn restart_at(&self) -> u32 {
        self.pages_max() / 4
    }

    /// From so many pages on the writer waits for the checkpointer, and folds what is left whatever it is.
    fn press_at(&self) -> u32 {
        self.pages_max() / 4 * 3
    }
}

fn foldable(folding: MutexGuard<'_, Folding>) -> Result<MutexGuard<'_, Folding>, StoreError> {
    if folding.has_failed {
        return Err(StoreError::fatal("a sync of the order store's table file has failed"));
    }
    Ok(folding)
}

/// The writer's half of the log.
#[derive(Debug)]
pub(super) struct WriterLog {
    log: Arc<Log>,
    nudge: flume::Sender<()>,
    nudged: flume::Receiver<()>,
    watch: Arc<dyn LogWatch>,
}

impl WriterLog {
    /// The half of whoever writes to `log`.
    pub fn new(log: Arc<Log>) -> Self {
        let (nudge, nudged) = flume::bounded(1);
        Self { log, nudge, nudged, watch: Arc::new(()) }
    }

    /// Who is told of syncs and folds from now on.
    pub fn watch(&mut self, watch: Arc<dyn LogWatch>) {
        self.watch = watch;
    }

    /// Who folds beside this writer, until the writer is gone.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn checkpointer(&self) -> Result<Checkpointer, StoreError> {
        let connection = connect(&self.log.path, OpenFlags::default(), &self.log.settings)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let (nudged, watch, log) = (self.nudged.clone(), Arc::clone(&self.watch), Arc::clone(&self.log));
        Ok(Checkpointer { connection, nudged, watch, log })
    }

    /// Begins a transaction that writes about `pages` pages, when the log has room for them.
    ///
    /// # Errors
    /// Somebody else writes, or the log is full (both transient), or what SQLite says.
    pub fn begin<'a>(
        &self,
        connection: &'a mut Connection,
        pages: u32,
    ) -> Result<Transaction<'a>, StoreError> {
        self.make_room(connection, pages)?;
        // Immediate: a lock that somebody else holds is found before any work is done.
        Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    /// Commits: writes the pages to the log and syncs it.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn commit(&self, transaction: Transaction<'_>) -> Result<(), StoreError> {
        let started = Instant::now();
        transaction.commit()?;
        self.watch.log_synced(started.elapsed());
        Ok(())
    }

    /// Folds all of the log and empties its file. Nobody writes any more.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn close(&self, connection: &Connection) -> Result<(), StoreError> {
        let alone = self.log.fold_alone();
        if alone.is_err() {
            // Neither does SQLite when the connection is closed.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        let _alone = alone?;
        Checkpoint::Truncate.run(connection).map(drop)
    }

    fn make_room(&self, connection: &Connection, pages: u32) -> Result<(), StoreError> {
        let log = Arc::clone(&self.log);
        let Some(mut now) = Checkpoint::Noop.run(connection)?.1 else { return Ok(()) };
        log.publish(now);
        if now.left() >= log.step_pages() {
            // One that waits already is enough; nobody hears it when there is no checkpointer.
            let _ = self.nudge.try_send(());
        }
        if now.pages >= log.restart_at() && now.left() > 0 {
            let folding = if now.pages >= log.press_at() {
                Some(log.fold_alone()?)
            } else if now.left() <= log.step_pages() {
                log.folding.try_lock().map(foldable).transpose()?
            } else {
                None
            };
            if folding.is_some() {
                now = self.fold(connection, Checkpoint::Passive)?.1.unwrap_or(now);
            }
        }
        if now.pages == 0 || now.pages.saturating_add(pages) <= log.pages_max() {
            return Ok(());
        }
        let _alone = log.fold_alone()?;
        let (is_done, _) = self.fold(connection, Checkpoint::Restart)?;
        if is_done {
            return Ok(());
        }
        log.times_full.fetch_add(1, Relaxed);
        let message = format!(
            "its log is full ({} of sqlite.wal_pages_max = {} pages) and cannot begin anew while it is read: {}",
            now.pages,
            log.pages_max(),
            log.reads.in_words()
        );
        Err(StoreError::transient(message).coded("order-store-log-full"))
    }

    fn fold(
        &self,
        connection: &Connection,
        checkpoint: Checkpoint,
    ) -> Result<(bool, Option<Progress>), StoreError> {
        let started = Instant::now();
        let done = checkpoint.run(connection)?;
        self.watch.folded(FoldedBy::Writer, started.elapsed());
        if let Some(progress) = done.1 {
            self.log.publish(progress);
        }
        Ok(done)
    }
}

/// Folds the log beside the writer. It [`runs`](Checkpointer::run) on a thread of its own.
#[derive(Debug)]
pub struct Checkpointer {
    connection: Connection,
    nudged: flume::Receiver<()>,
    watch: Arc<dyn LogWatch>,
    /// Last: it holds what is closed after the connection.
    log: Arc<Log>,
}

impl Checkpointer {
    /// Works until the writer is gone.
    ///
    /// # Errors
    /// The table file cannot be written or synced: the process must end.
    pub fn run(self) -> Result<(), StoreError> {
        while self.nudged.recv().is_ok() {
            while self.step()? {}
        }
        Ok(())
    }

    /// Folds what can be folded. Whether there is enough for another step.
    fn step(&self) -> Result<bool, StoreError> {
        let mut alone = self.log.fold_alone()?;
        let Some(before) = Checkpoint::Noop.run(&self.connection)?.1 else { return Ok(false) };
        if before.left() == 0 {
            return Ok(false);
        }
        let started = Instant::now();
        let (_, after) = Checkpoint::Passive.run(&self.connection)?;
        self.watch.folded(FoldedBy::Checkpointer, started.elapsed());
        // Somebody reads what is next: more can be folded when the writer says so again.
        let Some(after) = after.filter(|after| after.folded > before.folded) else { return Ok(false) };
        let started = Instant::now();
        // SQLite syncs the table file only where all of the log is folded, which under load is never: what is left for
        // then would be all of it.
        self.log.table.sync_data().map_err(|error| {
            alone.has_failed = true;
            StoreError::fatal(format!("the order store's table file cannot be synced: {error}"))
                .caused_by(error)
        })?;
        self.watch.table_synced(started.elapsed());
        Ok(after.left() >= self.log.step_pages())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::store::{StoreReader, StoreWriter};
    use super::super::open;
    use super::super::test_sale::{make_sale, purchases};
    use super::*;

    #[test]
    fn o2_after_a_failed_sync_of_the_table_file_the_log_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let settings = SqliteSettings { wal_pages_max: 100, ..SqliteSettings::default() };
        let (mut writer, reader) = open(folder.path(), &settings).unwrap();
        let sale = make_sale(&mut writer, 1_000_000);
        let log = Arc::clone(reader.log());
        log.folding.lock().has_failed = true;
        let mut number = 0;
        let error = loop {
            number += 1;
            if let Err(error) = writer.commit(&purchases(sale, number, 1)) {
                break error;
            }
            assert!(number < 1_000, "the log has a limit");
        };
        assert!(!error.is_transient() && error.message.contains("sync"), "{error}");
        let checkpointer = writer.checkpointer(Arc::new(())).unwrap();
        assert!(checkpointer.step().is_err());
        drop(checkpointer);
        drop(reader);
        assert!(Box::new(writer).close().is_err());
        let wal = folder.path().join("orders.sqlite-wal");
        assert!(wal.metadata().unwrap().len() > 0, "nobody has folded it");
        drop(log);
        let (_writer, reader) = open(folder.path(), &SqliteSettings::default()).unwrap();
        assert_eq!(reader.orders_after(None, None, 10_000).unwrap().len() as u64, number - 1);
    }
}
