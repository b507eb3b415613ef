//! `cargo xtask cluster` in a short form: it starts, sells at each node, and leaves nothing behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

/// The engine that was built with this test; built now if the test runs alone.
fn engine() -> PathBuf {
    let engine = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("seckill");
    if !engine.exists() {
        let built = Command::new(env!("CARGO")).args(["build", "--locked", "--package", "seckill"]).status();
        assert!(built.is_ok_and(|status| status.success()), "the engine does not build");
    }
    engine
}

/// Ended with the value, also when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        interrupt(&self.0);
        let _ = self.0.wait();
    }
}

fn interrupt(process: &Child) {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).expect("a process id");
    let _ = kill_process(pid, Signal::INT);
}

fn ask(address: &str, request: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What follows a word in the lines that the command prints.
fn after<'a>(lines: &'a [String], word: &str) -> Vec<&'a str> {
    let found = lines.iter().filter_map(|line| line.split_once(word));
    found.map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default()).collect()
}

#[test]
fn a_cluster_sells_at_every_node_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["cluster", "--nodes", "2", "--engine"])
        .arg(engine())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // PostgreSQL may run as another user.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut cluster = Running(command.spawn().unwrap());
    let stdout = BufReader::new(cluster.0.stdout.take().unwrap());
    let mut rest = stdout.lines().map(Result::unwrap);
    let lines: Vec<String> = rest.by_ref().take_while(|line| !line.starts_with("Ctrl-C")).collect();
    let (edges, admins, pids) =
        (after(&lines, "edge http://"), after(&lines, "admin http://"), after(&lines, "pid "));
    assert_eq!((edges.len(), pids.len()), (2, 4), "{lines:?}");
    let line = lines.iter().find(|line| line.starts_with("cargo run")).expect("a line for the load test");
    assert!(edges.iter().all(|edge| line.contains(&format!("--target http://{edge}"))), "{line}");

    let json = "Content-Type: application/json\r\n";
    let sale = r#"{"campaign":"test","sku":"phone","price_cents":100,"stock":20}"#;
    let made = ask(admins[0], "POST /api/v1/campaigns", json, sale);
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    for edge in edges {
        let began = Instant::now();
        while !ask(edge, "POST /seckill/test/phone", &format!("X-User-ID: at-{edge}\r\n"), "")
            .starts_with("HTTP/1.1 201")
        {
            assert!(began.elapsed() < PATIENCE, "a node does not sell");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    interrupt(&cluster.0);
    assert!(cluster.0.wait().unwrap().success());
    rest.for_each(drop);
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} goes on");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
