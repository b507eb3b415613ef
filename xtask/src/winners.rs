//! `cargo xtask winners`: the long form of the test that every winner is answered on the `may` front end.

use crate::cargo;

const WINNERS_DEFAULT: &str = "10000";

/// Lets as many buyers win as `--number` says, on the release binary, with 1, 2 and 4 threads.
///
/// # Errors
/// An option is wrong, or a winner was not answered.
pub fn run(options: &[&str]) -> Result<(), String> {
    let number = match *options {
        [] => WINNERS_DEFAULT,
        ["--number", number] if number.parse::<u32>().is_ok() => number,
        _ => return Err("winners has one option: --number N, a whole number".into()),
    };
    let test = "winners::d9_every_admitted_winner_is_answered_with_1_2_and_4_threads";
    let cargo = ["test", "--release", "--locked", "--test", "http", "--", "--exact", test, "--nocapture"];
    cargo::run(&cargo, &[("SECKILL_WINNERS", number)])
}
