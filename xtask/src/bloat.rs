//! `cargo xtask bloat`: the long form of the test of what selling leaves behind in PostgreSQL.

use clap::value_parser;
use testbed::install;

use crate::{Failure, cargo};

/// For how long, and how fast.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Minutes of selling.
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u32).range(1..=1_440))]
    minutes: u32,
    /// Orders a second, on two nodes together.
    #[arg(long, default_value_t = 300, value_parser = value_parser!(u32).range(1..=10_000))]
    orders_per_s: u32,
}

/// Sells on release binaries with a PostgreSQL as it comes, and tells each minute how large its tables are, how many rows are dead,
/// and how long commits take.
///
/// # Errors
/// An order is lost, or a table grows beyond what autovacuum is set to allow.
pub fn run(options: &Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    let test = "shared::bloat::o9_what_selling_leaves_in_postgresql_stays_small_and_archiving_loses_nothing";
    let cargo =
        ["test", "--release", "--locked", "--test", "many_nodes", "--", "--exact", test, "--nocapture"];
    let (minutes, orders_per_s) = (options.minutes.to_string(), options.orders_per_s.to_string());
    cargo::run(&cargo, &[("SECKILL_BLOAT_MINUTES", &minutes), ("SECKILL_BLOAT_ORDERS_PER_S", &orders_per_s)])
}
