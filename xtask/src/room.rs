//! `cargo xtask room`: the long forms of the tests of the waiting room, one figure each, on release binaries.

use clap::ValueEnum;
use testbed::install;

use crate::{Failure, cargo};

/// Which figure, and how large.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The figure.
    figure: Figure,
    /// People: who registers, is drawn, or comes; as many as the figure's own if it is not said.
    #[arg(long)]
    people: Option<u64>,
    /// Units of the sale that they come to.
    #[arg(long)]
    units: Option<u64>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Figure {
    /// The check of a pass, in ns.
    Pass,
    /// 100 draws: χ² of each, and that nobody gains by coming early.
    Draws,
    /// Checking the export of a draw, in ms.
    Verify,
    /// Registrations: bytes in memory for each who waits, the engine's own and of mapped files; rate, P99, and how many were asked to
    /// come back; the document and the page, in bytes.
    Waiting,
    /// What reaches the engine of looks at the document behind Varnish.
    Polls,
    /// A sale on three nodes, from registration to paid, with its timeline (target/room-sale.svg).
    Sale,
}

impl Figure {
    /// People in its long form.
    fn people(self) -> u64 {
        match self {
            Self::Pass | Self::Verify | Self::Waiting | Self::Polls => 1_000_000,
            Self::Draws => 100_000,
            Self::Sale => 200_000,
        }
    }

    /// Where its test is, and what it is called.
    fn test(self) -> (&'static [&'static str], &'static str) {
        const LIB: &[&str] = &["-p", "seckill", "--lib"];
        const ONE_NODE: &[&str] = &["--test", "one_node"];
        match self {
            Self::Pass => (
                LIB,
                "admission::waiting_room::pass::tests::a_pass_is_read_again_and_again_for_the_price_of_a_hash",
            ),
            Self::Draws => {
                (LIB, "admission::waiting_room::place::tests::each_draw_spreads_its_buyers_evenly")
            }
            Self::Verify => (LIB, "app::draw_check::tests::a_long_draw_is_checked_in_little_time"),
            Self::Waiting => (ONE_NODE, "room_figures::who_waits_costs_no_memory"),
            Self::Polls => (ONE_NODE, "room_figures::looks_are_answered_by_the_cache"),
            Self::Sale => (
                &["--test", "many_nodes"],
                "shared::room_sale::a_sale_through_the_room_from_registration_to_paid",
            ),
        }
    }
}

/// Measures the figure and tells it.
///
/// # Errors
/// Something was not as it has to be.
pub fn run(options: &Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    let (target, test) = options.figure.test();
    let cargo =
        [&["test", "--release", "--locked"], target, &["--", "--exact", test, "--nocapture"]].concat();
    let people = options.people.unwrap_or_else(|| options.figure.people()).to_string();
    let units = options.units.unwrap_or(5_000).to_string();
    cargo::run(&cargo, &[("SECKILL_ROOM_PEOPLE", &people), ("SECKILL_ROOM_UNITS", &units)])
}
