//! Where Redis is, and how long it may take.

use redis::{ConnectionInfo, IntoConnectionInfo};
use serde::{Deserialize, Serialize};

use super::link::RedisLink;
use crate::domain::FieldError;
use crate::settings::{Secret, within};

/// `[redis]`: where the ledger that several engines share is.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://[user:password@]host:port[/db]`, or `rediss://` for TLS. Several addresses, separated by commas, are the
    /// seeds of a Cluster, or the Sentinels if `sentinel_master` is set. Empty: this engine sells alone.
    pub url: Secret,
    /// The password, for who does not want it in the address; it holds for all addresses that name none.
    pub password: Secret,
    /// The name that the Sentinels have for the master; empty: there are none. User, password and TLS of the first
    /// address hold for the master as well as for the Sentinels.
    pub sentinel_master: String,
    /// Whether the addresses are of a Cluster, also when there is only one.
    pub cluster: bool,
    /// The longest wait for an answer, in ms; then the outcome is unknown.
    pub answer_ms_max: u64,
    /// The longest wait for a connection, in ms.
    pub connect_ms_max: u64,
    /// The shortest time between two attempts to connect, in ms.
    pub reconnect_pause_ms: u64,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            password: Secret::default(),
            sentinel_master: String::new(),
            cluster: false,
            answer_ms_max: 500,
            connect_ms_max: 1_000,
            reconnect_pause_ms: 100,
        }
    }
}

impl RedisSettings {
    /// Checks the addresses and the range of each value.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        if !self.url.is_empty() {
            RedisLink::new(self)
                .map_err(|fault| FieldError { field: "url", problem: format!("cannot be used: {fault}") })?;
        }
        if self.cluster && !self.sentinel_master.is_empty() {
            let problem = "cannot be set together with redis.sentinel_master".into();
            return Err(FieldError { field: "cluster", problem });
        }
        within("answer_ms_max", self.answer_ms_max, 1..=60_000)?;
        within("connect_ms_max", self.connect_ms_max, 1..=60_000)?;
        within("reconnect_pause_ms", self.reconnect_pause_ms, 0..=60_000)
    }

    /// The addresses, each with the password.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn addresses(&self) -> Result<Vec<ConnectionInfo>, String> {
        let with_password = |address: &str| {
            let info = address.trim().into_connection_info()?;
            let known = info.redis_settings().clone();
            let needs_one = known.password().is_none() && !self.password.is_empty();
            let redis = if needs_one { known.set_password(self.password.expose()) } else { known };
            Ok(info.set_redis_settings(redis))
        };
        let read: redis::RedisResult<Vec<_>> = self.url.expose().split(',').map(with_password).collect();
        read.map_err(|error| {
            format!("{error}; it must look like redis://user:password@host:6379, or rediss:// for TLS")
        })
    }
}
