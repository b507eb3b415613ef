//! The `seckill` binary: reads the command line and the configuration, and does what they say.

use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use seckill::admin::Question;
use seckill::app::verify_draw::Source;
use seckill::config::{Cli, Command, Config, ConfigError, Plane};
use seckill::exit::{Exit, Failure};
use seckill::{admin, app, edge, terminal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a health check waits for each step.
const HEALTH_CHECK_PATIENCE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            let exit = if answer.use_stderr() { Exit::Usage } else { Exit::Done };
            // Help that nobody reads is no failure.
            let _ = answer.print();
            return exit.into();
        }
    };
    let done = catch_unwind(AssertUnwindSafe(|| run(cli)));
    let done = done.unwrap_or_else(|_| Err(Failure::new(Exit::Broken, "a fault of the program; see above")));
    match done {
        Ok(()) => Exit::Done.into(),
        Err(Failure { exit, problem }) => {
            terminal::complain(format!("seckill: {problem}\n"));
            if exit == Exit::StartOver {
                terminal::complain(format!("seckill: cannot start over: {}\n", start_over()));
            }
            exit.into()
        }
    }
}

/// Becomes this program anew, as it was started: with the same arguments, environment and process number, and without
/// anything that it has in memory or open. Returns only the reason why it cannot.
fn start_over() -> io::Error {
    let mut arguments = std::env::args_os();
    // The program itself, also when its file was replaced meanwhile.
    let mut again = std::process::Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).exec()
}

/// Prints what is made of the command line itself.
fn printed(text: io::Result<String>) -> Result<(), Failure> {
    text.and_then(|text| terminal::print(&text))
        .map_err(|error| Failure::new(Exit::Io, format_args!("cannot print: {error}")))
}

/// Does what the command line says.
fn run(cli: Cli) -> Result<(), Failure> {
    let command = cli.command();
    let wrong_config = |error: ConfigError| Failure::new(Exit::Config, error);
    let source = cli.source().map_err(wrong_config)?;
    let load = || source.load().map_err(wrong_config);
    match command {
        Command::Serve => app::serve(source),
        Command::CheckConfig { servers } => {
            let cannot =
                |error| Failure::new(Exit::Io, format_args!("cannot print the configuration: {error}"));
            let config = load()?;
            terminal::print(&config.effective()).map_err(cannot)?;
            if servers { app::servers::check(&config.settings) } else { Ok(()) }
        }
        Command::ConfigReference => {
            let cannot = |error| Failure::new(Exit::Io, format_args!("cannot print the page: {error}"));
            terminal::print(&seckill::config::reference()).map_err(cannot)
        }
        Command::Completions { shell } => printed(Ok(Cli::completions(shell))),
        Command::Man { dir: None } => printed(Cli::man()),
        Command::Man { dir: Some(folder) } => Cli::write_man(&folder).map_err(|error| {
            Failure::new(Exit::Io, format_args!("cannot write to {}: {error}", folder.display()))
        }),
        Command::Openapi { plane } => {
            let cannot = |error| Failure::new(Exit::Io, format_args!("cannot print the document: {error}"));
            let document = match plane {
                Plane::Edge => edge::document(),
                Plane::Admin => admin::document(),
            };
            terminal::print(document.as_str()).map_err(cannot)
        }
        Command::Healthcheck { ready } => {
            let Config { settings, .. } = load()?;
            let question = if ready { Question::Ready } else { Question::Lives };
            admin::probe(settings.admin.listen, settings.admin.tls.is_on(), question, HEALTH_CHECK_PATIENCE)
                .map_err(|problem| Failure::new(Exit::No, problem))
        }
        Command::Backup { file } => app::backup::back_up(&load()?.settings, &file),
        Command::CheckBackup { file } => app::backup::check(&file),
        Command::VerifyDraw { sale, admin, tenant, save, from } => {
            let source = match from {
                Some(folder) => Source::Folder(folder),
                None => Source::Engine { admin, sale: sale.unwrap_or_default(), tenant, save },
            };
            app::verify_draw::verify(&load()?.settings, source)
        }
        Command::Reconcile { check: _, admin } => {
            let agree = app::reconcile::check(&load()?.settings, &admin);
            match agree.map_err(|problem| Failure::new(Exit::Unavailable, problem))? {
                true => Ok(()),
                false => Err(Failure::new(Exit::No, "the books do not agree")),
            }
        }
    }
}
