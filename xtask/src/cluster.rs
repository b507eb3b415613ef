//! `cargo xtask cluster`: several engines on this machine, until Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::value_parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use testbed::install;
use testbed::servers::cluster::{Cluster, ClusterPlan};
use testbed::servers::process::keep_servers_from_the_terminal;

use crate::{Failure, cargo};

const NODES_MAX: u16 = 64;
/// Admin addresses are this far above the edge's when ports are chosen.
const ADMIN_PORTS_ABOVE: u16 = 1_000;
const PORT_MAX: u16 = u16::MAX - ADMIN_PORTS_ABOVE - NODES_MAX;

/// Which engines, and where.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// How many engines.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    nodes: u16,
    /// Edges are on ports from this one on, admin addresses 1,000 above; free ports without it.
    #[arg(long, value_name = "FIRST_EDGE_PORT", value_parser = value_parser!(u16).range(1..=i64::from(PORT_MAX)))]
    port: Option<u16>,
    /// A binary, instead of building one.
    #[arg(long, value_name = "FILE")]
    engine: Option<PathBuf>,
}

/// Starts redis-server, PostgreSQL and the engines, says where they are, and stops all of them at Ctrl-C.
///
/// # Errors
/// The engine does not build.
pub fn run(options: Options) -> Result<(), Failure> {
    install::install_missing(&install::FOR_TESTS)?;
    let engine = match options.engine {
        Some(engine) => engine,
        None => {
            cargo::run(&["build", "--release", "--locked", "--bin", "seckill"], &[])?;
            cargo::built("seckill")
        }
    };
    // From here on Ctrl-C ends this program in order, and nothing else.
    keep_servers_from_the_terminal();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let address =
        |above: u16| -> Option<SocketAddr> { options.port.map(|port| ([127, 0, 0, 1], port + above).into()) };
    let plan = ClusterPlan {
        engine,
        nodes: options.nodes,
        keys: Vec::new(),
        is_proxied: false,
        first_edge: address(0),
        first_admin: address(ADMIN_PORTS_ABOVE),
    };
    let mut cluster = Cluster::start(&plan);
    println!("{}", described(&cluster));
    signals.forever().next();
    println!("stopping");
    for engine in cluster.running() {
        engine.ask_to_stop();
    }
    for node in &mut cluster.nodes {
        if let Some(mut engine) = node.engine.take() {
            engine.wait_for_end();
        }
    }
    Ok(())
}

fn described(cluster: &Cluster) -> String {
    let mut lines = vec![
        format!("redis       {}  pid {}", cluster.redis.url(), cluster.redis.pid()),
        format!(
            "postgresql  {}  pid {}",
            cluster.postgres.url_at(cluster.postgres.address(), &cluster.database),
            cluster.postgres.pid().unwrap_or_default()
        ),
    ];
    for (number, engine) in cluster.running().enumerate() {
        lines.push(format!(
            "node {number}      edge http://{}  admin http://{}  pid {}",
            engine.edge(),
            engine.admin(),
            engine.pid()
        ));
    }
    let targets: Vec<_> =
        cluster.running().map(|engine| format!("--target http://{}", engine.edge())).collect();
    if let Some(first) = cluster.running().next() {
        lines.push(format!(
            "\nLoad over all nodes, in another terminal:\n\ncargo run --release -p loadtest -- run seckill {} --admin \
             http://{} --out out/cluster\n\nCtrl-C stops everything and removes its data.",
            targets.join(" "),
            first.admin()
        ));
    }
    lines.join("\n")
}
