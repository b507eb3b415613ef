//! Where Redis is, and how long it may take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{ClientTlsConfig, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::RedisFault;
use super::route::{Route, Servers, Waits, is_encrypted};
use crate::domain::FieldError;
use crate::settings::{Secret, within};

/// `[redis]`: where the ledger that several engines share is.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://[user:password@]host:port[/db]`, or `rediss://` for TLS. Several addresses, separated by commas, are the
    /// seeds of a Cluster, or the Sentinels if `sentinel_master` is set. Empty: this engine sells alone.
    pub url: Secret,
    /// The password, for who does not want it in the address; it holds for all addresses that name none.
    pub password: Secret,
    /// The certificates, in PEM form, of whom `rediss://` believes. Empty: the public authorities.
    pub ca_file: PathBuf,
    /// This engine's own certificate, in PEM form, for a server that asks for one; with `client_key_file`.
    pub client_cert_file: PathBuf,
    /// The key of `client_cert_file`, in PEM form.
    pub client_key_file: PathBuf,
    /// The name that the Sentinels have for the master; empty: there are none. User, password and database of the first
    /// address are the master's alone; TLS holds for both.
    pub sentinel_master: String,
    /// The Sentinels' own user, for Sentinels with users; with `sentinel_password`. Empty: the default user.
    pub sentinel_user: String,
    /// The Sentinels' own password. They are never sent that of the data. Empty: they ask for none.
    pub sentinel_password: Secret,
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
            ca_file: PathBuf::new(),
            client_cert_file: PathBuf::new(),
            client_key_file: PathBuf::new(),
            sentinel_master: String::new(),
            sentinel_user: String::new(),
            sentinel_password: Secret::default(),
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
        let wrong = |field, problem: &str| Err(FieldError { field, problem: problem.into() });
        if !self.url.is_empty() {
            self.check_addresses()?;
        }
        if self.client_cert_file.as_os_str().is_empty() != self.client_key_file.as_os_str().is_empty() {
            return wrong("client_cert_file", "and redis.client_key_file belong together: set both or none");
        }
        if self.sentinel_master.is_empty() && !self.sentinel_password.is_empty() {
            return wrong("sentinel_password", "is of no use without redis.sentinel_master");
        }
        if !self.sentinel_user.is_empty() && self.sentinel_password.is_empty() {
            return wrong("sentinel_user", "is of no use without redis.sentinel_password");
        }
        if self.cluster && !self.sentinel_master.is_empty() {
            let problem = "cannot be set together with redis.sentinel_master".into();
            return Err(FieldError { field: "cluster", problem });
        }
        within("answer_ms_max", self.answer_ms_max, 1..=60_000)?;
        within("connect_ms_max", self.connect_ms_max, 1..=60_000)?;
        within("reconnect_pause_ms", self.reconnect_pause_ms, 0..=60_000)
    }

    fn check_addresses(&self) -> Result<(), FieldError> {
        let wrong = |field, problem: String| Err(FieldError { field, problem });
        let addresses = match self.addresses() {
            Ok(addresses) => addresses,
            Err(problem) => return wrong("url", format!("cannot be used: {problem}")),
        };
        let is_encrypted = |info: &ConnectionInfo| is_encrypted(info.addr());
        if let Some(first) = addresses.first()
            && addresses.iter().any(|other| is_encrypted(other) != is_encrypted(first))
        {
            return wrong("url", "mixes redis:// and rediss://; use one of them for all addresses".into());
        }
        let names_files = [("ca_file", &self.ca_file), ("client_cert_file", &self.client_cert_file)]
            .into_iter()
            .find(|(_, file)| !file.as_os_str().is_empty());
        if let (Some((field, _)), false) = (names_files, addresses.iter().all(is_encrypted)) {
            return wrong(field, "is of no use without rediss:// in redis.url".into());
        }
        match self.route() {
            // A file that is not there yet is the start's to tell.
            Ok(_) | Err(RedisFault::Files(_)) => Ok(()),
            Err(fault) => wrong("url", format!("cannot be used: {fault}")),
        }
    }

    /// The way to the servers.
    ///
    /// # Errors
    /// [`RedisFault::Address`] or [`RedisFault::Files`].
    pub(super) fn route(&self) -> Result<Route, RedisFault> {
        let addresses = self.addresses().map_err(RedisFault::Address)?;
        let servers = if !self.sentinel_master.is_empty() {
            Servers::Sentinels {
                master: self.sentinel_master.clone(),
                user: self.sentinel_user.clone(),
                password: self.sentinel_password.clone(),
            }
        } else if self.cluster || addresses.len() > 1 {
            Servers::Cluster
        } else {
            Servers::Single
        };
        let waits = Waits {
            connect: Duration::from_millis(self.connect_ms_max.max(1)),
            answer: Duration::from_millis(self.answer_ms_max.max(1)),
        };
        Route::new(addresses, servers, self.certificates()?, waits)
    }

    /// The addresses, each with the password.
    ///
    /// # Errors
    /// What is wrong with one of them.
    fn addresses(&self) -> Result<Vec<ConnectionInfo>, String> {
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

    /// Whom to believe, and who we are; `None` when no file is named.
    fn certificates(&self) -> Result<Option<TlsCertificates>, RedisFault> {
        let read = |key: &str, file: &Path| {
            if file.as_os_str().is_empty() {
                return Ok(None);
            }
            std::fs::read(file).map(Some).map_err(|error| {
                RedisFault::Files(format!("redis.{key} {} cannot be read: {error}", file.display()))
            })
        };
        let root_cert = read("ca_file", &self.ca_file)?;
        let client_cert = read("client_cert_file", &self.client_cert_file)?;
        let client_key = read("client_key_file", &self.client_key_file)?;
        let client_tls = client_cert
            .zip(client_key)
            .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Ok((root_cert.is_some() || client_tls.is_some()).then_some(TlsCertificates { client_tls, root_cert }))
    }
}
