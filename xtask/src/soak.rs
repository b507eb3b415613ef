//! `cargo xtask soak`: the release engine under steady load for an hour, and what its memory does meanwhile.
//!
//! Buyers of a fixed crowd buy, look up and cancel, click on what is sold out, and each minute a small sale is made, sold,
//! paid, ended and archived: whatever comes also goes. What grows by design until it is full (the interval log, the
//! store's cache of pages) is set to be small, so that a line that rises is a leak.

mod load;
mod memory;

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testbed::servers::engine::EngineProcess;

use crate::perf::{append, machine};
use crate::plot::{Line, Plot};
use crate::{Failure, anew, cargo};
use load::Load;
use memory::{Sample, Verdict};

const FOLDER: &str = "target/soak";
const PLOT: &str = "perf/soak.svg";
/// Looks at the memory in one run.
const SAMPLES: u32 = 360;

/// For how long, and how much.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// How long the load lasts.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Rounds a second: each a purchase, a look at it, its cancellation, and a click on what is sold out.
    #[arg(long, default_value = "250")]
    rate: NonZeroU64,
    /// Write the plot to perf/soak.svg and the table to the end of perf/RESULTS.md, too.
    #[arg(long)]
    append: bool,
    /// Take the binary that is there.
    #[arg(long)]
    no_build: bool,
}

/// What grows until it is full is full at once.
const KEYS: [(&str, &str); 8] = [
    ("SECKILL__ADMISSION__BUYER_RATE_PER_S", "0"),
    ("SECKILL__ADMISSION__LOOKUP_RATE_PER_S", "0"),
    ("SECKILL__ADMISSION__RELEASES_MAX", "0"),
    ("SECKILL__EDGE__THREADS", "2"),
    ("SECKILL__LOG__LEVEL", "warn"),
    ("SECKILL__SQLITE__CACHE_KIB", "1024"),
    ("SECKILL__SQLITE__READERS", "2"),
    ("SECKILL__TELEMETRY__INTERVAL_LOG_BYTES_MAX", "65536"),
];

/// Runs it, and writes the plot and the samples to `target/soak`.
///
/// # Errors
/// The memory has grown, or a buyer had no answer.
pub fn run(options: &Options) -> Result<(), Failure> {
    if !options.no_build {
        cargo::run(&["build", "--release", "--locked", "--package", "seckill"], &[])?;
    }
    let folder = Path::new(FOLDER);
    anew::folder(folder)?;
    let heading = machine::heading();
    let mut command = Command::new(cargo::built("seckill"));
    command.envs(KEYS);
    let free = "127.0.0.1:0".parse()?;
    let mut engine = EngineProcess::start(command, folder, free, free);
    let load = Load::start(engine.edge(), engine.admin(), options.rate);
    let samples = watch(engine.pid(), Duration::from_secs(60 * u64::from(options.minutes)))?;
    let told = load.end();
    engine.ask_to_stop();
    let ended = engine.wait_for_end();

    let verdict = Verdict::on(&samples).ok_or("too few samples to judge")?;
    let svg = plot(options.minutes, &samples, &verdict);
    fs::write(folder.join("soak.svg"), &svg)?;
    fs::write(folder.join("soak.csv"), memory::csv(&samples))?;
    let table = format!(
        "### Memory under steady load\n\n\
         | minutes | purchases | refusals | sales archived | anonymous memory at the beginning and end, MiB | rises by, MiB | allowed |\n\
         |---:|---:|---:|---:|---:|---:|---:|\n\
         | {} | {} | {} | {} | {:.1}, {:.1} | {:+.1} | {:.1} |\n\n\
         The line is fitted (Theil-Sen) to what comes after the first fifth.\n",
        options.minutes,
        told.bought,
        told.refused,
        told.archived,
        verdict.first_mib,
        verdict.last_mib,
        verdict.rise_mib,
        verdict.allowed_mib,
    );
    println!("{heading}{table}");
    if options.append {
        fs::write(PLOT, svg)?;
        append(&format!("{heading}{table}"))?;
    }
    if let Some(problem) = told.problem {
        return Err(problem.into());
    }
    if !ended.success() {
        return Err(format!("the engine ended with {ended}").into());
    }
    if verdict.is_flat() { Ok(()) } else { Err("the memory has grown; see target/soak/soak.svg".into()) }
}

/// Looks at the memory of a process for so long.
fn watch(pid: u32, time: Duration) -> Result<Vec<Sample>, Failure> {
    let (began, every) = (Instant::now(), time / SAMPLES);
    let mut samples = Vec::new();
    while began.elapsed() < time {
        samples.push(memory::sample(pid, began.elapsed())?);
        std::thread::sleep(every);
    }
    Ok(samples)
}

const ANONYMOUS: &str = "#2f81f7";
const RESIDENT: &str = "#8b949e";
const FITTED: &str = "#b08800";

/// The memory over the time, and the line that was fitted.
fn plot(minutes: u32, samples: &[Sample], verdict: &Verdict) -> String {
    let at = |time: Duration| time.as_secs_f64() / 60.0;
    let of = |mib: fn(&Sample) -> f64| samples.iter().map(|sample| (at(sample.at), mib(sample))).collect();
    let [first, last] = verdict.judged;
    let fitted = vec![(at(first), verdict.first_mib), (at(last), verdict.last_mib)];
    Plot {
        title: &format!("{minutes} minutes of steady load: memory, MiB"),
        unit_across: " min",
        steps_across: 5,
        lines: vec![
            Line { name: "resident", color: RESIDENT, points: of(|sample| sample.resident_mib) },
            Line { name: "anonymous", color: ANONYMOUS, points: of(|sample| sample.anonymous_mib) },
            // Its name would lie on that of what it is fitted to.
            Line { name: "", color: FITTED, points: fitted },
        ],
        remark: Some((FITTED, format!("fitted: {:+.1} MiB", verdict.rise_mib))),
    }
    .svg()
}
