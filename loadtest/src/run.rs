//! One run from the scenario to the output folder.

use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::admin::{Admin, AdminError, SKU};
use crate::agents::crew::{Crew, Help};
use crate::collector::Collector;
use crate::console;
use crate::environment::{AgentMachine, Environment};
use crate::exit::Exit;
use crate::first_look::{self, VISIBLE_WITHIN};
use crate::folder::{self, FolderError, OutputFolder};
use crate::hdr_files::write_hgrm;
use crate::load::plan::{Clock, Interrupt, LifeSigns, Plan};
use crate::load::recorder::histogram;
use crate::objectives;
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::summary::{ClientHealth, PhaseSummary, RunResult, SCHEMA, Summary};
use crate::verify::{self, Extent, SaleTerms, Verification, VerifyError};
use crate::wire::buyer::{BuyerIdentity, BuyerTokens};
use crate::wire::call::Caller;
use crate::wire::request::{BadTarget, Reach, Target, fields_of};

/// From the last preparation to the first request; a sale that opens with a phase is announced this long before.
const LEAD: Duration = Duration::from_millis(700);
/// Files beside the connections that the process needs.
const SPARE_FILES: u64 = 600;

/// What `run` is told besides the scenario.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Data-plane addresses.
    pub targets: Vec<String>,
    /// Admin address.
    pub admin: String,
    /// How addresses are found and trusted.
    pub reach: Reach,
    /// Output folder.
    pub out: PathBuf,
    /// Takes an output folder that is not empty.
    pub force: bool,
    /// Tenant of the campaigns.
    pub tenant: String,
    /// Token of the admin plane.
    pub admin_token: Option<String>,
    /// Further headers of data-plane requests, `Name: value`.
    pub headers: Vec<String>,
    /// How buyers say who they are.
    pub identity: BuyerIdentity,
    /// The tokens of that, for agents.
    pub tokens: Option<BuyerTokens>,
    /// Commands that run agents, which send shares of the load.
    pub agents: Vec<String>,
    /// For how long an agent may say nothing.
    pub agent_silence_max: Duration,
    /// Checks every promise afterwards.
    pub verify: bool,
    /// Shows no progress.
    pub quiet: bool,
}

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A bad address.
    #[error(transparent)]
    Target(#[from] BadTarget),
    /// The admin plane did not do its part.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The output folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// A run of a series broke a promise.
    #[error("a promise was broken: {0}")]
    Broken(String),
    /// A series of runs was ended by a signal.
    #[error("ended by a signal")]
    Interrupted,
    /// Anything else, in words.
    #[error("{0}")]
    Setup(String),
}

impl RunOptions {
    /// Headers of data-plane requests.
    fn data_headers(&self) -> Vec<String> {
        std::iter::once(format!("X-Tenant-ID: {}", self.tenant)).chain(self.headers.iter().cloned()).collect()
    }
}

/// Runs a scenario and writes the output folder.
///
/// # Errors
/// See [`RunError`]; campaigns that were opened are ended also then.
pub fn run(
    scenario: &Scenario,
    options: &RunOptions,
    interrupt: &Interrupt,
) -> Result<(Summary, Exit), RunError> {
    let targets = Target::resolve_all(&options.targets, &options.reach)?;
    if targets.is_empty() {
        return Err(RunError::Setup("at least one --target is needed".into()));
    }
    let folder = OutputFolder::prepare(&options.out, options.force)?;
    let run_id = folder::run_id();
    let done = run_into(scenario, options, targets, &run_id, interrupt);
    if done.is_err() {
        folder.abandon(&run_id);
    }
    done
}

/// The agents that have a connection for each of their workers, and the scenario with the workers of all machines.
fn with_agents<'a>(scenario: &Scenario, agents: &'a [String]) -> (Scenario, &'a [String]) {
    let client = &scenario.client;
    let machines_max = (client.connections / client.workers).max(1) as usize;
    let used = agents.len().min(machines_max - 1);
    if used < agents.len() {
        let connections = client.connections;
        console::note(format_args!("{connections} connections are too few for all agents: {used} send"));
    }
    let mut scenario = scenario.clone();
    scenario.client.workers *= used as u32 + 1;
    (scenario, &agents[..used])
}

fn run_into(
    scenario: &Scenario,
    options: &RunOptions,
    targets: Vec<Target>,
    run_id: &str,
    interrupt: &Interrupt,
) -> Result<(Summary, Exit), RunError> {
    let (scenario, agents) = with_agents(scenario, &options.agents);
    let connections_here = scenario.client.connections.div_ceil(agents.len() as u32 + 1);
    allow_files(u64::from(connections_here) + SPARE_FILES)?;
    if scenario.client.http2 {
        fields_of(&options.data_headers()).map_err(|why| RunError::Setup(format!("--header {why}")))?;
    }
    let campaigns: Vec<String> = scenario
        .campaigns
        .iter()
        .map(|campaign| format!("{}-{}-{run_id}", scenario.name, campaign.name))
        .collect();
    let plan = Arc::new(Plan {
        scenario,
        run_id: run_id.to_owned(),
        targets,
        sales: campaigns.iter().map(|campaign| format!("{campaign}/{SKU}")).collect(),
        headers: options.data_headers(),
        identity: options.identity.clone(),
        folder: options.out.clone(),
        clock: Clock::start(),
        interrupt: interrupt.clone(),
        signs: LifeSigns::default(),
    });
    let token = options.admin_token.as_deref();
    let mut admin = Admin::connect(&options.admin, &options.reach, &options.tenant, token)?;
    let help = Help {
        agents,
        silence_max: options.agent_silence_max,
        targets: &options.targets,
        reach: &options.reach,
        tokens: options.tokens.as_ref(),
    };
    let crew = Crew::hire(&plan, &help).map_err(RunError::Setup)?;

    let mut opened = Vec::new();
    let measured = open_and_measure(&plan, options, &mut admin, crew, &campaigns, &mut opened);
    let verdict = match &measured {
        Ok(measured) if options.verify => check(&plan, &mut admin, measured).map(Some),
        _ => Ok(None),
    };
    for campaign in opened {
        if let Err(error) = admin.end(campaign, &Timestamp::now().to_string()) {
            console::note(format_args!("campaign {campaign} is still open: {error}"));
        }
    }

    let measured = measured?;
    let mut summary = measured.summarise(&plan, options);
    match verdict {
        Ok(verdict) => summary.verification = verdict,
        Err(error) => summary.verification_error = Some(error.to_string()),
    }
    let exit = conclude(&mut summary, &plan.scenario);
    measured
        .write_hgrm(&options.out)
        .map_err(|error| RunError::File(options.out.display().to_string(), error))?;
    summary.write(&options.out).map_err(|error| RunError::File(options.out.display().to_string(), error))?;
    Ok((summary, exit))
}

/// Holds the promises that the engine made against its store.
fn check(plan: &Plan, admin: &mut Admin, measured: &Measured) -> Result<Verification, VerifyError> {
    let settle = Duration::from_secs_f64(plan.scenario.verify.settle_s);
    let settle = if plan.interrupt.requested() { Duration::ZERO } else { settle };
    verify::settle(admin, &measured.sales, settle)?;
    let untruthful = measured.collector.untruthful();
    verify::verify(admin, &measured.sales, &plan.folder, &plan.run_id, Extent::Whole, untruthful)
}

/// What a run brought, before it is judged.
struct Measured {
    collector: Collector,
    agents: Vec<AgentMachine>,
    sales: Vec<SaleTerms>,
    started_at: Timestamp,
    duration_s: f64,
    clock_skew_ms: Option<i64>,
    engine_gone_at_s: Option<f64>,
    interrupted: bool,
}

/// Opens the campaigns (their names go to `opened`), runs the load to its end.
fn open_and_measure<'a>(
    plan: &Plan,
    options: &RunOptions,
    admin: &mut Admin,
    crew: Crew,
    campaigns: &'a [String],
    opened: &mut Vec<&'a str>,
) -> Result<Measured, RunError> {
    let scenario = &plan.scenario;
    let connected = crew.wait_ready().map_err(RunError::Setup)?;
    let agents = crew.machines();
    if connected == 0 {
        let urls = options.targets.join(", ");
        let perhaps = if scenario.client.http2 { ", and does it speak HTTP/2 there" } else { "" };
        return Err(RunError::Setup(format!(
            "no connection to {urls} could be opened: is the engine running{perhaps}?"
        )));
    }
    if connected < scenario.client.connections as usize {
        let wanted = scenario.client.connections;
        console::note(format_args!("only {connected} of {wanted} connections could be opened"));
    }
    let headers: Vec<String> =
        plan.headers.iter().cloned().chain([options.identity.line(first_look::BUYER)]).collect();
    let mut callers: Vec<Caller> =
        plan.targets.iter().map(|target| Caller::new(target.clone(), &headers, VISIBLE_WITHIN)).collect();
    let now_open = scenario.campaigns.iter().zip(campaigns).filter(|(c, _)| c.opens_with.is_none());
    let mut clock_skew_ms = None;
    for (campaign, name) in now_open {
        admin.open(name, campaign, None)?;
        opened.push(name);
        clock_skew_ms = first_look::wait_visible(&mut callers, name)?.or(clock_skew_ms);
        first_look::try_purchase(&mut callers, name)?;
    }
    // The sale opens by the server's clock; the load starts by this one.
    let skew = SignedDuration::from_millis(clock_skew_ms.unwrap_or(0));
    let start_ns = plan.clock.now_ns() + LEAD.as_nanos() as u64;
    let started_at = Timestamp::now() + LEAD;
    for (campaign, name) in scenario.campaigns.iter().zip(campaigns) {
        let Some(phase) = &campaign.opens_with else { continue };
        let index = scenario.phases.iter().position(|known| known.name == *phase).unwrap_or(0);
        let opens_at = started_at + Duration::from_secs_f64(scenario.phase_start_s(index)) + skew;
        admin.open(name, campaign, Some(&format!("{opens_at:.3}")))?;
        opened.push(name);
        clock_skew_ms = first_look::wait_visible(&mut callers, name)?.or(clock_skew_ms);
        first_look::try_purchase(&mut callers, name)?;
    }

    let base_s = started_at.as_millisecond() as f64 / 1e3;
    let progress = Progress::new(scenario, options.quiet);
    let mut collector = Collector::new(scenario, &options.out, base_s, progress)
        .map_err(|error| RunError::File(options.out.display().to_string(), error))?;
    crew.send(plan, start_ns, &mut collector).map_err(RunError::Setup)?;
    let sales =
        scenario.campaigns.iter().zip(campaigns).enumerate().map(|(index, (campaign, name))| SaleTerms {
            campaign: name.clone(),
            stock: campaign.stock,
            per_buyer_limit: campaign.per_buyer_limit,
            // Only the main campaign is promised a crowd large enough.
            sold_out: scenario.verify.sold_out && index == 0 && !plan.interrupt.requested(),
            demand_units: collector.demand_units(index),
            has_queue: campaign.queue.is_some(),
        });
    let sales = sales.collect();
    let last_answer_ns = plan.signs.last_answer_ns().saturating_sub(start_ns);
    Ok(Measured {
        collector,
        agents,
        sales,
        engine_gone_at_s: plan.signs.gone().then_some(last_answer_ns as f64 / 1e9),
        started_at,
        duration_s: plan.clock.now_ns().saturating_sub(start_ns) as f64 / 1e9,
        clock_skew_ms,
        interrupted: plan.interrupt.requested(),
    })
}

impl Measured {
    fn summarise(&self, plan: &Plan, options: &RunOptions) -> Summary {
        let scenario = &plan.scenario;
        let phases: Vec<PhaseSummary> = scenario
            .phases
            .iter()
            .enumerate()
            .map(|(index, phase)| PhaseSummary {
                name: phase.name.clone(),
                model: phase.model().into(),
                start_s: scenario.phase_start_s(index),
                duration_s: phase.duration_s,
                measured: phase.measure,
                visits_due: phase.curve().map(|curve| curve.arrivals().round() as u64),
            })
            .collect();
        let (paths, by_phase) = self.collector.summarise(&phases);
        let scenario_value = serde_json::to_value(scenario).unwrap_or_default();
        let mut environment = Environment::observe(&options.targets, scenario_value);
        environment.clock_skew_ms = self.clock_skew_ms;
        environment.agents = self.agents.clone();
        Summary {
            schema: SCHEMA.into(),
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            run_id: plan.run_id.clone(),
            started_at: format!("{:.3}", self.started_at),
            duration_s: self.duration_s,
            interrupted: self.interrupted,
            engine_gone_at_s: self.engine_gone_at_s,
            environment,
            result: RunResult {
                exit_code: Exit::Ok.code(),
                name: Exit::Ok.name().into(),
                reasons: Vec::new(),
            },
            phases,
            paths,
            by_phase,
            client: self.collector.client_health(&scenario.client),
            objectives: Vec::new(),
            verification: None,
            verification_error: None,
            sales: self.sales.clone(),
            published: scenario.published.clone(),
            oddities: self.collector.oddities().clone(),
            series: self.collector.series().to_vec(),
        }
    }

    /// Writes the percentile files: by path, by path and outcome, and the service time by path.
    fn write_hgrm(&self, folder: &FilePath) -> io::Result<()> {
        let mut by_path = std::collections::BTreeMap::new();
        for ((path, outcome), cell) in self.collector.by_outcome() {
            write_hgrm(&folder.join(format!("{}.{}.hgrm", path.name(), outcome.name())), &cell.response)?;
            let (response, service) = by_path.entry(path).or_insert_with(|| (histogram(), histogram()));
            response.add(&cell.response).map_err(io::Error::other)?;
            service.add(&cell.service).map_err(io::Error::other)?;
        }
        for (path, (response, service)) in by_path {
            write_hgrm(&folder.join(format!("{}.hgrm", path.name())), &response)?;
            write_hgrm(&folder.join(format!("{}.service.hgrm", path.name())), &service)?;
        }
        Ok(())
    }
}

/// Judges the run: the most serious finding decides.
fn conclude(summary: &mut Summary, scenario: &Scenario) -> Exit {
    summary.objectives = objectives::judge(&scenario.objectives, summary);
    let gone =
        summary.engine_gone_at_s.map(|at_s| format!("the engine stopped answering {at_s:.1} s into the run"));
    let broken =
        summary.verification.iter().flat_map(|verdict| &verdict.checks).filter(|check| !check.passed);
    let broken: Vec<String> =
        broken.map(|check| format!("{} ({}): {}", check.name, check.violations, check.detail)).collect();
    let missed: Vec<String> = summary
        .objectives
        .iter()
        .filter(|result| !result.met)
        .map(|result| match result.measured {
            Some(measured) => format!("{}: {measured:.4}, limit {}", result.what, result.limit),
            None => format!("{}: nothing was measured", result.what),
        })
        .collect();
    let missed: Vec<String> = gone.into_iter().chain(missed).collect();
    let ClientHealth { saturated, reasons: late, .. } = &summary.client;
    let (exit, reasons) = if !broken.is_empty() {
        (Exit::CorrectnessViolated, broken)
    } else if summary.interrupted {
        (Exit::Interrupted, vec!["ended by a signal".into()])
    } else if let Some(why) = &summary.verification_error {
        let unchecked = format!("the promises could not be checked: {why}");
        (Exit::CouldNotRun, missed.into_iter().chain([unchecked]).collect())
    } else if *saturated {
        (Exit::ClientSaturated, late.clone())
    } else if !missed.is_empty() {
        (Exit::ObjectiveMissed, missed)
    } else {
        (Exit::Ok, Vec::new())
    };
    summary.result = RunResult { exit_code: exit.code(), name: exit.name().into(), reasons };
    exit
}

/// Raises the limit of open files as far as it goes.
fn allow_files(wanted: u64) -> Result<(), RunError> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|current| current < wanted) && allowed >= wanted {
        limit.current = Some(wanted);
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if current >= wanted {
        return Ok(());
    }
    Err(RunError::Setup(format!("{wanted} open files are needed, {current} are allowed: raise `ulimit -n`")))
}
