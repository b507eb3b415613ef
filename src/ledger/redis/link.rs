//! The way to Redis: one server, a Sentinel group or a Cluster, with TLS and password as the settings say.
//!
//! [`RedisFault::Away`] means that the outcome is unknown: the command may have run, or may run later. The connection is
//! dropped then, so that a late answer is never taken for the answer to another question. Nothing is sent twice by itself,
//! but where a Cluster says that another node has the slot: then nothing was done, and that node is asked once.
//!
//! What Redis says about a fault is logged once when it begins and once when it is over, and is there for the probes.

mod health;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use self::health::Health;
use super::fault::RedisFault;
use super::route::{Connection, Route};
use super::settings::RedisSettings;

struct State {
    connection: Option<Connection>,
    /// Counts the connections, so that a fault drops the one it was on and no later one.
    made: u64,
    /// How the last attempt to connect failed, and when it ended.
    failed: Option<(Instant, RedisFault)>,
}

/// A connection that is made when it is needed and made anew after a fault.
pub struct RedisLink {
    route: Route,
    state: Mutex<State>,
    /// Attempts to connect that have ended.
    attempts: AtomicU64,
    health: Health,
    commands: AtomicU64,
    answer_max: Duration,
    connect_max: Duration,
    reconnect_pause: Duration,
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLink").finish_non_exhaustive()
    }
}

impl RedisLink {
    /// A link to the servers of the settings. Connects at the first command.
    ///
    /// # Errors
    /// [`RedisFault::Address`] or [`RedisFault::Files`].
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisFault> {
        Ok(Self {
            route: settings.route()?,
            state: Mutex::new(State { connection: None, made: 0, failed: None }),
            attempts: AtomicU64::new(0),
            health: Health::default(),
            commands: AtomicU64::new(0),
            answer_max: Duration::from_millis(settings.answer_ms_max.max(1)),
            connect_max: Duration::from_millis(settings.connect_ms_max.max(1)),
            reconnect_pause: Duration::from_millis(settings.reconnect_pause_ms),
        })
    }

    /// Commands sent since the start, whatever became of them.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Sends one command and waits for its answer.
    ///
    /// # Errors
    /// The server's own error, unless it says that the connection leads to the wrong place or that it may or can not do it;
    /// or a [`RedisFault`].
    pub async fn send(&self, command: &Cmd) -> Result<Result<Value, RedisError>, RedisFault> {
        let sent = self.send_once(command).await;
        match &sent {
            Ok(Ok(_)) => self.health.passed(),
            Ok(Err(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {}
            Ok(Err(error)) => self.health.failed(&error.to_string()),
            Err(fault) => self.health.failed(&fault.to_string()),
        }
        sent
    }

    async fn send_once(&self, command: &Cmd) -> Result<Result<Value, RedisError>, RedisFault> {
        let (mut connection, number) = self.connection().await?;
        self.commands.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer(&mut connection, command).await;
        let answer = match answer.as_ref().err().and_then(RedisError::redirect_node) {
            Some((node, _)) => {
                let asks = answer
                    .as_ref()
                    .is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::Ask));
                if !asks {
                    // The Cluster has been dealt anew: the next connection learns how.
                    self.drop_connection(number).await;
                }
                self.in_time(self.route.follow(command, node, asks)).await
            }
            None => answer,
        };
        let error = match answer {
            Ok(value) => return Ok(Ok(value)),
            Err(error) => error,
        };
        match advice(&error) {
            Some(advice) => {
                if !advice.keeps_connection {
                    self.drop_connection(number).await;
                }
                Err(advice.fault(&error))
            }
            None if is_answer(&error) => Ok(Err(error)),
            None => {
                self.drop_connection(number).await;
                Err(RedisFault::Away(error.to_string()))
            }
        }
    }

    async fn answer(&self, connection: &mut Connection, command: &Cmd) -> Result<Value, RedisError> {
        match connection {
            Connection::Single(single) => self.in_time(single.req_packed_command(command)).await,
            Connection::Cluster(cluster) => self.in_time(cluster.req_packed_command(command)).await,
        }
    }

    async fn in_time(
        &self,
        answer: impl Future<Output = Result<Value, RedisError>>,
    ) -> Result<Value, RedisError> {
        match timeout(self.answer_max, answer).await {
            Ok(answer) => answer.and_then(Value::extract_error),
            Err(_) => {
                let said = format!("no answer within {} ms", self.answer_max.as_millis());
                Err(std::io::Error::new(std::io::ErrorKind::TimedOut, said).into())
            }
        }
    }

    async fn drop_connection(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state.made == number {
            state.connection = None;
        }
    }

    /// The connection, and its number. Who waits while somebody else tries to connect hears how that ended, instead of
    /// waiting for an attempt of his own.
    async fn connection(&self) -> Result<(Connection, u64), RedisFault> {
        let attempts = self.attempts.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((connection.clone(), state.made));
        }
        if let Some((at, fault)) = &state.failed
            && (attempts != self.attempts.load(Ordering::SeqCst) || at.elapsed() < self.reconnect_pause)
        {
            return Err(fault.clone());
        }
        let connected = match timeout(self.connect_max, self.route.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(match advice(&error).or_else(|| tls_advice(&error)) {
                Some(advice) => advice.fault(&error),
                None => RedisFault::Away(error.to_string()),
            }),
            Err(_) => {
                Err(RedisFault::Away(format!("no connection within {} ms", self.connect_max.as_millis())))
            }
        };
        self.attempts.fetch_add(1, Ordering::SeqCst);
        match connected {
            Ok(connection) => {
                state.made += 1;
                state.connection = Some(connection.clone());
                state.failed = None;
                Ok((connection, state.made))
            }
            Err(fault) => {
                state.failed = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }
}

/// Whether the error is the answer of a server that has the sale, rather than a broken or misdirected connection.
fn is_answer(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::NoScript | ServerErrorKind::ResponseError) | ErrorKind::Extension
    )
}

/// What an operator can do about a refusal.
struct Advice {
    what: &'static str,
    /// Whether the connection is good for other commands.
    keeps_connection: bool,
    /// Whether it may pass without anybody changing who this engine is or what it may do.
    passes: bool,
}

impl Advice {
    fn fault(&self, error: &RedisError) -> RedisFault {
        let said = format!("{error}; {}", self.what);
        if self.passes { RedisFault::Unable(said) } else { RedisFault::Refused(said) }
    }
}

/// The advice for a refusal; `None` for what is none.
fn advice(error: &RedisError) -> Option<Advice> {
    let said = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let is = |kind| error.kind() == ErrorKind::Server(kind);
    let lasts = |what, keeps_connection| Some(Advice { what, keeps_connection, passes: false });
    let passes = |what, keeps_connection| Some(Advice { what, keeps_connection, passes: true });
    if error.kind() == ErrorKind::AuthenticationFailed || has(&["NOAUTH", "WRONGPASS", "invalid password"]) {
        lasts("check user and password: redis.url, redis.password, redis.sentinel_password", false)
    } else if is(ServerErrorKind::NoPerm) || has(&["NOPERM", "executing the script can't", "ACL failure"]) {
        lasts("give the user the rights of the ACL line in src/ledger/NODES.md", true)
    } else if has(&["unknown command", "Unknown Redis command", "the oldest that lends"]) {
        lasts(
            "the ledger needs Redis 5.0 or later, or what speaks as it does, with scripts and streams",
            true,
        )
    } else if is(ServerErrorKind::ReadOnly) || has(&["READONLY"]) {
        passes(
            "redis.url leads to a replica, and has to lead to the master, or to Sentinels (redis.sentinel_master); it goes on \
             when this one is the master",
            false,
        )
    } else if error.code() == Some("BUSY") {
        passes("Redis runs a script that does not end (SCRIPT KILL ends it)", true)
    } else if has(&["OOM"]) {
        passes("Redis is full: raise its maxmemory, or give the ledger a Redis of its own", true)
    } else if has(&["MISCONF"]) {
        passes("Redis cannot write to its disk, and takes no writes until it can", true)
    } else if has(&["NOREPLICAS"]) {
        passes("too few replicas follow (min-replicas-to-write); writes are taken when they do", true)
    } else {
        None
    }
}

/// The same for a connection that cannot be encrypted as the settings say.
fn tls_advice(error: &RedisError) -> Option<Advice> {
    let said = error.to_string();
    let is_tls = [
        "certificate",
        "Certificate",
        "HandshakeFailure",
        "InvalidContentType",
        "corrupt message",
        "fatal alert",
    ]
    .iter()
    .any(|word| said.contains(word));
    let what = "check TLS: rediss:// in redis.url, redis.ca_file for an authority of your own, redis.client_cert_file and \
                redis.client_key_file if the server asks for them";
    is_tls.then_some(Advice { what, keeps_connection: false, passes: false })
}
