//! `cargo xtask flamegraph NAME`: where the processor time of one path goes, as an SVG in `flamegraphs/`.
//!
//! Linux `perf` samples the release binary (stacks are unwound from its debug information, so it needs no special
//! build); inferno, installed into `target/tools`, draws.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use crate::perf::server::{FrontEnd, Server};
use crate::perf::{self, WORK_FOLDER, binary};
use crate::{Failure, cargo};

const NAMES: [&str; 4] = ["refusal", "win", "checkout", "recovery"];
const TOOLS: &str = "target/tools";
const SECONDS: &str = "5";
const SAMPLES_A_SECOND: &str = "499";
const PLENTY: u32 = 10_000_000;

/// Which path.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The path that is drawn.
    #[arg(value_parser = NAMES)]
    name: String,
    /// Take the binaries that are there.
    #[arg(long)]
    no_build: bool,
}

/// Draws the path of this name.
///
/// # Errors
/// A tool is missing, or failed.
pub fn run(options: &Options) -> Result<(), Failure> {
    let name = options.name.as_str();
    if !options.no_build {
        perf::build()?;
    }
    install_inferno()?;
    fs::create_dir_all(WORK_FOLDER)?;
    let samples = format!("{WORK_FOLDER}/{name}.perf");
    match name {
        "refusal" => sample_engine(&samples, 0, &[])?,
        "win" => sample_engine(&samples, PLENTY, &[])?,
        "checkout" => sample_engine(&samples, PLENTY, &["--pay", "--connections", "256"])?,
        _ => sample_recovery(&samples)?,
    }
    let stacks = format!("{WORK_FOLDER}/{name}.stacks");
    let script =
        ["perf", "script", "--no-inline", "-F", "comm,pid,tid,time,event,ip,sym,dso", "-i", &samples];
    pipe(&[&script, &[&format!("{TOOLS}/bin/inferno-collapse-perf")]], &stacks)?;
    let title = format!("{name}: processor time of the engine");
    let drawn = format!("flamegraphs/{name}.svg");
    let program = format!("{TOOLS}/bin/inferno-flamegraph");
    pipe(&[&[&program, "--title", &title, &stacks]], &drawn)?;
    println!("{drawn}");
    Ok(())
}

fn install_inferno() -> Result<(), Failure> {
    if fs::exists(format!("{TOOLS}/bin/inferno-flamegraph"))? {
        return Ok(());
    }
    cargo::run(&["install", "--locked", "--root", TOOLS, "inferno", "--version", "0.12.8"], &[])
}

/// Samples a running engine while the client keeps it busy.
fn sample_engine(samples: &str, stock: u32, client: &[&str]) -> Result<(), Failure> {
    let engine = Server::engine("flamegraph", FrontEnd::Hyper, stock)?;
    let mut recorder = record(samples).args(["-p", &engine.pids(), "--", "sleep", SECONDS]).spawn()?;
    engine.client(&[&["--seconds", SECONDS], client].concat())?;
    if recorder.wait()?.success() { Ok(()) } else { Err("perf record failed".into()) }
}

/// Samples the reading of a million orders.
fn sample_recovery(samples: &str) -> Result<(), Failure> {
    finish(Command::new(binary("durable")).args(["--folder", WORK_FOLDER]))?;
    finish(record(samples).args(["--", &binary("recovery"), "--folder", WORK_FOLDER]))
}

fn record(samples: &str) -> Command {
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-e", "cpu-clock", "-F", SAMPLES_A_SECOND, "--call-graph", "dwarf,16384"]);
    command.args(["-o", samples]);
    command
}

fn finish(command: &mut Command) -> Result<(), Failure> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed").into()) }
}

/// Runs the commands, each reading what the one before it writes; the last one writes the file.
fn pipe(commands: &[&[&str]], to: &str) -> Result<(), Failure> {
    let mut before = Stdio::null();
    let mut running = Vec::new();
    for (place, words) in commands.iter().enumerate() {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(before).stderr(Stdio::null());
        let last = place + 1 == commands.len();
        command.stdout(if last { File::create(to)?.into() } else { Stdio::piped() });
        let mut child = command.spawn()?;
        before = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
        running.push((words[0].to_owned(), child));
    }
    for (program, mut child) in running {
        if !child.wait()?.success() {
            return Err(format!("{program} failed").into());
        }
    }
    Ok(())
}
