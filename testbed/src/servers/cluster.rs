//! Several engines that sell one stock: their PostgreSQL, their Redis, and the lines between them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::engine::{EngineProcess, variables};
use super::postgres::Postgres;
use super::process::free_address;
use super::proxy::Proxy;
use super::redis::RedisServer;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// The engine's binary.
    pub engine: PathBuf,
    /// How many engines.
    pub nodes: u16,
    /// Settings of each engine: environment variables without their prefix, and values.
    pub keys: Vec<(String, String)>,
    /// Whether a proxy stands in each line, so that it can be cut.
    pub is_proxied: bool,
    /// The edge address of node 0, and one port higher for each node after it; free ports when there is none.
    pub first_edge: Option<SocketAddr>,
    /// The same for the admin addresses.
    pub first_admin: Option<SocketAddr>,
}

/// What a cluster stands on, and where its engines look for it.
#[derive(Debug)]
pub struct Servers {
    /// The order store.
    pub postgres: Postgres,
    /// The ledger.
    pub redis: RedisServer,
    /// What engines have for `postgres.url`, if it is not the server's own address: whoever stands there, and
    /// `{database}` for the database. No proxy is in those lines.
    pub postgres_url: Option<String>,
    /// The same for `redis.url`.
    pub redis_url: Option<String>,
}

impl Servers {
    /// One server of each kind, which the engines find where they are.
    pub fn start() -> Self {
        let (postgres, redis) = (Postgres::start(""), RedisServer::start());
        Self { postgres, redis, postgres_url: None, redis_url: None }
    }
}

/// A running cluster. Dropping it ends every process that it started and removes their data.
#[derive(Debug)]
pub struct Cluster {
    /// The engines come first: they end before what they need.
    pub nodes: Vec<Node>,
    /// The order store.
    pub postgres: Postgres,
    /// The ledger.
    pub redis: RedisServer,
    /// The database of the orders.
    pub database: String,
}

impl Cluster {
    /// Starts everything and waits until every engine sells.
    ///
    /// # Panics
    /// Something does not start.
    pub fn start(plan: &ClusterPlan) -> Self {
        Self::start_on(Servers::start(), plan)
    }

    /// The same on servers that run.
    ///
    /// # Panics
    /// An engine does not start.
    pub fn start_on(servers: Servers, plan: &ClusterPlan) -> Self {
        let Servers { postgres, redis, postgres_url, redis_url } = servers;
        let url = postgres.new_database();
        let database = url.rsplit('/').next().unwrap_or_default().to_owned();
        let plan = Arc::new(plan.clone());
        let nodes = (0..plan.nodes).map(|number| {
            let line = |named: &Option<String>, target| {
                (plan.is_proxied && named.is_none()).then(|| Proxy::to(target))
            };
            let to_postgres = line(&postgres_url, postgres.address());
            let to_redis = line(&redis_url, redis.address());
            let address = |proxy: &Option<Proxy>, direct| proxy.as_ref().map_or(direct, Proxy::address);
            let own_url = || postgres.url_at(address(&to_postgres, postgres.address()), &database);
            let mut node = Node {
                number,
                database_url: postgres_url
                    .as_ref()
                    .map_or_else(own_url, |url| url.replace("{database}", &database)),
                redis_url: redis_url
                    .clone()
                    .unwrap_or_else(|| format!("redis://{}", address(&to_redis, redis.address()))),
                folder: tempfile::tempdir().expect("a folder for the engine"),
                plan: Arc::clone(&plan),
                engine: None,
                to_postgres,
                to_redis,
                environment: Vec::new(),
                addresses: None,
            };
            node.start();
            node
        });
        Self { nodes: nodes.collect(), postgres, redis, database }
    }

    /// The engines that run.
    pub fn running(&self) -> impl Iterator<Item = &EngineProcess> {
        self.nodes.iter().filter_map(|node| node.engine.as_ref())
    }
}

/// A place for an engine, whether one runs there or not.
#[derive(Debug)]
pub struct Node {
    /// Its number in the cluster.
    pub number: u16,
    /// The engine, if it runs.
    pub engine: Option<EngineProcess>,
    /// Stands in its line to PostgreSQL, if the cluster has proxies.
    pub to_postgres: Option<Proxy>,
    /// Stands in its line to Redis.
    pub to_redis: Option<Proxy>,
    /// Variables beside the engine's own, from its next start on.
    pub environment: Vec<(String, String)>,
    /// Where it listens, edge and admin plane, if it is to be found there again.
    addresses: Option<[SocketAddr; 2]>,
    database_url: String,
    redis_url: String,
    folder: TempDir,
    plan: Arc<ClusterPlan>,
}

impl Node {
    /// Starts the engine, for the first time or again.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(&mut self) {
        let address = |first: Option<SocketAddr>| {
            let mut address = first.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
            if address.port() > 0 {
                address.set_port(address.port() + self.number);
            }
            address
        };
        let mut command = Command::new(&self.plan.engine);
        command
            .args(["serve", "--node-id", &self.number.to_string()])
            .args(["--database-url", &self.database_url, "--redis-url", &self.redis_url])
            .envs(variables(&self.plan.keys))
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let [edge, admin] =
            self.addresses.unwrap_or_else(|| [self.plan.first_edge, self.plan.first_admin].map(address));
        self.engine = Some(EngineProcess::start(command, self.folder.path(), edge, admin));
    }

    /// From its next start on it has addresses of its own: an engine that starts over by itself is found there.
    pub fn keep_addresses(&mut self) {
        self.addresses = Some([free_address(), free_address()]);
    }

    /// Ends the engine by `kill -9`.
    pub fn kill(&mut self) {
        self.engine = None;
    }
}
