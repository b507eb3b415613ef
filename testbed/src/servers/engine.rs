//! An engine as its users start it: the binary, as a process.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use rustix::process::Signal;

use super::process::{kill, log_end, signal, spawn, wait_for_end};

/// The engine that was built with the program that runs: it lies beside it. Built now, if that was not done. The variable
/// `SECKILL_ENGINE` names another one, for instance of the release profile.
///
/// # Panics
/// It does not build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os("SECKILL_ENGINE") {
            return named.into();
        }
        let own = std::env::current_exe().expect("this program is somewhere");
        let folder = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
        let folder = folder.expect("it is in a folder");
        let engine = folder.join("seckill");
        if !engine.exists() {
            let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            build.args(["build", "--locked", "--package", "seckill"]);
            build.args(folder.ends_with("release").then_some("--release"));
            assert!(build.status().is_ok_and(|status| status.success()), "the engine does not build");
        }
        engine
    })
}

/// A winner waits for the commit, and nobody is refused for others' sake, however busy the machine is: a test that looks at
/// what is told then says so.
pub const PATIENT: [(&str, &str); 2] =
    [("SECKILL__EDGE__ACK_WAIT_MS", "60000"), ("SECKILL__EDGE__OVERLOAD__WAIT_MS_MAX", "0")];

/// The key of an engine whose store is held by a stranger, where a purchase is to be the first that finds it so: by its sign
/// of life, each five seconds, it would notice by itself, and refuse purchases from then on.
pub const NO_SIGN_OF_LIFE: (&str, &str) = ("CHECKOUT__EXPIRY__ALIVE_MS", "600000");

/// What sets these keys: environment variables with their prefix.
pub fn variables(keys: &[(String, String)]) -> impl Iterator<Item = (String, &str)> {
    keys.iter().map(|(key, value)| (format!("SECKILL__{key}"), value.as_str()))
}

/// A running `seckill serve`; killed when dropped.
#[derive(Debug)]
pub struct EngineProcess {
    process: Child,
    edge: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
}

impl EngineProcess {
    /// Starts `command`, the binary with whatever it needs beside, on these two addresses (port 0 finds a free one). Its
    /// data and its log are in `folder`. Returns when it says that it sells.
    ///
    /// # Panics
    /// It ends instead.
    pub fn start(mut command: Command, folder: &Path, edge: SocketAddr, admin: SocketAddr) -> Self {
        let (edge, admin) = (edge.to_string(), admin.to_string());
        command.args(["--edge-listen", &edge, "--admin-listen", &admin, "--data-dir"]).arg(folder);
        Self::run(command, folder.join("log"))
    }

    /// Starts `command`, the binary with all that it is told, and adds what it logs to this file. Returns when it says
    /// that it sells.
    ///
    /// # Panics
    /// It ends instead.
    pub fn run(mut command: Command, log: PathBuf) -> Self {
        let log_file = File::options().create(true).append(true).open(&log).expect("a log file");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let mut process = spawn(&mut command);
        let stdout = process.stdout.take().expect("it was asked for");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // Log lines may come first.
        let Some(welcome) = lines.by_ref().find(|line| line.contains("sells on http")) else {
            kill(&mut process);
            panic!("the engine does not start: {}", log_end(&log));
        };
        // The rest is read to its end, so that the engine never waits for somebody to read it.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |part: &str| {
            let address = part.split([',', ' ']).next().and_then(|address| address.parse().ok());
            address.unwrap_or_else(|| panic!("no address in {welcome:?}"))
        };
        let mut parts = welcome.split("://").skip(1).map(address);
        let (Some(edge), Some(admin)) = (parts.next(), parts.next()) else {
            panic!("not two addresses in {welcome:?}");
        };
        Self { process, edge, admin, log }
    }

    /// Where buyers ask.
    pub fn edge(&self) -> SocketAddr {
        self.edge
    }

    /// Where operators ask.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its number among the machine's processes.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// All that it has logged.
    ///
    /// # Panics
    /// It cannot be read.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        log_end(&self.log)
    }

    /// Ends it by `kill -9` and waits until it is gone.
    pub fn kill(&mut self) {
        kill(&mut self.process);
    }

    /// Asks it to stop, by SIGTERM.
    pub fn ask_to_stop(&self) {
        signal(self.pid(), Signal::TERM);
    }

    /// Stops it from doing anything; connections stay open.
    pub fn pause(&self) {
        signal(self.pid(), Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        signal(self.pid(), Signal::CONT);
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// It goes on for longer than any engine may.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        wait_for_end(&mut self.process)
            .unwrap_or_else(|| panic!("the engine does not end: {}", self.log_end()))
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the engine's log ends with:\n{}", self.log_end());
        }
        self.kill();
    }
}
