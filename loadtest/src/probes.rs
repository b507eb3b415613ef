//! The runs that a search is made of: the scenario's visitors, at one rate, each run with a campaign of its own.

use std::path::PathBuf;

use crate::console;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::folder::OutputFolder;
use crate::load::plan::Interrupt;
use crate::load::schedule::Pacing;
use crate::objectives;
use crate::outcome::{Outcome, Path};
use crate::run::{self, RunError, RunOptions};
use crate::scenario::{Load, Phase, Scenario};
use crate::search::{self, Bounds, CampaignPlan, SearchReport, Step};
use crate::summary::Summary;
use crate::usl::Usl;

/// An answered rate below this share of the offered one misses every objective.
const ACHIEVED_MIN: f64 = 0.95;
/// Length of the warm-up before each step, seconds.
const WARM_UP_S: f64 = 1.0;
/// Connections of the ladder that the scalability law is fitted to.
const LADDER: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// The schema of `search.json`.
pub const SCHEMA: &str = "loadtest.search/1";

/// What a search is told.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// The path that the objective is about.
    pub path: Path,
    /// Its P99 must not exceed this.
    pub p99_ms: f64,
    /// Its share of errors must not exceed this.
    pub error_rate: f64,
    /// Range and precision.
    pub bounds: Bounds,
    /// Length of a step, seconds.
    pub step_s: f64,
    /// Length of a confirming run, seconds.
    pub confirm_s: f64,
    /// Whether the closed-model ladder is run too.
    pub ladder: bool,
    /// The campaign to hold the result against.
    pub plan: Option<CampaignPlan>,
}

/// Searches and returns the report; every step leaves its own output folder.
///
/// # Errors
/// When a run cannot be made, breaks a promise, or is interrupted.
pub fn search(
    scenario: &Scenario,
    run_options: &RunOptions,
    options: &SearchOptions,
    interrupt: &Interrupt,
) -> Result<SearchReport, RunError> {
    OutputFolder::prepare(&run_options.out, run_options.force)?;
    let mut number = 0;
    let mut folder = |name: String| -> PathBuf {
        number += 1;
        run_options.out.join(format!("{number:02}-{name}"))
    };
    let found = search::search(options.bounds, |rate_per_s, long| {
        let step_s = if long { options.confirm_s } else { options.step_s };
        let load = Load::Constant { rate_per_s };
        let probe = at_load(scenario, load, step_s, Some(rate_per_s / 2.0));
        let out = folder(format!("{rate_per_s:.0}-per-s"));
        let step =
            one_step(&probe, &RunOptions { out, ..run_options.clone() }, options, rate_per_s, interrupt)?;
        let judged = match step {
            Step { client_saturated: true, .. } => "client saturated",
            Step { met: true, .. } => "met",
            _ => "missed",
        };
        console::note(format_args!(
            "{:.0} of {:.0}/s for {step_s:.0} s, p99 {:.2} ms, errors {:.3} %: {judged}",
            step.achieved_per_s,
            step.rate_per_s,
            step.p99_ms,
            step.error_rate * 100.0,
        ));
        Ok::<_, RunError>(step)
    })?;

    let mut ladder = Vec::new();
    for connections in LADDER.into_iter().filter(|_| options.ladder) {
        let mut rung = at_load(scenario, Load::Closed {}, (options.step_s / 2.0).max(1.0), None);
        rung.client.connections = connections;
        rung.client.workers = rung.client.workers.min(connections);
        // A client at its limit is expected at the upper end of a ladder.
        let out = folder(format!("{connections}-connections"));
        let (summary, _) = run_checked(&rung, &RunOptions { out, ..run_options.clone() }, interrupt)?;
        let achieved = summary.paths.get(&Path::Seckill).map_or(0.0, |path| path.all.rate_per_s);
        console::note(format_args!("{connections} connections in a closed loop: {achieved:.0}/s"));
        ladder.push((f64::from(connections), achieved));
    }
    let headroom = options.plan.zip(found.rate_per_s).map(|(plan, rate)| plan.headroom(rate));
    Ok(SearchReport {
        schema: SCHEMA.into(),
        scenario: scenario.name.clone(),
        objective: format!(
            "{} p99 at most {} ms, errors at most {} %",
            options.path.name(),
            options.p99_ms,
            options.error_rate * 100.0
        ),
        confirm_s: options.confirm_s,
        usl: Usl::fit(&ladder),
        ladder,
        plan: options.plan,
        headroom,
        environment: Environment::observe(
            &run_options.targets,
            serde_json::to_value(scenario).unwrap_or_default(),
        ),
        found,
    })
}

/// The scenario with one measured phase of this load, after a warm-up.
fn at_load(scenario: &Scenario, load: Load, duration_s: f64, warm_up_per_s: Option<f64>) -> Scenario {
    let template = scenario.phases.iter().rev().find(|phase| phase.measure && phase.model() != "rest");
    let template = template.or(scenario.phases.last());
    let phase = |name: &str, duration_s: f64, load: Load, measure: bool| Phase {
        name: name.into(),
        duration_s,
        load,
        pacing: Pacing::Poisson,
        measure,
        campaign: template.and_then(|phase| phase.campaign.clone()),
        shoppers: template.map(|phase| phase.shoppers.clone()).unwrap_or_default(),
    };
    let mut probe = scenario.clone();
    probe.phases = Vec::new();
    if let Some(rate_per_s) = warm_up_per_s {
        probe.phases.push(phase("warm-up", WARM_UP_S, Load::Constant { rate_per_s }, false));
    }
    probe.phases.push(phase("probe", duration_s, load, true));
    probe.campaigns.iter_mut().for_each(|campaign| campaign.opens_with = None);
    probe.objectives.clear();
    probe.published.clear();
    probe.verify.sold_out = false;
    probe.client.drain_s = probe.client.drain_s.min(2.0);
    probe
}

fn one_step(
    probe: &Scenario,
    run_options: &RunOptions,
    options: &SearchOptions,
    rate_per_s: f64,
    interrupt: &Interrupt,
) -> Result<Step, RunError> {
    let (summary, client_saturated) = run_checked(probe, run_options, interrupt)?;
    let visits = summary.paths.get(&Path::Seckill).or(summary.paths.get(&Path::Page));
    let unsent = visits.and_then(|path| path.outcomes.get(&Outcome::Unsent)).map_or(0, |l| l.count);
    let answered = visits.map_or(0, |path| path.all.count) - unsent;
    // What is answered late, in the drain, was not answered at the rate.
    let planned_s = summary.phases.last().map_or(1.0, |phase| phase.duration_s);
    let took_s = planned_s.max(summary.duration_s - WARM_UP_S);
    let achieved_per_s = answered as f64 / took_s;
    let offered_per_s = visits.map_or(0, |path| path.all.count) as f64 / planned_s;
    let path = summary.paths.get(&options.path);
    let response = path.map(|path| path.all.response);
    let ms = |us: Option<u64>| us.map_or(f64::MAX, |us| us as f64 / 1e3);
    let p99_ms = ms(response.map(|r| r.p99_us));
    let error_rate = objectives::error_rate(&summary, options.path, None).unwrap_or(1.0);
    let met = p99_ms <= options.p99_ms
        && error_rate <= options.error_rate
        && achieved_per_s >= offered_per_s * ACHIEVED_MIN;
    Ok(Step {
        rate_per_s,
        achieved_per_s,
        p50_ms: ms(response.map(|r| r.p50_us)),
        p99_ms,
        p999_ms: ms(response.map(|r| r.p999_us)),
        error_rate,
        met,
        client_saturated,
        stage: String::new(),
    })
}

/// Runs a step; a broken promise ends the search, whatever the speed.
fn run_checked(
    probe: &Scenario,
    run_options: &RunOptions,
    interrupt: &Interrupt,
) -> Result<(Summary, bool), RunError> {
    let (summary, exit) = run::run(probe, &RunOptions { quiet: true, ..run_options.clone() }, interrupt)?;
    match exit {
        Exit::CorrectnessViolated => Err(RunError::Broken(summary.result.reasons.join("; "))),
        Exit::Interrupted => Err(RunError::Interrupted),
        Exit::CouldNotRun => Err(RunError::Setup(summary.result.reasons.join("; "))),
        _ => {
            let saturated = summary.client.saturated;
            Ok((summary, saturated))
        }
    }
}

/// The result as text.
pub fn render(report: &SearchReport) -> String {
    let mut out = format!("\n{}: {}\n", report.scenario, report.objective);
    let found = &report.found;
    out += &match found.rate_per_s {
        Some(rate) if found.ceiling_reached => {
            format!(
                "the ceiling you set was reached: {rate:.0}/s met the objective; the engine may do better\n"
            )
        }
        Some(rate) => format!("highest confirmed rate: {rate:.0}/s\n"),
        None => "no rate met the objective\n".to_owned(),
    };
    if let Some((low, high)) = found.confirmed_p99_ms {
        let runs =
            found.steps.iter().filter(|s| s.stage == "confirm" && Some(s.rate_per_s) == found.rate_per_s);
        out += &format!(
            "confirmed by {} runs of {:.0} s: p99 {low:.1} to {high:.1} ms\n",
            runs.count(),
            report.confirm_s
        );
    }
    if found.limited_by_client {
        out += "*** the client was saturated at the upper end: the engine may do better ***\n";
    }
    if let Some(missed) = found.above_missed {
        out += if missed {
            "a run 10 % above it missed the objective\n"
        } else {
            "a run 10 % above it met the objective too\n"
        };
    }
    if let Some(knee) = found.knee_per_s {
        out += &format!("the curve of p99 against rate bends at {knee:.0}/s\n");
    }
    if let Some(usl) = &report.usl {
        out += &format!(
            "scalability law: λ {:.0}/s, σ {:.4}, κ {:.6}, r² {:.3}",
            usl.lambda, usl.sigma, usl.kappa, usl.r_squared
        );
        out += &usl
            .peak()
            .map_or("\n".into(), |n| format!(", peak {:.0}/s at {n:.0} connections\n", usl.throughput(n)));
    }
    if let (Some(plan), Some(room)) = (&report.plan, &report.headroom) {
        out += &format!(
            "{:.0} buyers in {:.0} s for {:.0} units: needs {:.0}/s at the peak ({} clicks each, peak {} × mean) and \
             {:.0} wins/s; found {:.0}/s: headroom {:.1} ×\n",
            plan.buyers,
            plan.seconds,
            plan.units,
            room.needed_per_s,
            plan.clicks,
            plan.peak_factor,
            room.wins_per_s,
            room.found_per_s,
            room.factor
        );
    }
    out
}
