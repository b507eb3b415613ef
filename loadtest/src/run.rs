//! One run from the scenario to the output folder.

use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::admin::{Admin, AdminError, SKU};
use crate::collector::Collector;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::hdr_files::write_hgrm;
use crate::load::plan::{Clock, Interrupt, Plan};
use crate::load::recorder::histogram;
use crate::load::worker::{self, Report};
use crate::objectives;
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::summary::{ClientHealth, PhaseSummary, RunResult, SCHEMA, Summary};
use crate::verify::{self, SaleTerms, VerifyError};
use crate::wire::call::Caller;
use crate::wire::request::{BadTarget, Target};
use crate::wire::response::json_text;

/// From the last preparation to the first request; a sale that opens with a phase is announced this long before.
const LEAD: Duration = Duration::from_millis(700);
/// How long a new campaign may take to be known at every address.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
/// Times that the server is asked for its clock.
const CLOCK_QUESTIONS: usize = 5;
/// Files beside the connections that the process needs.
const SPARE_FILES: u64 = 600;

/// What `run` is told besides the scenario.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Data-plane addresses.
    pub targets: Vec<String>,
    /// Admin address.
    pub admin: String,
    /// Output folder.
    pub out: PathBuf,
    /// Tenant of the campaigns.
    pub tenant: String,
    /// Token of the admin plane.
    pub admin_token: Option<String>,
    /// Further headers of data-plane requests, `Name: value`.
    pub headers: Vec<String>,
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
    /// The check could not be made.
    #[error("the run is over, but its promises could not be checked: {0}")]
    Verify(#[from] VerifyError),
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
    let targets = options.targets.iter().map(|url| Target::parse(url)).collect::<Result<Vec<_>, _>>()?;
    if targets.is_empty() {
        return Err(RunError::Setup("at least one --target is needed".into()));
    }
    prepare_folder(&options.out).map_err(|error| RunError::File(options.out.display().to_string(), error))?;
    allow_files(u64::from(scenario.client.connections) + SPARE_FILES)?;

    let run_id = run_id();
    let campaigns: Vec<String> = scenario
        .campaigns
        .iter()
        .map(|campaign| format!("{}-{}-{run_id}", scenario.name, campaign.name))
        .collect();
    let plan = Arc::new(Plan {
        scenario: scenario.clone(),
        targets,
        sales: campaigns.iter().map(|campaign| format!("{campaign}/{SKU}")).collect(),
        headers: options.data_headers(),
        folder: options.out.clone(),
        clock: Clock::start(),
        interrupt: interrupt.clone(),
    });
    let mut admin = Admin::connect(&options.admin, &options.tenant, options.admin_token.as_deref())?;
    let workers = Workers::spawn(&plan)?;

    let mut opened = Vec::new();
    let measured = open_and_measure(&plan, options, &mut admin, workers, &campaigns, &mut opened);
    let verdict = match &measured {
        Ok(measured) if options.verify => {
            let settle = Duration::from_secs_f64(scenario.verify.settle_s);
            let settle = if interrupt.requested() { Duration::ZERO } else { settle };
            verify::settle(&mut admin, &measured.sales, settle)
                .and_then(|()| {
                    let untruthful = measured.collector.untruthful();
                    verify::verify(&mut admin, &measured.sales, &options.out, untruthful)
                })
                .map(Some)
        }
        _ => Ok(None),
    };
    for campaign in opened {
        if let Err(error) = admin.end(campaign, &Timestamp::now().to_string()) {
            eprintln!("loadtest: campaign {campaign} is still open: {error}");
        }
    }

    let measured = measured?;
    let mut summary = measured.summarise(&plan, options, run_id);
    let written = match verdict {
        Ok(verdict) => {
            summary.verification = verdict;
            Ok(())
        }
        Err(error) => Err(error),
    };
    let exit = conclude(&mut summary, scenario);
    measured
        .write_hgrm(&options.out)
        .map_err(|error| RunError::File(options.out.display().to_string(), error))?;
    summary.write(&options.out).map_err(|error| RunError::File(options.out.display().to_string(), error))?;
    written?;
    Ok((summary, exit))
}

/// The threads of the load.
struct Workers {
    threads: Vec<JoinHandle<()>>,
    starts: Vec<Sender<u64>>,
    reports: Receiver<Report>,
}

impl Workers {
    fn spawn(plan: &Arc<Plan>) -> Result<Self, RunError> {
        let (sender, reports) = channel();
        let mut workers = Self { threads: Vec::new(), starts: Vec::new(), reports };
        for index in 0..plan.scenario.client.workers as usize {
            let (start, started) = channel();
            let (plan, sender) = (Arc::clone(plan), sender.clone());
            let thread = std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || worker::run(plan, index, sender, started))
                .map_err(|error| RunError::Setup(format!("no thread for a worker: {error}")))?;
            workers.threads.push(thread);
            workers.starts.push(start);
        }
        Ok(workers)
    }

    /// Waits until every worker has its connections.
    fn wait_ready(&self) -> Result<usize, RunError> {
        let mut connected = 0;
        for _ in 0..self.threads.len() {
            match self.reports.recv() {
                Ok(Report::Ready(count)) => connected += count,
                Ok(Report::Ended(Err(why))) => return Err(RunError::Setup(why)),
                _ => return Err(RunError::Setup("a worker ended before the start".into())),
            }
        }
        Ok(connected)
    }

    fn collect(self, start_ns: u64, collector: &mut Collector) -> Result<(), RunError> {
        for start in &self.starts {
            start.send(start_ns).map_err(|_| RunError::Setup("a worker ended before the start".into()))?;
        }
        let file = |error| RunError::File("output folder".into(), error);
        let mut running = self.threads.len();
        while running > 0 {
            match self.reports.recv() {
                Ok(Report::Second(frame)) => collector.take(*frame).map_err(file)?,
                Ok(Report::Ended(outcome)) => {
                    outcome.map_err(RunError::Setup)?;
                    running -= 1;
                }
                Ok(Report::Ready(_)) => {}
                Err(_) => return Err(RunError::Setup("a worker has broken down".into())),
            }
        }
        for thread in self.threads {
            thread.join().map_err(|_| RunError::Setup("a worker has broken down".into()))?;
        }
        collector.finish().map_err(file)
    }
}

/// What a run brought, before it is judged.
struct Measured {
    collector: Collector,
    sales: Vec<SaleTerms>,
    started_at: Timestamp,
    duration_s: f64,
    clock_skew_ms: Option<i64>,
    interrupted: bool,
}

/// Opens the campaigns (their names go to `opened`), runs the load to its end.
fn open_and_measure<'a>(
    plan: &Plan,
    options: &RunOptions,
    admin: &mut Admin,
    workers: Workers,
    campaigns: &'a [String],
    opened: &mut Vec<&'a str>,
) -> Result<Measured, RunError> {
    let scenario = &plan.scenario;
    let connected = workers.wait_ready()?;
    if connected == 0 {
        let urls = options.targets.join(", ");
        return Err(RunError::Setup(format!(
            "no connection to {urls} could be opened: is the engine running?"
        )));
    }
    if connected < scenario.client.connections as usize {
        eprintln!(
            "loadtest: only {connected} of {} connections could be opened",
            scenario.client.connections
        );
    }
    let mut callers: Vec<Caller> = plan
        .targets
        .iter()
        .map(|target| Caller::new(target.clone(), &plan.headers, VISIBLE_WITHIN))
        .collect();
    let now_open = scenario.campaigns.iter().zip(campaigns).filter(|(c, _)| c.opens_with.is_none());
    let mut clock_skew_ms = None;
    for (campaign, name) in now_open {
        admin.open(name, campaign, None)?;
        opened.push(name);
        clock_skew_ms = wait_visible(&mut callers, name)?.or(clock_skew_ms);
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
        clock_skew_ms = wait_visible(&mut callers, name)?.or(clock_skew_ms);
    }

    let base_s = started_at.as_millisecond() as f64 / 1e3;
    let progress = Progress::new(scenario, options.quiet);
    let mut collector = Collector::new(scenario, &options.out, base_s, progress)
        .map_err(|error| RunError::File(options.out.display().to_string(), error))?;
    workers.collect(start_ns, &mut collector)?;
    let sales =
        scenario.campaigns.iter().zip(campaigns).enumerate().map(|(index, (campaign, name))| SaleTerms {
            campaign: name.clone(),
            stock: campaign.stock,
            per_buyer_limit: campaign.per_buyer_limit,
            // Only the main campaign is promised a crowd large enough.
            sold_out: scenario.verify.sold_out && index == 0 && !plan.interrupt.requested(),
        });
    Ok(Measured {
        collector,
        sales: sales.collect(),
        started_at,
        duration_s: plan.clock.now_ns().saturating_sub(start_ns) as f64 / 1e9,
        clock_skew_ms,
        interrupted: plan.interrupt.requested(),
    })
}

/// Waits until every address knows the sale; returns how far the server's clock is ahead, in milliseconds.
fn wait_visible(callers: &mut [Caller], campaign: &str) -> Result<Option<i64>, RunError> {
    let path = format!("/seckill/{campaign}/{SKU}");
    let deadline = std::time::Instant::now() + VISIBLE_WITHIN;
    let mut skew_ms = None;
    for caller in callers {
        loop {
            let reply = caller.call("GET", &path, None).map_err(AdminError::from)?;
            if reply.status == 200 {
                skew_ms = clock_skew_ms(caller, &path)?;
                break;
            }
            if std::time::Instant::now() > deadline {
                let why = format!(
                    "GET {path}: the new campaign is not on sale: {} {}",
                    reply.status,
                    reply.excerpt()
                );
                return Err(RunError::Setup(why));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(skew_ms)
}

/// How far the server's clock is ahead, by the quickest of a few questions; zero when it could as well be the way.
fn clock_skew_ms(caller: &mut Caller, path: &str) -> Result<Option<i64>, RunError> {
    let mut best: Option<(SignedDuration, SignedDuration)> = None;
    for _ in 0..CLOCK_QUESTIONS {
        let before = Timestamp::now();
        let reply = caller.call("GET", path, None).map_err(AdminError::from)?;
        let round_trip = Timestamp::now().duration_since(before);
        let text = String::from_utf8_lossy(json_text(&reply.body, "server_time")).into_owned();
        let Ok(server_time) = text.parse::<Timestamp>() else { return Ok(None) };
        if best.is_none_or(|(quickest, _)| round_trip < quickest) {
            best = Some((round_trip, server_time.duration_since(before) - round_trip / 2));
        }
    }
    // The server's time is told in whole milliseconds.
    let sure =
        best.filter(|(round_trip, skew)| skew.abs() > *round_trip / 2 + SignedDuration::from_millis(1));
    Ok(best.map(|_| sure.map_or(0, |(_, skew)| skew.as_millis() as i64)))
}

impl Measured {
    fn summarise(&self, plan: &Plan, options: &RunOptions, run_id: String) -> Summary {
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
        Summary {
            schema: SCHEMA.into(),
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            run_id,
            started_at: format!("{:.3}", self.started_at),
            duration_s: self.duration_s,
            interrupted: self.interrupted,
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
    let ClientHealth { saturated, reasons: late, .. } = &summary.client;
    let (exit, reasons) = if !broken.is_empty() {
        (Exit::CorrectnessViolated, broken)
    } else if summary.interrupted {
        (Exit::Interrupted, vec!["ended by a signal".into()])
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

/// Makes the folder and removes what an earlier run left in it.
fn prepare_folder(folder: &FilePath) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let ours = name.ends_with(".hlog")
            || name.ends_with(".hgrm")
            || (name.starts_with("answers-") && name.ends_with(".log"))
            || ["summary.json", "report.html"].contains(&name);
        if ours {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
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

/// Milliseconds since the epoch in base 36: short, and later runs sort behind.
fn run_id() -> String {
    let mut rest = Timestamp::now().as_millisecond().unsigned_abs();
    let mut digits = Vec::new();
    while rest > 0 {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize]);
        rest /= 36;
    }
    digits.reverse();
    String::from_utf8(digits).unwrap_or_default()
}
