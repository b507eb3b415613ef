//! `cargo xtask idle`: the long form of the test that sales cost nothing where nothing happens.

use testbed::install;

use crate::{Failure, cargo};

/// How many.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Sales, on three nodes.
    #[arg(long, default_value_t = 10_000)]
    sales: u32,
    /// How far PostgreSQL and Redis are from each node, each way, in µs.
    #[arg(long, default_value_t = 1_000)]
    network_us: u32,
}

/// Measures scripts a second, and the processor time of each node, with so many sales on the release binary.
///
/// # Errors
/// They cost something, or a sale does not sell.
pub fn run(options: &Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    let test = "shared::idle::n2_sales_where_nothing_happens_cost_nothing_and_are_there_when_something_does";
    let cargo =
        ["test", "--release", "--locked", "--test", "many_nodes", "--", "--exact", test, "--nocapture"];
    let (sales, network_us) = (options.sales.to_string(), options.network_us.to_string());
    cargo::run(&cargo, &[("SECKILL_IDLE_SALES", &sales), ("SECKILL_IDLE_NETWORK_US", &network_us)])
}
