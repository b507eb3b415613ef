//! What an embedded store tells of its write-ahead log, and how the log stands.

use std::fmt;
use std::time::Duration;

/// Told of each sync and each fold, on the thread that has waited for it.
pub trait LogWatch: fmt::Debug + Send + Sync {
    /// A commit has written its pages to the log and synced it.
    fn log_synced(&self, took: Duration);
    /// Pages of the log were folded into the table file.
    fn folded(&self, by: FoldedBy, took: Duration);
    /// The table file was synced beside the writer.
    fn table_synced(&self, took: Duration);
}

/// Nobody watches.
impl LogWatch for () {
    fn log_synced(&self, _took: Duration) {}
    fn folded(&self, _by: FoldedBy, _took: Duration) {}
    fn table_synced(&self, _took: Duration) {}
}

/// Who has folded pages of the log into the table file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldedBy {
    /// The thread that does nothing else.
    Checkpointer,
    /// The writer, between two batches: buyers have waited for it.
    Writer,
}

/// The write-ahead log of an embedded store, and who reads the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Bytes from its beginning to its last commit.
    pub bytes: u64,
    /// It never grows beyond these, in bytes.
    pub bytes_max: u64,
    /// Of its bytes, those that are not folded into the table file yet.
    pub unfolded_bytes: u64,
    /// How often a batch found it full and had to wait.
    pub times_full: u64,
    /// For how long the oldest read that is under way has lasted.
    pub oldest_read: Option<Duration>,
}
