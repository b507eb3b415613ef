//! Servers that change places, hang, or are not what they seem.

use std::error::Error;
use std::time::{Duration, Instant};

use seckill::domain::NodeId;
use seckill::orders::postgres::{Exclusivity, InstanceLock, PostgresSettings};
use seckill::orders::{Batch, Fault, Receipt, StoreReader, StoreWriter};
use testbed::servers::pgbouncer::PgBouncer;
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::{Mode, Proxy};
use testbed::{PATIENCE, until};
use tokio_postgres::error::DbError;

use super::node::{Node, settings};

/// Buys one unit, as often as it takes.
fn insist(node: &mut Node, sale: seckill::domain::SaleId, buyer: &str) {
    let batch = Batch { placed: vec![node.order(sale, buyer, 1, None)], ..Batch::default() };
    let give_up = Instant::now() + PATIENCE;
    loop {
        match node.writer.commit(&batch) {
            Err(error) => assert!(error.is_transient() && Instant::now() < give_up, "{error}"),
            Ok(receipt) => return assert!(matches!(receipt, Receipt::Committed { .. }), "{receipt:?}"),
        }
    }
}

/// Reads all sales, as often as it takes.
fn reads(node: &Node) -> usize {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match node.reader.sales() {
            Err(error) => assert!(error.is_transient() && Instant::now() < give_up, "{error}"),
            Ok(sales) => return sales.len(),
        }
    }
}

#[test]
fn o9_n9_a_first_host_that_comes_back_as_a_standby_is_passed_over() {
    let mut first = Postgres::start("");
    let database = first.new_database().rsplit('/').next().unwrap().to_owned();
    let second = first.start_standby();
    let url = format!("postgres://postgres@{},{}/{database}", first.address(), second.address());

    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 100, 10);
    insist(&mut node, sale, "before");
    // A standby alone is no server to sell from, and says what it is.
    let refused = Node::try_open(2, &second.url_at(second.address(), &database)).err().expect("a standby");
    assert!(refused.is_transient() && refused.message.contains("standby"), "{refused}");

    first.stop();
    second.promote();
    insist(&mut node, sale, "during");
    first.follow(&second);

    // The first host answers again, and takes no writes: whoever connects now goes to the second.
    let mut late = Node::open(3, &url);
    insist(&mut late, sale, "late");
    let end_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'seckill%'";
    second.query("postgres", end_all);
    insist(&mut node, sale, "after");
    assert_eq!(reads(&node), 1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lock =
        runtime.block_on(InstanceLock::take(&settings(&url), NodeId::new(4).unwrap(), Exclusivity::Shared));
    assert!(lock.is_ok(), "{lock:?}");
    assert_eq!(node.sold(sale), 4);

    // And back again.
    drop(lock);
    let (mut first, second) = (second, first);
    first.stop();
    second.promote();
    insist(&mut node, sale, "back");
    assert_eq!(reads(&late), 1);
    first.follow(&second);
    assert_eq!(node.sold(sale), 5);
}

/// The standby is away when a batch is committed, and the session that waits for it is ended.
#[test]
fn n14_a_batch_in_doubt_is_acknowledged_when_the_synchronous_standby_has_it() {
    let mut first = Postgres::start("");
    let database = first.new_database().rsplit('/').next().unwrap().to_owned();
    let mut second = first.start_standby();
    let url = format!("postgres://postgres@{},{}/{database}", first.address(), second.address());
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 100, 10);
    first.query("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
    first.query("postgres", "SELECT pg_reload_conf()");
    let in_step = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    until("the standby is synchronous", || first.query("postgres", in_step) == "1");
    insist(&mut node, sale, "before");

    second.stop();
    let order = node.order(sale, "ann", 1, None);
    let id = order.id;
    let batch = Batch { placed: vec![order], ..Batch::default() };
    std::thread::scope(|scope| {
        let first = &first;
        let waits = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        scope.spawn(move || {
            until("it waits", || first.query("postgres", &format!("SELECT count(*) {waits}")) == "1");
            first.query("postgres", &format!("SELECT pg_terminate_backend(pid) {waits}"));
        });
        assert!(node.writer.commit(&batch).unwrap_err().is_transient());
    });
    // Whoever reads this server finds it, and it is not to be relied on.
    assert!(node.reader.order(id).unwrap().is_some());
    for _ in 0..2 {
        let error = node.writer.commit(&batch).unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
    second.restart();
    let give_up = Instant::now() + PATIENCE;
    let receipt = loop {
        match node.writer.commit(&batch) {
            Err(error) => assert!(error.is_transient() && Instant::now() < give_up, "{error}"),
            Ok(receipt) => break receipt,
        }
    };
    assert!(matches!(receipt, Receipt::Committed { .. }), "{receipt:?}");
    first.stop();
    second.promote();
    let there = format!("SELECT count(*) FROM seckill.orders WHERE order_id = {}", id.number());
    assert_eq!(second.query(&database, &there), "1");
}

#[test]
fn n3_a_host_that_hangs_costs_its_share_of_the_time() {
    let postgres = Postgres::shared();
    let database = postgres.new_database().rsplit('/').next().unwrap().to_owned();
    let hangs = Proxy::to(postgres.address());
    let url = format!("postgres://postgres@{},{}/{database}", hangs.address(), postgres.address());
    // Longer than the test may take: only a share of it is waited for, and only once.
    let patient = PostgresSettings { connect_wait_ms: 30_000, ..settings(&url) };
    let mut before =
        Node::open_with(1, &PostgresSettings { statement_wait_ms: 1_000, ..settings(&url) }).unwrap();
    let sale = before.sale("a", 100, 10);
    hangs.set(Mode::Silence);
    let began = Instant::now();
    let mut node = Node::open_with(2, &patient).unwrap();
    insist(&mut node, sale, "ann");
    assert_eq!(node.reader.sales().unwrap().len(), 1);
    assert!(began.elapsed() < Duration::from_secs(120), "each connection waited");
    // Who was connected to the host that hangs now goes on with the other.
    insist(&mut before, sale, "bob");
    assert_eq!(reads(&before), 1);
    assert_eq!(node.sold(sale), 2);
}

#[test]
fn o11_a_password_that_was_changed_stalls_the_store_until_the_file_has_the_new_one() {
    let hba = "host all app 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";
    let postgres = Postgres::start_with("", &[("pg_hba.conf", hba)]);
    let database = postgres.new_database().rsplit('/').next().unwrap().to_owned();
    postgres.query("postgres", "CREATE ROLE app LOGIN SUPERUSER PASSWORD 'old'");
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "old\n").unwrap();
    let url = format!("postgres://app@{}/{database}", postgres.address());
    let settings = PostgresSettings { password_file: password_file.clone(), ..settings(&url) };

    let wrong = PostgresSettings { password_file: folder.path().join("none"), ..settings.clone() };
    let refused = Node::open_with(1, &wrong).err().expect("no password");
    assert!(refused.kind == Fault::Fatal && refused.message.contains("postgres.password_file"), "{refused}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lock =
        runtime.block_on(InstanceLock::take(&settings, NodeId::new(1).unwrap(), Exclusivity::Alone)).unwrap();
    let kept = runtime.spawn(lock.keep());
    let mut node = Node::open_with(1, &settings).unwrap();
    let sale = node.sale("a", 100, 10);
    insist(&mut node, sale, "before");

    postgres.query("postgres", "ALTER ROLE app PASSWORD 'new'");
    let end_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'";
    postgres.query("postgres", end_all);
    let batch = Batch { placed: vec![node.order(sale, "during", 1, None)], ..Batch::default() };
    let give_up = Instant::now() + PATIENCE;
    let said = loop {
        let error = node.writer.commit(&batch).unwrap_err();
        assert!(error.is_transient() && Instant::now() < give_up, "{error}");
        if error.message.contains("password authentication failed") {
            break error.message;
        }
    };
    assert!(said.contains("postgres.password_file"), "{said}");
    assert!(node.reader.sales().unwrap_err().is_transient());
    // The lock has looked, too: it was refused, and is still there.
    let refusals = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
    assert_eq!(postgres.query("postgres", refusals), "0");
    assert!(!kept.is_finished(), "the engine would have ended");

    std::fs::write(&password_file, "new\n").unwrap();
    assert!(matches!(node.writer.commit(&batch), Ok(Receipt::Committed { .. })));
    assert_eq!(node.sold(sale), 2);
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    while postgres.query(&database, locks) == "0" {
        assert!(Instant::now() < give_up, "the lock is taken again");
    }
    assert!(!kept.is_finished());
}

#[test]
fn n16_a_refusal_that_nobody_knows_ends_no_engine() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 100, 10);
    // The right is withdrawn, the function is gone for a moment, an extension speaks in its own codes.
    let broken = [
        (
            "42P01",
            "ALTER TABLE seckill.orders RENAME TO orders_away",
            "ALTER TABLE seckill.orders_away RENAME TO orders",
        ),
        (
            "ZZ9ZZ",
            "CREATE FUNCTION seckill.odd() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'odd' USING ERRCODE = 'ZZ9ZZ'; END $$; \
             CREATE TRIGGER odd BEFORE INSERT ON seckill.orders FOR EACH STATEMENT EXECUTE FUNCTION seckill.odd()",
            "DROP TRIGGER odd ON seckill.orders",
        ),
    ];
    for (buyer, (code, breaks, mends)) in ["ann", "bob"].into_iter().zip(broken) {
        postgres.query(database, breaks);
        let batch = Batch { placed: vec![node.order(sale, buyer, 1, None)], ..Batch::default() };
        let error = node.writer.commit(&batch).unwrap_err();
        assert!(error.is_transient() && error.message.contains("SQLSTATE"), "{error}");
        assert_eq!(error.sqlstate.as_deref(), Some(code));
        assert!(error.source().is_some_and(|cause| cause.is::<DbError>()), "{error:?}");
        postgres.query(database, mends);
        insist(&mut node, sale, buyer);
    }
    // What the tables refuse for good, memory is wrong about: only a new start reads the truth.
    postgres.query(database, "ALTER TABLE seckill.orders ADD CONSTRAINT no_cid CHECK (buyer <> 'cid')");
    let batch = Batch { placed: vec![node.order(sale, "cid", 1, None)], ..Batch::default() };
    let error = node.writer.commit(&batch).unwrap_err();
    assert_eq!((error.kind, error.sqlstate.as_deref()), (Fault::Fatal, Some("23514")));
}

#[test]
fn n16_a_database_of_a_newer_engine_is_not_called_damaged() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    drop(Node::open(1, &url));
    postgres.query(url.rsplit('/').next().unwrap(), "INSERT INTO seckill.version VALUES (1000)");
    let refused = Node::try_open(1, &url).err().expect("it is newer");
    assert!(refused.kind == Fault::Fatal && refused.message.contains("newer engine"), "{refused}");
    assert!(!refused.message.contains("backup"), "{refused}");
}

#[test]
fn n12_a_pooler_that_shares_sessions_is_refused_at_the_start() {
    let postgres = Postgres::shared();
    let database = postgres.new_database().rsplit('/').next().unwrap().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let take = |pooler: &PgBouncer, node: u16| {
        let url = postgres.url_at(pooler.address(), &database);
        runtime.block_on(InstanceLock::take(&settings(&url), NodeId::new(node).unwrap(), Exclusivity::Shared))
    };
    for (node, (mode, more)) in (1..).zip([
        ("transaction", ""),
        ("transaction", "server_round_robin = 1\nmin_pool_size = 3"),
        ("statement", ""),
    ]) {
        let pooler = PgBouncer::start(postgres.address(), mode, more);
        // A pool that is warm, and one that is not.
        for _ in 0..2 {
            let refused = take(&pooler, node).expect_err("sessions are shared");
            assert_eq!(refused.kind, Fault::Fatal, "{mode}: {refused}");
            assert!(refused.message.contains("pool_mode = session"), "{mode}: {refused}");
        }
    }
    let honest = PgBouncer::start(postgres.address(), "session", "");
    let lock = take(&honest, 9).unwrap();
    let mut node = Node::open(9, &postgres.url_at(honest.address(), &database));
    let sale = node.sale("a", 10, 10);
    insist(&mut node, sale, "ann");
    drop(lock);
}
