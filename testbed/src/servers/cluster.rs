//! Several engines that sell one stock: their PostgreSQL, their Redis, and the lines between them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::engine::{EngineProcess, variables};
use super::postgres::Postgres;
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
        let postgres = Postgres::start("");
        let redis = RedisServer::start();
        let url = postgres.new_database();
        let database = url.rsplit('/').next().unwrap_or_default().to_owned();
        let plan = Arc::new(plan.clone());
        let nodes = (0..plan.nodes).map(|number| {
            let line = |target| plan.is_proxied.then(|| Proxy::to(target));
            let (to_postgres, to_redis) = (line(postgres.address()), line(redis.address()));
            let address = |proxy: &Option<Proxy>, direct| proxy.as_ref().map_or(direct, Proxy::address);
            let mut node = Node {
                number,
                database_url: postgres.url_at(address(&to_postgres, postgres.address()), &database),
                redis_url: format!("redis://{}", address(&to_redis, redis.address())),
                folder: tempfile::tempdir().expect("a folder for the engine"),
                plan: Arc::clone(&plan),
                engine: None,
                to_postgres,
                to_redis,
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
            .envs(variables(&self.plan.keys));
        let (edge, admin) = (address(self.plan.first_edge), address(self.plan.first_admin));
        self.engine = Some(EngineProcess::start(command, self.folder.path(), edge, admin));
    }

    /// Ends the engine by `kill -9`.
    pub fn kill(&mut self) {
        self.engine = None;
    }
}
