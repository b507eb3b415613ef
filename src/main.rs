//! The `seckill` binary: reads the command line and the configuration, and does what they say.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use seckill::config::{Cli, Command, ConfigError};
use seckill::{admin, app};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a health check waits for each step.
const HEALTH_CHECK_PATIENCE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, problem)) => {
            eprintln!("seckill: {problem}");
            ExitCode::from(code)
        }
    }
}

/// Does what the command line says; the error is an exit code and what went wrong.
fn run(cli: Cli) -> Result<(), (u8, String)> {
    let command = cli.command();
    let wrong_config = |error: ConfigError| (78, error.to_string());
    let source = cli.source().map_err(wrong_config)?;
    let config = source.load().map_err(wrong_config)?;
    match command {
        Command::Serve => app::serve(source, config).map_err(|error| (error.exit_code(), error.to_string())),
        Command::CheckConfig => {
            print!("{}", config.effective());
            Ok(())
        }
        Command::Healthcheck => {
            admin::probe(config.settings.admin.listen, HEALTH_CHECK_PATIENCE).map_err(|problem| (1, problem))
        }
        Command::Reconcile { check: _, admin } => {
            match app::reconcile::check(&config.settings, &admin).map_err(|problem| (69, problem))? {
                true => Ok(()),
                false => Err((1, "the books do not agree".into())),
            }
        }
    }
}
