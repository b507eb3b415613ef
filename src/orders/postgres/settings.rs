//! Settings of the PostgreSQL store.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::Address;
use crate::domain::FieldError;
use crate::settings::{Secret, within};

/// The `[postgres]` section of the configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresSettings {
    /// Where the database is, as `postgres://user:password@host:port/database`; several hosts, separated by commas, are
    /// asked in turn for the one that takes writes. Empty: the embedded store is used.
    ///
    /// `?sslmode=` says how the connection is protected: `disable` not at all, `prefer` (as if nothing is said) encrypts it
    /// if the server can, `require` always, and `verify-full` only to a server that proves to be the host named here.
    pub url: Secret,
    /// A file with the password, instead of one in the address. It is read for every connection that is made, so that a
    /// new password needs no restart. Empty: the password of the address.
    pub password_file: PathBuf,
    /// The certificates, in PEM form, of whom `verify-full` believes. Empty: those that the system trusts.
    pub ca_file: PathBuf,
    /// Connections for everything but commits: reads, leases, signs of life. What takes long leaves one of them to the rest.
    pub readers: u32,
    /// How long a read waits for a connection while all are in use, in ms.
    pub acquire_wait_ms: u32,
    /// How long the server may take to accept a connection, in ms.
    pub connect_wait_ms: u32,
    /// How long a statement waits for a lock, in ms.
    pub lock_wait_ms: u32,
    /// How long a start waits for another engine that has its place in the database, in ms: a former life of the node
    /// whose end the server has not noticed yet.
    pub seat_wait_ms: u32,
    /// How long a statement may take, in ms. A batch and an audit of a large sale must fit.
    pub statement_wait_ms: u32,
    /// How often this node looks for what other nodes did, in ms: so long, and a little more, a change of a sale takes to
    /// be in force on all nodes.
    pub follow_ms: u32,
    /// How often this node gives a sign of life, in ms.
    pub beat_ms: u32,
    /// For how long a node may give no sign of life until another one looks after its unpaid orders, in ms;
    /// above `beat_ms`.
    pub silent_ms_max: u32,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            readers: 2,
            acquire_wait_ms: 1_000,
            connect_wait_ms: 2_000,
            lock_wait_ms: 2_000,
            seat_wait_ms: 10_000,
            statement_wait_ms: 10_000,
            follow_ms: 200,
            beat_ms: 1_000,
            silent_ms_max: 10_000,
        }
    }
}

impl PostgresSettings {
    /// Checks the range of each value.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        if !self.url.is_empty() {
            let address = Address::parse(self.url.expose());
            let address = address.map_err(|problem| FieldError { field: "url", problem })?;
            if !address.is_verified && !self.ca_file.as_os_str().is_empty() {
                let problem = "is of no use without sslmode=verify-full in postgres.url".into();
                return Err(FieldError { field: "ca_file", problem });
            }
        }
        within("readers", self.readers, 2..=1_000)?;
        within("acquire_wait_ms", self.acquire_wait_ms, 1..=600_000)?;
        within("connect_wait_ms", self.connect_wait_ms, 1..=600_000)?;
        within("lock_wait_ms", self.lock_wait_ms, 1..=600_000)?;
        within("seat_wait_ms", self.seat_wait_ms, 0..=600_000)?;
        within("statement_wait_ms", self.statement_wait_ms, 1..=600_000)?;
        within("follow_ms", self.follow_ms, 1..=60_000)?;
        within("beat_ms", self.beat_ms, 1..=60_000)?;
        within("silent_ms_max", self.silent_ms_max, 1..=3_600_000)?;
        if self.silent_ms_max <= self.beat_ms {
            let problem = format!("must be above beat_ms, which is {}", self.beat_ms);
            return Err(FieldError { field: "silent_ms_max", problem });
        }
        Ok(())
    }
}
