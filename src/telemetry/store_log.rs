//! Syncs and folds of an embedded store's write-ahead log.

use super::histogram::{AtomicHistogram, HistogramSnapshot, Layout};

/// How long syncs and folds took, in nanoseconds: 0.6 MiB.
#[derive(Debug)]
pub struct StoreLogRecords {
    /// Commits that wrote to the log and synced it.
    pub log_syncs: AtomicHistogram,
    /// Syncs of the table file beside the writer.
    pub table_syncs: AtomicHistogram,
    /// Folds of log pages into the table file beside the writer.
    pub folds_beside: AtomicHistogram,
    /// Folds that the writer made between two batches.
    pub folds_by_writer: AtomicHistogram,
}

impl Default for StoreLogRecords {
    fn default() -> Self {
        let empty = || AtomicHistogram::new(Layout::LATENCY);
        Self { log_syncs: empty(), table_syncs: empty(), folds_beside: empty(), folds_by_writer: empty() }
    }
}

impl StoreLogRecords {
    /// The syncs, by the file that was synced.
    pub fn syncs(&self) -> [(&'static str, HistogramSnapshot); 2] {
        [("log", read(&self.log_syncs)), ("table", read(&self.table_syncs))]
    }

    /// The folds, by the thread that folded.
    pub fn folds(&self) -> [(&'static str, HistogramSnapshot); 2] {
        [("checkpointer", read(&self.folds_beside)), ("writer", read(&self.folds_by_writer))]
    }
}

fn read(histogram: &AtomicHistogram) -> HistogramSnapshot {
    let mut snapshot = HistogramSnapshot::empty(Layout::LATENCY);
    histogram.add_to(&mut snapshot);
    snapshot
}
