//! When a calendar is not believed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::FieldError;
use crate::settings::within;

/// The `[clock]` section of the configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct ClockSettings {
    /// How often the system's calendar is compared with the stopwatch, in ms. Where the database's calendar counts, both are
    /// looked at every `postgres.beat_ms`, and no more often than this.
    pub tick_ms: u64,
    /// How far they may be apart, in ms; a calendar that is farther off has stepped.
    pub step_ms_max: u64,
    /// How long a calendar that has stepped must run evenly until it is taken for right, in ms. Until then upcoming
    /// sales open only when both calendars say so, and nothing expires.
    pub settle_ms: u64,
}

impl Default for ClockSettings {
    fn default() -> Self {
        Self { tick_ms: 100, step_ms_max: 500, settle_ms: 300_000 }
    }
}

impl ClockSettings {
    /// Checks the range of each value.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        within("tick_ms", self.tick_ms, 10..=10_000)?;
        within("step_ms_max", self.step_ms_max, 50..=60_000)?;
        within("settle_ms", self.settle_ms, 1_000..=86_400_000)?;
        if self.settle_ms < 2 * self.tick_ms {
            let problem = format!("is less than two ticks of clock.tick_ms, which is {}", self.tick_ms);
            return Err(FieldError { field: "settle_ms", problem });
        }
        Ok(())
    }
}
