//! Which server is the master, as far as Sentinels know.
//!
//! They are all asked at once, so that one that hangs costs little, and the newest configuration counts. A Sentinel that was
//! away, or that a failover has not been told to yet, names the master of before; that one may have come back and take itself
//! for the master still. Whoever followed the first answer could end up there while the others are elsewhere: two nodes
//! that cannot hear each other. So a majority is heard before anything is followed, or as many as answer in time, and a newer
//! configuration that is heard on the way is followed instead. Where the newest leads nowhere an older one does not count. The
//! way may take as long as a failover does, so they are asked again at its end.

use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, RedisError, Value};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

use super::dial::{connect_to, unexpected};

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

/// They are asked, once, all at once.
struct Round {
    asked: JoinSet<Result<Named, RedisError>>,
    /// How many make a majority.
    most: usize,
    patience: Pin<Box<Sleep>>,
    is_impatient: bool,
    named: Vec<Named>,
    /// Why the last one that did not say anything did not.
    last: RedisError,
}

impl Round {
    fn begin(sentinels: &Sentinels) -> Self {
        let ask = |sentinel: &Client| ask(sentinel.clone(), sentinels.master.clone());
        Self {
            asked: sentinels.clients.iter().map(ask).collect(),
            most: sentinels.clients.len() / 2 + 1,
            patience: Box::pin(sleep(sentinels.patience)),
            is_impatient: false,
            named: Vec::new(),
            last: unexpected("no Sentinel is named"),
        }
    }

    /// Hears one more of them, or loses its patience. Never ends when there is nothing to wait for.
    async fn hear(&mut self) {
        tokio::select! {
            biased;
            Some(answer) = self.asked.join_next() => match answer {
                Ok(Ok(named)) => self.named.push(named),
                Ok(Err(error)) => self.last = error,
                // Its runtime is going away.
                Err(_) => {}
            },
            () = &mut self.patience, if !self.is_impatient => self.is_impatient = true,
            else => pending().await,
        }
    }

    fn has_heard_most(&self) -> bool {
        self.named.len() >= self.most
    }

    /// The newest epoch that was heard.
    fn epoch(&self) -> Option<u64> {
        self.named.iter().map(|named| named.epoch).max()
    }

    /// What is named in the newest configuration, as often as it is named.
    fn newest_all(&self) -> impl Iterator<Item = &ConnectionAddr> {
        let epoch = self.epoch();
        self.named.iter().filter(move |named| Some(named.epoch) == epoch).map(|named| &named.address)
    }

    fn votes(&self, address: &ConnectionAddr) -> usize {
        self.newest_all().filter(|other| *other == address).count()
    }

    /// Whether what was heard so far counts: from most of them, who agree about the newest configuration.
    fn is_settled(&self) -> bool {
        let agree =
            || self.newest_all().next().is_some_and(|first| self.newest_all().all(|other| other == first));
        self.is_impatient || self.asked.is_empty() || self.has_heard_most() && agree()
    }

    /// Nobody will say anything else that counts: who hangs is not waited for when most have spoken.
    fn is_over(&self) -> bool {
        self.asked.is_empty() || self.is_impatient && self.has_heard_most()
    }

    /// The address in the newest configuration, that of most Sentinels where they differ, once it counts; none of those that
    /// led nowhere.
    fn newest(&self, in_vain: &[ConnectionAddr]) -> Option<&ConnectionAddr> {
        let counts = self.newest_all().filter(|address| self.is_settled() && !in_vain.contains(address));
        counts.max_by_key(|address| self.votes(address))
    }
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
        let mut round = Round::begin(self);
        let mut in_vain = Vec::new();
        // Where it leads, and the way.
        let mut under_way: Option<(ConnectionAddr, _)> = None;
        loop {
            let newest = round.newest(&in_vain);
            if under_way.as_ref().map(|(address, _)| address) != newest {
                let begin = |address: &ConnectionAddr| {
                    let way = Box::pin(master_at(open(address.clone())?));
                    Ok::<_, RedisError>((address.clone(), way))
                };
                under_way = newest.map(begin).transpose()?;
            }
            if under_way.is_none() && round.is_over() {
                return Err(round.last);
            }
            tokio::select! {
                // What has been said already is heard before anybody arrives.
                biased;
                () = round.hear() => {}
                Some((address, arrived)) = arrival(&mut under_way) => {
                    match arrived {
                        Ok(there) if self.still_name(&address, round.epoch()).await => return Ok(there),
                        Ok(_) => return Err(unexpected("the Sentinels name another master by now")),
                        Err(error) => (round.last, _) = (error, in_vain.push(address)),
                    }
                }
            }
        }
    }

    /// Whether this is the master still, after the way there: a server that hung and goes on takes itself for the master until
    /// somebody tells it what happened meanwhile. Who knows an older configuration than that of the `epoch` does not count.
    async fn still_name(&self, address: &ConnectionAddr, epoch: Option<u64>) -> bool {
        let mut round = Round::begin(self);
        while !round.is_settled() {
            round.hear().await;
        }
        let most = round.newest(&[]).map_or(0, |named| round.votes(named));
        round.epoch() < epoch || round.votes(address) == most
    }
}

/// The end of the way that is under way, if one is, and where it led.
async fn arrival<A: Clone, T: Future + Unpin>(under_way: &mut Option<(A, T)>) -> Option<(A, T::Output)> {
    match under_way {
        Some((address, way)) => Some((address.clone(), way.await)),
        None => None,
    }
}

/// What this Sentinel says of the master.
async fn ask(sentinel: Client, master: String) -> Result<Named, RedisError> {
    let mut connection = connect_to(&sentinel).await?;
    // The epoch first: should a failover come in between, it is told as older than it is. A Sentinel whose user may not ask for
    // it counts for less than any other; where none may, the most of them count.
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
