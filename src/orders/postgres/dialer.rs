//! How a connection is made.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::store::{Fault, StoreError};
use super::PostgresSettings;
use super::session::{Session, Traffic};
use super::tls::{self, Address};
use super::trouble::Trouble;
use crate::domain::NodeId;

/// Where the server is and how its connections are set up.
pub struct Dialer {
    config: Config,
    tls: MakeRustlsConnect,
    settings: PostgresSettings,
    traffic: Arc<Traffic>,
}

impl Dialer {
    /// # Errors
    /// The address, or the file of certificates, cannot be read.
    pub fn new(settings: &PostgresSettings, node: NodeId) -> Result<Self, StoreError> {
        let wrong = |message| StoreError { kind: Fault::Fatal, message };
        let Address { mut config, is_verified } = Address::parse(settings.url.expose())
            .map_err(|problem| wrong(format!("postgres.url {problem}")))?;
        let tls = tls::connector(is_verified, &settings.ca_file)
            .map_err(|problem| wrong(format!("postgres.ca_file {problem}")))?;
        config
            .application_name(format!("seckill node {}", node.number()))
            .connect_timeout(Duration::from_millis(settings.connect_wait_ms.into()))
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3);
        Ok(Self { config, tls, settings: settings.clone(), traffic: Arc::default() })
    }

    /// The settings of the store.
    pub fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// What became of the connections that were asked for.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Makes a connection, driven by the runtime that this is called on.
    pub async fn connect(&self) -> Result<Session, StoreError> {
        let made = self.try_connect().await;
        if made.is_err() {
            self.traffic.failed.fetch_add(1, Ordering::Relaxed);
        }
        made
    }

    async fn try_connect(&self) -> Result<Session, StoreError> {
        let settings = &self.settings;
        let patience = Duration::from_millis(settings.connect_wait_ms.into());
        let made = tokio::time::timeout(patience, async {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            // Ends with the client, or with the server; the client's next statement then says so.
            tokio::spawn(connection);
            client.batch_execute(&self.set_up()).await?;
            Ok::<_, tokio_postgres::Error>(client)
        });
        match made.await {
            Ok(Ok(client)) => {
                // The server's own limit comes first, and tells more.
                let limit_ms = u64::from(settings.statement_wait_ms) + 500;
                Ok(Session::new(client, Duration::from_millis(limit_ms), Arc::clone(&self.traffic)))
            }
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(StoreError {
                kind: Fault::Transient,
                message: format!(
                    "PostgreSQL: no connection within {} ms (postgres.connect_wait_ms)",
                    settings.connect_wait_ms
                ),
            }),
        }
    }

    fn set_up(&self) -> String {
        let PostgresSettings { lock_wait_ms, statement_wait_ms, .. } = self.settings;
        // An acknowledged order must survive a crash of the server, whatever its default is.
        format!(
            "SET search_path = seckill; SET client_min_messages = warning; SET jit = off; \
             SET statement_timeout = {statement_wait_ms}; SET lock_timeout = {lock_wait_ms}; \
             SET idle_in_transaction_session_timeout = {statement_wait_ms}; \
             SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A server that is away comes back; one that does not know this user or this database does not change its mind.
fn refused(error: tokio_postgres::Error) -> StoreError {
    let lasting =
        error.code().is_some_and(|code| ["28", "3D"].iter().any(|class| code.code().starts_with(class)));
    let store_error = StoreError::from(Trouble::from(error));
    if lasting { StoreError { kind: Fault::Fatal, ..store_error } } else { store_error }
}
