//! `loadtest`: see README.md.

use std::process::ExitCode;

use clap::Parser;
use loadtest::admin::Admin;
use loadtest::cli::{Cli, Command};
use loadtest::exit::Exit;
use loadtest::load::plan::Interrupt;
use loadtest::run::{self, RunError};
use loadtest::scenario::Scenario;
use loadtest::summary::Summary;
use loadtest::verify::{self, SaleTerms};
use loadtest::{compare, probes, report, text};

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
        Command::Run { scenario, engine, tweaks, out, no_verify, against } => {
            let scenario = Scenario::load(&scenario, &tweaks.set).map_err(wrong_usage)?;
            let interrupt = interrupt_on_signals().map_err(could_not_run)?;
            let options = engine.options(out, !no_verify, tweaks.quiet);
            let (summary, exit) = run::run(&scenario, &options, &interrupt).map_err(could_not_run)?;
            report::write(&options.out, against.as_deref()).map_err(could_not_run)?;
            print!("{}", text::render(&summary));
            println!("output: {}", options.out.display());
            Ok(exit)
        }
        Command::Search { scenario, engine, tweaks, goal, out } => {
            let scenario = Scenario::load(&scenario, &tweaks.set).map_err(wrong_usage)?;
            let goal = goal.options().map_err(wrong_usage)?;
            let interrupt = interrupt_on_signals().map_err(could_not_run)?;
            let options = engine.options(out, true, tweaks.quiet);
            let report = match probes::search(&scenario, &options, &goal, &interrupt) {
                Ok(report) => report,
                Err(error @ RunError::Broken(_)) => {
                    return Err((Exit::CorrectnessViolated, error.to_string()));
                }
                Err(error @ RunError::Interrupted) => return Err((Exit::Interrupted, error.to_string())),
                Err(error) => return Err(could_not_run(error)),
            };
            report::write_search(&options.out, &report).map_err(could_not_run)?;
            print!("{}", probes::render(&report));
            println!("output: {}", options.out.display());
            Ok(match (report.found.rate_per_s, report.found.limited_by_client) {
                (_, true) => Exit::ClientSaturated,
                (Some(_), false) => Exit::Ok,
                (None, false) => Exit::ObjectiveMissed,
            })
        }
        Command::Compare { before, after, tolerance, json } => {
            let comparison = compare::compare(&before, &after, tolerance).map_err(could_not_run)?;
            if json {
                println!("{}", serde_json::to_string_pretty(&comparison).map_err(could_not_run)?);
            } else {
                print!("{}", compare::render(&comparison));
            }
            Ok(if comparison.has_regression() { Exit::Regression } else { Exit::Ok })
        }
        Command::Report { dir, against } => {
            let path = report::write(&dir, against.as_deref()).map_err(could_not_run)?;
            println!("{}", path.display());
            Ok(Exit::Ok)
        }
        Command::Verify { dir, admin, tenant, admin_token } => {
            let summary = Summary::read(&dir).map_err(could_not_run)?;
            let mut admin = Admin::connect(&admin, &tenant, admin_token.as_deref()).map_err(wrong_usage)?;
            // Orders that were not paid have expired since: units may be on sale again.
            let sales: Vec<_> =
                summary.sales.into_iter().map(|sale| SaleTerms { sold_out: false, ..sale }).collect();
            let verdict =
                verify::verify(&mut admin, &sales, &dir, summary.client.untruthful).map_err(could_not_run)?;
            print!("{}", text::render_verdict(&verdict));
            Ok(if verdict.passed { Exit::Ok } else { Exit::CorrectnessViolated })
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
