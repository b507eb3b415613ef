//! The way to Redis: one server, a Sentinel group or a Cluster, with TLS and password as the address says.
//!
//! An error means that the outcome is unknown: the command may have run, or may run later. The connection is dropped
//! then, so that a late answer is never taken for the answer to another question. Nothing is sent twice by itself.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, TlsMode,
    Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::settings::RedisSettings;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RedisFault {
    /// Redis does not answer. What was sent may have been carried out, or may be later.
    #[error("redis does not answer ({0}); what was sent may have been carried out")]
    Away(String),
    /// Redis answered with something that a sound server does not say.
    #[error("redis answered what the ledger does not understand: {0}")]
    Strange(String),
    /// The address cannot be used.
    #[error("redis.url: {0}")]
    Address(String),
}

enum Target {
    Single(Box<Client>),
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

struct State {
    connection: Option<Connection>,
    tried_at: Option<Instant>,
}

/// A connection that is made when it is needed and made anew after a fault.
pub struct RedisLink {
    target: Target,
    state: Mutex<State>,
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
    /// [`RedisFault::Address`].
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisFault> {
        let wrong = |error: RedisError| RedisFault::Address(error.to_string());
        let addresses = settings.addresses().map_err(RedisFault::Address)?;
        let target = if !settings.sentinel_master.is_empty() {
            let client = sentinel(addresses, &settings.sentinel_master).map_err(wrong)?;
            Target::Sentinel(Box::new(Mutex::new(client)))
        } else if settings.cluster || addresses.len() > 1 {
            // A command that met a broken connection is not sent a second time: it may have been carried out.
            Target::Cluster(Box::new(ClusterClient::builder(addresses).retries(0).build().map_err(wrong)?))
        } else {
            let only = addresses.into_iter().next();
            let only = only.ok_or_else(|| RedisFault::Address("is empty".into()))?;
            Target::Single(Box::new(Client::open(only).map_err(wrong)?))
        };
        Ok(Self {
            target,
            state: Mutex::new(State { connection: None, tried_at: None }),
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
    /// The server's own error, unless it says that the connection leads to the wrong place; or [`RedisFault::Away`].
    pub async fn send(&self, command: &Cmd) -> Result<Result<Value, RedisError>, RedisFault> {
        let mut connection = self.connection().await?;
        self.commands.fetch_add(1, Ordering::Relaxed);
        let asked = match &mut connection {
            Connection::Single(single) => timeout(self.answer_max, single.req_packed_command(command)).await,
            Connection::Cluster(cluster) => {
                timeout(self.answer_max, cluster.req_packed_command(command)).await
            }
        };
        let fault = match asked.map(|answer| answer.and_then(Value::extract_error)) {
            Ok(Ok(value)) => return Ok(Ok(value)),
            Ok(Err(error)) if is_answer(&error) => return Ok(Err(error)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", self.answer_max.as_millis()),
        };
        self.state.lock().await.connection = None;
        Err(RedisFault::Away(fault))
    }

    async fn connection(&self) -> Result<Connection, RedisFault> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(connection.clone());
        }
        if state.tried_at.is_some_and(|at| at.elapsed() < self.reconnect_pause) {
            return Err(RedisFault::Away("not connected".into()));
        }
        state.tried_at = Some(Instant::now());
        let connected = timeout(self.connect_max, self.connect()).await;
        let connection = connected
            .map_err(|_| {
                RedisFault::Away(format!("no connection within {} ms", self.connect_max.as_millis()))
            })?
            .map_err(|error| RedisFault::Away(error.to_string()))?;
        state.connection = Some(connection.clone());
        Ok(connection)
    }

    async fn connect(&self) -> Result<Connection, RedisError> {
        // The waits are ours: one place, and the same for all three kinds.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        match &self.target {
            Target::Single(client) => {
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Single)
            }
            Target::Sentinel(client) => {
                let mut client = client.lock().await;
                client.get_async_connection_with_config(&config).await.map(Connection::Single)
            }
            Target::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
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

fn sentinel(addresses: Vec<ConnectionInfo>, master: &str) -> Result<SentinelClient, RedisError> {
    let first = addresses.first().cloned();
    let tls = first.as_ref().is_some_and(|info| matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }));
    let mut node = SentinelNodeConnectionInfo::default();
    if let Some(first) = first {
        node = node.set_redis_connection_info(first.redis_settings().clone());
    }
    if tls {
        node = node.set_tls_mode(TlsMode::Secure);
    }
    SentinelClient::build(addresses, master, Some(node), SentinelServerType::Master)
}
