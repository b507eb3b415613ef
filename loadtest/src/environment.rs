//! Where and how a run was made: no figure without its machine and command.

use serde::{Deserialize, Serialize};

/// The surroundings of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Environment {
    /// The machine of the tester that was asked for the run.
    #[serde(flatten)]
    pub machine: Machine,
    /// The machines that helped it.
    #[serde(default)]
    pub agents: Vec<AgentMachine>,
    /// Version of this tester.
    pub tester: String,
    /// Commit of the working folder, with `+` for local changes; empty when there is none.
    pub commit: String,
    /// The command line.
    pub command: String,
    /// The engine's addresses.
    pub targets: Vec<String>,
    /// Server clock minus client clock, as seen at the start; absent when the engine did not say.
    pub clock_skew_ms: Option<i64>,
    /// The scenario as it was run, overrides included; its workers and connections are those of all machines.
    pub scenario: serde_json::Value,
}

/// A machine that sends load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Processors that the tester may use.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Operating system and kernel.
    pub kernel: String,
    /// Load average of the last minute, at the start.
    pub load_average: f64,
}

/// The machine of an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentMachine {
    /// The command that runs the agent.
    pub command: String,
    /// Its workers.
    pub workers: usize,
    /// The quickest answer of its clock, in microseconds: it began with the others to within half of that.
    pub round_trip_us: u64,
    /// Where it runs.
    #[serde(flatten)]
    pub machine: Machine,
}

impl Machine {
    /// Looks around.
    pub fn observe() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory_kib.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_kib / 1024,
            kernel: format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
            load_average: read("/proc/loadavg").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        }
    }
}

impl Environment {
    /// Looks around.
    pub fn observe(targets: &[String], scenario: serde_json::Value) -> Self {
        Self {
            machine: Machine::observe(),
            agents: Vec::new(),
            tester: env!("CARGO_PKG_VERSION").into(),
            commit: commit(),
            command: command_line(),
            targets: targets.to_vec(),
            clock_skew_ms: None,
            scenario,
        }
    }
}

/// The command line without what must not be written down.
fn command_line() -> String {
    let mut words = Vec::new();
    let mut hide_next = false;
    for word in std::env::args() {
        let secret = word.starts_with("--admin-token") || word.starts_with("--header");
        words.push(match word.split_once('=') {
            _ if hide_next => "***".into(),
            Some((name, _)) if secret => format!("{name}=***"),
            _ => word.clone(),
        });
        hide_next = secret && !word.contains('=');
    }
    words.join(" ")
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return String::new() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { format!("{head}+") } else { head }
}
