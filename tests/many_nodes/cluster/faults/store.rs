//! What can happen to the order store: made anew, restored, failed over, hung behind its list of hosts, pooled, dumped.

use std::cell::RefCell;
use std::time::Instant;

use seckill::domain::OrderStatus;
use testbed::engine::Launch;
use testbed::servers::cluster::Servers;
use testbed::servers::pgbouncer::PgBouncer;
use testbed::servers::postgres::Postgres;

use super::super::fixture::Fixture;
use super::super::round::{STOCK, under_load, under_load_for_good};

/// Buyers are ready for orders that PostgreSQL loses, and engines start over where they are.
fn loses_orders(mut fixture: Fixture) -> Fixture {
    for node in 0..fixture.cluster.nodes.len() {
        fixture.kill(node);
        fixture.cluster.nodes[node].keep_addresses();
        fixture.start(node);
    }
    fixture.loses_orders = true;
    fixture.slowly()
}

/// Runs `back`, which takes the database back to what it was at some moment after `since`, and waits until every node has
/// noticed and started over.
fn goes_back(fixture: &mut Fixture, since: Instant, back: impl FnOnce(&mut Fixture)) -> Instant {
    const TIMELINE: &str = "seckill_store_timeline ";
    let before = fixture.metric(TIMELINE).into_iter().flatten().max().expect("they tell it");
    back(fixture);
    fixture.eventually("every node has started over", || {
        fixture.metric(TIMELINE).iter().all(|timeline| *timeline > Some(before))
    });
    let over = Instant::now();
    fixture.lost = Some((since, over));
    over
}

#[test]
#[ignore = "the short form is shared::store_history::n7_a_database_made_anew_under_a_redis_that_goes_on"]
fn the_database_is_made_anew() {
    under_load("database-anew", loses_orders(Fixture::open(&[])), |fixture, _| {
        let nodes = 0..fixture.cluster.nodes.len();
        nodes.clone().for_each(|node| fixture.kill(node));
        fixture.cluster.postgres.make_anew(&fixture.cluster.database, None);
        // Buyers are sent there when the sale is.
        fixture.cluster.nodes.iter_mut().for_each(|node| node.start());
        fixture.make_sale(STOCK);
        fixture.publish_addresses();
        let over = Instant::now();
        fixture.lost = Some((fixture.opened, over));
        over
    });
}

#[test]
#[ignore = "the short form is shared::store_history::n7_a_database_restored_under_engines_that_run"]
fn the_database_is_restored_from_a_dump() {
    under_load("database-restored", loses_orders(Fixture::open(&[])), |fixture, _| {
        let since = Instant::now();
        let dump = fixture.cluster.postgres.dump(&fixture.cluster.database);
        fixture.until_sold(100);
        goes_back(fixture, since, |fixture| {
            fixture.cluster.postgres.make_anew(&fixture.cluster.database, Some(&dump));
        })
    });
}

/// The cluster's former PostgreSQL, which does not run any more, follows the one that has taken over.
fn follows_again(fixture: &mut Fixture) {
    let mut former = fixture.standby.take().expect("it was the primary");
    former.crash();
    former.follow_anew(&fixture.cluster.postgres);
    fixture.standby = Some(former);
}

#[test]
#[ignore = "the short form is shared::store_history::n7_a_standby_that_takes_over_without_the_last_orders"]
fn a_standby_takes_over_without_the_last_orders() {
    under_load_for_good(
        "database-failed-over",
        loses_orders(Fixture::open_with_standby(&[])),
        |fixture, _| {
            let since = Instant::now();
            let standby = fixture.standby.as_ref().expect("it follows");
            standby.catch_up_with(&fixture.cluster.postgres);
            standby.stop_following();
            fixture.until_sold(100);
            goes_back(fixture, since, |fixture| {
                fixture.cluster.postgres.crash();
                fixture.standby.as_ref().expect("it followed").promote();
                fixture.swap_databases();
            })
        },
        |fixture, _| follows_again(fixture),
    );
}

fn all_connect_anew(postgres: &Postgres) {
    let end_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'seckill%'";
    postgres.query("postgres", end_all);
}

/// The primary is stopped, the standby takes over, and the former primary comes back as a standby, at its place in the list.
#[test]
fn the_old_primary_comes_back_as_a_standby() {
    under_load("postgres-switched-over", Fixture::open_with_standby(&[]).slowly().once(), |fixture, _| {
        fixture.cluster.postgres.stop();
        fixture.standby.as_ref().expect("it follows").promote();
        fixture.swap_databases();
        let mut former = fixture.standby.take().expect("it was the primary");
        former.follow(&fixture.cluster.postgres);
        // Whoever connects now meets it first.
        all_connect_anew(&fixture.cluster.postgres);
        fixture.standby = Some(former);
        Instant::now()
    });
}

#[test]
#[ignore = "the short form is store postgres::failover::n3_a_host_that_hangs_costs_its_share_of_the_time"]
fn a_host_of_the_list_of_databases_hangs() {
    under_load_for_good(
        "postgres-host-hangs",
        loses_orders(Fixture::open_with_standby(&[])),
        |fixture, round| {
            let since = Instant::now();
            if round.is_multiple_of(2) {
                // The standby hangs while all have to connect anew.
                fixture.standby.as_ref().expect("it follows").freeze(true);
                all_connect_anew(&fixture.cluster.postgres);
                return Instant::now();
            }
            // The primary hangs, and its standby takes over, without what it was not told any more.
            fixture.cluster.postgres.freeze(true);
            fixture.standby.as_ref().expect("it follows").promote();
            fixture.swap_databases();
            let over = Instant::now();
            fixture.lost = Some((since, over));
            over
        },
        |fixture, _| follows_again(fixture),
    );
}

#[test]
#[ignore = "the short form is shared::abilities::a_pooler_is_told_by_what_it_does_with_sessions"]
fn a_pooler_is_killed() {
    let pooler = RefCell::new(None);
    let plan = || {
        let servers = Servers::start();
        let sizes = "max_client_conn = 500\ndefault_pool_size = 80";
        let started = PgBouncer::start(servers.postgres.address(), "session", sizes);
        let url = servers.postgres.url_at(started.address(), "{database}");
        pooler.replace(Some(started));
        Servers { postgres_url: Some(url), ..servers }
    };
    under_load("pooler-killed", Fixture::on(plan, &[]), |_, _| {
        pooler.borrow_mut().as_mut().expect("it runs").restart();
        Instant::now()
    });
}

/// Nodes start through a pooler in transaction mode while others sell: they are told what to set, and cost nobody anything.
#[test]
#[ignore = "the short form is shared::abilities::a_pooler_is_told_by_what_it_does_with_sessions"]
fn a_node_starts_through_a_pooler_that_shares_sessions() {
    under_load("pooler-shares-sessions", Fixture::open(&[]).slowly(), |fixture, _| {
        let postgres: &Postgres = &fixture.cluster.postgres;
        let pooler = PgBouncer::start(postgres.address(), "transaction", "");
        let url = postgres.url_at(pooler.address(), &fixture.cluster.database);
        let redis = fixture.cluster.redis.url();
        let keys = [("NODE__ID", "9"), ("POSTGRES__URL", url.as_str()), ("REDIS__URL", redis.as_str())];
        let (code, said) = Launch::new(&keys).start_refused();
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("pool_mode = session"), "{said}");
        Instant::now()
    });
}

/// A dump that takes its time keeps old versions of rows meanwhile; what a quick one beside it has is whole.
#[test]
fn a_dump_is_made() {
    under_load("dump", Fixture::open(&[]).slowly().once(), |fixture, _| {
        let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM seckill.orders; SELECT pg_sleep(3); COMMIT";
        let postgres = &fixture.cluster.postgres;
        let dump = std::thread::scope(|scope| {
            scope.spawn(|| fixture.query(hold));
            postgres.dump(&fixture.cluster.database)
        });
        postgres.make_anew("dumped", Some(&dump));
        let differ = "SELECT count(*) FROM seckill.sales s WHERE (SELECT coalesce(sum(sold - returned), 0) FROM seckill.shares h \
                      WHERE h.sale_id = s.sale_id) <> (SELECT coalesce(sum(quantity), 0) FROM seckill.orders o \
                      WHERE o.sale_id = s.sale_id AND o.status = ANY('{HOLDING}'))";
        let holding = OrderStatus::ALL.iter().filter(|status| status.holds_units());
        let holding: Vec<_> = holding.map(|status| status.code().to_string()).collect();
        assert_eq!(postgres.query("dumped", &differ.replace("HOLDING", &holding.join(","))), "0");
        Instant::now()
    });
}
