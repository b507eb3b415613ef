//! `cargo xtask history`: the long form of the test of what orders of the past cost.

use std::fs;
use std::path::Path;

use clap::value_parser;

use crate::perf::{append, machine};
use crate::{Failure, anew, cargo};

const FOLDER: &str = "target/history";

/// How much there is.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Orders of archived sales.
    #[arg(long, default_value_t = 10_000_000, value_parser = value_parser!(u32).range(1_000..))]
    archived: u32,
    /// Orders of one sale that wait for their payment.
    #[arg(long, default_value_t = 2_000_000, value_parser = value_parser!(u32).range(1..))]
    open: u32,
    /// Sales beside each other.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(2..))]
    sales: u32,
    /// Write the tables to the end of perf/RESULTS.md, too.
    #[arg(long)]
    append: bool,
    /// Leave the data in target/history.
    #[arg(long)]
    keep: bool,
}

/// Fills data folders through the engine's store, and measures the release binary on them: starts, memory, pauses, look-ups.
///
/// # Errors
/// An order is not found, or a paused sale sells.
pub fn run(options: &Options) -> Result<(), Failure> {
    let folder = Path::new(FOLDER);
    anew::folder(folder)?;
    let heading = machine::heading();
    let test = "history::orders_of_the_past_are_found_after_a_start_and_hold_up_nothing";
    let cargo = ["test", "--release", "--locked", "--test", "one_node", "--", "--exact", test, "--nocapture"];
    let Options { archived, open, sales, append: appends, keep } = options;
    cargo::run(
        &cargo,
        &[
            ("SECKILL_HISTORY_FOLDER", FOLDER),
            ("SECKILL_HISTORY_ARCHIVED", &archived.to_string()),
            ("SECKILL_HISTORY_OPEN", &open.to_string()),
            ("SECKILL_HISTORY_SALES", &sales.to_string()),
            ("SECKILL_HISTORY_KEEP", &keep.to_string()),
        ],
    )?;
    let report = heading + &fs::read_to_string(folder.join("table.md"))?;
    println!("{report}");
    if *appends { append(&report) } else { Ok(()) }
}
