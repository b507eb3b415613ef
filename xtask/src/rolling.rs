//! `cargo xtask rolling`: the long form of the rolling restart behind a balancer.

use crate::{cargo, install};

const ROUNDS_DEFAULT: &str = "5";
const RATE_DEFAULT: &str = "2000";

/// Restarts each of two engines behind HAProxy as often as `--rounds` says, while buyers come at `--rate` a second, and
/// fails when one of them had no answer.
///
/// # Errors
/// An option is wrong, or a purchase was left without its answer.
pub fn run(mut options: &[&str]) -> Result<(), String> {
    let (mut rounds, mut rate) = (ROUNDS_DEFAULT, RATE_DEFAULT);
    while let [option, value, rest @ ..] = options {
        let is_number = value.parse::<u64>().is_ok_and(|number| number > 0);
        match *option {
            "--rounds" if is_number => rounds = value,
            "--rate" if is_number => rate = value,
            "--rounds" | "--rate" => {
                return Err(format!("{option} needs a whole number above 0, not {value}"));
            }
            _ => return Err(format!("rolling has no option {option}; it has --rounds N and --rate N")),
        }
        options = rest;
    }
    if let [option] = options {
        return Err(format!("{option} needs a value"));
    }
    install::install_missing(&install::FOR_TESTS)?;
    let cargo = ["test", "--release", "--locked", "--test", "engine", "--", "rolling::", "--nocapture"];
    cargo::run(&cargo, &[("SECKILL_ROLLING_ROUNDS", rounds), ("SECKILL_ROLLING_RATE_PER_S", rate)])
}
