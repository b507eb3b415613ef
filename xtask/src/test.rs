//! `cargo xtask test`: every test of the workspace.

use std::thread;

use testbed::install;

use crate::{Failure, cargo};

/// Parts of names of tests that mostly wait: for faults that strike a cluster, for servers that are stopped and started.
/// Each group runs beside all the others, so that the whole takes as long as its longest part.
const BESIDE: [&str; 2] = ["cluster::faults::", "postgres::"];

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
pub fn run() -> Result<(), Failure> {
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
        let mut others = vec!["test", "--workspace", "--locked", "--no-fail-fast", "--"];
        others.extend(BESIDE.iter().flat_map(|group| ["--skip", group]));
        let mut outcome = cargo::run(&others, &env);
        for group in beside {
            let ended = group.join().unwrap_or_else(|_| Err("a thread that runs tests broke down".into()));
            outcome = outcome.and(ended.map_err(Failure::from));
        }
        outcome
    })?;
    // The feature swaps the atomics of admission, so that this is another build of the engine. It shares the target
    // folder and replaces the engine's binary there: only when nothing runs it any more.
    cargo::run(&["test", "--locked", "--features", "model", "--test", "decision"], &[])
}
