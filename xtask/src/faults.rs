//! `cargo xtask faults`: the long form of the fault tests.

use clap::builder::PossibleValuesParser;
use testbed::install;

use crate::{Failure, cargo};

/// The tests by module, each of which says the name of its fault, as it prints it.
const TESTS: [(&str, &str); 4] = [
    ("", include_str!("../../tests/many_nodes/cluster/faults.rs")),
    ("ledger::", include_str!("../../tests/many_nodes/cluster/faults/ledger.rs")),
    ("nodes::", include_str!("../../tests/many_nodes/cluster/faults/nodes.rs")),
    ("store::", include_str!("../../tests/many_nodes/cluster/faults/store.rs")),
];

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
    // Some strike in the long form alone.
    cargo.push("--include-ignored");
    // One name may be the beginning of another.
    cargo.extend(named.map(|_| "--exact"));
    cargo::run(&cargo, &[("SECKILL_FAULT_ROUNDS", &options.rounds.to_string())])
}

/// The faults and their tests, in their order.
fn faults() -> impl Iterator<Item = (&'static str, String)> {
    TESTS.iter().flat_map(|(module, tests)| {
        tests.split("#[test]").skip(1).filter_map(move |test| {
            let (_, name) = test.split_once("fn ")?;
            let (_, fault) = test.split_once("under_load")?;
            Some((fault.split('"').nth(1)?, format!("{module}{}", name.split('(').next()?)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_known_by_the_name_that_it_prints() {
        let found: Vec<_> = faults().collect();
        let tests: usize = TESTS.iter().map(|(_, tests)| tests.matches("#[test]").count()).sum();
        assert_eq!(found.len(), tests, "{found:?}");
        for (fault, test) in [
            ("node-cut-off", "a_node_is_cut_off_from_everything_until_it_is_fenced"),
            ("redis-emptied", "redis_is_killed_and_comes_back_without_its_data"),
            ("line-to-redis-lost", "nodes::the_line_between_a_node_and_redis_is_cut_for_good"),
            ("database-failed-over", "store::a_standby_takes_over_without_the_last_orders"),
        ] {
            assert!(found.contains(&(fault, test.to_owned())), "{found:?}");
        }
        let mut names: Vec<_> = found.iter().map(|(fault, _)| fault).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), found.len(), "no two have one name");
    }
}
