//! `cargo xtask test`: every test of the workspace.

use std::thread;

use testbed::install;

use crate::{Failure, cargo};

/// The tests in which faults strike a cluster. They mostly wait, one at a time, for nearly as long as all the others
/// together take, so they run beside them.
const FAULTS: &str = "cluster::faults::";

/// Installs what they need, then runs them.
///
/// # Errors
/// Which step failed.
pub fn run() -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    cargo::run(&["test", "--workspace", "--locked", "--no-run"], &[])?;
    thread::scope(|scope| {
        let faults = scope.spawn(|| {
            cargo::run_quietly(&["test", "--workspace", "--locked", "--test", "many_nodes", FAULTS])
                .map_err(|problem| problem.to_string())
        });
        let others = cargo::run(&["test", "--workspace", "--locked", "--", "--skip", FAULTS], &[]);
        let faults = faults.join().map_err(|_| "the thread that lets faults strike ended")?;
        others.and(faults.map_err(Failure::from))
    })?;
    // The feature swaps the atomics of admission, so that this is another build of the engine. It shares the target
    // folder and replaces the engine's binary there: only when nothing runs it any more.
    cargo::run(&["test", "--locked", "--features", "model", "--test", "decision"], &[])
}
