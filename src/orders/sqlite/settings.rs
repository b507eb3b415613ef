//! Settings of the embedded store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[sqlite]` section of the configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteSettings {
    /// How long one attempt to commit waits for a lock that another process holds, in ms. Attempts are repeated.
    pub lock_wait_ms: u32,
    /// Page cache of the writing connection, in KiB.
    pub cache_kib: u32,
    /// The write-ahead log never grows beyond this, in 4 KiB pages: it is folded into the table file beside the writer, and
    /// where a reader (a backup, say) holds that up until the log is full, purchases wait.
    pub wal_pages_max: u32,
    /// Connections for reading.
    pub readers: u32,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { lock_wait_ms: 100, cache_kib: 65_536, wal_pages_max: 16_384, readers: 4 }
    }
}
