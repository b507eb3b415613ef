//! Several engines on one stock.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use testbed::engine::{Engine, Launch};
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::Proxy;
use testbed::servers::redis::RedisServer;
pub use testbed::until;

/// One database, one Redis, and the way to start engines on them.
pub struct Fixture {
    /// Ends with the fixture.
    pub postgres: std::sync::Arc<Postgres>,
    pub redis: RedisServer,
    pub database_url: String,
}

impl Fixture {
    pub fn open() -> Self {
        Self::with(RedisServer::start())
    }

    /// The same with this Redis.
    pub fn with(redis: RedisServer) -> Self {
        let postgres = Postgres::shared();
        let database_url = postgres.new_database();
        Self { postgres, redis, database_url }
    }

    /// A line of one node's own to the database, and the address behind it.
    pub fn line_to_postgres(&self) -> (Proxy, String) {
        let line = Proxy::to(self.postgres.address());
        let url = self.postgres.url_at(line.address(), self.database());
        (line, url)
    }

    pub fn postgres_address(&self) -> SocketAddr {
        self.postgres.address()
    }

    /// What the database answers.
    pub fn query(&self, sql: &str) -> String {
        self.postgres.query(self.database(), sql)
    }

    /// How many lives each node has had, by number: one more for each start and each fence.
    pub fn lives(&self) -> String {
        self.query("SELECT string_agg(node || ':' || incarnation, ' ' ORDER BY node) FROM seckill.nodes")
    }

    /// How node `number` is started: quick to notice silence, and with no limit on a buyer's clicks.
    pub fn launch(&self, number: u16, more: &[(&str, &str)]) -> Launch {
        let (number, redis_url) = (number.to_string(), self.redis.url());
        let mut keys = vec![
            ("NODE__ID", number.as_str()),
            ("REDIS__URL", redis_url.as_str()),
            ("POSTGRES__URL", self.database_url.as_str()),
            ("POSTGRES__CONNECT_WAIT_MS", "30000"),
            ("LEDGER__BEAT_MS", "200"),
            ("LEDGER__SILENT_MS_MAX", "2000"),
            ("LEDGER__RECONCILE_MS", "200"),
            ("ADMISSION__BUYER_RATE_PER_S", "0"),
        ];
        keys.extend(more);
        Launch::new(&keys)
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        self.database_url.rsplit('/').next().expect("it has a name")
    }

    pub fn start(&self, number: u16) -> Engine {
        self.launch(number, &[]).start()
    }
}

/// All nodes have the sale on their boards.
pub fn known_to_all(engines: &[&Engine], sku: &str) {
    until("every node knows the sale", || engines.iter().all(|engine| engine.sale_state(sku)["sku"] == sku));
}

/// New buyers click on the nodes in turn until so many more have an order, whatever the others hear, also when a node is
/// starting over. Returns the buyers and their orders.
pub fn sell(engines: &[&Engine], sku: &str, units: usize) -> Vec<(String, String)> {
    static BUYERS: AtomicUsize = AtomicUsize::new(0);
    let mut won = Vec::new();
    let mut turn = 0;
    until("as many are sold", || {
        for _ in 0..10 {
            if won.len() == units {
                break;
            }
            turn += 1;
            let buyer = format!("in-turn-{}", BUYERS.fetch_add(1, Ordering::Relaxed));
            let Some(answer) = engines[turn % engines.len()].try_buy(sku, &buyer) else { continue };
            match answer.status {
                201 | 202 => won.push((buyer, answer.member("order_id"))),
                404 | 409 | 503 => {}
                _ => panic!("{} {}", answer.status, answer.body),
            }
        }
        won.len() == units
    });
    won
}

/// New buyers click on random nodes until every node says that the sale is sold out. Returns buyers and their orders.
pub fn sell_out(engines: &[&Engine], sku: &str) -> Vec<(String, String)> {
    static BUYERS: AtomicUsize = AtomicUsize::new(0);
    let won = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for first in 0..engines.len() {
            let won = &won;
            scope.spawn(move || {
                let mut over = HashSet::new();
                let mut turn = first;
                until("sold out on every node", || {
                    for _ in 0..10 {
                        turn += 1;
                        let node = turn % engines.len();
                        let buyer = format!("buyer-{}", BUYERS.fetch_add(1, Ordering::Relaxed));
                        // A node that is starting over answers nobody for a moment.
                        let Some(answer) = engines[node].try_buy(sku, &buyer) else { continue };
                        match (answer.status, answer.member("code").as_str()) {
                            (201 | 202, _) => {
                                let order = answer.member("order_id");
                                won.lock().unwrap().push((buyer, order));
                            }
                            (409, "sold-out") => drop(over.insert(node)),
                            (503, "overloaded") => {
                                assert!(answer.field("retry-after").is_some(), "{:?}", answer.fields);
                            }
                            _ => panic!("{} {}", answer.status, answer.body),
                        }
                    }
                    over.len() == engines.len()
                });
            });
        }
    });
    won.into_inner().unwrap()
}
