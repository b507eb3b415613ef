//! The tester against a real engine by way of servers that others wrote: what it speaks, HAProxy and nginx understand, and
//! where they end a connection, nothing is lost.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use testbed::certificates::{Authority, Files};
use testbed::client::request;
use testbed::engine::Engine;
use testbed::servers::haproxy::HaproxyWith;
use testbed::servers::nginx::Nginx;
use testbed::servers::process::{free_address, is_root};
use testbed::until;

use crate::tester::{finish, run_command_at, summary, text, winners};

const HTTP2: [&str; 3] = ["--http2", "--streams", "8"];

/// What must not become of a request on its way.
const LOST: [&str; 4] = ["timed-out", "connect-failed", "connection-lost", "malformed"];

/// Requests after which nginx ends a connection.
const REQUESTS_PER_CONNECTION: u64 = 10;

/// Where the tester comes in, and what it is told to find it and to trust it.
struct Door {
    url: String,
    told: Vec<String>,
}

impl Door {
    fn in_the_clear(address: SocketAddr) -> Self {
        Self { url: format!("http://{address}"), told: Vec::new() }
    }

    fn under_tls(address: SocketAddr, cacert: &Path) -> Self {
        let port = address.port();
        let told = ["--cacert", text(cacert), "--resolve", &format!("localhost:{port}:127.0.0.1")];
        Self { url: format!("https://localhost:{port}"), told: told.map(str::to_owned).into() }
    }

    /// Has the tester sell a campaign out through it: each unit is sold once, and every request is answered. What it says
    /// of itself.
    fn sells_each_unit_once(&self, engine: &Engine, more: &[&str]) -> Value {
        let out = tempfile::tempdir().unwrap();
        let admin = format!("http://{}", engine.admin_addr());
        let mut command = run_command_at(&winners(120), [&self.url, &admin], out.path(), more);
        finish(command.arg("--quiet").args(&self.told).output().unwrap()).expect_code(0);
        let mut summary = summary(out.path());
        assert_eq!(summary["verification"]["passed"], true);
        assert_eq!(summary["verification"]["orders_exported"], 60);
        assert_eq!(summary["paths"]["seckill"]["outcomes"]["won"]["count"], 60);
        for (path, told) in summary["paths"].as_object().unwrap() {
            assert!(LOST.iter().all(|lost| told["outcomes"].get(lost).is_none()), "{path}: {told}");
        }
        let client = summary["client"].take();
        assert_eq!(client["sent"], client["answered"]);
        client
    }
}

fn sent(client: &Value) -> u64 {
    client["sent"].as_u64().unwrap()
}

/// What HAProxy has counted at one of its doors.
fn counted(stats: SocketAddr, door: &str, what: &str) -> u64 {
    let table = request(stats, "GET", "/;csv", "", "").body;
    let mut rows = table.lines().map(|row| row.trim_start_matches("# ").split(',').collect::<Vec<_>>());
    let names = rows.next().expect("the names of the columns");
    let place = names.iter().position(|name| *name == what).unwrap_or_else(|| panic!("{what} in {names:?}"));
    let row = rows.find(|row| row.starts_with(&[door, "FRONTEND"])).expect("a row of this door");
    row[place].parse().expect("a number")
}

#[test]
fn haproxy_understands_http2_in_the_clear_and_under_tls() {
    let engine = Engine::start(&[]);
    let (authority, files) = (Authority::new("ca"), Files::default());
    let (certificate, key) = authority.sign("localhost");
    let both = files.write("both.pem", &format!("{certificate}{key}"));
    let cacert = files.write("ca.pem", authority.pem());
    let [clear, tls, stats] = [(); 3].map(|()| free_address());
    // In the clear both protocols are taken, by what a connection begins with: the tester's first look is by HTTP/1.1.
    let config = format!(
        "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 10s\n  timeout client 60s\n  \
         timeout server 60s\nfrontend clear\n  bind {clear}\n  default_backend engine\nfrontend tls\n  \
         bind {tls} ssl crt {} alpn h2,http/1.1\n  default_backend engine\nfrontend stats\n  bind {stats}\n  \
         stats enable\n  stats uri /\nbackend engine\n  server engine {}\n",
        text(&both),
        engine.edge()
    );
    let _haproxy = HaproxyWith::start(&config, &[], stats);
    for (name, door) in [("clear", Door::in_the_clear(clear)), ("tls", Door::under_tls(tls, &cacert))] {
        let client = door.sells_each_unit_once(&engine, &HTTP2);
        assert_eq!(counted(stats, name, "h2_headers_rcvd"), sent(&client), "{name}");
        for fault in ["h2_detected_conn_protocol_errors", "h2_detected_strm_protocol_errors"] {
            assert_eq!(counted(stats, name, fault), 0, "{name}: {fault}");
        }
    }
}

#[test]
fn nginx_ends_connections_under_tls_again_and_again_and_nothing_is_lost() {
    let engine = Engine::start(&[]);
    let (authority, files) = (Authority::new("ca"), Files::default());
    let (certificate, key) = files.write_pair("nginx", &authority.sign("localhost"));
    let cacert = files.write("ca.pem", authority.pem());
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let log = folder.path().join("spoken.log");
    let user = if is_root() { "user root;" } else { "" };
    let config = format!(
        "{user}\nworker_processes 1;\npid pid;\nerror_log error.log;\nevents {{ worker_connections 256; }}\n\
         http {{\n  log_format spoken $server_protocol;\n  access_log spoken.log spoken;\n  \
         client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n  \
         keepalive_requests {REQUESTS_PER_CONNECTION};\n  upstream engine {{ server {}; keepalive 16; }}\n  \
         server {{\n    listen {address} ssl http2;\n    ssl_certificate {};\n    ssl_certificate_key {};\n    \
         location / {{\n      proxy_pass http://engine;\n      proxy_http_version 1.1;\n      \
         proxy_set_header Host $host;\n      proxy_set_header Connection \"\";\n    }}\n  }}\n}}\n",
        engine.edge(),
        text(&certificate),
        text(&key)
    );
    let _nginx = Nginx::start(folder, &config, address);
    let spoken = |protocol: &str| {
        let log = std::fs::read_to_string(&log).unwrap();
        log.lines().filter(|line| *line == protocol).count() as u64
    };
    let door = Door::under_tls(address, &cacert);
    let by_http2 = door.sells_each_unit_once(&engine, &HTTP2);
    // It writes a line behind each answer, and none for what came after its goodbye and was asked again.
    until("nginx has written of all of them", || spoken("HTTP/2.0") == sent(&by_http2));
    let by_http1 = door.sells_each_unit_once(&engine, &[]);
    // The first looks of both are in it.
    until("nginx has written of these as well", || spoken("HTTP/1.1") >= sent(&by_http1));
    assert_eq!(spoken("HTTP/2.0"), sent(&by_http2));
    for client in [by_http2, by_http1] {
        // Three connections are there before the run begins.
        let connects = client["connects"].as_u64().unwrap();
        assert!(connects + 3 >= sent(&client) / REQUESTS_PER_CONNECTION, "{client}");
    }
}
