//! What can happen to the ledger: a Redis that takes no writes, is two, moves its slots, hangs behind its list of hosts.

use std::cell::RefCell;
use std::time::Instant;

use testbed::servers::cluster::Servers;
use testbed::servers::redis::{RedisServer, commands_at};
use testbed::servers::redis_cluster::RedisCluster;
use testbed::servers::sentinel::Sentinel;
use testbed::until;

use super::super::fixture::Fixture;
use super::super::round::{under_load, under_load_for_good};
use super::{LONG_CUT, victim, wait};
use crate::shared::redis_kinds::{OverTls, until_sentinels_know};

/// Small leases have the nodes ask often, and a list of hosts needs its time to be gone through.
const BUSY: [(&str, &str); 2] = [("LEDGER__LEASE_UNITS_MAX", "5"), ("REDIS__CONNECT_MS_MAX", "2000")];

/// Redis takes no writes for longer than anybody may be silent: nobody is fenced for it.
fn takes_no_writes(fixture: &Fixture, begins: impl FnOnce(), ends: impl FnOnce()) -> Instant {
    let lives = fixture.all_lives();
    begins();
    wait(LONG_CUT);
    assert_eq!(fixture.all_lives(), lives, "who is not heard judges nobody");
    ends();
    Instant::now()
}

#[test]
#[ignore = "the short form is shared::hearing::n1_a_redis_without_its_only_replica_has_nobody_fenced"]
fn redis_loses_the_replica_without_which_it_takes_no_writes() {
    let redis = RedisServer::start_with(&["--appendonly", "no", "--min-replicas-to-write", "1"]);
    let address = redis.address();
    let replica = RefCell::new(Some(RedisServer::start_replica(address)));
    until("the replica counts", || redis.command("INFO replication").contains("state=online"));
    let fixture = Fixture::on(|| Servers { redis, ..Servers::start() }, &[]);
    under_load("redis-replica-lost", fixture, |fixture, _| {
        let back = || drop(replica.replace(Some(RedisServer::start_replica(address))));
        takes_no_writes(&*fixture, || drop(replica.take()), back)
    });
}

#[test]
#[ignore = "the short form is shared::hearing::n1_a_redis_that_is_full_has_nobody_fenced"]
fn redis_is_full() {
    under_load("redis-full", Fixture::open(&[]), |fixture, _| {
        let redis = &fixture.cluster.redis;
        let limit = |bytes: &str| drop(redis.command(&format!("CONFIG SET maxmemory {bytes}")));
        takes_no_writes(&*fixture, || limit("1"), || limit("0"))
    });
}

/// A replica takes over for one node alone, while the others go on with the master; then all are led to the one or the other.
#[test]
fn redis_is_split_and_one_again() {
    let fixture = Fixture::open(&[]).with_replica().slowly().once();
    under_load("redis-split", fixture, |fixture, round| {
        let (_line, mut other) = fixture.replica.take().expect("it stands by");
        let alone = victim(fixture, round);
        let lines: Vec<_> = fixture.cluster.nodes.iter().filter_map(|node| node.to_redis.as_ref()).collect();
        other.promote();
        lines[alone].lead_to(other.address());
        wait(LONG_CUT);
        let stays = if round.is_multiple_of(2) { &other } else { &fixture.cluster.redis };
        lines.iter().for_each(|line| line.lead_to(stays.address()));
        let over = Instant::now();
        if round.is_multiple_of(2) {
            std::mem::swap(&mut fixture.cluster.redis, &mut other);
        }
        // Who is still connected to the one that is given up hears nothing more of it.
        drop(other);
        over
    });
}

#[test]
#[ignore = "the short form is shared::redis_kinds::n3_n10_a_master_that_hangs_behind_sentinels_with_a_password_of_their_own"]
fn sentinels_fail_over_three_times_while_one_of_them_hangs() {
    let first = RedisServer::start_in_memory();
    let port = first.address().port().to_string();
    let follower = || RedisServer::start_with(&["--appendonly", "no", "--replicaof", "127.0.0.1", &port]);
    let servers = [first, follower(), follower()];
    let watch = "sentinel down-after-milliseconds shop 1000\nsentinel failover-timeout shop 10000";
    let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(servers[0].address(), watch)).collect();
    until_sentinels_know(&sentinels, &[], 2);
    let url: Vec<_> = sentinels.iter().map(|sentinel| format!("redis://{}", sentinel.address())).collect();
    let plan = || Servers { redis_url: Some(url.join(",")), ..Servers::start() };
    let keys = [&BUSY[..], &[("REDIS__SENTINEL_MASTER", "shop")]].concat();
    let master_of = |sentinel: &Sentinel| {
        let said = commands_at(sentinel.address(), &["SENTINEL GET-MASTER-ADDR-BY-NAME shop"]);
        let is_named = |server: &RedisServer| said.contains(&format!("\n{}\n", server.address().port()));
        servers.iter().position(is_named).expect("they watch one of these")
    };
    // The sale is to last for all three.
    let mut fixture = Fixture::on(plan, &keys);
    fixture.pause_ms = 200..800;
    under_load("sentinel-failovers", fixture, |_, _| {
        for (place, hangs) in sentinels.iter().enumerate() {
            let master = master_of(hangs);
            until("somebody can take over", || {
                servers[master].command("INFO replication").contains("state=online")
            });
            hangs.pause();
            servers[master].pause();
            let others = || sentinels.iter().enumerate().filter(|(other, _)| *other != place);
            until("another one has taken over", || {
                others().all(|(_, sentinel)| master_of(sentinel) != master)
            });
            servers[master].go_on();
            hangs.go_on();
            // Whom a Sentinel tells to follow loses its clients: the new master is asked.
            let (_, watches) = others().next().expect("two of them");
            let new = &servers[master_of(watches)];
            until("the former master follows, and every Sentinel knows", || {
                let follow = new.command("INFO replication").matches("state=online").count();
                follow == servers.len() - 1 && master_of(hangs) != master
            });
        }
        Instant::now()
    });
}

#[test]
#[ignore = "the short form is shared::redis_kinds::n3_a_cluster_master_that_hangs_is_replaced_and_the_sale_goes_on"]
fn a_seed_of_a_redis_cluster_hangs() {
    let cluster = RedisCluster::start(3, true, &[]);
    let plan = || Servers { redis_url: Some(cluster.url()), ..Servers::start() };
    under_load_for_good(
        "cluster-seed-hangs",
        Fixture::on(plan, &BUSY).slowly(),
        |_, round| {
            // Each place of the list in its turn; the first time it has slots, which its replica takes over.
            cluster.masters[round % 3].pause();
            Instant::now()
        },
        |_, round| {
            cluster.masters[round % 3].go_on();
            cluster.until_whole();
        },
    );
}

#[test]
#[ignore = "the short form is shared::redis_kinds::n10_a_slot_that_moves_half_and_whole_during_a_sale"]
fn a_slot_of_a_redis_cluster_moves() {
    let cluster = RedisCluster::start(2, false, &[]);
    let plan = || Servers { redis_url: Some(cluster.url()), ..Servers::start() };
    let half = RefCell::new(None);
    under_load_for_good(
        "cluster-slot-moves",
        Fixture::on(plan, &BUSY).slowly(),
        |fixture, round| {
            let book = format!("{{default:test:{}}}", fixture.sku);
            let moving = cluster.begin_to_move(&book, 1 - cluster.owner_of(&book));
            fixture.until_sold(100);
            moving.move_keys();
            if round.is_multiple_of(2) {
                moving.finish();
            } else {
                // Its keys have moved, and nobody is told: it stays so until all is sold.
                half.replace(Some(moving));
            }
            Instant::now()
        },
        |_, _| {
            if let Some(moving) = half.take() {
                moving.finish();
            }
        },
    );
}

#[test]
#[ignore = "the short form is shared::redis_kinds::n10_a_sale_over_tls_with_an_authority_of_ones_own_a_client_certificate_and_a_user"]
fn redis_with_tls_and_users_is_killed() {
    let OverTls { server, url, keys, files: _files } = OverTls::start();
    let plan = || Servers { redis: server, redis_url: Some(url), ..Servers::start() };
    let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    under_load("redis-over-tls-killed", Fixture::on(plan, &keys), |fixture, _| {
        super::redis_is_killed(fixture, false)
    });
}
