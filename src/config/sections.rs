//! The sections that belong to the engine as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{FieldError, NodeId, Rate};
use crate::orders::WriterSettings;
use crate::orders::sqlite::SqliteSettings;
use crate::settings::within;

/// `[node]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// The number of this engine among those that sell the same stock. Part of every order id.
    pub id: u16,
}

impl NodeSettings {
    /// Checks the number.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        within("id", self.id, 0..=NodeId::MAX)
    }
}

/// `[admission]`: the node's own limits. Each sale has its own besides.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionSettings {
    /// Requests a second that write or call out (purchases, payments, cancellations) and that one buyer may make over
    /// time; 0 sets no limit.
    pub buyer_rate_per_s: u32,
    /// Such requests that one buyer may make at once after a quiet time.
    pub buyer_burst: u32,
    /// Looks a second at orders that one buyer may take over time; 0 sets no limit.
    pub lookup_rate_per_s: u32,
    /// Such looks that one buyer may take at once after a quiet time.
    pub lookup_burst: u32,
    /// Buyers whose rate is known at once, 16 bytes each and kind of rate. Beyond them the oldest are forgotten.
    pub buyers_max: usize,
    /// How often one buyer may take units of one sale and let them go again, by cancelling or by not paying; then the
    /// buyer buys there no more. 0 sets no limit.
    pub releases_max: u32,
    /// Admissions a second over all sales of this node; 0 sets no limit.
    pub node_rate_per_s: u32,
    /// Admissions at once over all sales after a quiet time.
    pub node_burst: u32,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            buyer_rate_per_s: 20,
            buyer_burst: 40,
            lookup_rate_per_s: 50,
            lookup_burst: 100,
            buyers_max: 1 << 20,
            releases_max: 20,
            node_rate_per_s: 0,
            node_burst: 1_000,
        }
    }
}

impl AdmissionSettings {
    const RATE_MAX: u32 = 10_000_000;

    /// Checks each value's range.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        within("buyer_rate_per_s", self.buyer_rate_per_s, 0..=Self::RATE_MAX)?;
        within("buyer_burst", self.buyer_burst, 1..=Self::RATE_MAX)?;
        within("lookup_rate_per_s", self.lookup_rate_per_s, 0..=Self::RATE_MAX)?;
        within("lookup_burst", self.lookup_burst, 1..=Self::RATE_MAX)?;
        within("releases_max", self.releases_max, 0..=1_000_000)?;
        within("buyers_max", self.buyers_max, 1_024..=1 << 28)?;
        within("node_rate_per_s", self.node_rate_per_s, 0..=Self::RATE_MAX)?;
        within("node_burst", self.node_burst, 1..=Self::RATE_MAX)
    }

    /// The rate of one buyer, if there is a limit.
    pub fn buyer_rate(&self) -> Option<Rate> {
        (self.buyer_rate_per_s > 0).then_some(Rate { per_s: self.buyer_rate_per_s, burst: self.buyer_burst })
    }

    /// The rate of one buyer's looks, if there is a limit.
    pub fn lookup_rate(&self) -> Option<Rate> {
        (self.lookup_rate_per_s > 0)
            .then_some(Rate { per_s: self.lookup_rate_per_s, burst: self.lookup_burst })
    }

    /// The rate of the node, if there is a limit.
    pub fn node_rate(&self) -> Option<Rate> {
        (self.node_rate_per_s > 0).then_some(Rate { per_s: self.node_rate_per_s, burst: self.node_burst })
    }
}

/// Checks the range of each value of `[store]`.
///
/// # Errors
/// The first field that breaks its rule.
pub(super) fn check_store(settings: &WriterSettings) -> Result<(), FieldError> {
    within("queue_orders_max", settings.queue_orders_max, 1..=10_000_000)?;
    within("writers", settings.writers, 1..=64)?;
    within("batch_orders_max", settings.batch_orders_max, 1..=65_536)?;
    within("steps_max", settings.steps_max, 1..=10_000_000)?;
    within("retry_pause_ms_max", settings.retry_pause_ms_max, 1..=60_000)
}

/// Checks the range of each value of `[sqlite]`.
///
/// # Errors
/// The first field that breaks its rule.
pub(super) fn check_sqlite(settings: &SqliteSettings) -> Result<(), FieldError> {
    within("lock_wait_ms", settings.lock_wait_ms, 0..=60_000)?;
    within("cache_kib", settings.cache_kib, 1_024..=64 << 20)?;
    within("wal_pages_max", settings.wal_pages_max, 100..=1_000_000)?;
    within("readers", settings.readers, 1..=64)
}
