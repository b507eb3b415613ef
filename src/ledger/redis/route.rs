//! Which server is asked: one, the master that Sentinels name, or the owner of a slot of a Cluster.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, RedisError, TlsCertificates, Value,
};

use super::dial::{connect_to, open, open_at, unexpected};
use super::fault::RedisFault;
use super::sentinels::Sentinels;
use crate::settings::Secret;

/// What stands at the addresses.
pub(super) enum Servers {
    /// The one server with the data.
    Single,
    /// Sentinels, who know where the master of this name is.
    Sentinels { master: String, user: String, password: Secret },
    /// Seeds of a Cluster.
    Cluster,
}

/// How long is waited.
#[derive(Clone, Copy)]
pub(super) struct Waits {
    /// For a connection, from the first question to the last.
    pub connect: Duration,
    /// For an answer.
    pub answer: Duration,
}

/// A Cluster is connected to in two rounds, its seeds and then the nodes that they name, each of them all at once; a node
/// that hangs may cost each round so much of the time, and leaves some for the questions in between.
const ROUNDS_AND_QUESTIONS: u32 = 3;

/// For a majority of the Sentinels this share of the time is waited.
const MAJORITY_SHARE: u32 = 4;

/// The servers, and how they are spoken to.
pub(super) struct Route {
    kind: Kind,
    /// As whom, and in which database, the servers with the data are asked.
    login: RedisConnectionInfo,
    certificates: Option<TlsCertificates>,
}

enum Kind {
    Single(Client),
    Sentinel(Sentinels),
    Cluster { client: Box<ClusterClient>, is_encrypted: bool },
}

#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Route {
    /// A route to what stands at the addresses, of which the first one's login holds for the data. The certificates are
    /// for encrypted addresses only.
    ///
    /// # Errors
    /// [`RedisFault::Address`].
    pub(super) fn new(
        addresses: Vec<ConnectionInfo>,
        servers: Servers,
        certificates: Option<TlsCertificates>,
        waits: Waits,
    ) -> Result<Self, RedisFault> {
        let wrong = |error: RedisError| RedisFault::Address(error.to_string());
        let first = addresses.first().ok_or_else(|| RedisFault::Address("is empty".into()))?;
        let (login, is_encrypted) = (first.redis_settings().clone(), is_encrypted(first.addr()));
        let certificates = certificates.filter(|_| is_encrypted);
        let open = |info: ConnectionInfo| open(info, certificates.as_ref()).map_err(wrong);
        let kind = match servers {
            Servers::Single => Kind::Single(open(first.clone())?),
            Servers::Sentinels { master, user, password } => {
                // Sentinels have no data: neither its login nor its database is theirs.
                let mut asks = RedisConnectionInfo::default();
                if !user.is_empty() {
                    asks = asks.set_username(user);
                }
                if !password.is_empty() {
                    asks = asks.set_password(password.expose());
                }
                let sentinels = addresses.into_iter().map(|info| open(info.set_redis_settings(asks.clone())));
                let clients = sentinels.collect::<Result<_, _>>()?;
                Kind::Sentinel(Sentinels::new(clients, master, waits.connect / MAJORITY_SHARE))
            }
            Servers::Cluster => {
                // A command that met a broken connection is not sent a second time: it may have been carried out.
                let mut builder = ClusterClient::builder(addresses)
                    .retries(0)
                    .connection_timeout(waits.connect / ROUNDS_AND_QUESTIONS)
                    .response_timeout(waits.answer);
                if let Some(certificates) = &certificates {
                    builder = builder.certs(certificates.clone());
                }
                Kind::Cluster { client: Box::new(builder.build().map_err(wrong)?), is_encrypted }
            }
        };
        Ok(Self { kind, login, certificates })
    }

    pub(super) async fn connect(&self) -> Result<Connection, RedisError> {
        match &self.kind {
            Kind::Single(client) => connect_to(client).await.map(Connection::Single),
            Kind::Sentinel(sentinels) => {
                let open = |address| open_at(address, &self.login, self.certificates.as_ref());
                sentinels.connect(open).await.map(Connection::Single)
            }
            Kind::Cluster { client, .. } => client.get_async_connection().await.map(Connection::Cluster),
        }
    }

    /// Sends a command where a Cluster says that it must go, for this time (`asks`) or from now on.
    pub(super) async fn follow(&self, command: &Cmd, node: &str, asks: bool) -> Result<Value, RedisError> {
        let Kind::Cluster { is_encrypted, .. } = &self.kind else {
            return Err(unexpected("redis.url is of a Cluster; set redis.cluster = true"));
        };
        let (host, port) = node.rsplit_once(':').ok_or_else(|| unexpected("a redirection to nowhere"))?;
        let port = port.parse().map_err(|_| unexpected("a redirection to nowhere"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let address = if *is_encrypted {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let mut connection = connect_to(&open_at(address, &self.login, self.certificates.as_ref())?).await?;
        if asks {
            redis::cmd("ASKING").query_async::<()>(&mut connection).await?;
        }
        connection.send_packed_command(command).await?.extract_error()
    }
}

/// Whether the server at the address is spoken to over TLS.
pub(super) fn is_encrypted(address: &ConnectionAddr) -> bool {
    matches!(address, ConnectionAddr::TcpTls { .. })
}
