//! `cargo xtask console`: the long forms of the tests of the console, on release binaries.

use std::path::{PathBuf, absolute};

use clap::value_parser;
use testbed::install;

use crate::{Failure, cargo};

/// What is measured and how often, or where pictures are kept.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Clicks on pause, on one node and on three.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(1..))]
    clicks: u32,
    /// Pairs of turns without viewers and with 20.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    pairs: u32,
    /// Measure nothing, and take pictures of every page into this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["clicks", "pairs"])]
    pictures: Option<PathBuf>,
}

/// Measures and tells; or takes pictures.
///
/// # Errors
/// Something was not as it has to be.
pub fn run(options: &Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    if let Some(folder) = &options.pictures {
        let folder = absolute(folder)?;
        let folder = folder.to_str().ok_or("the folder's name is no text")?;
        let test = "pictures::the_console_and_the_buyers_page_are_taken_whole";
        return long_form("one_node", test, ("SECKILL_PICTURES", folder));
    }
    let clicks = ("SECKILL_CONSOLE_CLICKS", options.clicks.to_string());
    let pairs = ("SECKILL_CONSOLE_PAIRS", options.pairs.to_string());
    for (target, test, (variable, value)) in [
        ("one_node", "console_figures::a_click_on_pause_is_heard_by_the_next_buyers", &clicks),
        ("many_nodes", "shared::pauses::a_click_on_pause_at_one_engine_is_heard_by_buyers_of_all", &clicks),
        ("one_node", "console_figures::twenty_viewers_see_the_same_and_cost_little", &pairs),
    ] {
        long_form(target, test, (variable, value))?;
    }
    Ok(())
}

fn long_form(target: &str, test: &str, variable: (&str, &str)) -> Result<(), Failure> {
    let cargo = ["test", "--release", "--locked", "--test", target, "--", "--exact", test, "--nocapture"];
    cargo::run(&cargo, &[variable])
}
