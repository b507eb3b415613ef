//! A cluster with the settings of these tests, and what can be asked of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::PATIENCE;
use testbed::client::{request, try_request};
use testbed::crowd::BuyerClient;
use testbed::engine::orders;
use testbed::servers::cluster::{Cluster, ClusterPlan, Node, Servers};
use testbed::servers::engine::{EngineProcess, binary};
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::Proxy;
use testbed::servers::redis::RedisServer;

/// A node that says nothing for this long is fenced.
pub const SILENT_MS_MAX: u64 = 2_000;

/// Where buyers find the nodes: as a balancer knows it, so that a node that is away is not asked.
pub type Addresses = Arc<Vec<Mutex<Option<SocketAddr>>>>;

/// The address of a node that is up.
pub fn address_of(addresses: &Addresses, node: usize) -> Option<SocketAddr> {
    *addresses[node].lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many scripts a Redis has run since it started.
pub fn scripts_run(redis: &RedisServer) -> u64 {
    let stats = redis.command("INFO commandstats");
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = calls.and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

/// One cluster at a time: several would only slow each other down on a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How often a fault strikes in the short form.
const ROUNDS: usize = 2;
/// A shopper's pause, so that a sale lasts longer than a fault needs to strike.
const PAUSE_MS: Range<u64> = 2..16;

pub struct Fixture {
    pub cluster: Cluster,
    pub addresses: Addresses,
    /// A replica of Redis and the line on which it follows, if there is one.
    pub replica: Option<(Proxy, RedisServer)>,
    /// Another PostgreSQL, which follows the cluster's, if there is one.
    pub standby: Option<Postgres>,
    /// The address of the database, for who looks at it past the engines; another one when the standby has taken over.
    pub database_url: Arc<Mutex<String>>,
    /// From when to when PostgreSQL may have lost orders that were acknowledged, if it may.
    pub lost: Option<(Instant, Instant)>,
    /// Whether buyers must be ready for that.
    pub loses_orders: bool,
    /// How often a fault strikes when nothing is said.
    pub rounds: usize,
    /// How long shoppers wait from one purchase to the next, in ms.
    pub pause_ms: Range<u64>,
    /// The sale that was made last, and since when there is one of this name.
    pub sku: String,
    pub opened: Instant,
    /// Nodes to which nobody is sent, as long as the fault lasts.
    given_up: HashSet<usize>,
    /// How much of each node's log was read.
    log_read: HashMap<usize, usize>,
    wants_replica: bool,
    sales: AtomicU32,
    _turn: MutexGuard<'static, ()>,
}

impl Fixture {
    /// Three nodes with short time limits, a proxy in each of their lines.
    pub fn open(keys: &[(&str, &str)]) -> Self {
        Self::on(Servers::start, keys)
    }

    /// The same, whose PostgreSQL has a standby that every node knows of.
    pub fn open_with_standby(keys: &[(&str, &str)]) -> Self {
        let mut standby = None;
        let servers = || {
            let postgres = Postgres::start("");
            let standby = standby.insert(postgres.start_standby());
            let url =
                format!("postgres://postgres@{},{}/{{database}}", postgres.address(), standby.address());
            Servers { postgres, postgres_url: Some(url), redis: RedisServer::start(), redis_url: None }
        };
        let fixture = Self::on(servers, keys);
        Self { standby, ..fixture }
    }

    /// The same on these servers, which are started when it is their turn.
    pub fn on(servers: impl FnOnce() -> Servers, keys: &[(&str, &str)]) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let silent_ms_max = SILENT_MS_MAX.to_string();
        let ours = [
            ("LOG__LEVEL", "info"),
            ("LOG__FORMAT", "json"),
            ("EDGE__ACK_WAIT_MS", "2000"),
            ("POSTGRES__CONNECT_WAIT_MS", "10000"),
            ("POSTGRES__ACQUIRE_WAIT_MS", "500"),
            ("POSTGRES__LOCK_WAIT_MS", "800"),
            ("POSTGRES__STATEMENT_WAIT_MS", "1500"),
            ("REDIS__ANSWER_MS_MAX", "300"),
            ("REDIS__CONNECT_MS_MAX", "500"),
            ("EDGE__OVERLOAD__WAIT_MS_MAX", "0"),
            ("REDIS__RECONNECT_PAUSE_MS", "20"),
            ("LEDGER__BEAT_MS", "200"),
            ("LEDGER__SILENT_MS_MAX", &silent_ms_max),
            ("LEDGER__RECONCILE_MS", "200"),
            ("LEDGER__TAIL_PAUSE_MS", "50"),
            ("LEDGER__REBUILD_PATIENCE_MS", "300"),
            ("CHECKOUT__GATEWAY__SIMULATED__HOLD_LATENCY__MEDIAN_MS", "2"),
            ("CHECKOUT__GATEWAY__SIMULATED__HOLD_LATENCY__P99_MS", "20"),
        ];
        let keys = ours.iter().chain(keys).map(|&(key, value)| (key.to_owned(), value.to_owned()));
        let plan = ClusterPlan {
            engine: binary().to_owned(),
            nodes: 3,
            keys: keys.collect(),
            is_proxied: true,
            first_edge: None,
            first_admin: None,
        };
        let cluster = Cluster::start_on(servers(), &plan);
        let addresses = cluster.nodes.iter().map(|_| Mutex::new(None)).collect();
        let fixture = Self {
            addresses: Arc::new(addresses),
            replica: None,
            standby: None,
            database_url: Arc::default(),
            lost: None,
            loses_orders: false,
            rounds: ROUNDS,
            pause_ms: PAUSE_MS,
            sku: String::new(),
            opened: Instant::now(),
            given_up: HashSet::new(),
            log_read: HashMap::new(),
            wants_replica: false,
            sales: AtomicU32::new(0),
            cluster,
            _turn: turn,
        };
        fixture.publish_addresses();
        fixture
    }

    /// The same, where a fault strikes once when nothing is said.
    pub fn once(self) -> Self {
        Self { rounds: 1, ..self }
    }

    /// The same with shoppers who take their time: for faults that last.
    pub fn slowly(self) -> Self {
        Self { pause_ms: 30..120, ..self }
    }

    /// The same with a replica of Redis.
    pub fn with_replica(mut self) -> Self {
        self.wants_replica = true;
        self.mend();
        self
    }

    /// Starts whatever should run and does not, and sends buyers everywhere.
    pub fn mend(&mut self) {
        self.given_up.clear();
        self.cluster.nodes.iter_mut().filter(|node| node.engine.is_none()).for_each(Node::start);
        self.publish_addresses();
        if self.wants_replica && self.replica.is_none() {
            let line = Proxy::to(self.cluster.redis.address());
            let replica = RedisServer::start_replica(line.address());
            self.replica = Some((line, replica));
        }
    }

    /// What the database answers.
    pub fn query(&self, sql: &str) -> String {
        self.cluster.postgres.query(&self.cluster.database, sql)
    }

    /// Units of the last sale that hold an order.
    pub fn sold(&self) -> u64 {
        let sql = "SELECT coalesce(sum(h.sold - h.returned), 0) FROM seckill.shares h JOIN seckill.sales s USING (sale_id)";
        self.query(&format!("{sql} WHERE s.sku = '{}'", self.sku)).parse().expect("a number")
    }

    /// Waits until so many more units of the last sale are sold.
    pub fn until_sold(&self, more: u64) {
        let before = self.sold();
        self.eventually("more is sold", || self.sold() >= before + more);
    }

    /// How many lives all nodes together have had.
    pub fn all_lives(&self) -> String {
        self.query("SELECT string_agg(node || ':' || incarnation, ' ' ORDER BY node) FROM seckill.nodes")
    }

    /// How many lives a node has had: it grows when the node starts, and when somebody fences it.
    pub fn lives(&self, node: usize) -> u64 {
        let lives = self.query(&format!("SELECT incarnation FROM seckill.nodes WHERE node = {node}"));
        lives.parse().expect("a number")
    }

    /// How many books were opened for all sales together, in the present timeline of the store.
    pub fn epochs(&self) -> u64 {
        self.query("SELECT coalesce(sum(epoch % 4294967296), 0) FROM seckill.sales")
            .parse()
            .expect("a number")
    }

    /// How many scripts Redis has run since it started.
    pub fn scripts_run(&self) -> u64 {
        scripts_run(&self.cluster.redis)
    }

    /// Tells buyers, and who looks at the database, where everything is.
    pub fn publish_addresses(&self) {
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            let engine = node.engine.as_ref().filter(|_| !self.given_up.contains(&number));
            *self.addresses[number].lock().unwrap_or_else(PoisonError::into_inner) =
                engine.map(EngineProcess::edge);
        }
        let postgres = &self.cluster.postgres;
        *self.database_url.lock().unwrap_or_else(PoisonError::into_inner) =
            postgres.url_at(postgres.address(), &self.cluster.database);
    }

    /// Nobody is sent to the node any more, as by a balancer that asks whether it is ready, and nothing is asked of it.
    pub fn give_up(&mut self, node: usize) {
        self.given_up.insert(node);
        self.publish_addresses();
    }

    /// Whether buyers are sent to the node.
    pub fn serves(&self, node: usize) -> bool {
        self.cluster.nodes[node].engine.is_some() && !self.given_up.contains(&node)
    }

    /// The engines to which buyers are sent.
    fn serving(&self) -> impl Iterator<Item = &EngineProcess> {
        let engines = self.cluster.nodes.iter().enumerate();
        engines.filter(|(node, _)| self.serves(*node)).filter_map(|(_, node)| node.engine.as_ref())
    }

    /// The standby, which takes writes by now, is the cluster's PostgreSQL; the former one is the standby.
    pub fn swap_databases(&mut self) {
        let standby = self.standby.as_mut().expect("there is one");
        std::mem::swap(&mut self.cluster.postgres, standby);
        self.publish_addresses();
    }

    /// What the engines have logged at `warn` and above since the last call, and how often.
    pub fn said(&mut self) -> BTreeMap<String, usize> {
        let mut said = BTreeMap::new();
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            let Some(engine) = &node.engine else { continue };
            let log = engine.log();
            let read = self.log_read.insert(number, log.len()).unwrap_or(0);
            let lines = log[read.min(log.len())..].lines();
            for line in lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                if line["level"] == "WARN" || line["level"] == "ERROR" {
                    let text = line["code"].as_str().or_else(|| line["message"].as_str()).unwrap_or("?");
                    *said.entry(text.chars().take(70).collect()).or_default() += 1;
                }
            }
        }
        said
    }

    /// Kills a node. Buyers are told a moment later, as a balancer's health check would.
    pub fn kill(&mut self, node: usize) {
        self.cluster.nodes[node].kill();
        std::thread::sleep(Duration::from_millis(50));
        self.publish_addresses();
    }

    /// Starts a node again.
    pub fn start(&mut self, node: usize) {
        self.cluster.nodes[node].start();
        self.publish_addresses();
    }

    /// Makes a sale at one node and waits until every node sells it. Returns its SKU.
    pub fn sale(&mut self, stock: u64) -> String {
        self.sku = format!("sku-{}", self.sales.fetch_add(1, Ordering::Relaxed));
        self.opened = Instant::now();
        self.make_sale(stock);
        self.sku.clone()
    }

    /// Makes the last sale once more, in a database that knows nothing of it.
    pub fn make_sale(&self, stock: u64) {
        let sku = &self.sku;
        let body = format!(r#"{{"campaign":"test","sku":"{sku}","price_cents":1999,"stock":{stock}}}"#);
        let admins = self.admins();
        let maker = admins[self.sales.load(Ordering::Relaxed) as usize % admins.len()];
        let lines = "Content-Type: application/json\r\n";
        let made = request(maker, "POST", "/api/v1/campaigns", lines, &body);
        assert_eq!(made.status, 201, "{}", made.body);
        self.eventually("every node has the sale", || {
            self.cluster.running().all(|engine| self.page(engine.edge(), sku)["state"] == "open")
        });
    }

    /// What a node tells everybody of a sale.
    pub fn page(&self, edge: SocketAddr, sku: &str) -> Value {
        request(edge, "GET", &format!("/seckill/test/{sku}"), "", "").json()
    }

    fn admins(&self) -> Vec<SocketAddr> {
        self.serving().map(EngineProcess::admin).collect()
    }

    /// A figure of each node that serves, where it has one.
    pub fn metric(&self, name: &str) -> Vec<Option<u64>> {
        let of = |admin| {
            let metrics = try_request(admin, "GET", "/metrics", "", "")?.body;
            metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        self.admins().into_iter().map(of).collect()
    }

    /// Waits for something.
    pub fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "it never happens that {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
        began.elapsed()
    }

    /// Waits until every node tells a new buyer that everything is sold, and returns how long each took.
    pub fn until_all_say_sold_out(&self, sku: &str, since: Instant) -> Vec<Duration> {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let says_so = |edge| {
            let buyer = format!("late-{}", ASKED.fetch_add(1, Ordering::Relaxed));
            BuyerClient::at(edge).buy(sku, &buyer, 1, None).is_some_and(|answer| {
                assert_ne!(answer.status, 201, "{buyer} was sold a unit after the last one");
                answer.code == "sold-out"
            })
        };
        let mut said: Vec<Option<Duration>> = self.serving().map(|_| None).collect();
        self.eventually("every node says sold out", || {
            for (engine, said) in self.serving().zip(&mut said) {
                if said.is_none() && says_so(engine.edge()) {
                    *said = Some(since.elapsed());
                }
            }
            said.iter().all(Option::is_some)
        });
        said.into_iter().flatten().collect()
    }

    /// All orders of a sale, as a node exports them.
    pub fn orders(&self, sku: &str) -> Vec<Value> {
        orders(self.admins()[0], sku, "")
    }

    /// Waits until memory, ledger and store say the same at every node, and all of it is sold. Returns how long it took.
    pub fn until_books_agree(&self, sku: &str, total: u64) -> Duration {
        let mut last = String::new();
        let began = Instant::now();
        while !self.admins().iter().all(|&admin| self.books_agree(admin, sku, total, &mut last)) {
            assert!(began.elapsed() < PATIENCE, "the books do not agree: {last}");
            std::thread::sleep(Duration::from_millis(20));
        }
        began.elapsed()
    }

    fn books_agree(&self, admin: SocketAddr, sku: &str, total: u64, last: &mut String) -> bool {
        let ask = |path: String| {
            let answer = try_request(admin, "GET", &path, "", "");
            answer.filter(|answer| answer.status == 200).map(|answer| answer.json())
        };
        let audit = ask(format!("/api/v1/campaigns/test/{sku}/audit"));
        let compared = ask(format!("/api/v1/reconcile?campaign=test&sku={sku}"));
        let (Some(audit), Some(compared)) = (audit, compared) else { return false };
        *last = format!("{audit} {compared}");
        assert_eq!(audit["buyers_over_limit"], 0, "{audit}");
        let books = &compared["sales"][0];
        let all = Value::from(total);
        let of_audit = ["total", "sold"].iter().all(|units| audit[units] == all);
        let of_ledger = books["ledger"]["sold"] == all
            && books["ledger"]["available"] == 0
            && books["ledger"]["leased"] == 0;
        let of_memory = books["memory"]["on_sale"] == 0 && books["memory"]["in_flight"] == 0;
        audit["conserved"] == true
            && of_audit
            && of_ledger
            && of_memory
            && books["store"]["sold"] == all
            && books["equal"] == true
    }
}
