//! A click on pause at one engine, and the buyers of all.
//!
//! The long form, `cargo xtask console`, clicks `SECKILL_CONSOLE_CLICKS` times on three nodes and tells how long it took.

use testbed::engine::Engine;
use testbed::operator::TOKEN;
use testbed::{asked, pauses};

use super::fixture::Fixture;
use super::idle::CALM;

#[test]
fn a_click_on_pause_at_one_engine_is_heard_by_buyers_of_all() {
    let long: Option<usize> = asked("SECKILL_CONSOLE_CLICKS");
    let (clicks, nodes) = long.map_or((2, 2), |clicks| (clicks, 3));
    let fixture = Fixture::open();
    let keys = [&CALM[..], &[("ADMIN__TOKEN", TOKEN)]].concat();
    let engines: Vec<Engine> = (1..=nodes).map(|number| fixture.launch(number, &keys).start()).collect();
    let pauses = pauses::measure(&engines.iter().collect::<Vec<_>>(), clicks);
    if long.is_some() {
        println!(
            "pause, a click at one of {nodes} nodes, until all refuse: {pauses}; wanted: P99 below 1,000 ms"
        );
    }
}
