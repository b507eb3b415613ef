//! `loadtest`: see README.md.

use std::process::ExitCode;

use clap::Parser;
use loadtest::cli::{Cli, Command};
use loadtest::exit::Exit;
use loadtest::load::plan::Interrupt;
use loadtest::run;
use loadtest::scenario::Scenario;
use loadtest::text;

fn main() -> ExitCode {
    let exit = match execute(Cli::parse()) {
        Ok(exit) => exit,
        Err((exit, why)) => {
            eprintln!("loadtest: {why}");
            exit
        }
    };
    ExitCode::from(exit.code())
}

fn could_not_run(error: impl ToString) -> (Exit, String) {
    (Exit::CouldNotRun, error.to_string())
}

fn wrong_usage(error: impl ToString) -> (Exit, String) {
    (Exit::Usage, error.to_string())
}

fn execute(cli: Cli) -> Result<Exit, (Exit, String)> {
    match cli.command {
        Command::Run { scenario, engine, tweaks, out, no_verify } => {
            let scenario = Scenario::load(&scenario, &tweaks.set).map_err(wrong_usage)?;
            let interrupt = interrupt_on_signals().map_err(could_not_run)?;
            let options = engine.options(out, !no_verify, tweaks.quiet);
            let (summary, exit) = run::run(&scenario, &options, &interrupt).map_err(could_not_run)?;
            print!("{}", text::render(&summary));
            println!("output: {}", options.out.display());
            Ok(exit)
        }
    }
}

/// The first Ctrl-C or SIGTERM asks for an orderly end, the second ends at once.
fn interrupt_on_signals() -> std::io::Result<Interrupt> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let interrupt = Interrupt::default();
    for signal in [SIGINT, SIGTERM] {
        let exit_code = i32::from(Exit::Interrupted.code());
        signal_hook::flag::register_conditional_shutdown(signal, exit_code, interrupt.0.clone())?;
        signal_hook::flag::register(signal, interrupt.0.clone())?;
    }
    Ok(interrupt)
}
