//! `cargo xtask winners`: the long form of the test that every winner is answered on the `may` front end.

use crate::{Failure, cargo};

/// How many.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Buyers, all of whom win.
    #[arg(long, default_value_t = 10_000)]
    number: u32,
}

/// Lets as many buyers win on the release binary, with 1, 2 and 4 threads.
///
/// # Errors
/// A winner was not answered.
pub fn run(options: &Options) -> Result<(), Failure> {
    let test = "winners::d9_every_admitted_winner_is_answered_with_1_2_and_4_threads";
    let cargo = ["test", "--release", "--locked", "--test", "http", "--", "--exact", test, "--nocapture"];
    cargo::run(&cargo, &[("SECKILL_WINNERS", &options.number.to_string())])
}
