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
