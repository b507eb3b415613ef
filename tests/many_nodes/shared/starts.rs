//! A start that a server holds up goes on when the server lets it, and ends only by what an operator has to change.

use rustix::process::Signal;
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::{Mode, Proxy};
use testbed::until;
use testbed::watched::WatchedEngine;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// Taken by an engine that brings the tables up to date.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(1936024427)";

/// A transaction of somebody else's, which holds what it has locked until it ends.
pub struct Holding {
    runtime: Runtime,
    client: Client,
}

impl Holding {
    pub fn of(url: &str, statement: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&format!("BEGIN; {statement}")).await.unwrap();
            client
        });
        Self { runtime, client }
    }

    pub fn end(self) {
        self.runtime.block_on(self.client.batch_execute("COMMIT")).unwrap();
    }
}

/// A database, and an engine that is about to start on it.
struct Scene {
    postgres: std::sync::Arc<Postgres>,
    url: String,
    engine: WatchedEngine,
}

impl Scene {
    fn new() -> Self {
        let postgres = Postgres::shared();
        let url = postgres.new_database();
        Self { postgres, url, engine: WatchedEngine::prepare() }
    }

    fn database(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    fn query(&self, sql: &str) -> String {
        self.postgres.query(self.database(), sql)
    }

    /// Starts the engine on the database at `url`.
    fn run(&mut self, url: &str, keys: &[(&str, &str)]) {
        let keys = [&[("POSTGRES__URL", url), ("POSTGRES__CONNECT_WAIT_MS", "60000")], keys].concat();
        let command = self.engine.command("", &keys);
        self.engine.run(command);
    }

    /// Waits until one of the engine's sessions waits for a lock; which one.
    fn until_it_waits(&self) -> String {
        let waiting = "SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE datname = current_database() \
                       AND application_name LIKE 'seckill node%' AND wait_event_type = 'Lock'";
        let mut pid = String::new();
        until("the engine waits for a lock", || {
            pid = self.query(waiting);
            !pid.is_empty()
        });
        pid
    }

    /// How often the log has a line with this.
    fn told(&self, what: &str) -> usize {
        self.engine.log_text().lines().filter(|line| line.contains(what)).count()
    }

    /// Why `/readyz` says that the start does not go on, once it says so.
    fn reason(&self) -> String {
        let mut said = String::new();
        until("the reason is shown", || {
            let Some(answer) = self.engine.asks("/readyz") else { return false };
            said = answer.json()["reasons"]["store"].as_str().unwrap_or_default().to_owned();
            !said.is_empty()
        });
        said
    }

    /// It sells after all, and has said what it waited for.
    fn goes_on(&self) {
        self.engine.wait_until_ready();
        until("both ends are told", || self.told("start-waits") >= 1 && self.told("start-goes-on") >= 1);
        let metrics = self.engine.asks("/metrics").unwrap().body;
        let retries = metrics.lines().find_map(|line| line.strip_prefix("seckill_start_retries_total "));
        assert!(retries.is_some_and(|count| count != "0"), "{retries:?}");
        self.engine.sale("a", 1, "");
        assert_eq!(self.engine.buy("a", "ann").status, 201);
    }
}

#[test]
fn a_start_whose_first_transaction_the_server_ends_for_idling_tries_again() {
    let mut scene = Scene::new();
    let line = Proxy::to(scene.postgres.address());
    let holding = Holding::of(&scene.url, MIGRATION_LOCK);
    let url = scene.postgres.url_at(line.address(), scene.database());
    scene.run(&url, &[("POSTGRES__STATEMENT_WAIT_MS", "2000")]);
    scene.until_it_waits();
    // What it asks next does not arrive, as if it had no processor: the server sees a transaction in which nothing happens.
    line.set(Mode::HoldRequests);
    holding.end();
    until("the server ends it", || scene.told("25P03") >= 1);
    line.set(Mode::Pass);
    scene.goes_on();
}

#[test]
fn a_start_whose_connection_is_ended_in_the_middle_says_so_and_tries_again() {
    let mut scene = Scene::new();
    let holding = Holding::of(&scene.url, MIGRATION_LOCK);
    scene.run(&scene.url.clone(), &[]);
    let pid = scene.until_it_waits();
    scene.query(&format!("SELECT pg_terminate_backend({pid})"));
    let said = scene.reason();
    assert!(said.contains("administrator command"), "{said}");
    assert_eq!(scene.engine.asks("/livez").unwrap().status, 200);
    holding.end();
    scene.goes_on();
}

#[test]
fn a_start_waits_for_rows_that_somebody_holds() {
    let mut scene = Scene::new();
    // Its tables are there.
    scene.engine.start("", &[("POSTGRES__URL", &scene.url)]);
    scene.engine.signal(Signal::TERM);
    assert_eq!(scene.engine.wait_for_end().code(), Some(0));
    let holding = Holding::of(&scene.url, "LOCK TABLE seckill.nodes IN ACCESS EXCLUSIVE MODE");
    scene.run(&scene.url.clone(), &[("POSTGRES__LOCK_WAIT_MS", "100")]);
    until("the lock is told", || scene.told("55P03") >= 1);
    assert!(scene.reason().contains("lock timeout"), "{}", scene.reason());
    holding.end();
    scene.goes_on();
}

#[test]
fn a_start_waits_until_it_may_connect_and_can_be_stopped_meanwhile() {
    let mut scene = Scene::new();
    scene.query("CREATE ROLE patient LOGIN CONNECTION LIMIT 0");
    scene.query(&format!("GRANT CREATE ON DATABASE {} TO patient", scene.database()));
    let url = scene.url.replace("postgres@", "patient@");
    scene.run(&url, &[]);
    let said = scene.reason();
    assert!(said.contains("too many connections"), "{said}");
    until("it is told", || scene.told("53300") >= 1);
    scene.engine.signal(Signal::TERM);
    assert_eq!(scene.engine.wait_for_end().code(), Some(0), "a stop is a stop");
    scene.run(&url, &[]);
    until("it waits again", || scene.told("53300") >= 2);
    scene.query("ALTER ROLE patient CONNECTION LIMIT -1");
    scene.goes_on();
}

#[test]
fn a_start_waits_for_a_server_that_is_not_there_yet_or_is_no_primary_yet() {
    let mut first = Postgres::start("");
    let database = first.new_database().rsplit('/').next().unwrap().to_owned();
    let standby = first.start_standby();
    until("the standby has the database", || {
        standby.query("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'"))
            == "1"
    });
    first.stop();
    let mut scene = Scene::new();
    let url = format!("postgres://postgres@{},{}/{database}", first.address(), standby.address());
    scene.run(&url, &[]);
    let said = scene.reason();
    assert!(said.contains("refused") && said.contains("is a standby"), "{said}");
    standby.promote();
    scene.goes_on();
}

#[test]
fn tables_that_take_long_to_bring_up_to_date_are_waited_for() {
    let mut scene = Scene::new();
    scene.query("CREATE SCHEMA seckill; CREATE TABLE seckill.version (version integer PRIMARY KEY)");
    let holding = Holding::of(&scene.url, "LOCK TABLE seckill.version IN SHARE MODE");
    let short = [("POSTGRES__LOCK_WAIT_MS", "100"), ("POSTGRES__STATEMENT_WAIT_MS", "2000")];
    scene.run(&scene.url.clone(), &short);
    scene.until_it_waits();
    let longer = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                  AND wait_event_type = 'Lock' AND now() - query_start > interval '4 s'";
    until("it has waited for longer than any other statement may", || scene.query(longer) == "1");
    assert_eq!(scene.told("start-waits"), 0, "and that is no failure");
    holding.end();
    scene.engine.wait_until_ready();
    scene.engine.sale("a", 1, "");
    assert_eq!(scene.engine.buy("a", "ann").status, 201);
}
