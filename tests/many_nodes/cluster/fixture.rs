//! A cluster with the settings of these tests, and what can be asked of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::PATIENCE;
use testbed::crowd::BuyerClient;
use testbed::engine::{orders, request, try_request};
use testbed::servers::cluster::{Cluster, ClusterPlan, Node};
use testbed::servers::engine::binary;
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

/// One cluster at a time: several would only slow each other down on a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub struct Fixture {
    pub cluster: Cluster,
    pub addresses: Addresses,
    /// A replica of Redis and the line on which it follows, if there is one.
    pub replica: Option<(Proxy, RedisServer)>,
    wants_replica: bool,
    sales: AtomicU32,
    _turn: MutexGuard<'static, ()>,
}

impl Fixture {
    /// Three nodes with short time limits, a proxy in each of their lines.
    pub fn open(keys: &[(&str, &str)]) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let silent_ms_max = SILENT_MS_MAX.to_string();
        let ours = [
            ("LOG__LEVEL", "info"),
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
        let cluster = Cluster::start(&plan);
        let addresses = cluster.nodes.iter().map(|_| Mutex::new(None)).collect();
        let (addresses, sales) = (Arc::new(addresses), AtomicU32::new(0));
        let fixture = Self { cluster, addresses, replica: None, wants_replica: false, sales, _turn: turn };
        fixture.publish_addresses();
        fixture
    }

    /// The same with a replica of Redis.
    pub fn with_replica(mut self) -> Self {
        self.wants_replica = true;
        self.mend();
        self
    }

    /// Starts whatever should run and does not.
    pub fn mend(&mut self) {
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

    /// How many lives a node has had: it grows when the node starts, and when somebody fences it.
    pub fn lives(&self, node: usize) -> u64 {
        let lives = self.query(&format!("SELECT incarnation FROM seckill.nodes WHERE node = {node}"));
        lives.parse().expect("a number")
    }

    /// How many books were opened for all sales together.
    pub fn epochs(&self) -> u64 {
        self.query("SELECT sum(epoch) FROM seckill.sales").parse().expect("a number")
    }

    /// How many scripts Redis has run since it started.
    pub fn scripts_run(&self) -> u64 {
        let stats = self.cluster.redis.command("INFO commandstats");
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = calls.and_then(|rest| rest.split(',').next());
        calls.map_or(0, |calls| calls.parse().expect("a number"))
    }

    /// Tells buyers where each running node is.
    pub fn publish_addresses(&self) {
        for (node, published) in self.cluster.nodes.iter().zip(self.addresses.iter()) {
            let address = node.engine.as_ref().map(|engine| engine.edge());
            *published.lock().unwrap_or_else(PoisonError::into_inner) = address;
        }
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
    pub fn sale(&self, stock: u64) -> String {
        let number = self.sales.fetch_add(1, Ordering::Relaxed);
        let sku = format!("sku-{number}");
        let body = format!(r#"{{"campaign":"test","sku":"{sku}","price_cents":1999,"stock":{stock}}}"#);
        let admins = self.admins();
        let maker = admins[number as usize % admins.len()];
        let lines = "Content-Type: application/json\r\n";
        let made = request(maker, "POST", "/api/v1/campaigns", lines, &body);
        assert_eq!(made.status, 201, "{}", made.body);
        self.eventually("every node has the sale", || {
            self.cluster.running().all(|engine| self.page(engine.edge(), &sku)["state"] == "open")
        });
        sku
    }

    /// What a node tells everybody of a sale.
    pub fn page(&self, edge: SocketAddr, sku: &str) -> Value {
        request(edge, "GET", &format!("/seckill/test/{sku}"), "", "").json()
    }

    fn admins(&self) -> Vec<SocketAddr> {
        self.cluster.running().map(|engine| engine.admin()).collect()
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
        let mut said: Vec<Option<Duration>> = self.cluster.running().map(|_| None).collect();
        self.eventually("every node says sold out", || {
            for (engine, said) in self.cluster.running().zip(&mut said) {
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
