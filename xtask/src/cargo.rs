//! Cargo as the commands start it.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use crate::Failure;

/// Runs `cargo` with these arguments and waits for it.
///
/// # Errors
/// It could not be started, or failed.
pub fn run(args: &[&str], env: &[(&str, &str)]) -> Result<(), Failure> {
    eprintln!("xtask: cargo {}", args.join(" "));
    let status = command(None, args, env).status().map_err(not_started)?;
    judge(args, status)
}

/// As [`run`], beside something else: what it prints is kept until it has ended, and printed in one piece.
///
/// # Errors
/// It could not be started, or failed.
pub fn run_quietly(args: &[&str], env: &[(&str, &str)]) -> Result<(), Failure> {
    tell(command(None, args, env), args)
}

/// As [`run_quietly`], with what processor time the others leave.
///
/// # Errors
/// It could not be started, or failed.
pub fn run_behind(args: &[&str], env: &[(&str, &str)]) -> Result<(), Failure> {
    tell(command(Some("nice"), args, env), args)
}

fn tell(mut command: Command, args: &[&str]) -> Result<(), Failure> {
    let done = command.output().map_err(not_started)?;
    let shown = args.join(" ");
    eprintln!("xtask: cargo {shown}, which ran beside the others:");
    eprint!("{}{}", String::from_utf8_lossy(&done.stderr), String::from_utf8_lossy(&done.stdout));
    judge(args, done.status)
}

/// Cargo, or a program that becomes it.
fn command(through: Option<&str>, args: &[&str], env: &[(&str, &str)]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(through.unwrap_or(&cargo));
    command.args(through.map(|_| &cargo));
    // What cargo told this program about its own package would reach the build scripts of others, and some start anew
    // when it changes.
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        name.to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    });
    ours.for_each(|name| {
        command.env_remove(name);
    });
    command.args(args).envs(env.iter().copied());
    command
}

fn not_started(error: std::io::Error) -> Failure {
    format!("cargo could not be started: {error}").into()
}

fn judge(args: &[&str], status: ExitStatus) -> Result<(), Failure> {
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed: {status}", args.join(" ")).into()) }
}

/// Where `cargo build --release` puts a program.
pub fn built(name: &str) -> PathBuf {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    [&target, "release", name].iter().collect()
}
