//! How a connection is made: to whichever host of the address takes writes.
//!
//! Hosts are tried beginning with the one that was right last; the next one is asked as well as soon as those before it
//! have refused or had their share of the time, so that a host that hangs costs a share and not the whole. A standby is
//! no server for an engine, however well it answers: it is passed over like one that is away.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::store::{Fault, StoreError};
use super::error::PgError;
use super::session::{LastWords, Session, Traffic};
use super::settings::PostgresSettings;
use super::tls::{self, Address, Host};
use crate::domain::NodeId;

/// Where the server is and how its connections are set up.
pub struct Dialer {
    hosts: Vec<Host>,
    /// The host that is asked first. A hint that publishes nothing else: relaxed.
    first: AtomicUsize,
    tls: MakeRustlsConnect,
    settings: PostgresSettings,
    traffic: Arc<Traffic>,
}

/// The oldest server that has everything the tables use: `gen_random_uuid()` came with it.
const OLDEST_SERVER: u32 = 13;

/// Why one host has no connection for us.
#[derive(Debug)]
enum Refusal {
    /// It follows another server, and takes no writes.
    Standby,
    /// It is of this version.
    TooOld(String),
    Failed(tokio_postgres::Error),
}

impl Dialer {
    /// # Errors
    /// The address, or the file of certificates, cannot be read.
    pub fn new(settings: &PostgresSettings, node: NodeId) -> Result<Self, StoreError> {
        let Address { mut hosts, is_verified } = Address::parse(settings.url.expose())
            .map_err(|problem| StoreError::fatal(format!("postgres.url {problem}")))?;
        let tls = tls::connector(is_verified, &settings.ca_file)
            .map_err(|problem| StoreError::fatal(format!("postgres.ca_file {problem}")))?;
        for Host { config, .. } in &mut hosts {
            config
                .application_name(format!("seckill node {}", node.number()))
                .connect_timeout(Duration::from_millis(settings.connect_wait_ms.into()))
                .keepalives_idle(Duration::from_secs(5))
                .keepalives_interval(Duration::from_secs(1))
                .keepalives_retries(3);
        }
        let first = AtomicUsize::new(0);
        Ok(Self { hosts, first, tls, settings: settings.clone(), traffic: Arc::default() })
    }

    /// The settings of the store.
    pub fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// How connections are protected.
    pub fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// How long the server may take to accept a connection.
    pub fn connect_wait(&self) -> Duration {
        Duration::from_millis(self.settings.connect_wait_ms.into())
    }

    /// What became of the connections that were asked for.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Makes a connection, driven by the runtime that this is called on.
    ///
    /// # Errors
    /// Transient, unless no connection was ever made and the reason is not one that passes: a server that once took this
    /// engine and now refuses it, because its password was changed for instance, may change its mind again.
    pub async fn connect(&self) -> Result<Session, StoreError> {
        let made = self.try_connect().await;
        if made.is_err() {
            self.traffic.failed.fetch_add(1, Ordering::Relaxed);
        }
        made.map_err(|error| match self.traffic.opened.load(Ordering::Relaxed) {
            0 => error,
            _ => StoreError { kind: Fault::Transient, ..error },
        })
    }

    async fn try_connect(&self) -> Result<Session, StoreError> {
        let password = self.password()?;
        let patience = self.connect_wait();
        let (count, began) = (self.hosts.len(), Instant::now());
        let share = patience / u32::try_from(count).unwrap_or(u32::MAX);
        let first = self.first.load(Ordering::Relaxed);
        let mut next = 0;
        let mut next_at = began;
        let mut attempts = JoinSet::new();
        let mut refusals = Vec::new();
        while next < count || !attempts.is_empty() {
            tokio::select! {
                Some(attempt) = attempts.join_next() => match attempt {
                    Ok((host, Ok((client, last_words)))) => {
                        self.first.store(host, Ordering::Relaxed);
                        return Ok(self.session(client, last_words));
                    }
                    Ok((host, Err(refusal))) => {
                        refusals.push((host, refusal));
                        next_at = Instant::now();
                    }
                    // Its runtime is going away.
                    Err(_) => return Err(StoreError::cut_short()),
                },
                () = sleep_until(next_at), if next < count => {
                    let host = (first + next) % count;
                    let mut config = self.hosts[host].config.clone();
                    if let Some(password) = &password {
                        config.password(password);
                    }
                    let (tls, set_up) = (self.tls.clone(), self.set_up());
                    attempts.spawn(async move { (host, attempt(config, tls, &set_up).await) });
                    next += 1;
                    next_at = Instant::now() + share;
                }
                () = sleep_until(began + patience) => break,
            }
        }
        // All were asked. Should they all hang, another one is the first next time.
        self.first.store((first + 1) % count, Ordering::Relaxed);
        Err(self.nobody(refusals))
    }

    /// The password of the file, read anew for each attempt: a new one counts from the next attempt on.
    fn password(&self) -> Result<Option<String>, StoreError> {
        let file = &self.settings.password_file;
        if file.as_os_str().is_empty() {
            return Ok(None);
        }
        let read = std::fs::read_to_string(file);
        let read = read.map(|text| Some(text.trim_end_matches(['\r', '\n']).to_owned()));
        read.map_err(|error| {
            StoreError::fatal(format!("postgres.password_file {} cannot be read: {error}", file.display()))
                .caused_by(error)
        })
    }

    fn session(&self, client: Client, last_words: LastWords) -> Session {
        // The server's own limit comes first, and tells more.
        let limit_ms = u64::from(self.settings.statement_wait_ms) + 500;
        Session::new(client, last_words, Duration::from_millis(limit_ms), Arc::clone(&self.traffic))
    }

    /// What to say when no host had a connection: each host's reason.
    fn nobody(&self, refusals: Vec<(usize, Refusal)>) -> StoreError {
        let (mut kind, mut failed) = (Fault::Transient, None);
        let mut silent: Vec<usize> = (0..self.hosts.len()).collect();
        let mut reasons = Vec::new();
        for (host, refusal) in refusals {
            silent.retain(|&other| other != host);
            let what = match refusal {
                Refusal::Standby => "the server is a standby, and takes no orders".to_owned(),
                Refusal::TooOld(version) => {
                    kind = Fault::Fatal;
                    format!(
                        "the server is PostgreSQL {version}, and the oldest that serves is {OLDEST_SERVER}; upgrade it"
                    )
                }
                Refusal::Failed(error) => {
                    let lasting = will_not_pass(&error);
                    let error = StoreError::from(PgError::from(error));
                    let message = error.message.clone();
                    // One of several is the one that is told as the cause: the last that lasts, or else the last.
                    if let Some(advice) = lasting {
                        (kind, failed) = (Fault::Fatal, Some(error));
                        format!("{message}; {advice}")
                    } else {
                        failed = failed.filter(|_| kind == Fault::Fatal).or(Some(error));
                        message
                    }
                }
            };
            reasons.push((host, what));
        }
        let wait_ms = self.settings.connect_wait_ms;
        reasons.extend(silent.into_iter().map(|host| {
            (host, format!("PostgreSQL: no connection within {wait_ms} ms (postgres.connect_wait_ms)"))
        }));
        reasons.sort_unstable();
        let said = reasons.into_iter().map(|(host, what)| match self.hosts.len() {
            1 => what,
            _ => format!("{}: {what}", self.hosts[host].name),
        });
        let message = said.collect::<Vec<_>>().join("; ");
        StoreError { kind, message, ..failed.unwrap_or_else(StoreError::cut_short) }
    }

    fn set_up(&self) -> String {
        let PostgresSettings { lock_wait_ms, statement_wait_ms, .. } = self.settings;
        // An acknowledged order must survive a crash of the server, whatever its default is.
        format!(
            "SET search_path = seckill; SET client_min_messages = warning; SET jit = off; \
             SET statement_timeout = {statement_wait_ms}; SET lock_timeout = {lock_wait_ms}; \
             SET idle_in_transaction_session_timeout = {statement_wait_ms}; \
             SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; \
             SELECT pg_is_in_recovery()"
        )
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A connection to one host, if it takes writes.
async fn attempt(
    config: Config,
    tls: MakeRustlsConnect,
    set_up: &str,
) -> Result<(Client, LastWords), Refusal> {
    let (client, mut connection) = config.connect(tls).await.map_err(Refusal::Failed)?;
    // Before anything that it may not know.
    if let Some(version) = connection.parameter("server_version").filter(|version| is_too_old(version)) {
        return Err(Refusal::TooOld(version.to_owned()));
    }
    let last_words = LastWords::default();
    let heard = Arc::clone(&last_words);
    // Ends with the client, or with the server; the client's next statement then says so.
    tokio::spawn(async move {
        let ended = (&mut connection).await;
        if let Some(said) = ended.as_ref().err().and_then(tokio_postgres::Error::as_db_error) {
            // Nobody else sets it. Only when the connection is dropped, behind this, does the client know that it has ended.
            let _ = heard.set(said.clone());
        }
    });
    let answers = client.simple_query(set_up).await.map_err(Refusal::Failed)?;
    let last_row = answers.iter().rev().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    if last_row == Some("t") { Err(Refusal::Standby) } else { Ok((client, last_words)) }
}

/// Whether a server of this version, such as `15.14 (Debian 15.14-1)`, lacks what the tables use.
fn is_too_old(version: &str) -> bool {
    let major = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse().ok());
    major.is_some_and(|major: u32| major < OLDEST_SERVER)
}

/// A server that is away comes back; one that does not know this user or this database does not change its mind by
/// itself: what an operator can do about it.
fn will_not_pass(error: &tokio_postgres::Error) -> Option<&'static str> {
    let Some(code) = error.code() else {
        return fails_by_tls(error).then_some(
            "check the encryption: sslmode in postgres.url, and postgres.ca_file for an authority of your own",
        );
    };
    match code.code() {
        // No right to connect: to a table it would be met later.
        "42501" => Some("GRANT CONNECT ON DATABASE to the engine's user"),
        code => match code.get(..2)? {
            "28" => Some(
                "give the engine the user's password: postgres.password_file is read at every attempt, a password in \
                 postgres.url at the start",
            ),
            "3D" => Some("create the database, or correct postgres.url"),
            _ => None,
        },
    }
}

/// Whether the two sides do not agree on an encrypted connection. A line that broke on the way is another thing.
fn fails_by_tls(error: &tokio_postgres::Error) -> bool {
    let Some(cause) = error.source() else { return false };
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        None => cause.to_string() == "server does not support TLS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_judged_by_the_first_number_of_its_version() {
        for old in ["9.6.24", "12.22 (Debian 12.22-1)", "12beta1"] {
            assert!(is_too_old(old), "{old}");
        }
        for new in ["13.0", "15.14 (Debian 15.14-0+deb12u1)", "17beta2", "100.1", "a fork's own", ""] {
            assert!(!is_too_old(new), "{new}");
        }
    }
}
