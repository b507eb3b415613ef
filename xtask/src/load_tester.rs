//! The bundled load tester as the commands run it: a bundled scenario with some keys set, on core 1.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use crate::{Failure, cargo};

/// Builds it.
///
/// # Errors
/// It does not build.
pub fn build() -> Result<(), Failure> {
    cargo::run(&["build", "--release", "--locked", "--package", "loadtest"], &[])
}

/// The command that runs a scenario with these keys (`KEY=VALUE`) against an engine. What it finds is in `out`, in place of
/// what another run found there; the promises are not checked.
pub fn command(scenario: &str, target: &str, admin: SocketAddr, out: &str, keys: &[&str]) -> Vec<String> {
    let program = cargo::built("loadtest").display().to_string();
    let admin = format!("http://{admin}");
    let run = ["taskset", "-c", "1", &program, "run", scenario, "--no-verify", "--quiet", "--force"];
    let places = ["--out", out, "--target", target, "--admin", &admin];
    let keys = keys.iter().flat_map(|&key| ["--set", key]);
    run.into_iter().chain(places).chain(keys).map(str::to_owned).collect()
}

/// What a run has found: its `summary.json`.
///
/// # Errors
/// There is none.
pub fn summary(out: &Path) -> Result<Value, Failure> {
    Ok(serde_json::from_str(&fs::read_to_string(out.join("summary.json"))?)?)
}
