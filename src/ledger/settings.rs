//! How many sales there may be, how stock is lent out, and when a silent node is given up.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lease::Terms;
use crate::domain::{FieldError, SaleLimits};
use crate::settings::within;

/// `[ledger]`: the largest terms of a sale, and how several engines share its stock.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerSettings {
    /// Live sales of all tenants, those that are over and not archived included: each takes memory. One more campaign is
    /// refused with 409.
    pub sales_max: usize,
    /// How long after its end a sale that has nothing open is archived by itself, in seconds. 0: never.
    pub archive_after_s: u32,
    /// The longest title of a sale, in bytes.
    pub title_bytes_max: usize,
    /// The largest stock of one sale, in units.
    pub stock_max: u32,
    /// The longest time to pay that a sale may give, in seconds.
    pub pay_within_s_max: u32,
    /// The highest rate of one sale, in admissions a second, and its largest burst.
    pub rate_max: u32,
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
    /// A node that is silent for longer is fenced in the store and its units are taken back, in ms; at least three beats.
    /// Nodes with higher numbers wait a little longer, so that one of them does it. A node that the store has not answered
    /// for so long hands its unsold units back.
    pub silent_ms_max: u64,
    /// How long a book may be behind the store's epoch before another one opens it, in ms.
    pub rebuild_patience_ms: u64,
    /// How long an operator who lowers the stock waits for units that other nodes must give up first, in ms.
    pub withdraw_ms_max: u64,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        let SaleLimits { title_bytes_max, stock_max, pay_within_s_max, rate_max } = SaleLimits::default();
        Self {
            sales_max: 10_000,
            archive_after_s: 0,
            title_bytes_max,
            stock_max,
            pay_within_s_max,
            rate_max,
            watch_ms: 5,
            lease_divisor: 2,
            lease_units_max: 100_000,
            low_water_percent: 50,
            tail_pause_ms: 100,
            reconcile_ms: 1_000,
            beat_ms: 1_000,
            silent_ms_max: 10_000,
            rebuild_patience_ms: 2_000,
            withdraw_ms_max: 3_000,
        }
    }
}

impl LedgerSettings {
    /// The largest terms, as the domain checks them.
    pub fn sale_limits(&self) -> SaleLimits {
        let Self { title_bytes_max, stock_max, pay_within_s_max, rate_max, .. } = *self;
        SaleLimits { title_bytes_max, stock_max, pay_within_s_max, rate_max }
    }

    /// How long after its end a sale is archived by itself; `None`: never.
    pub fn archive_after(&self) -> Option<Duration> {
        (self.archive_after_s > 0).then(|| Duration::from_secs(self.archive_after_s.into()))
    }

    /// How stock is lent, as the lease machine takes it.
    pub(super) fn lease_terms(&self) -> Terms {
        Terms {
            lease_divisor: self.lease_divisor,
            lease_units_max: self.lease_units_max,
            low_water_percent: self.low_water_percent,
            tail_pause: Duration::from_millis(self.tail_pause_ms),
            compare_every: Duration::from_millis(self.reconcile_ms),
            rebuild_patience: Duration::from_millis(self.rebuild_patience_ms),
        }
    }

    /// Checks each value's range.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        within("sales_max", self.sales_max, 1..=1_000_000)?;
        within("archive_after_s", self.archive_after_s, 0..=366 * 24 * 3600)?;
        within("title_bytes_max", self.title_bytes_max, 1..=4_096)?;
        within("stock_max", self.stock_max, 1..=2_000_000_000)?;
        within("pay_within_s_max", self.pay_within_s_max, 1..=366 * 24 * 3600)?;
        within("rate_max", self.rate_max, 1..=1_000_000_000)?;
        within("watch_ms", self.watch_ms, 1..=1_000)?;
        within("lease_divisor", self.lease_divisor, 1..=1_000)?;
        within("lease_units_max", self.lease_units_max, 1..=100_000_000)?;
        within("low_water_percent", self.low_water_percent, 0..=100)?;
        within("tail_pause_ms", self.tail_pause_ms, 1..=10_000)?;
        within("reconcile_ms", self.reconcile_ms, 10..=60_000)?;
        within("beat_ms", self.beat_ms, 10..=60_000)?;
        within("rebuild_patience_ms", self.rebuild_patience_ms, 10..=60_000)?;
        within("withdraw_ms_max", self.withdraw_ms_max, 10..=60_000)?;
        // Three beats may be lost before anybody is suspected.
        within("silent_ms_max", self.silent_ms_max, 3 * self.beat_ms..=600_000)
    }
}
