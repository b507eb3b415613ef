//! The project's own commands, one file each.

mod cargo;
mod cluster;
mod crash;
mod deny;
mod faults;
mod flamegraph;
mod install;
mod perf;
mod rolling;
mod test;
mod winners;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  test                        run every test of the workspace
  deny                        check licences, sources, bans and known advisories of the dependencies
  crash [--cycles N]          kill the engine N times under load (default 100) and compare it with what clients were
        [--seed S]            told; the seed of a run repeats its moments
  cluster [--nodes N]         run N engines (default 3) with their Redis and PostgreSQL until Ctrl-C; free ports, or
        [--port P]            edges from port P on and admin addresses 1,000 above; --engine FILE takes a binary
        [--engine FILE]       instead of building one
  faults [--rounds N]         let every fault strike a cluster under load N times (default 20), or only those with NAME
        [--fault NAME]        in the name of their test
  rolling [--rounds N]        restart two engines behind HAProxy in turn, N times each (default 5), with buyers at this
          [--rate N]          rate a second (default 2000); no purchase may be left without an answer
  winners [--number N]        let N buyers (default 10,000) win on the may front end of the release binary, with 1, 2
                              and 4 threads, and count the answers
  perf [NAME]                 run the side-by-side comparisons, or one of them
  flamegraph NAME             draw where the time of a path goes";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test::run(),
        ["deny"] => deny::run(),
        ["crash", options @ ..] => crash::run(options),
        ["cluster", options @ ..] => cluster::run(options),
        ["faults", options @ ..] => faults::run(options),
        ["rolling", options @ ..] => rolling::run(options),
        ["winners", options @ ..] => winners::run(options),
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
