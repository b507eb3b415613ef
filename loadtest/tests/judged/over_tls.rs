//! The tester against a real engine, as a CDN comes to it: over TLS, with a certificate of its own, for buyers who bring tokens.

use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::certificates::{Authority, Files};
use testbed::servers::engine::{self, EngineProcess, PATIENT, variables};

use crate::tester::{Finished, binary, finish, text};

const SECRET: &str = "a secret that is longer than thirty-two bytes";

/// Buyers who win and pay; limits of the client that a busy machine cannot break.
const SCENARIO: &str = r#"
name = "tls"
about = "Winners over TLS."
[client]
connections = 8
requests_per_connection = 5
lag_p99_ms_max = 60000
busy_max = 1e9
[[campaign]]
name = "main"
stock = 60
[[shopper]]
name = "buyer"
then = "pay"
[[phase]]
name = "load"
duration_s = 1
load = { curve = "constant", rate_per_s = 100 }
[verify]
sold_out = true
"#;

struct Tester<'a> {
    engine: &'a EngineProcess,
    scenario: PathBuf,
    cacert: PathBuf,
}

impl Tester<'_> {
    fn run(&self, out: &Path, more: &[&str]) -> Finished {
        let (edge, admin) = (self.engine.edge(), self.engine.admin());
        let mut command = binary();
        command.args([
            "run",
            text(&self.scenario),
            "--quiet",
            "--out",
            text(out),
            "--cacert",
            text(&self.cacert),
        ]);
        for (option, port) in [("--target", edge.port()), ("--admin", admin.port())] {
            command.args([option, &format!("https://localhost:{port}")]);
            command.args(["--resolve", &format!("localhost:{port}:127.0.0.1")]);
        }
        finish(command.args(more).output().expect("the tester runs"))
    }
}

#[test]
fn buyers_with_tokens_win_and_pay_over_tls_and_others_are_told_what_is_missing() {
    let (authority, cdn, files) = (Authority::new("ca"), Authority::new("cdn"), Files::default());
    let (certificate, key) = files.write_pair("engine", &authority.sign("localhost"));
    let clients = files.write("cdn-ca.pem", cdn.pem());
    let (shown, shown_key) = files.write_pair("tester", &cdn.sign("tester"));
    let secret = files.write("secret", &format!("{SECRET}\n"));
    let keys = [
        ("EDGE__TLS__CERT_FILE", text(&certificate)),
        ("EDGE__TLS__KEY_FILE", text(&key)),
        ("EDGE__TLS__CLIENT_CA_FILE", text(&clients)),
        ("ADMIN__TLS__CERT_FILE", text(&certificate)),
        ("ADMIN__TLS__KEY_FILE", text(&key)),
        ("EDGE__AUTH__MODE", "jwt"),
        ("EDGE__AUTH__JWT__ALGORITHM", "HS256"),
        ("EDGE__AUTH__JWT__KEY", SECRET),
        ("EDGE__AUTH__JWT__ISSUER", "shop"),
    ];
    let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let (data, free) = (tempfile::tempdir().unwrap(), ([127, 0, 0, 1], 0).into());
    let mut command = Command::new(engine::binary());
    command.envs(PATIENT).envs(variables(&keys));
    let engine = EngineProcess::start(command, data.path(), free, free);
    let scenario = files.write("scenario.toml", SCENARIO);
    let tester = Tester { engine: &engine, scenario, cacert: files.write("ca.pem", authority.pem()) };
    let out = tempfile::tempdir().unwrap();
    let identity = ["--cert", text(&shown), "--key", text(&shown_key)];
    let tokens = ["--jwt-key-file", text(&secret), "--jwt-claim", "iss=shop"];

    let whole = tester.run(&out.path().join("whole"), &[identity, tokens].concat());
    whole.expect_code(0);
    let nameless = tester.run(&out.path().join("nameless"), &identity);
    assert!(nameless.expect_code(1).stderr.contains("--jwt-key-file"), "{}", nameless.stderr);
    tester.run(&out.path().join("unknown"), &tokens).expect_code(1);
    let stranger = Tester { cacert: files.write("other.pem", cdn.pem()), ..tester };
    stranger.run(&out.path().join("deceived"), &[identity, tokens].concat()).expect_code(1);
}
