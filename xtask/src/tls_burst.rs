//! `cargo xtask tls-burst`: the long form of the test that a burst of handshakes leaves no buyer without an order.

use clap::value_parser;

use crate::{Failure, cargo};

/// How many.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Connections that are opened at once; fewer where the limit of open files is too low for them.
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u32).range(4..))]
    connections: u32,
}

/// Opens them against the release binary, and tells how long until all are in, how often the engine would not have them, what
/// it needed for them, and how long buyers waited meanwhile.
///
/// # Errors
/// Somebody did not come in, or was not served.
pub fn run(options: &Options) -> Result<(), Failure> {
    let test = "tls_burst::a_burst_of_handshakes_comes_in_and_leaves_no_buyer_without_an_order";
    let cargo = ["test", "--release", "--locked", "--test", "http", "--", "--exact", test, "--nocapture"];
    cargo::run(&cargo, &[("SECKILL_TLS_BURST", &options.connections.to_string())])
}
