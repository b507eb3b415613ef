//! `cargo xtask faults`: the long form of the fault tests.

use crate::{cargo, install};

const ROUNDS_DEFAULT: &str = "20";

/// Lets each fault strike as often as `--rounds` says, or only those whose test has `--fault` in its name.
///
/// # Errors
/// An option is wrong, or a promise was broken.
pub fn run(mut options: &[&str]) -> Result<(), String> {
    let (mut rounds, mut name) = (ROUNDS_DEFAULT, "");
    while let [option, value, rest @ ..] = options {
        match *option {
            "--rounds" if value.parse::<usize>().is_ok() => rounds = value,
            "--rounds" => return Err(format!("--rounds needs a whole number, not {value}")),
            "--fault" => name = value,
            _ => return Err(format!("faults has no option {option}; it has --rounds N and --fault NAME")),
        }
        options = rest;
    }
    if let [option] = options {
        return Err(format!("{option} needs a value"));
    }
    install::install_missing(&install::FOR_TESTS)?;
    let test = format!("faults::{}", name.replace('-', "_"));
    let cargo = ["test", "--locked", "--test", "cluster", "--", &test, "--nocapture", "--test-threads=1"];
    cargo::run(&cargo, &[("SECKILL_FAULT_ROUNDS", rounds)])
}
