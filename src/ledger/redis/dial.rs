//! How a connection to one server is opened, and what is said of one that does not answer as it should.

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, TlsCertificates,
};

/// The server with the data at this address.
pub(super) fn open_at(
    address: ConnectionAddr,
    login: &RedisConnectionInfo,
    certificates: Option<&TlsCertificates>,
) -> Result<Client, RedisError> {
    open(address.into_connection_info()?.set_redis_settings(login.clone()), certificates)
}

/// A client of the server.
pub(super) fn open(
    info: ConnectionInfo,
    certificates: Option<&TlsCertificates>,
) -> Result<Client, RedisError> {
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        None => Client::open(info),
    }
}

/// A connection, however long it takes.
pub(super) async fn connect_to(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    // The waits are the link's: one place, and the same for all kinds.
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// The error of a server that says what it should not.
pub(super) fn unexpected(what: &'static str) -> RedisError {
    (redis::ErrorKind::Client, what).into()
}
