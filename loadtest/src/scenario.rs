//! A scenario file: which campaigns are opened, who comes, when, and what is expected of the engine.

use serde::{Deserialize, Serialize};

use crate::bundled;
use crate::client::Client;
use crate::load::schedule::{Curve, Pacing, Spike};
use crate::outcome::{Outcome, Path};
use crate::overrides;

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read scenario {0}: {1}")]
    Unreadable(String, std::io::Error),
    /// Neither a file nor a bundled scenario.
    #[error("there is no scenario and no file named {0}{1}; bundled are {names}", names = bundled::names())]
    Unknown(String, String),
    /// Not TOML, an unknown key or a wrong type: the parser says where.
    #[error("scenario {0}: {1}")]
    Syntax(String, String),
    /// `--set` that does not fit.
    #[error("--set {0}: {1}")]
    Override(String, String),
    /// Values that contradict each other or exceed a limit.
    #[error("scenario {0}: {1}")]
    Invalid(String, String),
}

/// A whole scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name: letters, digits and dashes; part of the campaigns' names.
    pub name: String,
    /// What it shows, in one sentence.
    pub about: String,
    /// Decides all chance of the run.
    #[serde(default = "one")]
    pub seed: u64,
    /// The client's connections and limits.
    #[serde(default)]
    pub client: Client,
    /// Campaigns to open for the run; the first is the default of phases.
    #[serde(rename = "campaign")]
    pub campaigns: Vec<Campaign>,
    /// Kinds of visitors.
    #[serde(rename = "shopper")]
    pub shoppers: Vec<Shopper>,
    /// Stretches of time, one after the other.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
    /// Limits whose violation is exit code 3.
    #[serde(default, rename = "objective")]
    pub objectives: Vec<Objective>,
    /// What the audit demands beyond the promises that always hold.
    #[serde(default)]
    pub verify: VerifyRules,
    /// Figures that others have published, printed beside the measured ones.
    #[serde(default)]
    pub published: Vec<Published>,
}

/// One campaign, opened through the admin API before the run and ended after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Name within the scenario; the campaign's real name adds scenario and run.
    pub name: String,
    /// Units on sale.
    pub stock: u64,
    /// Units a buyer may hold.
    #[serde(default = "one")]
    pub per_buyer_limit: u64,
    /// Price of a unit.
    #[serde(default = "default_price_cents")]
    pub price_cents: u64,
    /// Time to pay; the engine's default when absent.
    pub pay_within_s: Option<u64>,
    /// The sale's own rate limit; none when absent.
    pub rate_per_s: Option<u64>,
    /// Burst of that limit.
    pub burst: Option<u64>,
    /// The phase at whose start the sale opens; open from the beginning when absent.
    pub opens_with: Option<String>,
    /// Its waiting room; none when absent.
    pub queue: Option<Queue>,
}

/// The waiting room of a campaign.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// In which order people are admitted.
    pub mode: QueueMode,
    /// People admitted a second; as many as the engine can serve when absent.
    pub rate_per_s: Option<u64>,
}

/// In which order people are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueMode {
    /// By arrival.
    Fifo,
    /// Who registers before the opening is drawn.
    Draw,
}

/// One kind of visitor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shopper {
    /// Name within the scenario.
    pub name: String,
    /// Share among the shoppers of a phase.
    #[serde(default = "one_f64")]
    pub weight: f64,
    /// Visitors of this kind are drawn from this many buyers; 0: each is a new buyer.
    #[serde(default)]
    pub population: u64,
    /// Views of the sale page before anything else.
    #[serde(default)]
    pub pages: u32,
    /// Time between two views.
    #[serde(default = "default_page_gap_ms")]
    pub page_gap_ms: u64,
    /// Purchase requests; they do not wait for one another.
    #[serde(default = "one_u32")]
    pub clicks: u32,
    /// Time between two clicks; 0: all at once.
    #[serde(default)]
    pub click_gap_ms: u64,
    /// Units asked for: at least, at most.
    #[serde(default = "one_to_one")]
    pub quantity: [u64; 2],
    /// Purchases tried again after 503, 429, too early, or no answer; `Retry-After` is honoured.
    #[serde(default)]
    pub retries: u32,
    /// Sends an `Idempotency-Key`, the same for all clicks and retries of a visit.
    #[serde(default)]
    pub idempotency_key: bool,
    /// What follows a won order.
    #[serde(default)]
    pub then: Then,
    /// Time from the order to what follows: at least, at most.
    #[serde(default)]
    pub think_ms: [u64; 2],
    /// Payments tried again after a decline.
    #[serde(default)]
    pub payment_retries: u32,
    /// Registers at the campaign's waiting room and waits there as a page does, before anything else.
    #[serde(default)]
    pub waits: bool,
    /// Leaves the waiting room after so long; 0: stays to the end.
    #[serde(default)]
    pub patience_s: u64,
}

/// What a buyer does with a won order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Nothing: the order is left to expire.
    #[default]
    Leave,
    /// Pays.
    Pay,
    /// Cancels.
    Cancel,
}

/// A stretch of time with one load.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name in the outputs.
    pub name: String,
    /// Length in seconds.
    pub duration_s: f64,
    /// The load.
    pub load: Load,
    /// How the arrivals of an open load are spaced.
    #[serde(default)]
    pub pacing: Pacing,
    /// Whether its requests count in the summary (a warm-up's do not).
    #[serde(default = "yes")]
    pub measure: bool,
    /// Campaign by name; the first when absent.
    pub campaign: Option<String>,
    /// Shoppers by name; all when empty.
    #[serde(default)]
    pub shoppers: Vec<String>,
}

/// The load of a phase. All but `closed` and `rest` are open: visitors arrive whether or not the engine keeps up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "curve", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // The names are the documentation; README.md has the table.
pub enum Load {
    Constant { rate_per_s: f64 },
    Ramp { from_per_s: f64, to_per_s: f64 },
    Steps { rates_per_s: Vec<f64> },
    Spike { base_per_s: f64, peak_per_s: f64, at_s: f64, hold_s: f64, decay_s: f64 },
    Closed {},
    Rest {},
}

impl Phase {
    /// The curve of an open phase; `None` for a closed one or a rest.
    pub fn curve(&self) -> Option<Curve> {
        let duration_s = self.duration_s;
        match &self.load {
            Load::Constant { rate_per_s } => Some(Curve::constant(*rate_per_s, duration_s)),
            Load::Ramp { from_per_s, to_per_s } => Some(Curve::ramp(*from_per_s, *to_per_s, duration_s)),
            Load::Steps { rates_per_s } => Some(Curve::steps(rates_per_s, duration_s)),
            Load::Spike { base_per_s, peak_per_s, at_s, hold_s, decay_s } => {
                let (base_per_s, peak_per_s) = (*base_per_s, *peak_per_s);
                let (at_s, hold_s, decay_s) = (*at_s, *hold_s, *decay_s);
                Some(Curve::spike(Spike { base_per_s, peak_per_s, at_s, hold_s, decay_s }, duration_s))
            }
            Load::Closed {} | Load::Rest {} => None,
        }
    }

    /// `open`, `closed` or `rest`.
    pub fn model(&self) -> &'static str {
        match self.load {
            Load::Closed {} => "closed",
            Load::Rest {} => "rest",
            _ => "open",
        }
    }
}

/// A limit on what was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // One limit a key; README.md has the table.
pub struct Objective {
    pub path: Path,
    /// One outcome of the path; all when absent.
    pub outcome: Option<Outcome>,
    /// One phase; all measured ones when absent.
    pub phase: Option<String>,
    pub mean_ms: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p90_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub p999_ms: Option<f64>,
    pub max_ms: Option<f64>,
    pub error_rate: Option<f64>,
    pub rate_per_s_min: Option<f64>,
    pub count_min: Option<u64>,
}

/// What `verify` demands beyond the promises that always hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyRules {
    /// Every unit must be sold at the end: there were buyers enough.
    pub sold_out: bool,
    /// Waits up to this long for unpaid orders to expire before the books are read.
    pub settle_s: f64,
}

/// A published figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The path that it was measured on.
    pub path: Path,
    /// The phase of the scenario to set beside it.
    pub phase: String,
    /// Requests per second.
    pub qps: f64,
    /// Mean latency, if published.
    pub mean_ms: Option<f64>,
    /// P99 latency.
    pub p99_ms: f64,
    /// Share of failed requests, if published.
    pub error_rate: Option<f64>,
}

fn one() -> u64 {
    1
}
fn one_u32() -> u32 {
    1
}
fn one_f64() -> f64 {
    1.0
}
fn one_to_one() -> [u64; 2] {
    [1, 1]
}
fn yes() -> bool {
    true
}
fn default_price_cents() -> u64 {
    9_900
}
fn default_page_gap_ms() -> u64 {
    1_000
}

impl Scenario {
    /// Loads a scenario from a file, or a bundled one by its bare name, with `KEY=VALUE` overrides applied.
    ///
    /// # Errors
    /// See [`ScenarioError`].
    pub fn load(name: &str, changes: &[String]) -> Result<Self, ScenarioError> {
        let text = match (std::fs::read_to_string(name), bundled::text(name)) {
            (Ok(text), _) => text,
            (Err(_), Some(text)) => text.to_owned(),
            (Err(error), None) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ScenarioError::Unknown(name.to_owned(), bundled::meant(name)));
            }
            (Err(error), None) => return Err(ScenarioError::Unreadable(name.to_owned(), error)),
        };
        Self::parse(name, &text, changes)
    }

    /// Parses and checks a scenario's text; `name` is for messages.
    ///
    /// # Errors
    /// See [`ScenarioError`].
    pub fn parse(name: &str, text: &str, changes: &[String]) -> Result<Self, ScenarioError> {
        let syntax = |error: toml::de::Error| ScenarioError::Syntax(name.to_owned(), error.to_string());
        // First from the text itself, so that a mistake is reported with its line.
        let mut scenario: Self = toml::from_str(text).map_err(syntax)?;
        if !changes.is_empty() {
            let mut table: toml::Value = toml::from_str(text).map_err(syntax)?;
            for assignment in changes {
                overrides::set(&mut table, assignment)
                    .map_err(|why| ScenarioError::Override(assignment.clone(), why))?;
            }
            scenario = table.try_into().map_err(syntax)?;
        }
        scenario.check().map_err(|why| ScenarioError::Invalid(name.to_owned(), why))?;
        Ok(scenario)
    }

    /// The campaign of a phase, as an index.
    pub fn campaign_of(&self, phase: &Phase) -> usize {
        let wanted = phase.campaign.as_deref();
        self.campaigns.iter().position(|campaign| Some(campaign.name.as_str()) == wanted).unwrap_or(0)
    }

    /// Start of a phase in seconds from the start of the run.
    pub fn phase_start_s(&self, phase: usize) -> f64 {
        self.phases[..phase].iter().map(|phase| phase.duration_s).sum()
    }

    /// Length of all phases in seconds.
    pub fn duration_s(&self) -> f64 {
        self.phase_start_s(self.phases.len())
    }

    fn check(&self) -> Result<(), String> {
        let plain = |name: &str| {
            !name.is_empty()
                && name.len() <= 40
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !plain(&self.name) || !self.campaigns.iter().all(|campaign| plain(&campaign.name)) {
            return Err("names of scenario and campaigns are 1 to 40 of a-z, 0-9 and '-'".into());
        }
        limit("campaigns", self.campaigns.len(), 1, 64)?;
        limit("shoppers", self.shoppers.len(), 1, 64)?;
        limit("phases", self.phases.len(), 1, 64)?;
        self.client.check()?;
        for shopper in &self.shoppers {
            let [least, most] = shopper.quantity;
            if !(shopper.weight > 0.0 && least >= 1 && least <= most && most <= 1_000_000) {
                return Err(format!(
                    "shopper {}: weight above 0, 1 <= quantity[0] <= quantity[1]",
                    shopper.name
                ));
            }
            if shopper.think_ms[0] > shopper.think_ms[1] {
                return Err(format!("shopper {}: think_ms is [at least, at most]", shopper.name));
            }
            limit("clicks and pages of a shopper", (shopper.clicks + shopper.pages) as usize, 1, 10_000)?;
        }
        let phase_names: Vec<&str> = self.phases.iter().map(|phase| phase.name.as_str()).collect();
        for phase in &self.phases {
            self.check_phase(phase)?;
            let has_room = self.campaigns[self.campaign_of(phase)].queue.is_some();
            let comes =
                |shopper: &&Shopper| phase.shoppers.is_empty() || phase.shoppers.contains(&shopper.name);
            if let Some(waits) = self.shoppers.iter().filter(comes).find(|shopper| shopper.waits && !has_room)
            {
                return Err(format!(
                    "phase {}: {} waits, and its campaign has no queue",
                    phase.name, waits.name
                ));
            }
        }
        let opens_with = self.campaigns.iter().filter_map(|campaign| campaign.opens_with.as_ref());
        let of_objectives = self.objectives.iter().filter_map(|objective| objective.phase.as_ref());
        for named in opens_with.chain(of_objectives).chain(self.published.iter().map(|row| &row.phase)) {
            if !phase_names.contains(&named.as_str()) {
                return Err(format!("no phase is named {named}"));
            }
        }
        Ok(())
    }

    fn check_phase(&self, phase: &Phase) -> Result<(), String> {
        let name = &phase.name;
        if !(phase.duration_s > 0.0 && phase.duration_s <= 7.0 * 86_400.0) {
            return Err(format!("phase {name}: duration_s must be above 0 and at most a week"));
        }
        if let Some(campaign) = &phase.campaign
            && !self.campaigns.iter().any(|known| known.name == *campaign)
        {
            return Err(format!("phase {name}: no campaign is named {campaign}"));
        }
        if let Some(stranger) = phase.shoppers.iter().find(|s| !self.shoppers.iter().any(|k| k.name == **s)) {
            return Err(format!("phase {name}: no shopper is named {stranger}"));
        }
        if let Load::Spike { at_s, hold_s, decay_s, .. } = phase.load
            && !(at_s >= 0.0
                && hold_s >= 0.0
                && decay_s >= 0.0
                && at_s + hold_s + decay_s <= phase.duration_s)
        {
            return Err(format!("phase {name}: the spike does not fit into its duration"));
        }
        match phase.curve() {
            Some(curve) if !(curve.peak_per_s() <= 10_000_000.0 && curve.arrivals() >= 0.0) => {
                Err(format!("phase {name}: rates must be between 0 and 10,000,000 per second"))
            }
            _ => Ok(()),
        }
    }
}

fn limit(what: &str, value: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{what}: {value} is not in {least}..={most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_scenario_is_valid_and_named_like_its_file() {
        for (name, text) in bundled::BUNDLED {
            let scenario = Scenario::parse(name, text, &[]).unwrap();
            assert_eq!(scenario.name, name);
        }
    }

    #[test]
    fn overrides_reach_into_tables_and_lists() {
        let overrides = ["client.connections=7", "phase.0.duration_s=2.5", "seed=9"].map(String::from);
        let scenario = Scenario::parse("quick", bundled::QUICK, &overrides).unwrap();
        assert_eq!(scenario.client.connections, 7);
        assert_eq!(scenario.phases[0].duration_s, 2.5);
        assert_eq!(scenario.seed, 9);
    }

    #[test]
    fn mistakes_are_named() {
        for (overrides, expected) in [
            (vec!["client.conections=7"], "conections"),
            (vec!["phase.9.duration_s=1"], "no item 9"),
            (vec!["phase.0.campaign=\"nowhere\""], "no campaign is named nowhere"),
            (vec!["phase.0.shoppers=[\"ghost\"]"], "no shopper is named ghost"),
            (vec!["phase.0.duration_s=0"], "duration_s"),
            (vec!["client.workers=1000"], "client.workers"),
            (vec!["name=\"No Such\""], "names of scenario"),
        ] {
            let overrides: Vec<String> = overrides.into_iter().map(String::from).collect();
            let error = Scenario::parse("quick", bundled::QUICK, &overrides).unwrap_err().to_string();
            assert!(error.contains(expected), "{overrides:?}: {error}");
        }
    }
}
