//! What a figure was measured on.

use std::fs;
use std::process::Command;

/// The heading of a report: date, commit, machine, command.
pub fn heading() -> String {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    format!(
        "## {}, commit {}\n\nMachine: {cores} cores, {}, Linux {}; load average at the start {load}. \
         Command: `cargo xtask {}`\n\n",
        said(&["date", "-u", "+%Y-%m-%d %H:%M UTC"]),
        said(&["git", "describe", "--always", "--dirty"]),
        processor(),
        said(&["uname", "-r"]),
        words.join(" "),
    )
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    model
        .and_then(|line| line.split_once(": "))
        .map_or_else(|| "unknown processor".into(), |(_, name)| name.into())
}

fn said(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    output.map_or_else(|_| "?".into(), |output| String::from_utf8_lossy(&output.stdout).trim().into())
}
