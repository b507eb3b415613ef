//! `cargo xtask backup`: the release engine sells fast, is backed up in the middle, and another one starts from the copy.
//!
//! The load tester writes down what it is told. How far its logs have come is noted when the backup begins: all that stands
//! there by then was acknowledged before the copy's moment and has to be in it. What the tester still held back in its
//! memory (at most 64 KiB a worker) is not asked for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::value_parser;
use serde_json::Value;
use testbed::servers::engine::EngineProcess;
use testbed::servers::process::{kill, spawn};
use testbed::until;

use crate::perf::comparison::median;
use crate::perf::{append, machine};
use crate::{Failure, anew, cargo, load_tester};

const FOLDER: &str = "target/backup";
/// Of the scenario, in s: what buyers are told meanwhile is not measured.
const WARM_UP_S: u32 = 3;
const BYTES_PER_MIB: f64 = 1_048_576.0;

/// How much, and for how long.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Orders a second.
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u32).range(100..=1_000_000))]
    rate: u32,
    /// How long they are sold, in s; the backup begins in the middle.
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u32).range(6..=600))]
    seconds: u32,
    /// Write the table to the end of perf/RESULTS.md, too.
    #[arg(long)]
    append: bool,
    /// Take the binaries that are there.
    #[arg(long)]
    no_build: bool,
}

/// Sells, copies, restores, compares.
///
/// # Errors
/// The copy is damaged, or lacks an order that was acknowledged before; or a promise was broken while it was made.
pub fn run(options: &Options) -> Result<(), Failure> {
    if !options.no_build {
        let build = ["build", "--release", "--locked", "--package", "seckill", "--package", "loadtest"];
        cargo::run(&build, &[])?;
    }
    let folder = Path::new(FOLDER);
    anew::folder(folder)?;
    let [live, load, part, restored] = ["live", "load", "part", "restored"].map(|name| folder.join(name));
    for folder in [&live, &load, &part, &restored] {
        fs::create_dir(folder)?;
    }
    let heading = machine::heading();
    let copy = folder.join("copy.sqlite");
    let mut engine = start(&live);
    let mut tester = Tester::start(&engine, options, &load);
    let begins = || told(&load).is_ok_and(|logs| logs.values().any(|bytes| *bytes > 0));
    until("buyers are answered", || tester.has_ended() || begins());
    std::thread::sleep(Duration::from_secs(u64::from(WARM_UP_S + options.seconds / 2)));
    if tester.has_ended() {
        return Err("the load ended before the backup began".into());
    }
    let logs = told(&load)?;
    let began_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let began = Instant::now();
    said(seckill().arg("backup").arg(&copy).arg("--data-dir").arg(&live))?;
    let took_s = began.elapsed().as_secs_f64();
    let summary = tester.summary(&load)?;
    engine.ask_to_stop();
    engine.wait_for_end();

    let began = Instant::now();
    print!("{}", said(seckill().arg("check-backup").arg(&copy))?);
    let checked_s = began.elapsed().as_secs_f64();
    for (name, bytes) in &logs {
        io::copy(&mut File::open(load.join(name))?.take(*bytes), &mut File::create(part.join(name))?)?;
    }
    fs::copy(load.join("summary.json"), part.join("summary.json"))?;
    fs::copy(&copy, restored.join("orders.sqlite"))?;
    let engine = start(&restored);
    let mut verify = Command::new(cargo::built("loadtest"));
    verify.arg("verify").arg(&part).args(["--part", "--admin", &url(engine.admin())]);
    let verdict = said(&mut verify)?;
    println!("{verdict}");

    let (compared, in_the_copy) = counted(&verdict).ok_or("the tester does not say what it has compared")?;
    if compared == 0 {
        return Err("nobody was answered before the backup".into());
    }
    let waits = Waits::of(&summary, load_began_s(&load)?, began_s, took_s);
    let table = format!(
        "### A backup in the middle of a sale\n\n\
         | orders/s wanted | reached | orders in the copy | its size, MiB | `seckill backup` took, s | `check-backup`, s | P99 of a win, \
         ms: seconds before | while it ran | orders acknowledged before and compared | missing |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n\
         | {} | {:.0} | {in_the_copy} | {:.1} | {took_s:.2} | {checked_s:.2} | {:.1} | {:.1} | {compared} | 0 |\n\n\
         From the due time of the purchase until its order is durable: the median of the P99 of the seconds before, and the highest \
         of the seconds that the backup was in. The tester and the backup share the machine with the engine; the tester's \
         own verdict: {}.\n",
        options.rate,
        summary["paths"]["order"]["all"]["rate_per_s"].as_f64().unwrap_or(f64::NAN),
        fs::metadata(&copy)?.len() as f64 / BYTES_PER_MIB,
        waits.before_ms,
        waits.meanwhile_ms,
        summary["result"]["name"].as_str().unwrap_or("none"),
    );
    println!("{heading}{table}");
    if options.append { append(&format!("{heading}{table}")) } else { Ok(()) }
}

fn seckill() -> Command {
    Command::new(cargo::built("seckill"))
}

/// An engine with its orders in this folder.
fn start(folder: &Path) -> EngineProcess {
    let mut command = seckill();
    command.env("SECKILL__LOG__LEVEL", "warn");
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    EngineProcess::start(command, folder, free, free)
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Runs a command; what it has printed.
fn said(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let complained = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed: {printed}{complained}").into())
}

/// How many bytes each log of answers has: what they say was told before now.
fn told(load: &Path) -> io::Result<BTreeMap<OsString, u64>> {
    let mut logs = BTreeMap::new();
    for entry in fs::read_dir(load)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("answers-") {
            logs.insert(entry.file_name(), entry.metadata()?.len());
        }
    }
    Ok(logs)
}

/// Answers and orders, of the line that tells what was held against what.
fn counted(verdict: &str) -> Option<(u64, u64)> {
    let line = verdict.lines().find_map(|line| line.strip_prefix("verify: "))?;
    let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// The running load test; ended with its value.
struct Tester(Child);

impl Tester {
    /// Every buyer of the bundled scenario wins.
    fn start(engine: &EngineProcess, options: &Options, out: &Path) -> Self {
        let Options { rate, seconds, .. } = options;
        let mut command = Command::new(cargo::built("loadtest"));
        command.args(["run", "order", "--quiet", "--target", &url(engine.edge())]);
        command.args(["--admin", &url(engine.admin()), "--out"]).arg(out);
        for change in [
            "campaign.0.stock=100000000".to_owned(),
            // The engine shares the machine's cores with the tester, which therefore waits for them.
            "client.busy_max=0.99".to_owned(),
            format!("phase.0.duration_s={WARM_UP_S}"),
            format!("phase.0.load.to_per_s={rate}"),
            format!("phase.1.load.rate_per_s={rate}"),
            format!("phase.1.duration_s={seconds}"),
        ] {
            command.args(["--set", &change]);
        }
        Self(spawn(&mut command))
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits for its end. An objective that is missed is no failure here, a promise that is broken is.
    fn summary(&mut self, out: &Path) -> Result<Value, Failure> {
        self.0.wait()?;
        let summary = load_tester::summary(out)?;
        if summary["verification"]["passed"] == true {
            return Ok(summary);
        }
        Err(format!("the engine that was backed up: {}", summary["result"]).into())
    }
}

impl Drop for Tester {
    fn drop(&mut self) {
        kill(&mut self.0);
    }
}

/// When the first request of the load was due, in s since the epoch, as its logs by the second say.
fn load_began_s(load: &Path) -> Result<f64, Failure> {
    let log = fs::read_to_string(load.join("order.hlog"))?;
    let began = log.lines().find_map(|line| line.strip_prefix("#[StartTime: ")?.split(' ').next());
    Ok(began.ok_or("the tester does not say when it began")?.parse()?)
}

/// How long winners waited, in ms: the P99 of seconds.
#[derive(Debug)]
struct Waits {
    /// The median of the seconds before the backup.
    before_ms: f64,
    /// The highest of the seconds that it was in. NaN when nobody won in them.
    meanwhile_ms: f64,
}

impl Waits {
    /// The load began, and the backup, at these seconds since the epoch.
    fn of(summary: &Value, load_began_s: f64, backup_began_s: f64, took_s: f64) -> Self {
        let (from_s, until_s) = (backup_began_s - load_began_s, backup_began_s - load_began_s + took_s);
        let seconds = summary["series"].as_array().into_iter().flatten().filter_map(|second| {
            let p99_us = second["paths"]["order"]["p99_us"].as_f64()?;
            Some((second["t"].as_f64()?, p99_us / 1e3))
        });
        let (mut before, mut meanwhile_ms) = (Vec::new(), f64::NAN);
        for (ends_at_s, p99_ms) in seconds {
            if ends_at_s <= from_s && ends_at_s > f64::from(WARM_UP_S + 1) {
                before.push(p99_ms);
            } else if ends_at_s > from_s && ends_at_s - 1.0 < until_s {
                meanwhile_ms = p99_ms.max(meanwhile_ms);
            }
        }
        Self { before_ms: median(&before), meanwhile_ms }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn waits_are_those_of_the_seconds_that_the_backup_was_in() {
        let second = |t: u64, ms: u64| json!({"t": t, "paths": {"order": {"p99_us": ms * 1_000}}});
        let series: Vec<_> = [(1, 99), (4, 99), (5, 3), (6, 5), (7, 4), (8, 20), (9, 30), (10, 50)]
            .map(|(t, ms)| second(t, ms))
            .into();
        let summary = json!({ "series": series });
        // From 7.5 s to 8.5 s of the load.
        let waits = Waits::of(&summary, 1_000.0, 1_007.5, 1.0);
        assert_eq!((waits.before_ms, waits.meanwhile_ms), (4.0, 30.0));
        let late = Waits::of(&summary, 1_000.0, 1_010.0, 1.0);
        assert!(late.meanwhile_ms.is_nan(), "nobody won in them: {late:?}");
    }

    #[test]
    fn what_was_compared_stands_in_the_first_line() {
        let said = "verify: 120 answers of the client's log held against 345 exported orders\n  ok     no-oversell\n";
        assert_eq!(counted(said), Some((120, 345)));
        assert_eq!(counted("nothing"), None);
    }

    #[test]
    fn only_logs_of_answers_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("answers-x-0.log"), b"12345").unwrap();
        fs::write(folder.path().join("order.hlog"), b"1").unwrap();
        assert_eq!(told(folder.path()).unwrap(), BTreeMap::from([("answers-x-0.log".into(), 5)]));
    }
}
