//! Finds the highest rate that still meets an objective: doubling, halving the interval, then confirming runs that take
//! as long as the rush will.

use serde::{Deserialize, Serialize};

use crate::usl::Usl;

/// Rates that are tried to be confirmed before the search gives up.
const RATES_CONFIRMED_MAX: usize = 6;
/// P99 must have risen this much over the lowest rates before a bend is one, and not noise.
const KNEE_RISE_MIN: f64 = 3.0;

/// What a step found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Offered, requests per second.
    pub rate_per_s: f64,
    /// Answered, requests per second.
    pub achieved_per_s: f64,
    /// Milliseconds.
    pub p50_ms: f64,
    /// Milliseconds.
    pub p99_ms: f64,
    /// Milliseconds.
    pub p999_ms: f64,
    /// Share of errors.
    pub error_rate: f64,
    /// Whether the objective was met.
    pub met: bool,
    /// Whether the client was too slow for the rate.
    pub client_saturated: bool,
    /// `climb`, `narrow`, `confirm` or `above`.
    pub stage: String,
}

/// The limits of a search.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// First rate tried.
    pub from_per_s: f64,
    /// No rate above is tried.
    pub to_per_s: f64,
    /// The interval is narrowed until its ends differ by less than this share.
    pub precision: f64,
    /// Confirming runs that must all meet the objective.
    pub confirmations: u32,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The highest confirmed rate; absent when none was.
    pub rate_per_s: Option<f64>,
    /// The lowest and the highest P99 of the runs that confirmed it, milliseconds.
    #[serde(default)]
    pub confirmed_p99_ms: Option<(f64, f64)>,
    /// Whether the rate is the highest that was allowed: the engine may do better.
    #[serde(default)]
    pub ceiling_reached: bool,
    /// Whether the client, not the engine, set the limit.
    pub limited_by_client: bool,
    /// Whether a run 10 % above the rate, as long as the confirming ones, missed the objective, as it should.
    pub above_missed: Option<bool>,
    /// The rate at the bend of the curve of P99 against rate.
    pub knee_per_s: Option<f64>,
    /// All steps in order of time.
    pub steps: Vec<Step>,
}

/// Searches with `probe`, which makes one run at a rate (the flag asks for one of a confirming run's length).
///
/// # Errors
/// What `probe` fails with.
pub fn search<E>(bounds: Bounds, mut probe: impl FnMut(f64, bool) -> Result<Step, E>) -> Result<Found, E> {
    let mut steps: Vec<Step> = Vec::new();
    let mut try_rate = |rate: f64, stage: &str, steps: &mut Vec<Step>| -> Result<bool, E> {
        let step = Step { stage: stage.into(), ..probe(rate, matches!(stage, "confirm" | "above"))? };
        let met = step.met && !step.client_saturated;
        steps.push(step);
        Ok(met)
    };

    let (mut good, mut bad) = (None, None);
    let mut rate = bounds.from_per_s.min(bounds.to_per_s);
    while bad.is_none() {
        if try_rate(rate, "climb", &mut steps)? {
            good = Some(rate);
            if rate >= bounds.to_per_s {
                break;
            }
            rate = (rate * 2.0).min(bounds.to_per_s);
        } else {
            bad = Some(rate);
        }
    }
    while let (Some(low), Some(high)) = (good, bad)
        && high / low > 1.0 + bounds.precision
    {
        // The middle of two rates is their geometric mean: rates differ by factors.
        let middle = (low * high).sqrt();
        if try_rate(middle, "narrow", &mut steps)? {
            good = Some(middle);
        } else {
            bad = Some(middle);
        }
    }
    let mut confirmed = None;
    for _ in 0..RATES_CONFIRMED_MAX {
        let Some(rate) = good else { break };
        let mut met = true;
        for _ in 0..bounds.confirmations.max(1) {
            met = met && try_rate(rate, "confirm", &mut steps)?;
        }
        if met {
            confirmed = Some(rate);
            break;
        }
        good = Some(rate * (1.0 - bounds.precision.clamp(0.02, 0.1)));
    }
    let confirming =
        steps.iter().filter(|step| step.stage == "confirm" && Some(step.rate_per_s) == confirmed);
    let confirmed_p99_ms = confirming.map(|step| (step.p99_ms, step.p99_ms));
    let confirmed_p99_ms = confirmed_p99_ms.reduce(|(low, high), (p99, _)| (low.min(p99), high.max(p99)));
    let ceiling_reached = confirmed.is_some_and(|rate| rate >= bounds.to_per_s);
    let above_missed = match confirmed {
        Some(rate) if rate * 1.1 <= bounds.to_per_s || bad.is_some() => {
            Some(!try_rate(rate * 1.1, "above", &mut steps)?)
        }
        _ => None,
    };
    let limited_by_client = steps.iter().any(|step| step.client_saturated);
    let knee_per_s = knee(&steps);
    Ok(Found {
        rate_per_s: confirmed,
        confirmed_p99_ms,
        ceiling_reached,
        limited_by_client,
        above_missed,
        knee_per_s,
        steps,
    })
}

/// The rate at which the curve of P99 against rate bends: farthest below the chord from its first to its last point.
/// Where P99 does not rise beyond the noise, or falls again behind the bend, there is none.
pub fn knee(steps: &[Step]) -> Option<f64> {
    let measured = steps.iter().filter(|step| step.p99_ms < f64::MAX);
    let mut points: Vec<(f64, f64)> = measured.map(|step| (step.rate_per_s, step.p99_ms)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|later, earlier| later.0 == earlier.0);
    let (first, last) = (points.first()?, points.last()?);
    let (width, height) = (last.0 - first.0, last.1 - first.1);
    if points.len() < 3 || width <= 0.0 || height <= 0.0 {
        return None;
    }
    let below = |point: &&(f64, f64)| (point.0 - first.0) / width - (point.1 - first.1) / height;
    let bend = points.iter().max_by(|a, b| below(a).total_cmp(&below(b)))?.0;
    let (before, behind) = points.split_at(points.partition_point(|point| point.0 <= bend));
    let flat_ms = before.iter().map(|point| point.1).fold(0.0, f64::max);
    let rises = !behind.is_empty() && behind.iter().all(|point| point.1 > flat_ms);
    (rises && last.1 >= flat_ms * KNEE_RISE_MIN).then_some(bend)
}

/// A campaign that capacity is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CampaignPlan {
    /// Buyers who come.
    pub buyers: f64,
    /// Clicks of each.
    pub clicks: f64,
    /// Within this many seconds.
    pub seconds: f64,
    /// For this many units.
    pub units: f64,
    /// The rate at the peak over the mean rate.
    pub peak_factor: f64,
}

/// What a campaign needs and what there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Headroom {
    /// Requests per second at the peak.
    pub needed_per_s: f64,
    /// Wins per second if the units go within the first tenth of the time.
    pub wins_per_s: f64,
    /// The rate found.
    pub found_per_s: f64,
    /// Found over needed.
    pub factor: f64,
}

impl CampaignPlan {
    /// Reads `buyers=N,seconds=M,units=K[,clicks=C][,peak=P]`.
    ///
    /// # Errors
    /// When a key is unknown, missing or not a positive number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut plan = Self { buyers: 0.0, clicks: 1.5, seconds: 0.0, units: 0.0, peak_factor: 3.0 };
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').ok_or(format!("{pair}: must be KEY=NUMBER"))?;
            let value: f64 = value.trim().parse().map_err(|_| format!("{pair}: not a number"))?;
            let slot = match key.trim() {
                "buyers" => &mut plan.buyers,
                "clicks" => &mut plan.clicks,
                "seconds" => &mut plan.seconds,
                "units" => &mut plan.units,
                "peak" => &mut plan.peak_factor,
                other => return Err(format!("{other}: known are buyers, seconds, units, clicks, peak")),
            };
            *slot = value;
        }
        let all = [plan.buyers, plan.clicks, plan.seconds, plan.units, plan.peak_factor];
        if all.iter().all(|value| *value > 0.0 && value.is_finite()) {
            Ok(plan)
        } else {
            Err("buyers, seconds and units are needed, all above zero".into())
        }
    }

    /// Holds the plan against a rate found.
    pub fn headroom(&self, found_per_s: f64) -> Headroom {
        let needed_per_s = self.buyers * self.clicks / self.seconds * self.peak_factor;
        let wins_per_s = self.units / (self.seconds / 10.0);
        Headroom { needed_per_s, wins_per_s, found_per_s, factor: found_per_s / needed_per_s }
    }
}

/// The result of the subcommand, as written to `search.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SearchReport {
    /// Version of this form.
    pub schema: String,
    /// Scenario searched.
    pub scenario: String,
    /// The objective, in words.
    pub objective: String,
    /// Length of a confirming run, seconds.
    #[serde(default)]
    pub confirm_s: f64,
    /// What was found.
    pub found: Found,
    /// Concurrency and throughput of the closed-model ladder.
    pub ladder: Vec<(f64, f64)>,
    /// The law fitted to it.
    pub usl: Option<Usl>,
    /// The campaign asked for.
    pub plan: Option<CampaignPlan>,
    /// Its headroom.
    pub headroom: Option<Headroom>,
    /// Where it ran.
    pub environment: crate::environment::Environment,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine that meets its objective up to `capacity`, and a client good for `client`.
    fn probe(capacity: f64, client: f64) -> impl FnMut(f64, bool) -> Result<Step, ()> {
        move |rate_per_s, _| {
            let load = (rate_per_s / capacity).min(0.999);
            Ok(Step {
                rate_per_s,
                achieved_per_s: rate_per_s.min(capacity),
                p50_ms: 1.0,
                p99_ms: 1.0 / (1.0 - load),
                p999_ms: 2.0,
                error_rate: 0.0,
                met: rate_per_s <= capacity * 0.9,
                client_saturated: rate_per_s > client,
                stage: String::new(),
            })
        }
    }

    const BOUNDS: Bounds = Bounds { from_per_s: 100.0, to_per_s: 1e6, precision: 0.02, confirmations: 2 };

    #[test]
    fn the_highest_rate_that_meets_is_found_and_confirmed() {
        for capacity in [150.0, 1_234.0, 98_765.0] {
            let found = search(BOUNDS, probe(capacity, 1e9)).unwrap();
            let rate = found.rate_per_s.unwrap();
            assert!(rate <= capacity * 0.9 && rate > capacity * 0.9 / 1.03, "{rate} of {capacity}");
            assert_eq!(found.above_missed, Some(true));
            assert!(!found.limited_by_client);
            let knee = found.knee_per_s.unwrap();
            assert!(knee > capacity * 0.3 && knee <= capacity, "knee {knee} of {capacity}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_respected() {
        assert_eq!(search(BOUNDS, probe(50.0, 1e9)).unwrap().rate_per_s, None);
        let unlimited = search(BOUNDS, probe(1e9, 1e9)).unwrap();
        assert_eq!(unlimited.rate_per_s, Some(1e6));
        assert_eq!(unlimited.above_missed, None);
        assert!(unlimited.ceiling_reached);
    }

    #[test]
    fn l6_noise_has_no_knee_and_a_ceiling_is_not_the_engines_limit() {
        let step = |rate_per_s: f64, p99_ms: f64| {
            let mut inner = probe(1e9, 1e9);
            Step { p99_ms, ..inner(rate_per_s, false).unwrap() }
        };
        // P99 falls, or trembles.
        assert_eq!(knee(&[step(1e3, 4.0), step(2e3, 3.0), step(4e3, 2.0)]), None);
        assert_eq!(knee(&[step(1e3, 2.0), step(2e3, 1.0), step(4e3, 3.0), step(8e3, 2.5)]), None);
        assert_eq!(knee(&[step(1e3, 1.0), step(2e3, 1.2), step(4e3, 1.1), step(8e3, 40.0)]), Some(4e3));
        let found = search(Bounds { to_per_s: 32_000.0, ..BOUNDS }, probe(1e9, 1e9)).unwrap();
        assert_eq!((found.rate_per_s, found.ceiling_reached, found.knee_per_s), (Some(32_000.0), true, None));
    }

    #[test]
    fn l12_every_confirming_run_must_meet_and_their_spread_is_told() {
        let mut runs = 0;
        let mut inner = probe(1000.0, 1e9);
        // Good for a while, then not: the second confirming run of a rate above 850 misses.
        let found = search(BOUNDS, |rate: f64, confirming: bool| {
            runs = if confirming { runs + 1 } else { 0 };
            let step = inner(rate, confirming)?;
            let p99_ms = if confirming { step.p99_ms + f64::from(runs) } else { step.p99_ms };
            Ok::<_, ()>(Step {
                p99_ms,
                met: step.met && !(confirming && runs % 2 == 0 && rate > 850.0),
                ..step
            })
        })
        .unwrap();
        let rate = found.rate_per_s.unwrap();
        assert!(rate <= 850.0 && rate > 800.0, "{rate}");
        let confirming =
            found.steps.iter().filter(|step| step.stage == "confirm" && step.rate_per_s == rate).count();
        assert_eq!(confirming, 2);
        let (low, high) = found.confirmed_p99_ms.unwrap();
        assert!((high - low - 1.0).abs() < 1e-9, "{low} to {high}");
    }

    #[test]
    fn a_saturated_client_is_not_taken_for_the_engines_limit() {
        let found = search(BOUNDS, probe(1e9, 5_000.0)).unwrap();
        assert!(found.limited_by_client);
        assert!(found.rate_per_s.unwrap() <= 5_000.0);
    }

    #[test]
    fn a_rate_that_cannot_be_confirmed_is_lowered() {
        let mut inner = probe(1000.0, 1e9);
        let unlucky = |rate: f64, confirming: bool| {
            let step = inner(rate, confirming)?;
            Ok::<_, ()>(Step { met: step.met && !(confirming && rate > 870.0), ..step })
        };
        let rate = search(BOUNDS, unlucky).unwrap().rate_per_s.unwrap();
        assert!(rate <= 870.0 && rate > 800.0, "{rate}");
    }

    #[test]
    fn a_campaign_is_turned_into_rates() {
        let plan = CampaignPlan::parse("buyers=600000,seconds=60,units=6000,clicks=2,peak=5").unwrap();
        let headroom = plan.headroom(50_000.0);
        assert_eq!(headroom.needed_per_s, 100_000.0);
        assert_eq!(headroom.wins_per_s, 1000.0);
        assert_eq!(headroom.factor, 0.5);
        for wrong in ["buyers=1", "buyers=x,seconds=1,units=1", "visitors=1", "buyers=-1,seconds=1,units=1"] {
            assert!(CampaignPlan::parse(wrong).is_err(), "{wrong}");
        }
    }
}
