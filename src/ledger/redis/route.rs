//! Which server is asked: one, the master that Sentinels name, or the owner of a slot of a Cluster.

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates, Value,
};
use tokio::task::JoinSet;

use super::fault::RedisFault;
use crate::settings::Secret;

/// What stands at the addresses.
pub(super) enum Servers {
    /// The one server with the data.
    Single,
    /// Sentinels, who know where the master of this name is.
    Sentinels { master: String, password: Secret },
    /// Seeds of a Cluster.
    Cluster,
}

/// The servers, and how they are spoken to.
pub(super) struct Route {
    kind: Kind,
    /// As whom, and in which database, the servers with the data are asked.
    login: RedisConnectionInfo,
    certificates: Option<TlsCertificates>,
}

enum Kind {
    Single(Client),
    Sentinel { sentinels: Vec<Client>, master: String },
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
    ) -> Result<Self, RedisFault> {
        let wrong = |error: RedisError| RedisFault::Address(error.to_string());
        let first = addresses.first().ok_or_else(|| RedisFault::Address("is empty".into()))?;
        let (login, is_encrypted) = (first.redis_settings().clone(), is_encrypted(first.addr()));
        let certificates = certificates.filter(|_| is_encrypted);
        let open = |info: ConnectionInfo| open(info, certificates.as_ref()).map_err(wrong);
        let kind = match servers {
            Servers::Single => Kind::Single(open(first.clone())?),
            Servers::Sentinels { master, password } => {
                // Sentinels have no data: neither its password nor its database is theirs.
                let mut asks = RedisConnectionInfo::default();
                if !password.is_empty() {
                    asks = asks.set_password(password.expose());
                }
                let sentinels = addresses.into_iter().map(|info| open(info.set_redis_settings(asks.clone())));
                Kind::Sentinel { sentinels: sentinels.collect::<Result<_, _>>()?, master }
            }
            Servers::Cluster => {
                // A command that met a broken connection is not sent a second time: it may have been carried out.
                let mut builder = ClusterClient::builder(addresses).retries(0);
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
            Kind::Sentinel { sentinels, master } => {
                let address = ask_sentinels(sentinels, master).await?;
                let client = self.at(address)?;
                let mut connection = connect_to(&client).await?;
                // A Sentinel may name, for a while, a master that has become a replica or is about to.
                let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
                match role.first() {
                    Some(Value::BulkString(role)) if role == b"master" => Ok(Connection::Single(connection)),
                    _ => Err(unexpected("the Sentinels name a server that is no master (yet)")),
                }
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
        let mut connection = connect_to(&self.at(address)?).await?;
        if asks {
            redis::cmd("ASKING").query_async::<()>(&mut connection).await?;
        }
        connection.send_packed_command(command).await?.extract_error()
    }

    /// The server with the data at this address.
    fn at(&self, address: ConnectionAddr) -> Result<Client, RedisError> {
        let info = address.into_connection_info()?.set_redis_settings(self.login.clone());
        open(info, self.certificates.as_ref())
    }
}

fn open(info: ConnectionInfo, certificates: Option<&TlsCertificates>) -> Result<Client, RedisError> {
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        None => Client::open(info),
    }
}

async fn connect_to(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    // The waits are the link's: one place, and the same for all kinds.
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Where the master is. All are asked at once, and the first that knows is believed: one that hangs costs nothing.
async fn ask_sentinels(sentinels: &[Client], master: &str) -> Result<ConnectionAddr, RedisError> {
    let mut asked = JoinSet::new();
    for client in sentinels {
        let (client, master) = (client.clone(), master.to_owned());
        asked.spawn(async move {
            let mut connection = connect_to(&client).await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(&master);
            let named: Option<(String, u16)> = question.query_async(&mut connection).await?;
            let (host, port) =
                named.ok_or_else(|| unexpected("a Sentinel does not know redis.sentinel_master"))?;
            Ok(match client.get_connection_info().addr() {
                ConnectionAddr::TcpTls { insecure, .. } => {
                    ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
                }
                _ => ConnectionAddr::Tcp(host, port),
            })
        });
    }
    let mut worst = unexpected("no Sentinel is named");
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(address)) => return Ok(address),
            Ok(Err(error)) => worst = error,
            // Its runtime is going away.
            Err(_) => {}
        }
    }
    Err(worst)
}

/// Whether the server at the address is spoken to over TLS.
pub(super) fn is_encrypted(address: &ConnectionAddr) -> bool {
    matches!(address, ConnectionAddr::TcpTls { .. })
}

fn unexpected(what: &'static str) -> RedisError {
    (redis::ErrorKind::Client, what).into()
}
