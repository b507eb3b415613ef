//! How stock is lent out, and when a silent node is given up.

use serde::{Deserialize, Serialize};

/// Settings of the lender.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct LenderSettings {
    /// How often the stock in memory is looked at, in ms.
    pub watch_ms: u64,
    /// A lease is what is available divided by this and by the number of live nodes: larger means smaller leases and
    /// more calls, smaller means more to hand back at the end.
    pub lease_divisor: u64,
    /// Units of one lease at most.
    pub lease_units_max: u64,
    /// The next lease is asked for when this much of the last one is left, in percent.
    pub low_water_percent: u64,
    /// How long a node that got nothing waits before it asks again, in ms. It is also how often nodes look whether
    /// others starve, once nothing is available.
    pub tail_pause_ms: u64,
    /// How often books are compared, and units returned, settled and resized, in ms. Stock that comes back is noticed
    /// within this time.
    pub reconcile_ms: u64,
    /// How often a node says that it lives, in ms.
    pub beat_ms: u64,
    /// A node that is silent for longer is fenced in the store and its units are taken back, in ms. Nodes with higher
    /// numbers wait a little longer, so that one of them does it.
    pub silent_ms_max: u64,
    /// How long a book may be behind the store's epoch before another one opens it, in ms.
    pub rebuild_patience_ms: u64,
}

impl Default for LenderSettings {
    fn default() -> Self {
        Self {
            watch_ms: 5,
            lease_divisor: 2,
            lease_units_max: 100_000,
            low_water_percent: 50,
            tail_pause_ms: 100,
            reconcile_ms: 1_000,
            beat_ms: 1_000,
            silent_ms_max: 10_000,
            rebuild_patience_ms: 2_000,
        }
    }
}
