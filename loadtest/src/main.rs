//! `loadtest`: see README.md.

use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use loadtest::admin::Admin;
use loadtest::agents::agent;
use loadtest::cli::{Cli, Command, EngineArgs, OutputArgs, ScenariosCommand, TweakArgs};
use loadtest::compare::ComparisonVerdict;
use loadtest::exit::Exit;
use loadtest::load::plan::Interrupt;
use loadtest::run::{self, RunError};
use loadtest::scenario::Scenario;
use loadtest::summary::Summary;
use loadtest::verify::{self, Extent, SaleTerms};
use loadtest::{bundled, compare, console, folder, probes, report, text};

/// A request is some twenty small pieces of memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let exit = match execute(Cli::parse()) {
        Ok(exit) => exit,
        Err((exit, why)) => {
            console::note(why);
            exit
        }
    };
    ExitCode::from(exit.code())
}

fn run_failed(error: RunError) -> (Exit, String) {
    let exit = match &error {
        RunError::Folder(folder::FolderError::Full(_)) => Exit::Usage,
        RunError::Broken(_) => Exit::CorrectnessViolated,
        RunError::Interrupted => Exit::Interrupted,
        _ => Exit::CouldNotRun,
    };
    (exit, error.to_string())
}

fn could_not_run(error: impl ToString) -> (Exit, String) {
    (Exit::CouldNotRun, error.to_string())
}

fn wrong_usage(error: impl ToString) -> (Exit, String) {
    (Exit::Usage, error.to_string())
}

fn execute(cli: Cli) -> Result<Exit, (Exit, String)> {
    match cli.command {
        Command::Run { scenario, engine, tweaks, output, no_verify, against } => {
            let scenario = Scenario::load(&scenario, &tweaks.assignments()).map_err(wrong_usage)?;
            run_once(&scenario, &engine, &tweaks, &output, !no_verify, against.as_deref())
        }
        Command::Quick { rate, duration_s, stock, engine, tweaks, output } => {
            let mut set = vec![
                format!("phase.0.load.rate_per_s={rate:?}"),
                format!("phase.0.duration_s={duration_s:?}"),
                format!("campaign.0.stock={stock}"),
            ];
            set.extend(tweaks.assignments());
            let scenario = Scenario::parse("quick", bundled::QUICK, &set).map_err(wrong_usage)?;
            run_once(&scenario, &engine, &tweaks, &output, true, None)
        }
        Command::Scenarios { what: None | Some(ScenariosCommand::List) } => {
            for (name, text) in bundled::BUNDLED {
                let scenario = Scenario::parse(name, text, &[]).map_err(could_not_run)?;
                console::print(&format!("{name:<12}{}\n", scenario.about));
            }
            Ok(Exit::Ok)
        }
        Command::Scenarios { what: Some(ScenariosCommand::Show { name }) } => {
            let text = bundled::text(&name).ok_or_else(|| {
                let (meant, names) = (bundled::meant(&name), bundled::names());
                wrong_usage(format!("there is no bundled scenario {name}{meant}; bundled are {names}"))
            })?;
            console::print(text);
            Ok(Exit::Ok)
        }
        Command::Agent => {
            let interrupt = interrupt_on_signals().map_err(could_not_run)?;
            let (input, mut output) = (BufReader::new(std::io::stdin()), std::io::stdout().lock());
            agent::serve(input, &mut output, &interrupt).map_err(could_not_run)?;
            Ok(Exit::Ok)
        }
        Command::Search { scenario, engine, tweaks, goal, output } => {
            let scenario = Scenario::load(&scenario, &tweaks.assignments()).map_err(wrong_usage)?;
            let goal = goal.options().map_err(wrong_usage)?;
            let interrupt = interrupt_on_signals().map_err(could_not_run)?;
            let options = engine
                .options(output.folder(&scenario.name), output.force, true, tweaks.quiet)
                .map_err(wrong_usage)?;
            let report = probes::search(&scenario, &options, &goal, &interrupt).map_err(run_failed)?;
            report::write_search(&options.out, &report).map_err(could_not_run)?;
            console::print(&format!("{}output: {}\n", probes::render(&report), options.out.display()));
            Ok(match (report.found.rate_per_s, report.found.limited_by_client) {
                (_, true) => Exit::ClientSaturated,
                (Some(_), false) => Exit::Ok,
                (None, false) => Exit::ObjectiveMissed,
            })
        }
        Command::Compare { before, after, tolerance, json } => {
            let comparison = compare::compare(&before, &after, tolerance).map_err(could_not_run)?;
            if json {
                console::print(&(serde_json::to_string_pretty(&comparison).map_err(could_not_run)? + "\n"));
            } else {
                console::print(&compare::render(&comparison));
            }
            Ok(match comparison.verdict {
                ComparisonVerdict::Regression => Exit::Regression,
                ComparisonVerdict::CannotTell => Exit::CannotTell,
                ComparisonVerdict::NoRegression => Exit::Ok,
            })
        }
        Command::Report { dir, against } => {
            let path = report::write(&dir, against.as_deref()).map_err(could_not_run)?;
            console::print(&format!("{}\n", path.display()));
            Ok(Exit::Ok)
        }
        Command::Verify { dir, admin, tenant, admin_token, part, reach } => {
            let summary = Summary::read(&dir).map_err(could_not_run)?;
            let mut admin = Admin::connect(&admin, &reach.reach(), &tenant, admin_token.as_deref())
                .map_err(wrong_usage)?;
            // Orders that were not paid have expired since: units may be on sale again.
            let sales: Vec<_> =
                summary.sales.into_iter().map(|sale| SaleTerms { sold_out: false, ..sale }).collect();
            let extent = if part { Extent::Part } else { Extent::Whole };
            let untruthful = summary.client.untruthful;
            let verdict = verify::verify(&mut admin, &sales, &dir, &summary.run_id, extent, untruthful)
                .map_err(could_not_run)?;
            console::print(&text::render_verdict(&verdict));
            Ok(if verdict.passed { Exit::Ok } else { Exit::CorrectnessViolated })
        }
    }
}

/// Runs a scenario and tells of it.
fn run_once(
    scenario: &Scenario,
    engine: &EngineArgs,
    tweaks: &TweakArgs,
    output: &OutputArgs,
    verify: bool,
    against: Option<&Path>,
) -> Result<Exit, (Exit, String)> {
    let interrupt = interrupt_on_signals().map_err(could_not_run)?;
    let options = engine
        .options(output.folder(&scenario.name), output.force, verify, tweaks.quiet)
        .map_err(wrong_usage)?;
    let (summary, exit) = run::run(scenario, &options, &interrupt).map_err(run_failed)?;
    report::write(&options.out, against).map_err(could_not_run)?;
    let out = options.out.display();
    console::print(&format!("{}output: {out}\n", text::render(&summary)));
    if summary.verification_error.is_some() {
        let admin = &options.admin;
        console::print(&format!(
            "when the engine is back, check what it promised:\n  loadtest verify {out} --admin {admin}\n"
        ));
    }
    Ok(exit)
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
