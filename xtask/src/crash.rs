//! `cargo xtask crash`: the long form of the crash test.

use crate::cargo;

const CYCLES_DEFAULT: &str = "100";

/// Kills the engine as often as `--cycles` says; `--seed` repeats the moments of an earlier run.
///
/// # Errors
/// An option is wrong, or a promise was broken.
pub fn run(mut options: &[&str]) -> Result<(), String> {
    let mut env = vec![("SECKILL_CRASH_CYCLES", CYCLES_DEFAULT)];
    while let [name, value, rest @ ..] = options {
        match *name {
            "--cycles" => env.push(("SECKILL_CRASH_CYCLES", value)),
            "--seed" => env.push(("SECKILL_CRASH_SEED", value)),
            _ => return Err(format!("crash has no option {name}; it has --cycles N and --seed S")),
        }
        if value.parse::<u64>().is_err() {
            return Err(format!("{name} needs a whole number, not {value}"));
        }
        options = rest;
    }
    if let [name] = options {
        return Err(format!("{name} needs a value"));
    }
    let test = "crash::nothing_that_was_acknowledged_is_lost_by_a_kill";
    cargo::run(&["test", "--locked", "--test", "engine", "--", "--exact", test, "--nocapture"], &env)
}
