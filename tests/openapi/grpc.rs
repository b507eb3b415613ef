//! gRPC, by a client of another language that is generated from the `.proto` file: Python's, from PyPI.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use testbed::certificates::{Authority, Files};
use testbed::client::request;
use testbed::engine::{Engine, Launch};
use testbed::servers::process;

use super::python::packages;

const TOKEN: &str = "a-token-of-some-length";
const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// The folder of the client's generated half, made once.
fn generated() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = packages("grpc", "grpc_client/requirements.txt").join("made");
        std::fs::create_dir_all(&folder).unwrap();
        let mut compiler =
            python(&["-m", "grpc_tools.protoc", "--proto_path=proto", "seckill/v1/seckill.proto"]);
        for kind in ["python_out", "grpc_python_out"] {
            compiler.arg(format!("--{kind}={}", folder.display()));
        }
        assert!(compiler.current_dir(PROJECT).status().unwrap().success(), "the .proto is not taken");
        folder
    })
}

fn python(arguments: &[&str]) -> Command {
    let mut python = Command::new("python3");
    python.args(arguments).env("PYTHONPATH", packages("grpc", "grpc_client/requirements.txt"));
    python
}

fn client(arguments: &[&str]) -> Command {
    let mut client = python(&[&format!("{PROJECT}/tests/openapi/grpc_client/client.py")]);
    let packages = packages("grpc", "grpc_client/requirements.txt");
    client.env("PYTHONPATH", std::env::join_paths([generated(), &packages]).unwrap()).args(arguments);
    client
}

/// An engine to be started, and where it serves by gRPC.
fn launch(more: &[(&str, &str)]) -> (Launch, SocketAddr) {
    let address = process::free_address();
    let listen = address.to_string();
    let keys = [&[("GRPC__LISTEN", listen.as_str()), ("ADMIN__TOKEN", TOKEN)], more].concat();
    (Launch::new(&keys), address)
}

fn make_sale(admin: SocketAddr, sku: &str, stock: u32) {
    let body = format!(r#"{{"campaign":"test","sku":"{sku}","price_cents":1999,"stock":{stock}}}"#);
    let made = request(admin, "POST", "/api/v1/campaigns", &authorized(), &body);
    assert_eq!(made.status, 201, "{}", made.body);
}

fn authorized() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

fn run(mut client: Command) -> Result<(), String> {
    let told = client.output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    if told.status.success() { Ok(()) } else { Err(format!("{text}\n{errors}")) }
}

#[test]
fn a_client_of_another_language_is_told_what_the_pages_say() {
    let (launch, address) = launch(&[
        ("GRPC__FOLLOWERS_MAX", "2"),
        // The client is few buyers, and quick.
        ("ADMISSION__BUYER_RATE_PER_S", "0"),
        ("ADMISSION__LOOKUP_RATE_PER_S", "0"),
    ]);
    let engine = launch.start();
    make_sale(engine.admin_addr(), "few", 1);
    make_sale(engine.admin_addr(), "many", 100);
    run(client(&["calls", &address.to_string(), TOKEN])).unwrap();
    let figures = request(engine.admin_addr(), "GET", "/metrics", &authorized(), "").body;
    for (method, code) in
        [("Purchase", "FAILED_PRECONDITION"), ("Checkout", "OK"), ("FollowEvents", "UNAVAILABLE")]
    {
        let line = format!("seckill_grpc_calls_total{{method=\"{method}\",code=\"{code}\"}} ");
        assert!(figures.contains(&line), "{line}\n{figures}");
    }
}

/// A client that follows events; its lines, as they come.
struct Follower {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(address: SocketAddr, count: usize) -> Self {
        let mut client = client(&["follow", &address.to_string(), TOKEN, &count.to_string()]);
        let mut process = client.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Who has the next new order, and whether a word of the engine's end came before it.
    fn next(&mut self) -> (String, bool) {
        let mut was_told = false;
        loop {
            let line = self.lines.next().expect("another event").unwrap();
            if !line.starts_with('#') {
                return (line, was_told);
            }
            was_told |= line.contains("The engine stops");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        process::kill(&mut self.process);
    }
}

#[test]
fn a_follower_misses_nothing_while_engines_are_killed_and_stopped() {
    let (launch, address) = launch(&[]);
    let engine = launch.start();
    make_sale(engine.admin_addr(), "many", 100);
    let mut follower = Follower::start(address, 3);
    let buy = |engine: &Engine, buyer: &str| {
        let bought = engine.buy("many", buyer);
        assert_eq!(bought.status, 201, "{}", bought.body);
    };
    buy(&engine, "ann");
    assert_eq!(follower.next().0, "ann");
    let engine = engine.kill().start();
    buy(&engine, "bob");
    assert_eq!(follower.next(), ("bob".to_owned(), false));
    let (status, launch) = engine.terminate();
    assert!(status.success(), "a follower does not hold up the stop");
    let engine = launch.start();
    buy(&engine, "cyd");
    assert_eq!(follower.next(), ("cyd".to_owned(), true));
    assert!(process::wait_for_end(&mut follower.process).is_some_and(|status| status.success()));
}

#[test]
fn clients_show_a_certificate_where_one_is_asked_for() {
    let (files, authority) = (Files::default(), Authority::new("ours"));
    let (certificate, key) = files.write_pair("engine", &authority.sign("localhost"));
    let trusted = files.write("authority.pem", authority.pem());
    let (own, own_key) = files.write_pair("caller", &authority.sign("caller"));
    let (foreign, foreign_key) = files.write_pair("foreign", &Authority::new("other").sign("caller"));
    let path = |path: &PathBuf| path.display().to_string();
    let (launch, address) = launch(&[
        ("GRPC__TLS__CERT_FILE", &path(&certificate)),
        ("GRPC__TLS__KEY_FILE", &path(&key)),
        ("GRPC__TLS__CLIENT_CA_FILE", &path(&trusted)),
    ]);
    let _engine = launch.start();
    let asked = |shown: &[&PathBuf]| {
        let (address, trusted) = (address.to_string(), path(&trusted));
        let shown: Vec<_> = shown.iter().map(|file| path(file)).collect();
        let mut arguments = vec!["tls", &address, &trusted];
        arguments.extend(shown.iter().map(String::as_str));
        run(client(&arguments))
    };
    asked(&[&own, &own_key]).unwrap();
    assert!(asked(&[]).is_err(), "without one");
    assert!(asked(&[&foreign, &foreign_key]).is_err(), "with somebody else's");
}
