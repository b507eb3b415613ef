//! The project's own commands, one file each.

mod cargo;
mod crash;
mod flamegraph;
mod install;
mod perf;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  test                        run every test of the workspace
  crash [--cycles N]          kill the engine N times under load (default 100) and compare it with what clients were
        [--seed S]            told; the seed of a run repeats its moments
  perf [NAME]                 run the side-by-side comparisons, or one of them
  flamegraph NAME             draw where the time of a path goes";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test::run(),
        ["crash", options @ ..] => crash::run(options),
        ["perf", ..] => return perf::main(&args[1..]),
        ["flamegraph", ..] => return flamegraph::main(&args[1..]),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}
