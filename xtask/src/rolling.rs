//! `cargo xtask rolling`: the long form of the rolling restart behind a balancer.

use std::num::NonZeroU64;

use testbed::install;

use crate::{Failure, cargo};

/// How often, and under which load.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// How often each engine is restarted.
    #[arg(long, default_value = "5")]
    rounds: NonZeroU64,
    /// Buyers a second.
    #[arg(long, default_value = "2000")]
    rate: NonZeroU64,
}

/// Restarts each of two engines behind HAProxy while buyers come, and fails when one of them had no answer.
///
/// # Errors
/// A purchase was left without its answer.
pub fn run(options: &Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    let (rounds, rate) = (options.rounds.to_string(), options.rate.to_string());
    let cargo = ["test", "--release", "--locked", "--test", "one_node", "--", "rolling::", "--nocapture"];
    cargo::run(&cargo, &[("SECKILL_ROLLING_ROUNDS", &rounds), ("SECKILL_ROLLING_RATE_PER_S", &rate)])
}
