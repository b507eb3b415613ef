//! Cargo as the commands start it.

use std::path::PathBuf;
use std::process::Command;

use crate::Failure;

/// Runs `cargo` with these arguments and waits for it.
///
/// # Errors
/// It could not be started, or failed.
pub fn run(args: &[&str], env: &[(&str, &str)]) -> Result<(), Failure> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let shown = args.join(" ");
    eprintln!("xtask: cargo {shown}");
    // What cargo told this program about its own package would reach the build scripts of others, and some start anew
    // when it changes.
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        name.to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    });
    let mut command = Command::new(cargo);
    ours.for_each(|name| {
        command.env_remove(name);
    });
    let status = command
        .args(args)
        .envs(env.iter().copied())
        .status()
        .map_err(|error| format!("cargo could not be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {shown} failed: {status}").into()) }
}

/// Where `cargo build --release` puts a program.
pub fn built(name: &str) -> PathBuf {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    [&target, "release", name].iter().collect()
}
