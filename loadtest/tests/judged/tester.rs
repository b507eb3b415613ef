//! Runs the tester as its user does: the binary, its exit code, its output folder.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A finished command.
pub struct Finished {
    pub exit_code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Asserts the exit code, showing everything if it is another.
    pub fn expect_code(&self, exit_code: i32) -> &Self {
        assert_eq!(self.exit_code, exit_code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
}

pub fn finish(output: Output) -> Finished {
    Finished {
        exit_code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `loadtest run` of a scenario text against one address.
pub fn run(scenario: &str, url: &str, out: &Path, more: &[&str]) -> Finished {
    finish(run_command(scenario, url, out, more).output().unwrap())
}

/// The command of [`run`].
pub fn run_command(scenario: &str, url: &str, out: &Path, more: &[&str]) -> Command {
    run_command_at(scenario, [url, url], out, more)
}

/// The same against an edge and an admin address.
pub fn run_command_at(scenario: &str, [edge, admin]: [&str; 2], out: &Path, more: &[&str]) -> Command {
    std::fs::create_dir_all(out).unwrap();
    let file = out.join("scenario.toml");
    std::fs::write(&file, scenario).unwrap();
    let mut command = binary();
    // The folder holds the scenario already, and in some tests an earlier run.
    command
        .arg("run")
        .arg(&file)
        .args(["--force", "--target", edge, "--admin", admin, "--out"])
        .arg(out)
        .args(more);
    command
}

/// A path as an argument or in a configuration.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path that can be written")
}

pub fn summary(out: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(out.join("summary.json")).unwrap()).unwrap()
}

/// One figure of the purchases' answers, in ms.
pub fn seckill_ms(out: &Path, key: &str) -> f64 {
    summary(out)["paths"]["seckill"]["all"]["response"][key].as_f64().unwrap() / 1e3
}

/// A scenario with one campaign and one open phase; limits of the client that a busy machine cannot break.
pub fn scenario(stock: u64, rate_per_s: u64, duration_s: f64, shopper: &str, more: &str) -> String {
    format!(
        r#"
        name = "judged"
        about = "A test of the tester."
        [client]
        connections = 16
        lag_p99_ms_max = 60000
        busy_max = 1e9
        {more}
        [[campaign]]
        name = "main"
        stock = {stock}
        [[shopper]]
        name = "buyer"
        {shopper}
        [[phase]]
        name = "load"
        duration_s = {duration_s}
        load = {{ curve = "constant", rate_per_s = {rate_per_s} }}
        "#
    )
}

/// Buyers who win 60 units and pay, and as many who come too late, over few connections, for one second.
pub fn winners(rate_per_s: u64) -> String {
    scenario(60, rate_per_s, 1.0, "then = \"pay\"", "").replace("connections = 16", "connections = 3")
}
