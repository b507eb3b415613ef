//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::run::RunOptions;

/// Load tester and auditor of a flash-sale engine.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok · 1 could not run · 2 wrong usage · 3 objective missed · \
4 correctness violated · 5 client saturated · 6 regression · 130 interrupted";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario, check every promise, write the output folder.
    Run {
        /// A scenario file, or the name of a bundled one: seckill, order, checkout, sale, churn, seed.
        scenario: String,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
        /// Changes to the scenario.
        #[command(flatten)]
        tweaks: TweakArgs,
        /// Output folder.
        #[arg(long)]
        out: PathBuf,
        /// Skip the check of every promise.
        #[arg(long)]
        no_verify: bool,
    },
}

/// Where the engine is.
#[derive(Debug, Clone, Args)]
pub struct EngineArgs {
    /// Data-plane address, as http://host:port; may be given several times.
    #[arg(long = "target", required = true)]
    pub targets: Vec<String>,
    /// Admin address, as http://host:port.
    #[arg(long)]
    pub admin: String,
    /// Tenant of the campaigns.
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// Token of the admin plane.
    #[arg(long, env = "LOADTEST_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// Further header of data-plane requests, as 'Name: value'; may be given several times.
    #[arg(long = "header")]
    pub headers: Vec<String>,
}

/// Changes to the scenario.
#[derive(Debug, Clone, Args)]
pub struct TweakArgs {
    /// Set a key of the scenario, as in --set phase.0.duration_s=5; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl EngineArgs {
    /// The options of a run against this engine.
    pub fn options(&self, out: PathBuf, verify: bool, quiet: bool) -> RunOptions {
        RunOptions {
            targets: self.targets.clone(),
            admin: self.admin.clone(),
            out,
            tenant: self.tenant.clone(),
            admin_token: self.admin_token.clone(),
            headers: self.headers.clone(),
            verify,
            quiet,
        }
    }
}
