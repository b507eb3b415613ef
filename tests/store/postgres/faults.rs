//! Between a node and its store everything can break, at any moment. What was acknowledged is there, what was refused is
//! not, and what nobody knows is found out.

use std::time::{Duration, Instant};

use seckill::domain::{NewOrder, SaleId};
use seckill::orders::{Batch, Fault, Receipt, StoreError, StoreReader, StoreWriter};
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::{Mode, Proxy};

use super::node::Node;

/// What any one call may take, whatever is broken: the limits of the settings and the slowness of the machine.
const BOUND: Duration = Duration::from_secs(120);

/// A node behind a proxy, with a sale, its two connections made, and a monitor past the proxy.
struct Scene {
    postgres: std::sync::Arc<Postgres>,
    database: String,
    proxy: Proxy,
    node: Node,
    monitor: Node,
    sale: SaleId,
}

impl Scene {
    fn new() -> Self {
        let postgres = Postgres::shared();
        let url = postgres.new_database();
        let database = url.rsplit('/').next().unwrap().to_owned();
        let proxy = Proxy::to(postgres.address());
        let mut node = Node::open(1, &postgres.url_at(proxy.address(), &database));
        let monitor = Node::open(2, &url);
        let sale = node.sale("a", 100, 2);
        node.buy(sale, "first", None).unwrap();
        Self { postgres, database, proxy, node, monitor, sale }
    }

    fn batch(&self, buyers: &[&str]) -> Batch {
        let placed = buyers.iter().map(|buyer| self.node.order(self.sale, buyer, 1, None)).collect();
        Batch { placed, ..Batch::default() }
    }

    fn stored(&self, order: &NewOrder) -> bool {
        self.monitor.reader.order(order.id).unwrap().is_some()
    }
}

fn transient<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, Fault::Transient, "{error}");
}

/// Offers the batch until the store has an answer.
fn insist(node: &mut Node, batch: &Batch) -> Receipt {
    let deadline = Instant::now() + BOUND;
    loop {
        match node.writer.commit(batch) {
            Err(error) if error.is_transient() => assert!(Instant::now() < deadline, "{error}"),
            other => return other.unwrap(),
        }
    }
}

fn committed(refused: usize) -> impl Fn(Receipt) {
    move |receipt| match receipt {
        Receipt::Committed { refused: found, .. } => assert_eq!(found.len(), refused, "{found:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_commit_whose_answer_was_lost_is_found_and_not_done_twice() {
    let mut scene = Scene::new();
    let batch = scene.batch(&["ann", "bob"]);
    scene.proxy.set(Mode::LoseAnswers);
    transient(scene.node.writer.commit(&batch));
    assert!(scene.proxy.lost() > 0);
    transient(scene.node.writer.commit(&batch));
    scene.proxy.set(Mode::Pass);
    let found = insist(&mut scene.node, &batch);
    committed(0)(found);
    assert!(batch.placed.iter().all(|order| scene.stored(order)));
    assert_eq!(scene.monitor.sold(scene.sale), 3);
    scene.node.buy(scene.sale, "cid", None).unwrap();
}

#[test]
fn the_refusals_of_a_commit_whose_answer_was_lost_are_found_too() {
    let mut scene = Scene::new();
    for _ in 0..2 {
        scene.monitor.buy(scene.sale, "bob", None).unwrap();
    }
    let batch = scene.batch(&["ann", "bob", "first"]);
    scene.proxy.set(Mode::LoseAnswers);
    transient(scene.node.writer.commit(&batch));
    scene.proxy.set(Mode::Pass);
    match insist(&mut scene.node, &batch) {
        Receipt::Committed { refused, .. } => {
            assert_eq!(refused.iter().map(|it| it.order).collect::<Vec<_>>(), [batch.placed[1].id]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.monitor.sold(scene.sale), 5);
}

#[test]
fn a_commit_that_never_arrived_is_done_once() {
    let mut scene = Scene::new();
    let batch = scene.batch(&["ann", "bob"]);
    scene.proxy.set(Mode::LoseRequests);
    transient(scene.node.writer.commit(&batch));
    scene.proxy.set(Mode::Pass);
    let done = insist(&mut scene.node, &batch);
    committed(0)(done);
    assert_eq!(scene.monitor.sold(scene.sale), 3);
}

/// The request lies in the network until long after the node has given it up, and arrives after all.
#[test]
fn a_commit_that_arrives_after_it_was_given_up_is_turned_away() {
    let mut scene = Scene::new();
    let late = scene.batch(&["ann"]);
    let query = |scene: &Scene, sql: &str| scene.postgres.query(&scene.database, sql);
    // The session on which the node committed last, as long as it has done nothing more or is at it.
    let writing = "SELECT format('pid = %s AND (state <> %L OR state_change = %L)', pid, 'idle', state_change) \
                   FROM pg_stat_activity WHERE application_name = 'seckill node 1' \
                   AND datname = current_database() ORDER BY state_change DESC LIMIT 1";
    let writing = query(&scene, writing);
    scene.proxy.set(Mode::HoldRequests);
    transient(scene.node.writer.commit(&late));
    // A new connection passes: the number is burned, and the same batch is committed under the next one.
    let done = insist(&mut scene.node, &late);
    committed(0)(done);
    let next = scene.batch(&["bob"]);
    let done = insist(&mut scene.node, &next);
    committed(0)(done);
    scene.proxy.set(Mode::Pass);
    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE {writing}");
    let deadline = Instant::now() + BOUND;
    while query(&scene, &there) != "0" {
        assert!(Instant::now() < deadline, "what was held does not arrive");
    }
    assert_eq!(scene.monitor.sold(scene.sale), 3);
    assert_eq!(scene.monitor.events().len(), 3);
}

#[test]
fn a_store_that_falls_silent_is_given_up_in_time_and_loses_nothing() {
    let mut scene = Scene::new();
    let batch = scene.batch(&["ann"]);
    scene.proxy.set(Mode::Silence);
    let began = Instant::now();
    transient(scene.node.writer.commit(&batch));
    transient(scene.node.writer.commit(&batch));
    transient(scene.node.reader.sales());
    assert!(began.elapsed() < BOUND);
    scene.proxy.set(Mode::Pass);
    let done = insist(&mut scene.node, &batch);
    committed(0)(done);
    assert_eq!(scene.node.reader.sales().unwrap().len(), 1);
    assert_eq!(scene.monitor.sold(scene.sale), 2);
}

#[test]
fn a_row_that_somebody_holds_delays_the_batch_and_nothing_else() {
    let mut scene = Scene::new();
    let batch = scene.batch(&["ann"]);
    std::thread::scope(|scope| {
        let (postgres, database) = (&scene.postgres, &scene.database);
        let hold = format!(
            "BEGIN; UPDATE seckill.shares SET sold = sold WHERE sale_id = {}; SELECT pg_sleep(120)",
            scene.sale.0
        );
        // It ends by being ended.
        let held = scope.spawn(move || {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| postgres.query(database, &hold)))
                .is_err()
        });
        let holding = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
        let deadline = Instant::now() + BOUND;
        while postgres.query(database, &format!("SELECT count(*) {holding}")) == "0" {
            assert!(Instant::now() < deadline);
        }
        let given_up = scene.node.writer.commit(&batch);
        let stored = scene.monitor.reader.order(batch.placed[0].id).unwrap().is_some();
        postgres.query(database, &format!("SELECT pg_terminate_backend(pid) {holding}"));
        assert!(held.join().unwrap());
        transient(given_up);
        assert!(!stored);
    });
    let done = insist(&mut scene.node, &batch);
    committed(0)(done);
    assert_eq!(scene.monitor.sold(scene.sale), 2);
}

#[test]
fn a_sale_whose_making_was_not_acknowledged_is_made_once() {
    let mut scene = Scene::new();
    let (key, terms) = (super::node::key("b"), super::node::terms(3));
    scene.proxy.set(Mode::LoseAnswers);
    transient(scene.node.writer.create_sale(&key, &terms, 7, None));
    scene.proxy.set(Mode::Pass);
    let made = loop {
        match scene.node.writer.create_sale(&key, &terms, 7, None) {
            Err(error) if error.is_transient() => {}
            other => break other.unwrap(),
        }
    };
    assert_eq!(made.expect("it is this writer's own").key, key);
    assert_eq!(
        scene.node.writer.create_sale(&key, &terms, 7, None).unwrap(),
        None,
        "asked again, the name is taken"
    );
}

#[test]
fn a_server_that_crashes_and_comes_back_has_everything_that_was_acknowledged() {
    let mut postgres = Postgres::start("");
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 1_000, 1);
    for round in 0..3 {
        let acknowledged = node.buy(sale, &format!("before-{round}"), None).unwrap();
        postgres.crash();
        let placed = vec![node.order(sale, &format!("during-{round}"), 1, None)];
        let batch = Batch { placed, ..Batch::default() };
        transient(node.writer.commit(&batch));
        transient(node.reader.sales());
        postgres.restart();
        committed(0)(insist(&mut node, &batch));
        assert!(node.reader.order(acknowledged).unwrap().is_some());
        assert_eq!(node.sold(sale), 2 * (round + 1));
    }
    postgres.stop();
    postgres.restart();
    assert_eq!(node.sold(sale), 6);
    let figures = node.reader.pool_figures();
    assert!(figures.broken >= 3 && figures.failed >= 3 && figures.opened > figures.broken, "{figures:?}");
}
