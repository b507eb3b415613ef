//! Sales over every kind of Redis: with users and TLS, behind Sentinels, in a Cluster; and what happens to it on the way.

use std::path::PathBuf;
use std::time::Duration;

use testbed::certificates::{Authority, Files};
use testbed::engine::Engine;
use testbed::servers::proxy::Proxy;
use testbed::servers::redis::{RedisServer, commands_at};
use testbed::servers::redis_cluster::RedisCluster;
use testbed::servers::sentinel::{FailedOver, Sentinel};

use super::fixture::{Fixture, known_to_all, sell, sell_out, until};

/// A server that is away is noticed soon, and small leases have the nodes ask often.
const BUSY: [(&str, &str); 3] = [
    ("LEDGER__LEASE_UNITS_MAX", "5"),
    ("LEDGER__REBUILD_PATIENCE_MS", "500"),
    ("REDIS__CONNECT_MS_MAX", "5000"),
];

/// Two engines with these settings of their Redis beside the usual ones.
fn start(fixture: &Fixture, keys: &[(&str, &str)]) -> [Engine; 2] {
    let keys = [&BUSY[..], keys].concat();
    [1, 2].map(|number| fixture.launch(number, &keys).start())
}

/// The engine's user, as the page of several nodes has it.
fn acl_line(password: &str) -> String {
    let page = include_str!("../../../src/ledger/NODES.md");
    let line =
        page.lines().find(|line| line.starts_with("ACL SETUSER seckill ")).expect("the page has the line");
    line.replace("PASSWORD", password)
}

/// A server that takes TLS alone, from clients with a certificate of its authority, and users with no more rights than an
/// engine needs; and how an engine is told.
pub struct OverTls {
    pub server: RedisServer,
    pub url: String,
    /// Settings beside the address.
    pub keys: Vec<(&'static str, String)>,
    /// Where the certificates are.
    pub files: Files,
}

impl OverTls {
    pub fn start() -> Self {
        let (authority, files) = (Authority::new("authority"), Files::default());
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let ca_file = text(files.write("ca.pem", authority.pem()));
        let own = |name: &str| {
            let (certificate, key) = files.write_pair(name, &authority.sign("127.0.0.1"));
            [text(certificate), text(key)]
        };
        let [server_cert, server_key] = own("server");
        let [client_cert, client_key] = own("client");
        let options =
            ["--tls-auth-clients", "yes", "--tls-cert-file", &server_cert, "--tls-key-file", &server_key];
        let options =
            [&options[..], &["--tls-ca-cert-file", &ca_file, "--tls-port", "{port}", "--port", "0"]].concat();
        let users = format!("{}\nuser default off\n", acl_line("secret").replace("ACL SETUSER", "user"));
        let acl = text(files.write("users.acl", &users));
        let server = RedisServer::start_with(&[&options[..], &["--aclfile", &acl]].concat());
        let url = format!("rediss://seckill:secret@{}/2", server.address());
        let keys = vec![
            ("REDIS__CA_FILE", ca_file),
            ("REDIS__CLIENT_CERT_FILE", client_cert),
            ("REDIS__CLIENT_KEY_FILE", client_key),
        ];
        Self { server, url, keys, files }
    }
}

#[test]
fn n10_a_sale_over_tls_with_an_authority_of_ones_own_a_client_certificate_and_a_user() {
    let OverTls { server: _server, url, keys, files: _files } = OverTls::start();
    let fixture = Fixture::open();
    let keys = keys.iter().map(|(key, value)| (*key, value.as_str()));
    let keys: Vec<_> = keys.chain([("REDIS__URL", url.as_str())]).collect();
    let [one, two] = start(&fixture, &keys);
    one.sale("phone", 60, "");
    known_to_all(&[&one, &two], "phone");
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 60);
    assert_eq!(one.audit("phone").held, 60);
    assert_eq!(two.admin("GET", "/healthz", "").json()["checks"]["ledger"], "ok");
}

/// Waits until the Sentinels, which hear `login` first, know each other and so many replicas.
pub fn until_sentinels_know(sentinels: &[Sentinel], login: &[&str], replicas: usize) {
    let [others, replicas] = [sentinels.len() - 1, replicas].map(|count| count.to_string());
    until("the Sentinels know each other and the replicas", || {
        sentinels.iter().all(|sentinel| {
            let about = commands_at(sentinel.address(), &[login, &["SENTINEL MASTER shop"][..]].concat());
            let word = |name: &str| about.lines().skip_while(|line| *line != name).nth(1);
            word("num-other-sentinels") == Some(others.as_str())
                && word("num-slaves") == Some(replicas.as_str())
        })
    });
}

#[test]
fn n3_n10_a_master_that_hangs_behind_sentinels_with_a_password_of_their_own() {
    let secured = ["--requirepass", "data", "--masterauth", "data", "--appendonly", "no"];
    let master = RedisServer::start_with(&secured);
    let port = master.address().port().to_string();
    let replica = RedisServer::start_with(&[&secured[..], &["--replicaof", "127.0.0.1", &port]].concat());
    let watch = "sentinel auth-pass shop data\nsentinel down-after-milliseconds shop 1500\n\
                 sentinel failover-timeout shop 10000\nrequirepass watch\nsentinel sentinel-pass watch";
    let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(master.address(), watch)).collect();
    let url: Vec<_> =
        sentinels.iter().map(|sentinel| format!("redis://:data@{}/3", sentinel.address())).collect();
    let fixture = Fixture::open();
    let keys = [
        ("REDIS__URL", url.join(",")),
        ("REDIS__SENTINEL_MASTER", "shop".to_owned()),
        ("REDIS__SENTINEL_PASSWORD", "watch".to_owned()),
    ];
    let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let [one, two] = start(&fixture, &keys);
    one.sale("phone", 200, "");
    known_to_all(&[&one, &two], "phone");
    sell(&[&one, &two], "phone", 50);
    until_sentinels_know(&sentinels, &["AUTH watch"], 1);
    sentinels[0].pause();
    master.pause();
    sell(&[&one, &two], "phone", 100);
    let role = commands_at(replica.address(), &["AUTH data", "ROLE"]);
    assert!(role.starts_with("master"), "{role}");
    master.go_on();
    sentinels[0].go_on();
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 50);
    assert_eq!(two.audit("phone").held, 200);
}

#[test]
fn n6_a_sentinel_that_names_the_master_of_before_is_not_followed() {
    let failed_over = FailedOver::start();
    let FailedOver { master, sentinels, former, stale, .. } = &failed_over;
    // That one answers first.
    let lines = [0, 1].map(|n| Proxy::slowly_to(sentinels[n].address(), Duration::from_millis(50)));
    let all = [stale.address(), lines[0].address(), lines[1].address()];
    let url = all.map(|address| format!("redis://{address}")).join(",");
    let fixture = Fixture::open();
    let keys =
        [("REDIS__URL", &url[..]), ("REDIS__SENTINEL_MASTER", "shop"), ("REDIS__CONNECT_MS_MAX", "60000")];
    let [one, two] = start(&fixture, &keys);
    one.sale("phone", 60, "");
    known_to_all(&[&one, &two], "phone");
    sell(&[&one, &two], "phone", 30);
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 30);
    assert_eq!(former.command("DBSIZE").trim(), "0", "nobody went there");
    assert_ne!(master.command("DBSIZE").trim(), "0");
}

#[test]
fn n10_a_slot_that_moves_half_and_whole_during_a_sale() {
    let cluster = RedisCluster::start(2, false, &[]);
    let fixture = Fixture::open();
    let [one, two] = start(&fixture, &[("REDIS__URL", &cluster.url())]);
    one.sale("phone", 300, "");
    known_to_all(&[&one, &two], "phone");
    let nodes = [&one, &two];
    sell(&nodes, "phone", 50);
    // The name of the book has more in front; the slot goes by what is in the braces.
    let book = "seckill:{default:test:phone}:book";
    let to = 1 - cluster.owner_of(book);
    let moving = cluster.begin_to_move(book, to);
    sell(&nodes, "phone", 50);
    moving.move_keys();
    sell(&nodes, "phone", 50);
    moving.finish();
    assert_eq!(sell_out(&nodes, "phone").len(), 150);
    assert_eq!(cluster.owner_of(book), to);
    assert_eq!(one.audit("phone").held, 300);
    // And a sale whose book is made while its slot is on its way.
    let moving = cluster
        .begin_to_move("seckill:{default:test:book}:book", 1 - cluster.owner_of("{default:test:book}"));
    two.sale("book", 40, "");
    known_to_all(&nodes, "book");
    sell(&nodes, "book", 20);
    moving.move_keys();
    moving.finish();
    assert_eq!(sell_out(&nodes, "book").len(), 20);
}

#[test]
fn n3_a_cluster_master_that_hangs_is_replaced_and_the_sale_goes_on() {
    let cluster = RedisCluster::start(3, true, &[]);
    let fixture = Fixture::open();
    let [one, two] = start(&fixture, &[("REDIS__URL", &cluster.url())]);
    one.sale("phone", 200, "");
    known_to_all(&[&one, &two], "phone");
    sell(&[&one, &two], "phone", 50);
    let owner = &cluster.masters[cluster.owner_of("seckill:{default:test:phone}:book")];
    owner.pause();
    sell(&[&one, &two], "phone", 100);
    owner.go_on();
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 50);
    assert_eq!(two.audit("phone").held, 200);
}
