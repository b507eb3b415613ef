//! `cargo xtask test`: every test of the workspace.

use testbed::install;

use crate::{Failure, cargo};

/// Installs what they need, then runs them; stops at the first step that fails.
///
/// # Errors
/// Which step failed.
pub fn run() -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    cargo::run(&["test", "--workspace", "--locked"], &[])?;
    // The feature swaps the atomics of admission, so that this is another build of the engine. It shares the target
    // folder: cargo keeps both builds there side by side.
    cargo::run(&["test", "--locked", "--features", "model", "--test", "decision"], &[])
}
