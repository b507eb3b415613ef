//! `cargo xtask test`: every test of the workspace.

use std::thread;
use std::time::Duration;

use testbed::install;

use crate::{Failure, cargo, deny};

/// What runs beside the tests.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Also check lints, documents and dependencies, while the tests wait for one another.
    #[arg(long)]
    with_lints: bool,
}

/// Parts of names of tests that mostly wait: for faults that strike a cluster, for servers that are stopped and started.
/// Each group runs beside all the others, so that the whole takes as long as its longest part.
const BESIDE: [&str; 3] = ["cluster::faults::", "postgres::", "shared::"];

/// Every interleaving of what decides. Its library is another build of the engine's, and small; no program is built with it.
const MODEL: [&str; 7] =
    ["test", "--workspace", "--locked", "--features", "model/explored", "--test", "decision"];

/// Cargo holds the target folder while it builds, or looks whether everything is built: the tests go first.
const OTHERS_AFTER: Duration = Duration::from_secs(15);

/// How many tests of a program run at once. Most wait for processes: for a start, a fault, a sale's end.
const THREADS: &str = "RUST_TEST_THREADS";

/// Twice the cores.
fn threads() -> usize {
    2 * thread::available_parallelism().map_or(1, usize::from)
}

/// Installs what they need, then runs them.
///
/// # Errors
/// Which step failed.
pub fn run(options: &Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    cargo::run(&["test", "--workspace", "--locked", "--no-run"], &[])?;
    let threads = std::env::var(THREADS).unwrap_or_else(|_| threads().to_string());
    let env = [(THREADS, threads.as_str())];
    thread::scope(|scope| {
        let beside = BESIDE.map(|group| {
            scope.spawn(move || {
                cargo::run_quietly(&["test", "--workspace", "--locked", "--no-fail-fast", group], &env)
                    .map_err(|problem| problem.to_string())
            })
        });
        let others = scope.spawn(|| {
            thread::sleep(OTHERS_AFTER);
            let explored = cargo::run_behind(&MODEL, &[]);
            let linted = if options.with_lints { lints() } else { Ok(()) };
            explored.and(linted).map_err(|problem| problem.to_string())
        });
        let mut rest = vec!["test", "--workspace", "--locked", "--no-fail-fast", "--"];
        rest.extend(BESIDE.iter().flat_map(|group| ["--skip", group]));
        let mut outcome = cargo::run(&rest, &env);
        for group in beside.into_iter().chain([others]) {
            let ended = group.join().unwrap_or_else(|_| Err("a thread that runs tests broke down".into()));
            outcome = outcome.and(ended.map_err(Failure::from));
        }
        outcome
    })
}

/// Tests look at how long something takes, lints do not: these wait for those, and not the other way round.
fn lints() -> Result<(), Failure> {
    cargo::run_behind(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])?;
    cargo::run_behind(&["doc", "--no-deps", "--workspace", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    deny::run()
}
