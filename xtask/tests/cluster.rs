//! `cargo xtask cluster` in a short form: it starts, sells at each node, and leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use testbed::client::request;
use testbed::servers::engine::binary;
use testbed::until;

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
        .arg(binary())
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
    let made = request(admins[0].parse().unwrap(), "POST", "/api/v1/campaigns", json, sale);
    assert_eq!(made.status, 201, "{}", made.body);
    for edge in edges {
        let buyer = format!("X-User-ID: at-{edge}\r\n");
        let edge = edge.parse().unwrap();
        until("a node sells", || request(edge, "POST", "/seckill/test/phone", &buyer, "").status == 201);
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
