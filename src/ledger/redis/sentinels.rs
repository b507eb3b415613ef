//! Which server is the master, as far as Sentinels know.
//!
//! They are all asked at once, so that one that hangs costs nothing, and the newest configuration counts. A Sentinel that was
//! away, or that a failover has not been told to yet, names the master of before; that one may have come back and take itself
//! for the master still. Whoever followed the first answer could end up there while the others are elsewhere: two nodes
//! that cannot hear each other. So a majority is heard before anything is followed, or as many as answer in time, and a newer
//! configuration is followed whenever it is heard.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, RedisError, Value};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::route::{connect_to, unexpected};

/// The Sentinels, and their name for the master.
pub(super) struct Sentinels {
    clients: Vec<Client>,
    master: String,
    /// So long a majority is waited for.
    patience: Duration,
}

/// What a Sentinel says.
struct Named {
    /// The epoch of its configuration: each failover raises it.
    epoch: u64,
    address: ConnectionAddr,
}

impl Sentinels {
    pub(super) fn new(clients: Vec<Client>, master: String, patience: Duration) -> Self {
        Self { clients, master, patience }
    }

    /// A connection to the master, which `open` knows how to speak to.
    pub(super) async fn connect(
        &self,
        open: impl Fn(ConnectionAddr) -> Result<Client, RedisError>,
    ) -> Result<MultiplexedConnection, RedisError> {
        let mut asked: JoinSet<_> =
            self.clients.iter().map(|sentinel| ask(sentinel.clone(), self.master.clone())).collect();
        let mut patience = pin!(sleep(self.patience));
        let (mut is_impatient, mut heard) = (false, 0);
        // What is known, and the way there once it is followed.
        let mut newest: Option<Named> = None;
        let mut under_way = None;
        let mut last = unexpected("no Sentinel is named");
        loop {
            let follows = is_impatient || heard > self.clients.len() / 2 || asked.is_empty();
            if follows
                && under_way.is_none()
                && let Some(named) = &newest
            {
                under_way = Some(Box::pin(master_at(open(named.address.clone())?)));
            }
            // Who hangs is not waited for once those who answered have led nowhere.
            if under_way.is_none() && (asked.is_empty() || is_impatient && heard > 0) {
                return Err(last);
            }
            tokio::select! {
                Some(answer) = asked.join_next() => match answer {
                    Ok(Ok(named)) => {
                        heard += 1;
                        if newest.as_ref().is_none_or(|newest| newest.epoch < named.epoch) {
                            (newest, under_way) = (Some(named), None);
                        }
                    }
                    Ok(Err(error)) => last = error,
                    // Its runtime is going away.
                    Err(_) => {}
                },
                () = &mut patience, if !is_impatient => is_impatient = true,
                Some(arrived) = arrival(&mut under_way) => match arrived {
                    Ok(there) => return Ok(there),
                    // Somebody may know better.
                    Err(error) => (last, newest, under_way) = (error, None, None),
                },
            }
        }
    }
}

/// The end of the way that is under way, if one is.
async fn arrival<T: Future + Unpin>(under_way: &mut Option<T>) -> Option<T::Output> {
    match under_way {
        Some(way) => Some(way.await),
        None => None,
    }
}

/// What this Sentinel says of the master.
async fn ask(sentinel: Client, master: String) -> Result<Named, RedisError> {
    let mut connection = connect_to(&sentinel).await?;
    // The epoch first: should a failover come in between, it is told as older than it is. A Sentinel whose user may not ask for
    // it is believed last.
    let about: Result<HashMap<String, String>, _> =
        redis::cmd("SENTINEL").arg("MASTER").arg(&master).query_async(&mut connection).await;
    let epoch = about.ok().and_then(|about| about.get("config-epoch")?.parse().ok()).unwrap_or(0);
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(&master);
    let named: Option<(String, u16)> = question.query_async(&mut connection).await?;
    let (host, port) = named.ok_or_else(|| unexpected("a Sentinel does not know redis.sentinel_master"))?;
    let address = match sentinel.get_connection_info().addr() {
        ConnectionAddr::TcpTls { insecure, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    Ok(Named { epoch, address })
}

/// A connection to the server, if it is a master: a Sentinel may name, for a while, one that has become a replica or is
/// about to.
async fn master_at(server: Client) -> Result<MultiplexedConnection, RedisError> {
    let mut connection = connect_to(&server).await?;
    let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(connection),
        _ => Err(unexpected("the Sentinels name a server that is no master (yet)")),
    }
}
