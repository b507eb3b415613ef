//! An engine that is watched from its first moment, not only once it sells.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use xtask::servers::process::free_address;

use crate::common::client::Answer;
use crate::common::engine::{request, try_request};

const PATIENCE: Duration = Duration::from_secs(120);

/// `seckill serve` on an empty folder, on addresses that are known before it listens.
pub struct Process {
    pub folder: TempDir,
    pub edge: SocketAddr,
    pub admin: SocketAddr,
    child: Option<Child>,
}

impl Process {
    /// Addresses and a folder; nothing runs yet.
    pub fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, edge: free_address(), admin: free_address(), child: None }
    }

    /// The command that starts it, with `keys` as environment variables; `shell` is what `sh` does before.
    pub fn command(&self, shell: &str, keys: &[(&str, &str)]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{shell}\nexec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_seckill")])
            .args(["--edge-listen", &self.edge.to_string(), "--admin-listen", &self.admin.to_string()])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::options().create(true).append(true).open(self.log()).unwrap());
        command.envs(keys.iter().map(|(key, value)| (format!("SECKILL__{key}"), value)));
        command
    }

    /// Runs it.
    pub fn run(&mut self, mut command: Command) {
        self.child = Some(command.spawn().unwrap());
    }

    /// Runs it and waits until it is ready.
    pub fn start(&mut self, shell: &str, keys: &[(&str, &str)]) {
        self.run(self.command(shell, keys));
        self.wait_until_ready();
    }

    /// Where its log is, unless the command says otherwise.
    pub fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log")
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub fn wait_until_ready(&self) {
        self.wait_for("ready", || self.asks("/readyz").is_some_and(|answer| answer.status == 200));
    }

    /// Waits until something is so.
    pub fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "never {what}: {}", self.log_text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the admin plane, if it listens.
    pub fn asks(&self, path: &str) -> Option<Answer> {
        try_request(self.admin, "GET", path, "", "")
    }

    /// Buys one unit.
    pub fn buy(&self, sku: &str, buyer: &str) -> Answer {
        request(self.edge, "POST", &format!("/seckill/test/{sku}"), &format!("X-User-ID: {buyer}\r\n"), "")
    }

    /// Makes the sale `test/{sku}`.
    pub fn sale(&self, sku: &str, stock: u32, terms: &str) {
        let body =
            format!(r#"{{"campaign":"test","sku":"{sku}","price_cents":1999,"stock":{stock}{terms}}}"#);
        let answer = request(self.admin, "POST", "/api/v1/campaigns", "", &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid() as i32).unwrap(), signal).unwrap();
    }

    /// Its exit status, when it has ended by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.log_text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs the binary to its end in a shell; the command line stands in `line` behind `"$0"`.
pub fn shell(folder: &Path, line: &str) -> (Option<i32>, String) {
    let output = Command::new("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_seckill")])
        .current_dir(folder)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
