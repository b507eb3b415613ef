//! `cargo xtask faults`: the long form of the fault tests.

use testbed::install;

use crate::{Failure, cargo};

/// How often, and which.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// How often each fault strikes.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Only faults whose test has this in its name.
    #[arg(long, value_name = "NAME", default_value = "")]
    fault: String,
}

/// Lets each fault strike as often as the options say.
///
/// # Errors
/// A promise was broken.
pub fn run(options: &Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    let test = format!("cluster::faults::{}", options.fault.replace('-', "_"));
    let cargo = ["test", "--locked", "--test", "many_nodes", "--", &test, "--nocapture", "--test-threads=1"];
    cargo::run(&cargo, &[("SECKILL_FAULT_ROUNDS", &options.rounds.to_string())])
}
