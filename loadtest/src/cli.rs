//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::folder;
use crate::outcome::Path;
use crate::probes::SearchOptions;
use crate::run::RunOptions;
use crate::search::{Bounds, CampaignPlan};
use crate::wire::buyer::{BuyerIdentity, BuyerTokens};
use crate::wire::request::{Reach, Resolve};
use crate::wire::tls::TlsFiles;

/// Load tester and auditor of a flash-sale engine.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok · 1 could not run · 2 wrong usage · 3 objective missed · \
4 correctness violated · 5 client saturated · 6 regression · 7 cannot tell · 130 interrupted";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario, check every promise, write the output folder.
    Run {
        /// A scenario file, or the name of a bundled one: see `loadtest scenarios`.
        scenario: String,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
        /// Changes to the scenario.
        #[command(flatten)]
        tweaks: TweakArgs,
        /// Where the outputs go.
        #[command(flatten)]
        output: OutputArgs,
        /// Skip the check of every promise.
        #[arg(long)]
        no_verify: bool,
        /// Draw another run's curves into the report.
        #[arg(long, value_name = "DIR")]
        against: Option<PathBuf>,
    },
    /// A first look: buyers at one rate for a few seconds, every promise checked; no scenario needed.
    Quick {
        /// Buyers a second.
        #[arg(long, default_value_t = 1000.0)]
        rate: f64,
        /// For how long: 30s, 2m, 1h, or seconds.
        #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = parse_seconds)]
        duration_s: f64,
        /// Units on sale.
        #[arg(long, default_value_t = 1000)]
        stock: u64,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
        /// Changes to the scenario.
        #[command(flatten)]
        tweaks: TweakArgs,
        /// Where the outputs go.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Tell which scenarios are bundled, or show one, to be copied and changed.
    Scenarios {
        /// What to tell; a list when absent.
        #[command(subcommand)]
        what: Option<ScenariosCommand>,
    },
    /// Send a share of another tester's load: it is spoken to over the standard input and output of this command, as
    /// `loadtest run --agent` does.
    Agent,
    /// Find the highest rate that meets an objective, confirm it, and fit a scalability law.
    Search {
        /// A scenario file, or the name of a bundled one; its last measured phase is run at each rate.
        scenario: String,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
        /// Changes to the scenario.
        #[command(flatten)]
        tweaks: TweakArgs,
        /// What is looked for.
        #[command(flatten)]
        goal: GoalArgs,
        /// Where the outputs go; each step gets a folder in it.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Compare two output folders; exit code 6 on a significant regression, 7 when that cannot be told.
    Compare {
        /// The earlier run.
        before: PathBuf,
        /// The later run.
        after: PathBuf,
        /// Differences up to this share are tolerated.
        #[arg(long, default_value_t = 0.1)]
        tolerance: f64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write report.html anew from an output folder.
    Report {
        /// The run.
        dir: PathBuf,
        /// Draw another run's curves into it.
        #[arg(long, value_name = "DIR")]
        against: Option<PathBuf>,
    },
    /// Check the promises of an earlier run again, against the engine's store as it is now.
    Verify {
        /// The run.
        dir: PathBuf,
        /// Admin address, as http://host:port or https://host:port.
        #[arg(long)]
        admin: String,
        /// Tenant of the campaigns.
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Token of the admin plane.
        #[arg(long, env = "LOADTEST_ADMIN_TOKEN", hide_env_values = true)]
        admin_token: Option<String>,
        /// Its log is a part of what was answered, as that until a backup is: orders that it does not name are not judged.
        #[arg(long)]
        part: bool,
        /// How the address is found and trusted.
        #[command(flatten)]
        reach: ReachArgs,
    },
}

/// What is told of the bundled scenarios.
#[derive(Debug, Clone, Subcommand)]
pub enum ScenariosCommand {
    /// Their names, and what each shows.
    List,
    /// One as TOML.
    Show {
        /// Its name.
        name: String,
    },
}

/// Where outputs go.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Output folder, new or empty; a new one within `out` when absent.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Write into a folder that holds files: those of the same names are overwritten, all others stay.
    #[arg(long)]
    pub force: bool,
}

impl OutputArgs {
    /// The folder for a run of this scenario.
    pub fn folder(&self, scenario: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| folder::unused(scenario))
    }
}

/// What a search looks for.
#[derive(Debug, Clone, Args)]
pub struct GoalArgs {
    /// The path that the objective is about: seckill, order, checkout, cancel, page, lookup.
    #[arg(long, default_value = "seckill", value_parser = parse_path)]
    pub path: Path,
    /// The highest P99 that still meets the objective, milliseconds.
    #[arg(long, default_value_t = 50.0)]
    pub p99_ms: f64,
    /// The highest share of errors that still meets it.
    #[arg(long, default_value_t = 0.0)]
    pub error_rate: f64,
    /// First rate tried, visitors a second.
    #[arg(long, default_value_t = 1000.0)]
    pub from: f64,
    /// No rate above is tried.
    #[arg(long, default_value_t = 1_000_000.0)]
    pub to: f64,
    /// The rate is found to within this share.
    #[arg(long, default_value_t = 0.05)]
    pub precision: f64,
    /// Length of a step, seconds.
    #[arg(long, default_value_t = 8.0)]
    pub step_s: f64,
    /// Length of a confirming run, seconds: as long as the rush will last.
    #[arg(long, default_value_t = 60.0)]
    pub confirm_s: f64,
    /// Confirming runs that must all meet the objective at the rate.
    #[arg(long, default_value_t = 2)]
    pub confirmations: u32,
    /// Skip the closed-model ladder that the scalability law is fitted to.
    #[arg(long)]
    pub no_ladder: bool,
    /// A campaign to hold the result against: `buyers=N,seconds=M,units=K[,clicks=C][,peak=P]`.
    #[arg(long, value_parser = CampaignPlan::parse)]
    pub plan: Option<CampaignPlan>,
}

impl GoalArgs {
    /// The options of a search.
    ///
    /// # Errors
    /// When the numbers make no sense.
    pub fn options(&self) -> Result<SearchOptions, String> {
        let bounds = Bounds {
            from_per_s: self.from,
            to_per_s: self.to,
            precision: self.precision,
            confirmations: self.confirmations,
        };
        let sensible =
            self.from > 0.0 && self.from <= self.to && self.precision >= 0.005 && self.step_s >= 1.0;
        let sensible = sensible && self.confirm_s >= 1.0 && (1..=100).contains(&self.confirmations);
        if !sensible || self.p99_ms <= 0.0 || self.error_rate < 0.0 {
            return Err(
                "needed: 0 < from <= to, precision >= 0.005, step-s >= 1, confirm-s >= 1, confirmations 1 to 100, \
                 p99-ms > 0, error-rate >= 0"
                    .into(),
            );
        }
        Ok(SearchOptions {
            path: self.path,
            p99_ms: self.p99_ms,
            error_rate: self.error_rate,
            bounds,
            step_s: self.step_s,
            confirm_s: self.confirm_s,
            ladder: !self.no_ladder,
            plan: self.plan,
        })
    }
}

/// Reads `30s`, `2m`, `1h` or `30` as seconds.
fn parse_seconds(text: &str) -> Result<f64, String> {
    let units = [("h", 3600.0), ("m", 60.0), ("s", 1.0), ("", 1.0)];
    let read = units.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Some(number * factor)
    });
    read.filter(|seconds| seconds.is_finite() && *seconds > 0.0)
        .ok_or_else(|| format!("{text:?} is no time; 30s, 2m, 1h and 30 are"))
}

fn parse_path(text: &str) -> Result<Path, String> {
    let known = Path::ALL.iter().find(|path| path.name() == text);
    known.copied().ok_or_else(|| {
        format!("known are {}", Path::ALL.iter().map(|p| p.name()).collect::<Vec<_>>().join(", "))
    })
}

/// Where the engine is, and who sends the load.
#[derive(Debug, Clone, Args)]
pub struct EngineArgs {
    /// Data-plane address, as http://host:port or https://host:port; may be given several times [default: the engine's
    /// own on this machine, http://127.0.0.1:8080].
    #[arg(long = "target", requires = "admin")]
    pub targets: Vec<String>,
    /// Admin address, as http://host:port or https://host:port [default: http://127.0.0.1:9090].
    #[arg(long, requires = "targets")]
    pub admin: Option<String>,
    /// Tenant of the campaigns.
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// Token of the admin plane.
    #[arg(long, env = "LOADTEST_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// Further header of data-plane requests, as 'Name: value'; may be given several times.
    #[arg(long = "header")]
    pub headers: Vec<String>,
    /// Command that runs `loadtest agent` on another machine, as 'ssh gen2 loadtest agent', which sends a share of the
    /// load; may be given several times.
    #[arg(long = "agent", value_name = "COMMAND")]
    pub agents: Vec<String>,
    /// An agent that says nothing for so long, in s, has lost the run: its machine hangs, or is cut off.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub agent_silence_max: u64,
    /// How the addresses are found and trusted.
    #[command(flatten)]
    pub reach: ReachArgs,
    /// How buyers say who they are.
    #[command(flatten)]
    pub buyers: BuyerArgs,
}

/// How addresses are found and trusted.
#[derive(Debug, Clone, Args)]
pub struct ReachArgs {
    /// Addresses of a host, instead of asking for them, as HOST:PORT:ADDRESS,ADDRESS...; may be given several times.
    #[arg(long, value_parser = Resolve::parse)]
    pub resolve: Vec<Resolve>,
    /// Authorities of the engine's certificate, a PEM file; without it those of the system.
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Certificate to show to the engine, a PEM file.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

impl ReachArgs {
    /// As the wire takes it.
    pub fn reach(self) -> Reach {
        let Self { resolve, cacert, cert, key } = self;
        Reach { resolve, tls: TlsFiles { cacert, cert, key } }
    }
}

/// How buyers say who they are.
#[derive(Debug, Clone, Args)]
pub struct BuyerArgs {
    /// Buyers bring tokens (JWT, HS256) signed with the secret in this file, instead of X-User-ID.
    #[arg(long, value_name = "FILE")]
    pub jwt_key_file: Option<PathBuf>,
    /// The `kid` of the tokens.
    #[arg(long, requires = "jwt_key_file")]
    pub jwt_kid: Option<String>,
    /// A claim of the tokens beside `sub` and `exp`, as NAME=VALUE: iss, aud, tenant; may be given several times.
    #[arg(long = "jwt-claim", value_name = "NAME=VALUE", requires = "jwt_key_file")]
    pub jwt_claims: Vec<String>,
}

impl BuyerArgs {
    /// The tokens that are asked for, if any are.
    fn tokens(&self) -> Option<BuyerTokens> {
        let key_file = self.jwt_key_file.clone()?;
        Some(BuyerTokens { key_file, kid: self.jwt_kid.clone(), claims: self.jwt_claims.clone() })
    }
}

/// Changes to the scenario.
#[derive(Debug, Clone, Args)]
pub struct TweakArgs {
    /// Set a key of the scenario, as in --set phase.0.duration_s=5; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Speak HTTP/2: by ALPN with https://, by prior knowledge with http://. As --set client.http2=true.
    #[arg(long)]
    pub http2: bool,
    /// Requests under way at once on one connection of HTTP/2 (32). As --set client.streams=N.
    #[arg(long, value_name = "N", requires = "http2")]
    pub streams: Option<u32>,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl TweakArgs {
    /// All of them, each as KEY=VALUE.
    pub fn assignments(&self) -> Vec<String> {
        let http2 = self.http2.then(|| "client.http2=true".to_owned());
        let streams = self.streams.map(|streams| format!("client.streams={streams}"));
        self.set.iter().cloned().chain(http2).chain(streams).collect()
    }
}

/// Where the engine is found on this machine when nothing is said.
const LOCAL_TARGET: &str = "http://127.0.0.1:8080";
const LOCAL_ADMIN: &str = "http://127.0.0.1:9090";

impl EngineArgs {
    fn targets(&self) -> Vec<String> {
        if self.targets.is_empty() { vec![LOCAL_TARGET.into()] } else { self.targets.clone() }
    }

    fn admin(&self) -> String {
        self.admin.clone().unwrap_or_else(|| LOCAL_ADMIN.into())
    }

    /// The options of a run against this engine.
    ///
    /// # Errors
    /// See [`BuyerIdentity::of`].
    pub fn options(
        &self,
        out: PathBuf,
        force: bool,
        verify: bool,
        quiet: bool,
    ) -> Result<RunOptions, String> {
        let tokens = self.buyers.tokens();
        Ok(RunOptions {
            targets: self.targets(),
            admin: self.admin(),
            reach: self.reach.clone().reach(),
            out,
            force,
            tenant: self.tenant.clone(),
            admin_token: self.admin_token.clone(),
            headers: self.headers.clone(),
            identity: BuyerIdentity::of(tokens.as_ref())?,
            tokens,
            agents: self.agents.clone(),
            agent_silence_max: Duration::from_secs(self.agent_silence_max),
            verify,
            quiet,
        })
    }
}
