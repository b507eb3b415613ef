//! The edge under TLS: both protocols, several names, certificates that change, clients that show theirs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use seckill::edge::EdgeSettings;
use seckill::edge::FrontEnd::Hyper;
use seckill::tls::{CertificateFiles, Certificates, Clients, TlsSettings};
use testbed::certificates::{Authority, Files};
use tokio_rustls::TlsConnector;

use testbed::client::Client;
use testbed::engine::Launch;
use testbed::servers::engine::{EngineProcess, binary};
use testbed::{PATIENCE, until};

use super::h2_client::Http2;
use super::server::Server;
use super::tls_identities::Believed;

const LAST: &str = "GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Names a pair of files.
fn with_pair(settings: &mut EdgeSettings, files: &Files, pair: &(String, String)) {
    let (certificate, key) = files.write_pair("edge", pair);
    (settings.tls.cert_file, settings.tls.key_file) = (certificate, key);
}

/// A connection under TLS, before its handshake.
pub(super) fn connect(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream)
}

/// One request of HTTP/1.1: the status, or why there is none.
fn ask(addr: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Result<u16, String> {
    asked_on(&mut connect(addr, config, name))
}

fn asked_on(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> Result<u16, String> {
    answer_to(stream, LAST)
}

fn answer_to(stream: &mut StreamOwned<ClientConnection, TcpStream>, sent: &str) -> Result<u16, String> {
    stream.write_all(sent.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| read.err().map_or_else(|| "closed".to_owned(), |error| error.to_string()))
}

fn http2(addr: SocketAddr, config: &Arc<ClientConfig>) -> Http2 {
    let config = Arc::clone(config);
    Http2::over("https", async move {
        let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        stream
    })
}

#[test]
fn one_address_speaks_both_protocols_and_nothing_in_the_clear() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let server = Server::start(Hyper, |settings| with_pair(settings, &files, &authority.sign("localhost")));
    let mut both = http2(server.addr, &authority.client(&["h2", "http/1.1"], None));
    assert_eq!(both.ask("POST", "/a", &[], "body").status, 200);
    for protocols in [&["http/1.1"][..], &[]] {
        assert_eq!(ask(server.addr, &authority.client(protocols, None), "localhost"), Ok(200));
    }
    assert_eq!(server.recorder.take(), ["POST /a body", "GET /last", "GET /last"]);
    let statuses = Client::connect(server.addr).send(LAST).raw();
    assert!(!statuses.contains("HTTP"), "{statuses}");
    let stranger = Authority::new("another").client(&[], None);
    assert!(ask(server.addr, &stranger, "localhost").is_err());
    assert_eq!(server.recorder.take(), [""; 0]);
    // Without HTTP/2, nobody is offered it.
    let first = Server::start(Hyper, |settings| {
        with_pair(settings, &files, &authority.sign("localhost"));
        settings.http2.enabled = false;
    });
    assert_eq!(ask(first.addr, &authority.client(&["h2", "http/1.1"], None), "localhost"), Ok(200));
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let server = Server::start(Hyper, |settings| {
        with_pair(settings, &files, &authority.sign("localhost"));
        for name in ["shop.example", "other.example"] {
            let (cert_file, key_file) = files.write_pair(name, &authority.sign(name));
            settings.tls.certificates.push(CertificateFiles { cert_file, key_file });
        }
    });
    let config = authority.client(&[], None);
    for name in ["localhost", "shop.example", "other.example"] {
        assert_eq!(ask(server.addr, &config, name), Ok(200), "{name}");
    }
    assert!(ask(server.addr, &config, "third.example").is_err(), "it gets the first, which is not its own");
}

#[test]
fn a_client_has_to_show_a_certificate_of_the_authority_that_is_asked_for() {
    let (authority, cdn, other, files) =
        (Authority::new("ca"), Authority::new("cdn"), Authority::new("other"), Files::default());
    let server = Server::start(Hyper, |settings| {
        with_pair(settings, &files, &authority.sign("localhost"));
        settings.tls.client_ca_file = files.write("cdn.pem", cdn.pem());
    });
    let (known, foreign) = (cdn.sign("proxy"), other.sign("proxy"));
    assert_eq!(ask(server.addr, &authority.client(&[], Some(&known)), "localhost"), Ok(200));
    let mut both = http2(server.addr, &authority.client(&["h2"], Some(&known)));
    assert_eq!(both.ask("GET", "/a", &[], "").status, 200);
    assert_eq!(server.recorder.take().len(), 2);
    for shown in [None, Some(&foreign)] {
        assert!(ask(server.addr, &authority.client(&[], shown), "localhost").is_err(), "{shown:?}");
    }
    assert_eq!(server.recorder.take(), [""; 0]);
    // Who was let in once is looked at again when the authority changes.
    let returning = authority.client(&[], Some(&known));
    assert_eq!(ask(server.addr, &returning, "localhost"), Ok(200));
    files.write("cdn.pem", other.pem());
    assert!(server.certificates.look());
    assert!(ask(server.addr, &returning, "localhost").is_err());
    assert_eq!(ask(server.addr, &authority.client(&[], Some(&foreign)), "localhost"), Ok(200));
}

#[test]
fn who_comes_back_has_a_short_handshake() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let server = Server::start(Hyper, |settings| with_pair(settings, &files, &authority.sign("localhost")));
    let config = authority.client(&[], None);
    let kinds: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = connect(server.addr, &config, "localhost");
            assert_eq!(asked_on(&mut stream), Ok(200));
            stream.conn.handshake_kind()
        })
        .collect();
    assert_eq!(kinds[0], Some(HandshakeKind::Full));
    assert_eq!(kinds[1..], [Some(HandshakeKind::Resumed); 2]);
}

#[test]
fn certificates_change_under_load_and_no_request_fails() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let server = Server::start(Hyper, |settings| with_pair(settings, &files, &authority.sign("localhost")));
    let config = authority.client(&[], None);
    let mut kept = http2(server.addr, &authority.client(&["h2"], None));
    std::thread::scope(|scope| {
        let buyers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..60).all(|_| ask(server.addr, &config, "localhost") == Ok(200))))
            .collect();
        let mut changes = 0;
        while buyers.iter().any(|buyer| !buyer.is_finished()) || changes < 5 {
            files.write_pair("edge", &authority.sign("localhost"));
            assert!(server.certificates.look(), "{:?}", server.certificates.trouble());
            assert_eq!(kept.ask("GET", "/kept", &[], "").status, 200);
            changes += 1;
        }
        assert!(buyers.into_iter().all(|buyer| buyer.join().unwrap()));
        assert_eq!(server.certificates.changes(), changes);
    });
}

#[test]
fn who_looks_at_files_does_not_bring_back_those_that_were_replaced() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let pairs = ["one", "other"].map(|name| {
        let (cert_file, key_file) = files.write_pair(name, &authority.sign("localhost"));
        TlsSettings { cert_file, key_file, ..TlsSettings::default() }
    });
    let certificates = Certificates::new("edge", &pairs[0], &[], Clients::Strict).unwrap();
    std::thread::scope(|scope| {
        let replacing = scope
            .spawn(|| (1..=200_usize).for_each(|number| certificates.replace(&pairs[number % 2]).unwrap()));
        while !replacing.is_finished() {
            assert!(!certificates.look(), "the files say the same all the while");
        }
        replacing.join().unwrap();
    });
    assert_eq!(certificates.changes(), 200);
}

#[test]
fn a_broken_certificate_is_told_and_the_one_before_stays() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let server = Server::start(Hyper, |settings| with_pair(settings, &files, &authority.sign("localhost")));
    let config = authority.client(&[], None);
    files.write("edge.pem", "-----BEGIN NOTHING-----\n");
    assert!(!server.certificates.look());
    let trouble = server.certificates.trouble().expect("it is told");
    assert!(trouble.contains("edge.tls.cert_file") && trouble.contains("not well-formed PEM"), "{trouble}");
    assert_eq!(ask(server.addr, &config, "localhost"), Ok(200));
    files.write_pair("edge", &authority.sign("localhost"));
    assert!(server.certificates.look());
    assert_eq!(server.certificates.trouble(), None);
    assert_eq!(ask(server.addr, &config, "localhost"), Ok(200));
}

#[test]
fn a_proxy_header_comes_before_the_handshake() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let server = Server::start(Hyper, |settings| {
        with_pair(settings, &files, &authority.sign("localhost"));
        settings.proxy_protocol = true;
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let mut stream = connect(server.addr, &authority.client(&[], None), "localhost");
    stream.sock.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n").unwrap();
    assert_eq!(asked_on(&mut stream), Ok(200));
}

#[test]
fn who_keeps_a_handshake_waiting_holds_up_nobody() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let server = Server::start(Hyper, |settings| {
        with_pair(settings, &files, &authority.sign("localhost"));
        settings.threads = 1;
        settings.tls.handshakes_max = 2;
        settings.tls.handshake_ms_max = 600_000;
        settings.idle_timeout_ms = 3_600_000;
    });
    let config = authority.client(&[], None);
    // More than there are turns of each: who says nothing, who stops within the hello, and who has the engine's signature
    // and does not go on.
    let silent: Vec<_> = (0..9_usize)
        .map(|number| {
            let StreamOwned { conn: mut tls, sock: mut socket } = connect(server.addr, &config, "localhost");
            let mut hello = Vec::new();
            tls.write_tls(&mut hello).unwrap();
            socket.write_all(&hello[..hello.len() * (number % 3) / 2]).unwrap();
            if number % 3 == 2 {
                socket.read_exact(&mut [0]).expect("the engine's half of the handshake");
            }
            socket
        })
        .collect();
    assert_eq!(ask(server.addr, &config, "localhost"), Ok(200));
    drop(silent);
}

#[test]
fn a_handshake_that_does_not_end_in_time_is_closed() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let server = Server::start(Hyper, |settings| {
        with_pair(settings, &files, &authority.sign("localhost"));
        settings.tls.handshake_ms_max = 100;
    });
    let mut silent = TcpStream::connect(server.addr).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read_to_end(&mut Vec::new()).expect("it is closed"), 0);
}

#[test]
fn a_buyers_way_under_tls_with_everything_around_it() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let (certificate, key) = files.write_pair("both", &authority.sign("localhost"));
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (certificate, key) = (text(certificate), text(key));
    let launch = Launch::new(&[
        ("EDGE__TLS__CERT_FILE", certificate.as_str()),
        ("EDGE__TLS__KEY_FILE", key.as_str()),
        ("EDGE__TLS__WATCH_S", "1"),
    ]);
    let engine = launch.start();
    engine.sale("phone", 10, "");
    let config = authority.client(&["h2"], None);
    let mut client = http2(engine.edge(), &config);
    let bought = client.ask("POST", "/seckill/test/phone", &[("x-user-id", "ann")], "");
    assert_eq!(bought.status, 201, "{}", bought.body);
    let checkout = format!("/orders/{}/checkout", bought.member("order_id"));
    let paid = client.ask("POST", &checkout, &[("x-user-id", "ann")], r#"{"payment_method":"card"}"#);
    assert_eq!(paid.member("status"), "paid");
    // New files are found; broken ones are told by everything that tells of health.
    let next = Authority::new("next");
    files.write_pair("both", &next.sign("localhost"));
    let new = next.client(&["http/1.1"], None);
    until("new certificates are in use", || ask(engine.edge(), &new, "localhost").is_ok());
    files.write("both.key", "nothing");
    let health = || engine.admin("GET", "/healthz", "").json();
    until("broken ones are told", || health()["status"] == "degraded");
    assert!(health()["unusable_certificates"]["edge"].as_str().unwrap().contains("edge.tls.key_file"));
    let figures = engine.admin("GET", "/metrics", "").body;
    assert!(figures.contains("seckill_tls_certificate_unusable{plane=\"edge\"} 1"), "{figures}");
    let refused = engine.admin("POST", "/api/v1/config/reload", "");
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.body.contains("edge.tls.key_file"), "{}", refused.body);
    assert!(ask(engine.edge(), &new, "localhost").is_ok());
    files.write_pair("both", &authority.sign("localhost"));
    let reloaded = engine.admin("POST", "/api/v1/config/reload", "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    assert_eq!(client.ask("GET", "/seckill/test/phone", &[], "").status, 200);
    let (status, launch) = engine.terminate();
    assert!(status.success());
    client.wait_for_server();
    files.write("both.pem", "nothing");
    let (code, said) = launch.start_refused();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("edge.tls.cert_file") && said.contains("has no certificate"), "{said}");
}

#[test]
fn the_admin_plane_speaks_tls_asks_for_certificates_and_lets_probes_pass() {
    let (authority, operators, files) = (Authority::new("ca"), Authority::new("operators"), Files::default());
    let (certificate, key) = files.write_pair("admin", &authority.sign("localhost"));
    let clients = files.write("operators.pem", operators.pem());
    let folder = tempfile::tempdir().unwrap();
    let tls = |command: &mut Command| {
        command.env("SECKILL__ADMIN__TLS__CERT_FILE", &certificate);
        command.env("SECKILL__ADMIN__TLS__KEY_FILE", &key);
        command.env("SECKILL__ADMIN__TLS__CLIENT_CA_FILE", &clients);
    };
    let mut command = Command::new(binary());
    tls(&mut command);
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let engine = EngineProcess::start(command, folder.path(), free, free);
    let ask = |config: &Arc<ClientConfig>, path: &str| {
        let sent = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        answer_to(&mut connect(engine.admin(), config, "localhost"), &sent)
    };
    let (probe, operator) =
        (authority.client(&[], None), authority.client(&[], Some(&operators.sign("ann"))));
    until("it is ready", || ask(&probe, "/readyz") == Ok(200));
    assert_eq!(ask(&probe, "/api/v1/campaigns"), Ok(403));
    assert_eq!(ask(&probe, "/metrics"), Ok(403));
    assert_eq!(ask(&operator, "/api/v1/campaigns"), Ok(200));
    let stranger = authority.client(&[], Some(&Authority::new("others").sign("eve")));
    assert!(ask(&stranger, "/readyz").is_err());
    for question in [&["healthcheck"][..], &["healthcheck", "--ready"]] {
        let mut command = Command::new(binary());
        tls(&mut command);
        command.args(question).args(["--admin-listen", &engine.admin().to_string()]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_admin_plane_asks_for_certificates_from_the_reload_on_that_names_an_authority() {
    let (authority, operators, files) = (Authority::new("ca"), Authority::new("operators"), Files::default());
    let (certificate, key) = files.write_pair("admin", &authority.sign("localhost"));
    let clients = files.write("operators.pem", operators.pem());
    let configure = |more: &str| {
        let tls = format!("[admin.tls]\ncert_file = {certificate:?}\nkey_file = {key:?}\n{more}");
        files.write("seckill.toml", &tls)
    };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.env("SECKILL_CONFIG", configure(""));
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let engine = EngineProcess::start(command, folder.path(), free, free);
    let ask = |config: &Arc<ClientConfig>, what: &str| {
        let sent = format!("{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        answer_to(&mut connect(engine.admin(), config, "localhost"), &sent)
    };
    let (anybody, operator) =
        (authority.client(&[], None), authority.client(&[], Some(&operators.sign("ann"))));
    let (look, reload) = ("GET /api/v1/campaigns", "POST /api/v1/config/reload");
    until("it is ready", || ask(&anybody, "GET /readyz") == Ok(200));
    assert_eq!(ask(&anybody, look), Ok(200));
    configure(&format!("client_ca_file = {clients:?}\n"));
    assert_eq!(ask(&anybody, reload), Ok(200));
    assert_eq!((ask(&anybody, look), ask(&operator, look)), (Ok(403), Ok(200)));
    configure("");
    assert_eq!(ask(&operator, reload), Ok(200));
    assert_eq!(ask(&anybody, look), Ok(200));
}
