//! `cargo xtask faults`: the long form of the fault tests.

use clap::builder::PossibleValuesParser;
use testbed::install;

use crate::{Failure, cargo};

/// The tests, each of which says the name of its fault, as it prints it.
const TESTS: &str = include_str!("../../tests/many_nodes/cluster/faults.rs");

/// How often, and which.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// How often each fault strikes.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Only this fault, by the name that is printed.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(faults().map(|(fault, _)| fault)))]
    fault: Option<String>,
}

/// Lets each fault strike as often as the options say.
///
/// # Errors
/// A promise was broken.
pub fn run(options: &Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    let named = options.fault.as_deref();
    let test = named.and_then(|named| faults().find(|(fault, _)| *fault == named)).map(|(_, test)| test);
    let test = format!("cluster::faults::{}", test.unwrap_or_default());
    let mut cargo =
        vec!["test", "--locked", "--test", "many_nodes", "--", &test, "--nocapture", "--test-threads=1"];
    // One name may be the beginning of another.
    cargo.extend(named.map(|_| "--exact"));
    cargo::run(&cargo, &[("SECKILL_FAULT_ROUNDS", &options.rounds.to_string())])
}

/// The faults and their tests, in their order.
fn faults() -> impl Iterator<Item = (&'static str, &'static str)> {
    TESTS.split("#[test]").skip(1).filter_map(|test| {
        let (_, name) = test.split_once("fn ")?;
        let (_, fault) = test.split_once("under_load(\"")?;
        Some((fault.split('"').next()?, name.split('(').next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_known_by_the_name_that_it_prints() {
        let found: Vec<_> = faults().collect();
        assert_eq!(found.len(), TESTS.matches("#[test]").count(), "{found:?}");
        assert!(found.contains(&("node-cut-off", "a_node_is_cut_off_from_everything_until_it_is_fenced")));
        assert!(found.contains(&("redis-emptied", "redis_is_killed_and_comes_back_without_its_data")));
        let mut names: Vec<_> = found.iter().map(|(fault, _)| fault).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), found.len(), "no two have one name");
    }
}
