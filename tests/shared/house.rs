//! A house of several engines.

use std::time::{Duration, Instant};

use crate::common::engine::{Engine, Launch};
use crate::postgres::Postgres;
use crate::redis_server::RedisServer;

/// Nothing that these tests wait for takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One database, one Redis, and the way to start engines on them.
pub struct House {
    postgres: std::sync::Arc<Postgres>,
    pub redis: RedisServer,
    pub database_url: String,
}

impl House {
    pub fn open() -> Self {
        let postgres = Postgres::shared();
        let database_url = postgres.new_database();
        Self { postgres, redis: RedisServer::start(), database_url }
    }

    /// How node `number` is started: quick to notice silence, and with no limit on a buyer's clicks.
    pub fn launch(&self, number: u16, more: &[(&str, &str)]) -> Launch {
        let (number, redis_url) = (number.to_string(), self.redis.url());
        let mut keys = vec![
            ("NODE__ID", number.as_str()),
            ("REDIS__URL", redis_url.as_str()),
            ("POSTGRES__URL", self.database_url.as_str()),
            ("LEDGER__BEAT_MS", "200"),
            ("LEDGER__SILENT_MS_MAX", "2000"),
            ("LEDGER__RECONCILE_MS", "200"),
            ("ADMISSION__BUYER_RATE_PER_S", "0"),
        ];
        keys.extend(more);
        Launch::new(&keys)
    }

    pub fn start(&self, number: u16) -> Engine {
        self.launch(number, &[]).start()
    }

    /// What the database answers.
    pub fn query(&self, sql: &str) -> String {
        let name = self.database_url.rsplit('/').next().unwrap();
        self.postgres.query(name, sql)
    }
}

/// Waits until `holds`.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up_at, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
