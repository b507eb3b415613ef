//! An engine that is watched from its first moment, not only once it sells.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{Answer, request, try_request};
use crate::servers::engine::{PATIENT, binary};
use crate::servers::process::{free_address, kill, signal, spawn, wait_for_end};
use crate::until;

/// `seckill serve` on an empty folder, on addresses that are known before it listens.
#[derive(Debug)]
pub struct WatchedEngine {
    /// Its data is in `data`, its log in `log`.
    pub folder: TempDir,
    /// Where buyers ask, once it listens.
    pub edge: SocketAddr,
    /// Where operators ask, once it listens.
    pub admin: SocketAddr,
    child: Option<Child>,
}

impl WatchedEngine {
    /// Addresses and a folder; nothing runs yet.
    ///
    /// # Panics
    /// There is no place for the folder.
    pub fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, edge: free_address(), admin: free_address(), child: None }
    }

    /// The command that starts it, with `keys` as environment variables; `shell` is what `sh` does before.
    ///
    /// # Panics
    /// Its log cannot be written.
    pub fn command(&self, shell: &str, keys: &[(&str, &str)]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{shell}\nexec \"$0\" \"$@\"")])
            .arg(binary())
            .args(["--edge-listen", &self.edge.to_string(), "--admin-listen", &self.admin.to_string()])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::options().create(true).append(true).open(self.log()).unwrap());
        command.envs(PATIENT);
        command.envs(keys.iter().map(|(key, value)| (format!("SECKILL__{key}"), value)));
        command
    }

    /// Runs it.
    ///
    /// # Panics
    /// There is no such program.
    pub fn run(&mut self, mut command: Command) {
        self.child = Some(spawn(&mut command));
    }

    /// Runs it and waits until it is ready.
    ///
    /// # Panics
    /// It does not become so.
    pub fn start(&mut self, shell: &str, keys: &[(&str, &str)]) {
        self.run(self.command(shell, keys));
        self.wait_until_ready();
    }

    /// Where its log is, unless the command says otherwise.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What is in its log.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// It never does.
    pub fn wait_until_ready(&self) {
        until("the engine is ready", || self.asks("/readyz").is_some_and(|answer| answer.status == 200));
    }

    /// Asks the admin plane, if it listens.
    pub fn asks(&self, path: &str) -> Option<Answer> {
        try_request(self.admin, "GET", path, "", "")
    }

    /// Buys one unit.
    ///
    /// # Panics
    /// It does not answer.
    pub fn buy(&self, sku: &str, buyer: &str) -> Answer {
        request(self.edge, "POST", &format!("/seckill/test/{sku}"), &format!("X-User-ID: {buyer}\r\n"), "")
    }

    /// Makes the sale `test/{sku}`.
    ///
    /// # Panics
    /// It is refused.
    pub fn sale(&self, sku: &str, stock: u32, terms: &str) {
        let body =
            format!(r#"{{"campaign":"test","sku":"{sku}","price_cents":1999,"stock":{stock}{terms}}}"#);
        let answer = request(self.admin, "POST", "/api/v1/campaigns", "", &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// Its number among the machine's processes.
    ///
    /// # Panics
    /// It was never run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was run").id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It was never run.
    pub fn signal(&self, sent: Signal) {
        signal(self.pid(), sent);
    }

    /// Its exit status, when it has ended by itself.
    ///
    /// # Panics
    /// It does not end, or was never run.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it was run");
        wait_for_end(child).expect("the engine ends")
    }
}

impl Drop for WatchedEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the engine's log:\n{}", self.log_text());
        }
        if let Some(child) = &mut self.child {
            kill(child);
        }
    }
}

/// Runs the binary to its end in a shell; the command line stands in `line` behind `"$0"`. Its exit code and
/// what it prints.
///
/// # Panics
/// There is no shell.
pub fn shell(folder: &Path, line: &str) -> (Option<i32>, String) {
    let mut command = Command::new("sh");
    let output = command.args(["-c", line]).arg(binary()).current_dir(folder).output().expect("a shell");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
