//! The settings of the figures that are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::FieldError;
use crate::settings::within;

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Milliseconds of one interval of the interval log.
    pub interval_ms: u32,
    /// Bytes of the interval log that are kept in memory; beyond them the oldest intervals go.
    pub interval_log_bytes_max: usize,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { interval_ms: 1_000, interval_log_bytes_max: 8 << 20 }
    }
}

impl TelemetrySettings {
    /// Checks each value's range.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        within("interval_ms", self.interval_ms, 100..=60_000)?;
        within("interval_log_bytes_max", self.interval_log_bytes_max, 64 << 10..=1 << 30)
    }
}
