//! `cargo xtask cluster`: several engines on this machine, until Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use xtask::servers::cluster::{Cluster, ClusterPlan};
use xtask::servers::process::keep_servers_from_the_terminal;

use crate::{cargo, install};

const NODES_DEFAULT: u16 = 3;
const NODES_MAX: u16 = 64;
/// Admin addresses are this far above the edge's when ports are chosen.
const ADMIN_PORTS_ABOVE: u16 = 1_000;

struct Options {
    nodes: u16,
    first_port: Option<u16>,
    engine: Option<PathBuf>,
}

fn options(mut words: &[&str]) -> Result<Options, String> {
    let mut options = Options { nodes: NODES_DEFAULT, first_port: None, engine: None };
    let port_max = u16::MAX - ADMIN_PORTS_ABOVE - NODES_MAX;
    while let [option, value, rest @ ..] = words {
        let number = value.parse::<u16>();
        match (*option, number) {
            ("--nodes", Ok(nodes @ 1..=NODES_MAX)) => options.nodes = nodes,
            ("--nodes", _) => {
                return Err(format!("--nodes needs a number from 1 to {NODES_MAX}, not {value}"));
            }
            ("--port", Ok(port)) if (1..=port_max).contains(&port) => options.first_port = Some(port),
            ("--port", _) => return Err(format!("--port needs a number from 1 to {port_max}, not {value}")),
            ("--engine", _) => options.engine = Some(value.into()),
            _ => {
                return Err(format!(
                    "cluster has no option {option}; it has --nodes N, --port FIRST_EDGE_PORT and --engine FILE"
                ));
            }
        }
        words = rest;
    }
    match words {
        [option] => Err(format!("{option} needs a value")),
        _ => Ok(options),
    }
}

/// Starts redis-server, PostgreSQL and the engines, says where they are, and stops all of them at Ctrl-C.
///
/// # Errors
/// An option is wrong, or the engine does not build.
pub fn run(words: &[&str]) -> Result<(), String> {
    let options = options(words)?;
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
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| error.to_string())?;
    let address = |above: u16| -> Option<SocketAddr> {
        options.first_port.map(|port| ([127, 0, 0, 1], port + above).into())
    };
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
