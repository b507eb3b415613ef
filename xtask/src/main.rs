//! The project's own commands, one file each.

mod anew;
mod backup;
mod bloat;
mod cargo;
mod cluster;
mod console;
mod crash;
mod crowd;
mod deny;
mod faults;
mod flamegraph;
mod history;
mod idle;
mod load_tester;
mod overload;
mod perf;
mod plot;
mod rolling;
mod room;
mod sbom;
mod soak;
mod test;
mod tls_burst;
mod winners;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What went wrong, for a person.
type Failure = Box<dyn std::error::Error>;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every test of the workspace.
    Test(test::Options),
    /// Check licences, sources, bans and known advisories of the dependencies.
    Deny,
    /// Write the bill of materials and the licences of what the engine is built of.
    Sbom(sbom::Options),
    /// Back the orders up in the middle of a fast sale, and look whether the copy has all that buyers were told before.
    Backup(backup::Options),
    /// Sell for an hour with PostgreSQL, and tell what of it autovacuum has to clear away.
    Bloat(bloat::Options),
    /// Kill the engine again and again under load and compare it with what clients were answered.
    Crash(crash::Options),
    /// Run several engines with their Redis and PostgreSQL until Ctrl-C.
    Cluster(cluster::Options),
    /// Measure how soon buyers hear of a click on the console, and what its viewers cost; or take pictures of all pages.
    Console(console::Options),
    /// Let a crowd buy one sale of many nodes, and measure what their Redis has to do.
    Crowd(crowd::Options),
    /// Let faults strike a cluster under load.
    Faults(faults::Options),
    /// Measure what orders of the past cost: a start, a pause, a look-up.
    History(history::Options),
    /// Measure what sales cost where nothing happens.
    Idle(idle::Options),
    /// Offer three times as many purchases as the engine can take, and what is dear beside them.
    Overload(overload::Options),
    /// Restart two engines behind HAProxy in turn; no purchase may be left without an answer.
    Rolling(rolling::Options),
    /// Measure the waiting room, one figure at a time.
    Room(room::Options),
    /// Load the release binary steadily for an hour and plot its memory, which may not grow.
    Soak(soak::Options),
    /// Open thousands of TLS connections at once while buyers are served.
    TlsBurst(tls_burst::Options),
    /// Let buyers win on the may front end of the release binary, with 1, 2 and 4 threads, and count the answers.
    Winners(winners::Options),
    /// Run the side-by-side comparisons, or one of them.
    Perf(perf::Options),
    /// Draw where the processor time of a path goes.
    Flamegraph(flamegraph::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Deny => deny::run(),
        Command::Sbom(options) => sbom::run(&options),
        Command::Backup(options) => backup::run(&options),
        Command::Bloat(options) => bloat::run(&options),
        Command::Crash(options) => crash::run(&options),
        Command::Cluster(options) => cluster::run(options),
        Command::Console(options) => console::run(&options),
        Command::Crowd(options) => crowd::run(&options),
        Command::Faults(options) => faults::run(&options),
        Command::History(options) => history::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::Overload(options) => overload::run(&options),
        Command::Rolling(options) => rolling::run(&options),
        Command::Room(options) => room::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::TlsBurst(options) => tls_burst::run(&options),
        Command::Winners(options) => winners::run(&options),
        Command::Perf(options) => perf::run(&options),
        Command::Flamegraph(options) => flamegraph::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_takes_the_options_that_it_documents() {
        for line in [
            "test",
            "deny",
            "sbom --out bill --target x86_64-unknown-linux-gnu",
            "backup",
            "backup --rate 20000 --seconds 60 --append --no-build",
            "bloat",
            "bloat --minutes 10 --orders-per-s 1000",
            "crash --cycles 1000 --seed 7",
            "crash --folds-and-archives --cycles 100",
            "cluster --nodes 3 --port 18080 --engine target/release/seckill",
            "console",
            "console --clicks 50 --pairs 1",
            "console --pictures out/console",
            "faults --rounds 20 --fault node-killed",
            "faults --fault node-cut-off",
            "faults --fault database-restored",
            "crowd --nodes 48 --units 50000",
            "history",
            "history --archived 1000000 --open 50000 --sales 100 --append --keep",
            "idle --sales 10000 --network-us 0",
            "overload",
            "overload --http1 --seconds 5 --append --no-build",
            "rolling --rounds 5 --rate 2000",
            "room waiting --people 1000000",
            "room sale --people 200000 --units 5000",
            "soak",
            "soak --minutes 1 --rate 100 --append --no-build",
            "tls-burst --connections 20000",
            "winners --number 10000",
            "perf",
            "perf edge",
            "perf around --rounds 5",
            "perf tester --seconds 10",
            "perf sold-out --rounds 5 --seconds 2.5 --append --no-build",
            "flamegraph refusal --no-build",
        ] {
            Cli::try_parse_from(["xtask"].into_iter().chain(line.split(' '))).expect(line);
        }
        for line in [
            "",
            "backup --rate 0",
            "backup --seconds 1",
            "bloat --minutes 0",
            "bloat --orders-per-s 0",
            "cluster --nodes 0",
            "cluster --nodes 65",
            "cluster --port 65000",
            "console --clicks 0",
            "console --pictures out/console --pairs 1",
            "overload --seconds 1",
            "rolling --rate 0",
            "crowd --nodes 65",
            "history --archived 0",
            "history --sales 1",
            "soak --minutes 0",
            "perf nothing",
            "tls-burst --connections 0",
            "perf --rounds 0",
            "perf --seconds 0",
            "flamegraph",
            "faults --fault node",
        ] {
            Cli::try_parse_from(["xtask"].into_iter().chain(line.split(' '))).expect_err(line);
        }
    }
}
