//! `cargo xtask perf [NAME]`: the engine beside what a user would put in its place.
//!
//! The server runs on core 0 and the client on core 1. Contenders take turns, round by round, and the order of their
//! turns moves on with each round; medians are shown, and ratios are those of turns in the same round. The tables are
//! printed, and with `--append` also put at the end of `perf/RESULTS.md`.

mod around;
mod chart;
pub mod comparison;
mod edge;
pub mod machine;
pub mod server;
mod sink;
mod tester;
mod writers;

use std::fs;
use std::process::Command;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use testbed::install;

use crate::{Failure, cargo};
use comparison::{Column, Comparison, Contender};
use server::{FrontEnd, Server};

/// Where the data of a run lives; a real disk, or the durable figures mean nothing.
pub const WORK_FOLDER: &str = "target/perf";
const RESULTS: &str = "perf/RESULTS.md";
const CHART: &str = "perf/chart.svg";
/// Every comparison.
const ALL: &str = "all";
/// More than any run sells.
pub const PLENTY: u32 = 100_000_000;

/// What is compared, and for how long.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// One comparison, or all.
    #[arg(default_value = ALL, value_parser = names())]
    name: String,
    /// How often contenders take turns.
    #[arg(long, default_value_t = 5, value_parser = positive::<usize>)]
    rounds: usize,
    /// How long a turn of the client lasts, in s.
    #[arg(long, default_value_t = 4.0, value_parser = positive::<f64>)]
    seconds: f64,
    /// Put the tables at the end of perf/RESULTS.md, too.
    #[arg(long)]
    append: bool,
    /// Take the binaries that are there.
    #[arg(long)]
    no_build: bool,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(RUNS.iter().map(|(name, _)| *name).chain([ALL]))
}

fn positive<N: FromStr + Default + PartialOrd>(text: &str) -> Result<N, &'static str> {
    text.parse().ok().filter(|number| *number > N::default()).ok_or("a number above 0 is needed")
}

type Run = fn(&Options) -> Result<String, Failure>;

const RUNS: [(&str, Run); 11] = [
    ("sold-out", sold_out),
    ("decision", decision),
    ("wins", wins),
    ("durable", durable),
    ("front-ends", front_ends),
    ("edge", edge::run),
    ("around", around::run),
    ("memory", memory),
    ("peers", peers),
    ("writers", writers::run),
    ("tester", tester::run),
];

/// Runs the comparison of this name, or all.
///
/// # Errors
/// A contender does not start, or failed.
pub fn run(options: &Options) -> Result<(), Failure> {
    if !options.no_build {
        build()?;
    }
    fs::create_dir_all(WORK_FOLDER)?;
    let mut report = machine::heading();
    println!("{report}");
    for (name, run) in RUNS.iter().filter(|(name, _)| [ALL, name].contains(&options.name.as_str())) {
        eprintln!("xtask perf: {name}");
        let table = run(options)?;
        println!("{table}");
        report.push_str(&table);
    }
    if options.append { append(&report) } else { Ok(()) }
}

/// Puts a report at the end of perf/RESULTS.md.
pub fn append(report: &str) -> Result<(), Failure> {
    let results = fs::read_to_string(RESULTS)?;
    fs::write(RESULTS, format!("{}\n\n{}\n", results.trim_end(), report.trim_end()))?;
    Ok(())
}

/// Builds what is measured.
pub fn build() -> Result<(), Failure> {
    cargo::run(&["build", "--release", "--locked", "-p", "seckill", "-p", "perf"], &[])
}

/// A binary of this workspace.
pub fn binary(name: &str) -> String {
    cargo::built(name).display().to_string()
}

const CPU: Column = Column { figure: "client.server_cpu", heading: "server CPU, µs/request", decimals: 2 };
const RATE: Column = Column { figure: "client.rate", heading: "requests/s", decimals: 0 };
const P99: Column = Column { figure: "client.p99", heading: "P99, µs", decimals: 0 };

/// A refusal through HTTP against a server that does nothing but answer.
fn sold_out(options: &Options) -> Result<String, Failure> {
    let hyper = Server::engine("hyper", FrontEnd::Hyper, 0)?;
    let may = Server::engine("may", FrontEnd::May, 0)?;
    let reply = format!("{WORK_FOLDER}/sold-out.http");
    hyper.client(&["--capture", &reply])?;
    let floor = Server::floor(&reply)?;
    let contenders = vec![
        Contender::client("raw epoll, fixed reply (the floor)", &floor, options),
        Contender::client("engine, hyper", &hyper, options),
        Contender::client("engine, may", &may, options),
    ];
    Comparison {
        title: "A sold-out POST, 64 keep-alive connections",
        columns: vec![CPU, RATE],
        ratio: Some((CPU.figure, "CPU against the floor")),
        contenders,
    }
    .run(options.rounds)
    .map(|outcome| outcome.table())
}

fn decision(options: &Options) -> Result<String, Failure> {
    let printed = comparison::figures(
        Command::new(binary("decision")).args(["--rounds", &options.rounds.to_string()]),
    )?;
    let mut table = String::from(
        "### The decision in process\n\n\
         Anchor: throttlecrab publishes 12.5 M/s a thread and a P99 of 75 ns for its rate decision. `P99` is over \
         batches of 64 decisions; `one by one` times each decision and includes a reading of the clock",
    );
    let figure = |name: &str| printed.get(name).copied().unwrap_or(f64::NAN);
    table.push_str(&format!(" ({:.0} ns).\n\n", figure("clock")));
    table.push_str(
        "| decision | threads | ns | P99, ns | one by one P99, ns | M/s |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for case in ["sold_out", "throttled_by_sale", "throttled_by_buyer", "repeat_click", "win"] {
        for threads in [1, 2] {
            let of = |what: &str| figure(&format!("{case}.{threads}_threads.{what}"));
            table.push_str(&format!(
                "| {} | {threads} | {:.1} | {:.1} | {:.0} | {:.2} |\n",
                case.replace('_', " "),
                of("mean"),
                of("p99"),
                of("single_p99"),
                of("rate"),
            ));
        }
    }
    table.push('\n');
    Ok(table)
}

/// Winners through HTTP: each request is answered 201 after its commit.
fn wins(options: &Options) -> Result<String, Failure> {
    let hyper = Server::engine("hyper", FrontEnd::Hyper, PLENTY)?;
    let with = |connections: &str| {
        Contender::client(&format!("engine, hyper, {connections} connections"), &hyper, options)
            .with(&["--connections", connections])
    };
    Comparison {
        title: "Durable wins through HTTP on one SKU (anchor: 31,000/s)",
        columns: vec![
            Column { figure: "client.rate_201", heading: "durable wins/s", decimals: 0 },
            Column { figure: "client.p50_201", heading: "P50, µs", decimals: 0 },
            Column { figure: "client.p99_201", heading: "P99, µs", decimals: 0 },
            CPU,
        ],
        ratio: None,
        contenders: vec![with("16"), with("64"), with("256"), with("1024")],
    }
    .run(options.rounds)
    .map(|outcome| outcome.table())
}

/// Winners in process: admission, queue, writer, store.
fn durable(options: &Options) -> Result<String, Failure> {
    let with = |producers: &str| {
        Contender::command(
            &format!("{producers} buying thread(s)"),
            &[&binary("durable"), "--folder", WORK_FOLDER, "--producers", producers],
        )
    };
    let outcome = Comparison {
        title: "Durable wins in process, 1,000,000 orders (anchor: 606,000/s)",
        columns: vec![
            Column { figure: "durable.wins", heading: "durable wins/s", decimals: 0 },
            Column { figure: "durable.orders_a_commit", heading: "orders a commit", decimals: 0 },
            Column { figure: "durable.commit", heading: "µs a commit", decimals: 0 },
            Column { figure: "durable.writer_in_commit", heading: "writer's share in commits", decimals: 2 },
        ],
        ratio: None,
        contenders: vec![with("1"), with("2")],
    }
    .run(options.rounds)?;
    let recovery = Comparison {
        title: "Recovery of 1,000,000 orders",
        columns: vec![
            Column { figure: "recovery.time", heading: "s", decimals: 2 },
            Column { figure: "recovery.rate", heading: "orders/s", decimals: 0 },
            Column { figure: "recovery.memory", heading: "bytes an order in memory", decimals: 0 },
        ],
        ratio: None,
        contenders: vec![Contender::command(
            "claims, stock and deadlines",
            &[&binary("recovery"), "--folder", WORK_FOLDER],
        )],
    }
    .run(options.rounds)?;
    Ok(outcome.table() + &recovery.table())
}

fn front_ends(options: &Options) -> Result<String, Failure> {
    let hyper = Server::engine("hyper", FrontEnd::Hyper, 0)?;
    let may = Server::engine("may", FrontEnd::May, 0)?;
    let ten = ["--requests-a-connection", "10"];
    let contenders = vec![
        Contender::client("hyper, keep-alive", &hyper, options),
        Contender::client("may, keep-alive", &may, options),
        Contender::client("hyper, 10 requests a connection", &hyper, options).with(&ten),
        Contender::client("may, 10 requests a connection", &may, options).with(&ten),
    ];
    Comparison {
        title: "The two front ends, sold-out POST, 64 connections",
        columns: vec![CPU, RATE],
        ratio: Some((RATE.figure, "rate against hyper, keep-alive")),
        contenders,
    }
    .run(options.rounds)
    .map(|outcome| outcome.table())
}

/// Memory of a connection that has sent one request and now says nothing.
fn memory(options: &Options) -> Result<String, Failure> {
    let secured = edge::Secured::new();
    let tls = secured.keys();
    let over_tls = ["--cacert", secured.cacert()];
    let over_http2 = ["--streams", "1"];
    let both = [over_tls, over_http2].concat();
    type Kind<'a> = (&'a str, FrontEnd, &'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let kinds: [Kind<'_>; 5] = [
        ("hyper", FrontEnd::Hyper, "client", &[], &[]),
        ("may", FrontEnd::May, "client", &[], &[]),
        ("hyper, TLS", FrontEnd::Hyper, "edge_client", &tls, &over_tls),
        ("HTTP/2", FrontEnd::Hyper, "edge_client", &[], &over_http2),
        ("HTTP/2, TLS", FrontEnd::Hyper, "edge_client", &tls, &both),
    ];
    let mut rounds = vec![Vec::new(); kinds.len()];
    for _ in 0..options.rounds {
        for (place, (_, front_end, client, keys, arguments)) in kinds.iter().enumerate() {
            // A fresh engine each time: memory that was once used is not given back.
            let server = Server::engine_with("idle", *front_end, 0, keys)?;
            let pids = server.pids();
            let idle = ["--idle", "--connections", "4000", "--pid", &pids];
            let printed = server.client_of(client, &[&idle, *arguments].concat())?;
            rounds[place].push(printed.get("client.memory_a_connection").copied().unwrap_or(f64::NAN));
        }
    }
    let mut table = String::from(
        "### Memory of an idle connection (4,000 open, each has had one answer)\n\n\
         | front end | bytes a connection |\n|---|---:|\n",
    );
    for ((name, ..), bytes) in kinds.iter().zip(&rounds) {
        table.push_str(&format!("| {name} | {:.0} |\n", comparison::median(bytes)));
    }
    table.push('\n');
    Ok(table)
}

/// What users run today. Theirs is not durable; ours is. The processor time is that of all processes of a contender.
fn peers(options: &Options) -> Result<String, Failure> {
    install::install_missing(&install::FOR_PEERS)?;
    let mut report = String::new();
    let mut charted = Vec::new();
    for (phase, title, stock, connections) in [
        ("selling, 64", "Selling: every request wins, 64 keep-alive connections", PLENTY, "64"),
        ("selling, 512", "Selling: every request wins, 512 keep-alive connections", PLENTY, "512"),
        ("sold out, 64", "Sold out: every request is refused, 64 keep-alive connections", 0, "64"),
        ("sold out, 512", "Sold out: every request is refused, 512 keep-alive connections", 0, "512"),
    ] {
        let engine = Server::engine("hyper", FrontEnd::Hyper, stock)?;
        let nginx = Server::nginx(stock)?;
        let gin = Server::gin(stock)?;
        let client = |name: &str, server: &Server| {
            Contender::client(name, server, options).with(&["--connections", connections])
        };
        let contenders = vec![
            client("engine (durable: every win synced to disk)", &engine),
            client("nginx + Lua shared dictionary (memory only)", &nginx),
            client("Gin + a Redis script a request (memory only)", &gin),
        ];
        let outcome = Comparison {
            title,
            columns: vec![RATE, CPU, P99],
            ratio: Some((CPU.figure, "CPU against the engine")),
            contenders,
        }
        .run(options.rounds)?;
        report.push_str(&outcome.table());
        charted.push((phase, outcome.medians(RATE.figure)));
    }
    fs::write(CHART, chart::bars("Purchases a second, server on one core", &charted))?;
    Ok(report)
}
