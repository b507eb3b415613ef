//! What can be set about whoever watches the door of waiting rooms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checkout::{BreakerSettings, HttpSettings, WrongKey};
use crate::domain::FieldError;
use crate::settings::within;

/// `[gatekeeper]`: a service, such as one against bots, that is asked once about whoever joins a waiting room.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatekeeperSettings {
    /// How long a buyer waits for the verdict, in milliseconds. Then there is none.
    pub wait_ms: u64,
    /// Questions under way at once; of one more there is no verdict.
    pub calls_max: usize,
    /// What becomes of a buyer about whom there is no verdict.
    pub on_failure: GateFailure,
    /// How long a refusal counts on this node without another question, in seconds; 0 asks each time.
    pub refusal_s: u32,
    /// When the service is left alone.
    pub breaker: BreakerSettings,
    /// Where the service is. Without a `url` nobody is asked.
    pub http: HttpSettings,
}

impl Default for GatekeeperSettings {
    fn default() -> Self {
        Self {
            wait_ms: 1_000,
            calls_max: 2_000,
            on_failure: GateFailure::default(),
            refusal_s: 60,
            breaker: BreakerSettings::default(),
            http: HttpSettings::default(),
        }
    }
}

/// What becomes of buyers while the gatekeeper does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateFailure {
    /// They are let in: bots are, too, and the sale goes on.
    #[default]
    Open,
    /// They hear 503 `registration-unavailable`; who has a place keeps it.
    Closed,
}

impl GatekeeperSettings {
    /// Checks every value against its limits.
    ///
    /// # Errors
    /// The first key that breaks its limit.
    pub fn check(&self) -> Result<(), WrongKey> {
        self.check_own().map_err(|FieldError { field, problem }| WrongKey {
            key: format!("gatekeeper.{field}"),
            problem,
        })?;
        self.breaker.check("gatekeeper.breaker")?;
        if self.http.url.is_empty() { Ok(()) } else { self.http.check("gatekeeper.http") }
    }

    fn check_own(&self) -> Result<(), FieldError> {
        within("wait_ms", self.wait_ms, 1..=60_000)?;
        within("calls_max", self.calls_max, 1..=1_000_000)?;
        within("refusal_s", self.refusal_s, 0..=86_400)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_unless_somebody_is_named_and_a_wrong_value_names_its_key() {
        let settings = GatekeeperSettings::default();
        assert!(settings.http.url.is_empty() && settings.check().is_ok());
        for (text, key) in [
            ("wait_ms = 0", "gatekeeper.wait_ms"),
            ("calls_max = 0", "gatekeeper.calls_max"),
            ("refusal_s = 90000", "gatekeeper.refusal_s"),
            ("breaker.probes = 0", "gatekeeper.breaker.probes"),
            ("http.url = 'ftp://door'", "gatekeeper.http.url"),
        ] {
            let settings: GatekeeperSettings = toml::from_str(text).unwrap();
            assert_eq!(settings.check().expect_err(text).key, key);
        }
    }
}
