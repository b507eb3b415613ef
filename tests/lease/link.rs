//! The way to Redis: what it refuses is said with what to do, and every kind of server is found.

use std::fmt::Debug;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;
use seckill::ledger::redis::{RedisFault, RedisLink, RedisSettings};
use testbed::PATIENCE;
use testbed::certificates::{Authority, Files};
use testbed::servers::proxy::{Mode, Proxy};
use testbed::servers::sentinel::{FailedOver, Sentinel};

use crate::server::RedisServer;

pub fn settings(url: &str) -> RedisSettings {
    RedisSettings {
        url: url.into(),
        answer_ms_max: 20_000,
        connect_ms_max: 20_000,
        reconnect_pause_ms: 0,
        ..RedisSettings::default()
    }
}

pub fn link(settings: &RedisSettings) -> RedisLink {
    settings.check().unwrap();
    RedisLink::new(settings).unwrap()
}

/// What was refused for good.
pub fn refused<T: Debug>(outcome: Result<T, RedisFault>) -> String {
    match outcome {
        Err(RedisFault::Refused(said)) => said,
        other => panic!("{other:?}"),
    }
}

/// What may pass.
pub fn unable<T: Debug>(outcome: Result<T, RedisFault>) -> String {
    match outcome {
        Err(RedisFault::Unable(said)) => said,
        other => panic!("{other:?}"),
    }
}

/// The page's line that makes the engine's user.
fn acl_line() -> &'static str {
    let page = include_str!("../../src/ledger/NODES.md");
    page.lines().find(|line| line.starts_with("ACL SETUSER seckill ")).expect("the page has the line")
}

#[tokio::test]
async fn o10_n10_what_redis_refuses_is_said_with_what_to_do() {
    let server = RedisServer::start_in_memory();
    let at = |login: &str| format!("redis://{login}{}", server.address());
    server.command("ACL SETUSER weak on >weak ~seckill:* +@all -info");
    let weak = link(&settings(&at("weak:weak@")));
    let said = refused(weak.trial().await);
    assert!(said.contains("INFO") && said.contains("ACL line in src/ledger/NODES.md"), "{said}");
    server.command("ACL SETUSER weak +info");
    weak.trial().await.expect("the right was given");

    server.command("ACL SETUSER narrow on >narrow ~other:* +@all");
    let said = refused(link(&settings(&at("narrow:narrow@"))).trial().await);
    assert!(said.contains("ACL line in src/ledger/NODES.md"), "{said}");

    server.command("CONFIG SET maxmemory 1");
    let said = unable(weak.trial().await);
    assert!(said.contains("maxmemory"), "{said}");
    server.command("CONFIG SET maxmemory 0");
    weak.trial().await.expect("there is room again");

    let said = refused(link(&settings(&at("weak:wrong@"))).trial().await);
    assert!(said.contains("redis.password"), "{said}");
    server.command("CONFIG SET requirepass secret");
    let said = refused(link(&settings(&at(""))).trial().await);
    assert!(said.contains("redis.password"), "{said}");
    let by_key = RedisSettings { password: "secret".into(), ..settings(&at("")) };
    link(&by_key).trial().await.expect("the password of the settings");
}

#[tokio::test]
async fn o10_the_rights_of_the_readme_are_enough_and_cover_every_script() {
    let server = RedisServer::start_in_memory();
    assert_eq!(server.command(&acl_line().replace("PASSWORD", "secret")), "OK\n");
    let user = link(&settings(&format!("redis://seckill:secret@{}/2", server.address())));
    user.trial().await.expect("the line of the page is enough");

    let rights = acl_line().to_lowercase();
    let trial = include_str!("../../lua/trial.lua").to_lowercase();
    for script in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/lua")).unwrap().flatten() {
        let text = std::fs::read_to_string(script.path()).unwrap().to_lowercase();
        for call in ["redis.call('", "redis.pcall('"] {
            for after in text.split(call).skip(1) {
                let command = after.split('\'').next().unwrap();
                assert!(
                    rights.contains(&format!("+{command}")),
                    "{command} of {script:?} is not on the page"
                );
                assert!(trial.contains(&format!("{{ '{command}'")), "{command} of {script:?} is not tried");
            }
        }
    }
}

#[tokio::test]
async fn n10_an_authority_of_ones_own_and_a_client_certificate() {
    let (authority, files) = (Authority::new("authority"), Files::default());
    let ca_file = files.write("ca.pem", authority.pem());
    let own = |name: &str| files.write_pair(name, &authority.sign("127.0.0.1"));
    let (server_cert, server_key) = own("server");
    let (client_cert_file, client_key_file) = own("client");
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let words = [
        "--port",
        "0",
        "--tls-port",
        "{port}",
        "--tls-auth-clients",
        "yes",
        "--tls-cert-file",
        &path(&server_cert),
        "--tls-key-file",
        &path(&server_key),
        "--tls-ca-cert-file",
        &path(&ca_file),
    ];
    let server = RedisServer::start_with(&words);
    let nobody = settings(&format!("rediss://{}", server.address()));
    let said = refused(link(&nobody).trial().await);
    assert!(said.contains("redis.ca_file"), "{said}");
    let without_own = RedisSettings { ca_file, ..nobody };
    let said = refused(link(&without_own).trial().await);
    assert!(said.contains("redis.client_cert_file"), "{said}");
    let with_own = RedisSettings { client_cert_file, client_key_file, ..without_own };
    link(&with_own).trial().await.expect("both are who they say");

    let half = RedisSettings { client_key_file: "".into(), ..with_own.clone() };
    assert_eq!(half.check().unwrap_err().field, "client_cert_file");
    let in_the_clear = RedisSettings { url: "redis://127.0.0.1:1".into(), ..with_own };
    assert_eq!(in_the_clear.check().unwrap_err().field, "ca_file");
}

#[tokio::test]
async fn n10_sentinels_have_their_password_and_the_data_has_its_own_and_a_database() {
    let master = RedisServer::start_with(&["--appendonly", "no", "--requirepass", "data"]);
    let guarded = Sentinel::start(master.address(), "sentinel auth-pass shop data\nrequirepass watch");
    let open = Sentinel::start(master.address(), "sentinel auth-pass shop data");
    // The first one hangs: the others are asked as well.
    let hangs = Proxy::to(open.address());
    hangs.set(Mode::Silence);
    for (sentinel, sentinel_password) in [(&guarded, "watch"), (&open, "")] {
        let at = |address| format!("redis://:data@{address}/3");
        let settings = RedisSettings {
            sentinel_master: "shop".into(),
            sentinel_password: sentinel_password.into(),
            // There is no majority: a quarter of it is waited for one, and again on arrival.
            connect_ms_max: 8_000,
            ..settings(&[at(hangs.address()), at(sentinel.address())].join(","))
        };
        let link = link(&settings);
        link.trial().await.unwrap_or_else(|fault| panic!("{sentinel_password:?}: {fault}"));
        let about = link.send(redis::cmd("CLIENT").arg("INFO")).await.unwrap().unwrap();
        assert!(format!("{about:?}").contains(" db=3 "), "{about:?}");
    }
    let wrong = RedisSettings {
        sentinel_master: "shop".into(),
        sentinel_password: "data".into(),
        ..settings(&format!("redis://:data@{}", guarded.address()))
    };
    let said = refused(link(&wrong).trial().await);
    assert!(said.contains("redis.sentinel_password"), "{said}");
}

#[tokio::test]
async fn n6_the_newest_configuration_counts_also_where_it_leads_nowhere() {
    let mut failed_over = FailedOver::start();
    let FailedOver { master, sentinels, former, stale, .. } = &mut failed_over;
    // This one answers when the way that the others know has ended already.
    let late = Proxy::slowly_to(stale.address(), Duration::from_millis(100));
    let all = [sentinels[0].address(), sentinels[1].address(), late.address()];
    let url = all.map(|address| format!("redis://{address}")).join(",");
    let settings = RedisSettings { sentinel_master: "shop".into(), connect_ms_max: 60_000, ..settings(&url) };
    link(&settings).trial().await.expect("the master is found");
    master.kill();
    let fault = link(&settings).trial().await.expect_err("the master is away");
    assert!(matches!(fault, RedisFault::Away(_)), "{fault}");
    assert!(!former.command("INFO commandstats").contains("cmdstat_role"), "nobody asked the former one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n6_a_master_that_hung_while_it_was_replaced_is_not_arrived_at() {
    let failed_over = FailedOver::start();
    let FailedOver { master, sentinels, .. } = &failed_over;
    let url = [0, 1].map(|n| format!("redis://{}", sentinels[n].address())).join(",");
    let settings = RedisSettings { sentinel_master: "shop".into(), ..settings(&url) };
    let link = Arc::new(link(&settings));
    let calls = || master.command("INFO commandstats").matches("cmdstat_eval").count();
    master.pause();
    let arriving = Arc::clone(&link);
    let arriving = tokio::spawn(async move { arriving.trial().await.map(drop) });
    // Time to begin the way, on which it may be when another one is named.
    tokio::time::sleep(Duration::from_millis(500)).await;
    failed_over.fail_over_again();
    master.go_on();
    assert_eq!(calls(), 0);
    if let Err(fault) = arriving.await.unwrap() {
        assert!(matches!(fault, RedisFault::Away(_)), "{fault}");
        link.trial().await.expect("the new master is found");
    }
    assert_eq!(calls(), 0, "nobody asked what it takes itself for");
}

#[tokio::test]
async fn n10_a_slot_that_moves_is_followed() {
    let start = || RedisServer::start_with(&["--cluster-enabled", "yes", "--appendonly", "no"]);
    let (from, to) = (start(), start());
    from.command("CLUSTER ADDSLOTSRANGE 0 16383");
    from.command(&format!("CLUSTER MEET 127.0.0.1 {}", to.address().port()));
    let give_up = Instant::now() + PATIENCE;
    while ![&from, &to].iter().all(|node| {
        let about = node.command("CLUSTER INFO");
        about.contains("cluster_state:ok") && about.contains("cluster_known_nodes:2")
    }) {
        assert!(Instant::now() < give_up, "the nodes do not find each other");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cluster = RedisSettings { cluster: true, ..settings(&from.url()) };
    let link = link(&cluster);
    link.trial().await.expect("at home");
    let id = |node: &RedisServer| node.command("CLUSTER MYID").trim().to_owned();
    let (from_id, to_id) = (id(&from), id(&to));
    let slot = from.command("CLUSTER KEYSLOT seckill:{trial}").trim().to_owned();
    to.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
    from.command(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
    link.trial().await.expect("on the way (ASK)");
    to.command(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    from.command(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    link.trial().await.expect("there (MOVED)");
    link.trial().await.expect("and known to be there");
    assert!(matches!(link.send(&redis::cmd("PING")).await, Ok(Ok(Value::SimpleString(_)))));

    // Whoever forgot to say that it is a Cluster hears so.
    let alone = self::link(&settings(&from.url())).trial().await.unwrap_err().to_string();
    assert!(alone.contains("redis.cluster"), "{alone}");
}

#[tokio::test]
async fn d7_who_waits_for_an_attempt_to_connect_hears_how_it_ended() {
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let link = std::sync::Arc::new(link(&RedisSettings { connect_ms_max: 1_000, ..settings(&url) }));
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let link = std::sync::Arc::clone(&link);
        crowd.spawn(async move { link.send(&redis::cmd("PING")).await });
    }
    for answer in crowd.join_all().await {
        assert!(matches!(answer, Err(RedisFault::Away(_))), "{answer:?}");
    }
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.incoming().map_while(Result::ok).count(), 1, "one attempt for all");
}
