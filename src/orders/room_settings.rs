//! What can be set about waiting rooms. Each sale's own terms come with the campaign.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admission::{PassKeys, RoomRules};
use crate::domain::{FieldError, Nanos};
use crate::settings::{Secret, within};

/// `[waiting_room]`: of sales whose buyers wait.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WaitingRoomSettings {
    /// What passes are signed with: the first signs, and at most two are valid at once, so that they can be exchanged one after the
    /// other. All engines of a store need the same. Empty: a secret that the order store keeps for all of them.
    pub keys: Vec<Secret>,
    /// How long a pass is good from the start of the sale, or from when its buyer joined if that was later, in seconds. It never
    /// outlives the sale; who registers again with it keeps the place.
    pub pass_valid_s: u32,
    /// People admitted a second at most, where the engine finds out how many it can serve.
    pub rate_per_s_max: u32,
    /// How long the marks may not be compared with the order store before nobody can tell who is admitted, in ms. Then each sale
    /// is open or holds, as it says.
    pub stale_ms_max: u32,
    /// Registrations of this engine that may wait for the order store. Where it does not keep up, whoever has no place yet is asked to
    /// come back for one.
    pub queue_registrations_max: u32,
}

impl Default for WaitingRoomSettings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            pass_valid_s: 24 * 3600,
            rate_per_s_max: 10_000,
            stale_ms_max: 10_000,
            queue_registrations_max: 65_536,
        }
    }
}

impl WaitingRoomSettings {
    /// Checks each value.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        if self.keys.len() > PassKeys::KEYS_MAX {
            let problem =
                format!("lists {} keys; at most {} are valid at once", self.keys.len(), PassKeys::KEYS_MAX);
            return Err(FieldError { field: "keys", problem });
        }
        if self.keys.iter().any(Secret::is_empty) {
            return Err(FieldError { field: "keys", problem: "holds an empty key".into() });
        }
        self.keys.iter().try_for_each(|key| key.check_travelling("keys"))?;
        within("pass_valid_s", self.pass_valid_s, 60..=30 * 24 * 3600)?;
        within("rate_per_s_max", self.rate_per_s_max, 1..=10_000_000)?;
        within("stale_ms_max", self.stale_ms_max, 2_000..=3_600_000)?;
        within("queue_registrations_max", self.queue_registrations_max, 1..=10_000_000)
    }

    /// What these settings mean; `of_store` is the secret that the order store keeps.
    pub fn rules(&self, of_store: &[u8]) -> RoomRules {
        let configured = self.keys.iter().map(|key| key.expose().as_bytes());
        let keys = if self.keys.is_empty() { PassKeys::new([of_store]) } else { PassKeys::new(configured) };
        RoomRules {
            keys,
            stale: Nanos(u64::from(self.stale_ms_max) * 1_000_000),
            pass_valid_ms: i64::from(self.pass_valid_s) * 1_000,
            most_per_s: self.rate_per_s_max,
            queue_registrations_max: self.queue_registrations_max as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_few_and_cannot_be_guessed() {
        let with = |keys: &[&str]| {
            let keys = keys.iter().map(|key| Secret::from(*key)).collect();
            WaitingRoomSettings { keys, ..WaitingRoomSettings::default() }.check()
        };
        let long = ["0123456789abcdef-a", "0123456789abcdef-b", "0123456789abcdef-c"];
        assert_eq!((with(&[]), with(&long[..1]), with(&long[..2])), (Ok(()), Ok(()), Ok(())));
        for wrong in [&long[..], &["short"], &[""]] {
            assert_eq!(with(wrong).unwrap_err().field, "keys", "{wrong:?}");
        }
    }
}
