//! Writers of several nodes against what their database sells, while a commit takes its time.

use std::process::Command;

use testbed::servers::postgres::Postgres;

use super::comparison::{figures, median};
use super::{Options, binary};
use crate::Failure;

/// What a commit waits for its disk or its standby, in ms: put into the server, where locks are held over it.
const DELAYS_MS: [u32; 3] = [0, 7, 14];
const NODES: [u16; 2] = [2, 16];
const SALES: [u32; 2] = [1, 100];
/// Orders of a batch.
const BATCHES: [usize; 2] = [1, 4];

/// One database for each run, so that none finds what another has left.
pub fn run(options: &Options) -> Result<String, Failure> {
    let mut table = String::from(
        "### Writers of several nodes on one PostgreSQL, 4 a node\n\n\
         The delay is `commit_delay` with `commit_siblings = 0`: a commit that finds nobody at it waits so long before it \
         syncs, with all its locks. Writers commit one batch after the other, without an engine in front of them.\n\n\
         | delay, ms | sales | orders a batch | 8 writers of 2 nodes, orders/s | P50, ms | 64 of 16, orders/s | P50, ms | ratio |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for delay_ms in DELAYS_MS {
        let server = Postgres::start(&format!(
            "max_connections = 300\nshared_buffers = 512MB\nmax_wal_size = 8GB\ncommit_delay = {}\ncommit_siblings = 0",
            delay_ms * 1_000
        ));
        for sales in SALES {
            for orders in BATCHES {
                let mut turns: [Vec<(f64, f64)>; 2] = Default::default();
                for _ in 0..options.rounds {
                    for (nodes, turns) in NODES.into_iter().zip(&mut turns) {
                        turns.push(turn(&server, options.seconds, nodes, sales, orders)?);
                    }
                }
                table.push_str(&format!("| {delay_ms} | {sales} | {orders} |"));
                let rates = turns.each_ref().map(|turns| {
                    let (rates, waits): (Vec<f64>, Vec<f64>) = turns.iter().copied().unzip();
                    table.push_str(&format!(" {:.0} | {:.1} |", median(&rates), median(&waits)));
                    median(&rates)
                });
                table.push_str(&format!(" {:.1} |\n", rates[1] / rates[0]));
            }
        }
    }
    table.push_str(&format!("\nMedians of {} interleaved rounds.\n\n", options.rounds));
    Ok(table)
}

/// Orders a second, and the median wait of a commit in ms.
fn turn(
    server: &Postgres,
    seconds: f64,
    nodes: u16,
    sales: u32,
    orders: usize,
) -> Result<(f64, f64), Failure> {
    let url = server.new_database();
    let (nodes, sales) = (nodes.to_string(), sales.to_string());
    let (orders, seconds) = (orders.to_string(), seconds.to_string());
    let printed = figures(Command::new(binary("writers")).args([
        "--database-url",
        &url,
        "--nodes",
        &nodes,
        "--sales",
        &sales,
        "--orders",
        &orders,
        "--seconds",
        &seconds,
    ]))?;
    eprintln!("  {nodes} nodes, {sales} sales, {orders} orders a batch: {printed:?}");
    let database = url.rsplit('/').next().unwrap_or_default();
    server.query("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
    let of = |name: &str| printed.get(name).copied().unwrap_or(f64::NAN);
    Ok((of("writers.orders"), of("writers.p50")))
}
