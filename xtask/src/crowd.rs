//! `cargo xtask crowd`: many nodes on one sale, and what that costs their Redis.

use clap::value_parser;
use testbed::install;

use crate::{Failure, cargo};

/// How many.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Engines.
    #[arg(long, default_value_t = 48, value_parser = value_parser!(u16).range(2..=64))]
    nodes: u16,
    /// Units of the sale.
    #[arg(long, default_value_t = 50_000)]
    units: u32,
}

/// Lets a crowd buy all units of one sale from release binaries, and tells how exact, how fair, how fast to its end, and what
/// Redis had to do.
///
/// # Errors
/// A unit was sold twice, or not at all.
pub fn run(options: &Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    let test = "cluster::crowded::many_nodes_sell_one_stock_exactly_and_fairly";
    let cargo =
        ["test", "--release", "--locked", "--test", "many_nodes", "--", "--exact", test, "--nocapture"];
    let cargo = [&cargo[..], &["--include-ignored"]].concat();
    let (nodes, units) = (options.nodes.to_string(), options.units.to_string());
    cargo::run(&cargo, &[("SECKILL_CROWD_NODES", &nodes), ("SECKILL_CROWD_UNITS", &units)])
}
