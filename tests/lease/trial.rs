//! What a server lacks is found before anything is lent, by doing what lending does.

use seckill::ledger::redis::Eviction;

use crate::link::{link, refused, settings, unable};
use crate::server::RedisServer;

#[tokio::test]
async fn all_rights_that_are_missing_are_named_at_once() {
    let server = RedisServer::start_in_memory();
    server.command("ACL SETUSER weak on >weak ~seckill:* +@all -info -hset -xadd");
    let weak = link(&settings(&format!("redis://weak:weak@{}", server.address())));
    let said = refused(weak.trial().await);
    assert!(said.contains("(INFO, HSET, XADD)") && said.contains("ACL line"), "{said}");
    server.command("ACL SETUSER weak +@all -evalsha -eval");
    let said = refused(weak.trial().await);
    assert!(said.contains("evalsha") && said.contains("ACL line"), "{said}");
}

#[tokio::test]
async fn a_server_that_lacks_commands_or_scripts_or_is_too_old_is_told() {
    for (command, named) in [("XADD", "(XADD)"), ("EVALSHA", "EVALSHA")] {
        let server = RedisServer::start_with(&["--appendonly", "no", "--rename-command", command, ""]);
        let said = refused(link(&settings(&server.url())).trial().await);
        assert!(said.contains(named) && said.contains("Redis 5.0 or later"), "{said}");
    }
    // As a server of before would be: one that is asked for a version that nobody has.
    let server = RedisServer::start_in_memory();
    let trial = include_str!("../../lua/trial.lua").replace("OLDEST = 5", "OLDEST = 1000");
    let mut whole = redis::cmd("EVAL");
    whole.arg(trial).arg(1).arg("seckill:{trial}");
    let said = refused(link(&settings(&server.url())).send(&whole).await);
    assert!(
        said.contains("the server is Redis ") && said.contains("the oldest that lends is 1000.0"),
        "{said}"
    );
}

#[tokio::test]
async fn a_replica_does_not_lend_also_when_it_takes_writes() {
    let master = RedisServer::start_in_memory();
    let replica = RedisServer::start_replica(master.address());
    let link = link(&settings(&replica.url()));
    for read_only in ["yes", "no"] {
        replica.command(&format!("CONFIG SET replica-read-only {read_only}"));
        let said = unable(link.trial().await);
        assert!(said.contains("redis.url leads to a replica"), "{said}");
    }
    replica.promote();
    link.trial().await.expect("it is the master now");
}

#[tokio::test]
async fn what_becomes_of_books_when_the_server_is_full() {
    let server = RedisServer::start_in_memory();
    let link = link(&settings(&server.url()));
    assert_eq!(link.trial().await.unwrap(), Eviction::Never);
    for (policy, bytes, evicts) in [
        ("allkeys-lfu", "100mb", "books"),
        ("allkeys-lfu", "0", "not now"),
        ("volatile-ttl", "100mb", "not now"),
        ("noeviction", "100mb", "never"),
    ] {
        server.command(&format!("CONFIG SET maxmemory {bytes}"));
        server.command(&format!("CONFIG SET maxmemory-policy {policy}"));
        let found = match link.trial().await.unwrap() {
            Eviction::Books(said) => ("books", said),
            Eviction::NotNow(said) => ("not now", said),
            Eviction::Never => ("never", policy.to_owned()),
        };
        assert_eq!(found.0, evicts);
        assert!(found.1.contains(policy), "{found:?}");
    }
}

#[tokio::test]
async fn the_stream_of_events_is_tried_without_writing_to_it() {
    let server = RedisServer::start_in_memory();
    server.command("ACL SETUSER relay on >relay ~seckill:* +@all");
    let link = link(&settings(&format!("redis://relay:relay@{}", server.address())));
    link.try_stream("seckill:events").await.expect("it may be written");
    let said = refused(link.try_stream("shop:events").await);
    assert!(said.contains("shop:events") && said.contains("ACL line"), "{said}");
    server.command("ACL SETUSER relay ~shop:*");
    link.try_stream("shop:events").await.expect("the right was given");
    assert_eq!(server.command("DBSIZE"), "0\n", "nothing was written");
}
