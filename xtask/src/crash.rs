//! `cargo xtask crash`: the long forms of the crash tests.

use crate::{Failure, cargo};

/// How often, and when.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// How often the engine is killed.
    #[arg(long, default_value_t = 100)]
    cycles: u64,
    /// The seed of an earlier run, to repeat its moments.
    #[arg(long)]
    seed: Option<u64>,
    /// Archive sales meanwhile, and after each kill do to the files what the power may do to them.
    #[arg(long)]
    folds_and_archives: bool,
}

/// Kills the engine as often as the options say.
///
/// # Errors
/// A promise was broken.
pub fn run(options: &Options) -> Result<(), Failure> {
    let (cycles, seed) = (options.cycles.to_string(), options.seed.map(|seed| seed.to_string()));
    let mut env = vec![("SECKILL_CRASH_CYCLES", cycles.as_str())];
    env.extend(seed.as_deref().map(|seed| ("SECKILL_CRASH_SEED", seed)));
    let test = if options.folds_and_archives {
        "crash_archiving::nothing_is_lost_by_a_kill_while_the_log_is_folded_and_orders_move_to_the_archive"
    } else {
        "crash::nothing_that_was_acknowledged_is_lost_by_a_kill"
    };
    cargo::run(&["test", "--locked", "--test", "one_node", "--", "--exact", test, "--nocapture"], &env)
}
