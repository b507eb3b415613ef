//! Cargo as the commands start it.

use std::process::Command;

/// Runs `cargo` with these arguments and waits for it.
///
/// # Errors
/// It could not be started, or failed.
pub fn run(args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let shown = args.join(" ");
    eprintln!("xtask: cargo {shown}");
    let status = Command::new(cargo)
        .args(args)
        .envs(env.iter().copied())
        .status()
        .map_err(|error| format!("cargo could not be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {shown} failed: {status}")) }
}
