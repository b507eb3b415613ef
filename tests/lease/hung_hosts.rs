//! N3: one host of a list hangs (its process is stopped) and costs its share of the time, not the whole.

use std::time::Duration;

use redis::Value;
use seckill::ledger::redis::{RedisLink, RedisSettings};
use testbed::PATIENCE;
use testbed::servers::redis_cluster::RedisCluster;
use testbed::servers::sentinel::Sentinel;
use tokio::time::{Instant, sleep};

use crate::server::RedisServer;

/// As long as an operator would wait, and not longer than a test may take.
fn link(url: String, more: RedisSettings) -> RedisLink {
    let settings = RedisSettings {
        url: url.as_str().into(),
        answer_ms_max: 2_000,
        connect_ms_max: 6_000,
        reconnect_pause_ms: 0,
        ..more
    };
    settings.check().unwrap();
    RedisLink::new(&settings).unwrap()
}

/// Sends the command until it is answered.
async fn insist(link: &RedisLink, command: &redis::Cmd) -> Value {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match link.send(command).await {
            Ok(Ok(value)) => return value,
            other => assert!(Instant::now() < give_up, "{other:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn set(key: &str) -> redis::Cmd {
    let mut command = redis::cmd("HSET");
    command.arg(key).arg("field").arg(1);
    command
}

#[tokio::test]
async fn n3_a_cluster_of_which_one_seed_hangs() {
    let cluster = RedisCluster::start(3, true, &[]);
    // A key of each master.
    let key_of = |place: usize| {
        let mut keys = (0..).map(|number| format!("seckill:{{{number}}}:key"));
        keys.find(|key| cluster.owner_of(key) == place).expect("every master has slots")
    };
    let (hung, alive) = (key_of(0), key_of(1));
    cluster.masters[0].pause();
    // Its first seed, and the owner of a third of the slots.
    let late = link(cluster.url(), RedisSettings::default());
    insist(&late, &set(&alive)).await;
    // Its replica takes its slots over.
    insist(&late, &set(&hung)).await;
    insist(&late, &set(&alive)).await;
    cluster.masters[0].go_on();
    insist(&late, &set(&hung)).await;
}

#[tokio::test]
async fn n3_sentinels_of_which_the_first_hangs_and_a_master_that_hangs() {
    let master = RedisServer::start();
    let replica = RedisServer::start_replica(master.address());
    let watch = "sentinel down-after-milliseconds shop 1000\nsentinel failover-timeout shop 10000";
    let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(master.address(), watch)).collect();
    let url: Vec<_> = sentinels.iter().map(|sentinel| format!("redis://{}/3", sentinel.address())).collect();
    let settings = RedisSettings { sentinel_master: "shop".into(), ..RedisSettings::default() };
    let link = link(url.join(","), settings);
    insist(&link, &set("seckill:before")).await;
    for sentinel in &sentinels {
        let knows_all = || {
            let about = crate::server::command_at(sentinel.address(), "SENTINEL MASTER shop");
            let word = |name: &str| about.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned);
            word("num-other-sentinels").as_deref() == Some("2") && word("num-slaves").as_deref() == Some("1")
        };
        testbed::until("the Sentinels know each other and the replica", knows_all);
    }
    sentinels[0].pause();
    master.pause();
    insist(&link, &set("seckill:after")).await;
    assert!(replica.command("INFO replication").contains("role:master"), "the replica has taken over");
    assert!(replica.command("INFO keyspace").contains("db3:"), "in the database of the address");
    master.go_on();
    sentinels[0].go_on();
    insist(&link, &set("seckill:again")).await;
    assert!(replica.command("INFO replication").contains("role:master"));
}
