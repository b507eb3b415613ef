//! The visitors of one worker: who is due next, what they hear, what they do then. No socket and no clock in here.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use super::answer_log::{Row, Told};
use super::dice::Dice;
use super::journey::{Answer, Journey, Reaction};
use super::plan::Plan;
use super::recorder::CellKey;
use super::visits::Visits;
use crate::outcome::{Action, Outcome, Path};
use crate::scenario::Scenario;
use crate::wire::request::Ask;

/// Buyers drawn anew are numbered from here, above every population.
const NEW_BUYERS_FROM: u64 = 1_000_000_000;

/// A request that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub journey: u32,
    /// Which.
    pub action: Action,
    /// Since when.
    pub at_ns: u64,
}

/// What is to be counted after an answer.
#[derive(Debug)]
pub struct Aftermath {
    /// Where.
    pub phase: u16,
    /// An end that took several requests: path, outcome, and when the first was due.
    pub concluded: Option<(Path, Outcome, u64)>,
    /// A visit that ended without knowing, in the same form.
    pub unresolved: Option<(Path, Outcome, u64)>,
    /// What the engine promised.
    pub row: Option<Row<Told>>,
    /// The engine denied an order to its holder.
    pub untruthful: bool,
    /// Whose units the visitor asked for.
    pub campaign: u16,
    /// Units of eligible demand that were answered now, for the first time in this visit.
    pub demand_units: u64,
}

/// The visitors of one worker.
#[derive(Debug)]
pub struct Crowd {
    plan: Arc<Plan>,
    worker: u64,
    visits: Visits,
    journeys: Vec<Option<Journey>>,
    vacant: Vec<u32>,
    planned: BinaryHeap<Reverse<Planned>>,
    planned_count: u64,
    new_buyers: u64,
    /// Buyers of a population who are counted as demand: campaign and number.
    demanding: HashSet<(u16, u64)>,
    /// When the first visitor of a campaign read in its waiting room that nothing is left.
    sold_out_ns: HashMap<u16, u64>,
    /// Shoppers of each phase with the upper ends of their shares of `[0, 1)`.
    shares: Vec<Vec<(f64, u16)>>,
    dice: Dice,
}

/// A follow-up request; the count keeps those of one moment in order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    at_ns: u64,
    count: u64,
    journey: u32,
    action: Action,
}

impl Crowd {
    /// The share of a worker in the visitors of a run that starts at `start_ns`.
    pub fn new(plan: Arc<Plan>, worker: usize, start_ns: u64) -> Self {
        let (scenario, worker) = (&plan.scenario, worker as u64);
        let workers = u64::from(scenario.client.workers);
        Self {
            visits: Visits::new(scenario, worker, workers, start_ns),
            journeys: Vec::new(),
            vacant: Vec::new(),
            planned: BinaryHeap::new(),
            planned_count: 0,
            new_buyers: 0,
            demanding: HashSet::new(),
            sold_out_ns: HashMap::new(),
            shares: scenario.phases.iter().map(|phase| shares(scenario, &phase.shoppers)).collect(),
            dice: Dice::new(scenario.seed ^ (worker + 1).wrapping_mul(0xD134_2543_DE82_EF95)),
            worker,
            plan,
        }
    }

    /// Takes the most overdue request, if any is due.
    pub fn take_due(&mut self, now_ns: u64) -> Option<Due> {
        let (planned_ns, visit_ns) = (self.planned_ns(), self.visit_ns());
        if planned_ns <= visit_ns && planned_ns <= now_ns {
            let Reverse(Planned { at_ns, journey, action, .. }) = self.planned.pop()?;
            return Some(Due { journey, action, at_ns });
        }
        if visit_ns <= now_ns {
            let (at_ns, phase) = self.visits.take()?;
            return Some(self.arrive(phase, at_ns));
        }
        // In a closed phase somebody is always due, now.
        let window = self.visits.closed_now(now_ns)?;
        Some(self.arrive(window.phase, now_ns))
    }

    /// When the next request is due, as far as is known now.
    pub fn next_ns(&self) -> u64 {
        self.planned_ns().min(self.visit_ns()).min(self.visits.closed_from().unwrap_or(u64::MAX))
    }

    /// Since when the next arrival has been due; far in the future when nobody comes.
    pub fn visit_ns(&self) -> u64 {
        self.visits.peek().map_or(u64::MAX, |(at_ns, _)| at_ns)
    }

    fn planned_ns(&self) -> u64 {
        self.planned.peek().map_or(u64::MAX, |Reverse(planned)| planned.at_ns)
    }

    /// Whether nobody comes any more and nobody has plans.
    pub fn is_over(&self) -> bool {
        self.visits.is_over() && self.planned.is_empty()
    }

    /// The request of a visitor, and whether the visitor holds an order now.
    pub fn ask(&self, due: Due, close: bool) -> Option<(Ask<'_>, bool)> {
        let journey = self.journeys[due.journey as usize].as_ref()?;
        let ask = Ask {
            action: due.action,
            campaign: usize::from(journey.campaign),
            buyer: journey.buyer,
            quantity: journey.quantity,
            order: &journey.order,
            pass: journey.pass().filter(|_| matches!(due.action, Action::Purchase | Action::Register)),
            idempotency_key: self.plan.scenario.shoppers[usize::from(journey.shopper)].idempotency_key,
            close,
        };
        Some((ask, journey.holds_order()))
    }

    /// A visitor hears an answer at `now_ns` and plans what follows.
    pub fn hear(&mut self, id: u32, answer: Answer<'_>, now_ns: u64) -> Option<Aftermath> {
        let mut journey = self.journeys[id as usize].take()?;
        let plan = Arc::clone(&self.plan);
        let shopper = &plan.scenario.shoppers[usize::from(journey.shopper)];
        let limit = plan.scenario.campaigns[usize::from(journey.campaign)].per_buyer_limit;
        let Reaction { next, concluded, told, untruthful, demand_units, hears_sold_out } =
            journey.react(answer, shopper, limit, &mut self.dice);
        // From when the first one read it.
        let concluded = if hears_sold_out {
            let first_ns = *self.sold_out_ns.entry(journey.campaign).or_insert(now_ns);
            Some((Path::SoldOutHeard, Outcome::SoldOut, first_ns))
        } else {
            concluded
        };
        let row = told.map(|told| {
            // An answer about an order need not name it; one that makes an order must.
            let made = matches!(told, Told::Won | Told::Replayed | Told::Pending);
            let order = if made && !answer.order.is_empty() { answer.order } else { &journey.order };
            let (campaign, quantity) = (journey.campaign, journey.quantity as u32);
            Row { kind: told, campaign, quantity, buyer: journey.buyer, order: order.into() }
        });
        journey.open_requests -= 1;
        if let Some((action, pause_ms)) = next {
            self.plan_request(&mut journey, id, action, now_ns, pause_ms);
            if matches!(answer.action, Action::Page | Action::Wait) && action == Action::Purchase {
                for (action, pause_ms) in Journey::clicks_after_pages(shopper) {
                    self.plan_request(&mut journey, id, action, now_ns, pause_ms);
                }
            }
        }
        let (phase, campaign) = (journey.phase, journey.campaign);
        // Who comes again and again is one buyer: each is counted once, by the worker that its number falls to.
        let buyer = (campaign, journey.buyer);
        let counts = shopper.population == 0
            || (journey.buyer % u64::from(plan.scenario.client.workers) == self.worker
                && (demand_units == 0 || self.demanding.insert(buyer)));
        let demand_units = if counts { demand_units } else { 0 };
        let unresolved = self.keep_or_end(id, journey);
        Some(Aftermath { phase, concluded, unresolved, row, untruthful, campaign, demand_units })
    }

    /// Turns everybody away at `now_ns`. What had been due by `until_ns` and was not sent, and what ends without being
    /// known, goes to `count` with the nanoseconds since it was due.
    pub fn turn_away(&mut self, now_ns: u64, until_ns: u64, mut count: impl FnMut(CellKey, u64)) {
        while let Some((at_ns, phase)) = self.visits.peek().filter(|(at_ns, _)| *at_ns <= until_ns) {
            self.visits.take();
            // A visitor who never got to ask anything counts once, by the first request.
            let kind = self.pick_shopper(phase);
            let shopper = &self.plan.scenario.shoppers[usize::from(kind)];
            let path = match (shopper.pages, shopper.waits) {
                (1.., _) => Path::Page,
                (0, true) => Path::Register,
                (0, false) => Path::Seckill,
            };
            count(CellKey { phase, path, outcome: Outcome::Unsent }, now_ns - at_ns);
        }
        self.visits.stop();
        while let Some(Reverse(planned)) = self.planned.pop() {
            let Some(mut journey) = self.journeys[planned.journey as usize].take() else { continue };
            let phase = journey.phase;
            if planned.at_ns <= now_ns {
                let key = CellKey { phase, path: planned.action.path(), outcome: Outcome::Unsent };
                count(key, now_ns - planned.at_ns);
            }
            journey.open_requests -= 1;
            if let Some((path, outcome, due_ns)) = self.keep_or_end(planned.journey, journey) {
                count(CellKey { phase, path, outcome }, now_ns.saturating_sub(due_ns));
            }
        }
    }

    /// Draws a kind of shopper by the weights of a phase.
    fn pick_shopper(&mut self, phase: u16) -> u16 {
        let shares = &self.shares[usize::from(phase)];
        let spin = self.dice.unit();
        shares.iter().find(|(up_to, _)| spin < *up_to).or(shares.last()).map_or(0, |(_, kind)| *kind)
    }

    /// A visitor arrives: returns the first request; further ones are planned.
    fn arrive(&mut self, phase: u16, at_ns: u64) -> Due {
        let plan = Arc::clone(&self.plan);
        let scenario = &plan.scenario;
        let shares = &self.shares[usize::from(phase)];
        let spin = self.dice.unit();
        let kind =
            shares.iter().find(|(up_to, _)| spin < *up_to).or(shares.last()).map_or(0, |(_, kind)| *kind);
        let shopper = &scenario.shoppers[usize::from(kind)];
        let buyer = match shopper.population {
            0 => {
                let number = self.new_buyers * u64::from(scenario.client.workers) + self.worker;
                self.new_buyers += 1;
                NEW_BUYERS_FROM + number
            }
            population => self.dice.below(population),
        };
        let campaign = scenario.campaign_of(&scenario.phases[usize::from(phase)]) as u16;
        let mut journey = Journey::new(shopper, kind, campaign, phase, buyer, &mut self.dice);
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.journeys.push(None);
            self.journeys.len() as u32 - 1
        });
        let mut opening = journey.opening(shopper).into_iter();
        // A shopper has at least one page or click: the scenario's check sees to it.
        let (action, _) = opening.next().unwrap_or((Action::Page, 0));
        journey.open_requests = 1;
        for (action, pause_ms) in opening {
            self.plan_request(&mut journey, id, action, at_ns, pause_ms);
        }
        self.journeys[id as usize] = Some(journey);
        Due { journey: id, action, at_ns }
    }

    fn plan_request(&mut self, journey: &mut Journey, id: u32, action: Action, from_ns: u64, pause_ms: u64) {
        journey.open_requests += 1;
        self.planned_count += 1;
        let at_ns = from_ns + pause_ms * 1_000_000;
        self.planned.push(Reverse(Planned { at_ns, count: self.planned_count, journey: id, action }));
    }

    /// Ends a visit that has no open request; says what it ended without knowing.
    fn keep_or_end(&mut self, id: u32, journey: Journey) -> Option<(Path, Outcome, u64)> {
        if journey.open_requests > 0 {
            self.journeys[id as usize] = Some(journey);
            return None;
        }
        self.vacant.push(id);
        journey.unresolved()
    }
}

fn shares(scenario: &Scenario, names: &[String]) -> Vec<(f64, u16)> {
    let all = scenario.shoppers.iter().enumerate();
    let chosen: Vec<_> = all.filter(|(_, s)| names.is_empty() || names.contains(&s.name)).collect();
    let total: f64 = chosen.iter().map(|(_, shopper)| shopper.weight).sum();
    let mut up_to = 0.0;
    let share = |(index, shopper): (usize, &crate::scenario::Shopper)| {
        up_to += shopper.weight / total;
        (up_to, index as u16)
    };
    chosen.into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::{Clock, Interrupt, LifeSigns};

    fn crowd(shoppers: &str, load: &str) -> Crowd {
        let text = format!(
            "name = \"x\"\nabout = \"x\"\n[[campaign]]\nname = \"c\"\nstock = 1\n{shoppers}\n\
             [[phase]]\nname = \"p\"\nduration_s = 1\nload = {{ {load} }}"
        );
        let plan = Plan {
            scenario: Scenario::parse("x", &text, &[]).unwrap(),
            run_id: String::new(),
            targets: Vec::new(),
            sales: Vec::new(),
            headers: Vec::new(),
            identity: crate::wire::buyer::BuyerIdentity::Header,
            folder: std::path::PathBuf::new(),
            clock: Clock::start(),
            interrupt: Interrupt::default(),
            signs: LifeSigns::default(),
        };
        Crowd::new(Arc::new(plan), 0, 0)
    }

    fn answer(action: Action, outcome: Outcome) -> Answer<'static> {
        Answer {
            action,
            due_ns: 0,
            held_when_asked: false,
            outcome,
            order: "o",
            status: "pre_pay",
            retry_after_ms: None,
            body: &[],
        }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn clicks_and_arrivals_come_in_order_of_time() {
        let shopper = "[[shopper]]\nname = \"s\"\nclicks = 2\nclick_gap_ms = 600";
        let mut crowd = crowd(shopper, "curve = \"constant\", rate_per_s = 2");
        let mut dues = Vec::new();
        while let Some(due) = crowd.take_due(2_000 * MS) {
            dues.push((due.at_ns / MS, due.journey));
            crowd.hear(due.journey, answer(due.action, Outcome::SoldOut), due.at_ns);
        }
        assert_eq!(dues, vec![(0, 0), (500, 1), (600, 0), (1100, 1)]);
        assert!(crowd.is_over());
        assert!(crowd.vacant.len() == 2, "both visits are over");
    }

    #[test]
    fn a_winner_pays_after_a_pause_and_is_on_record() {
        let shopper = "[[shopper]]\nname = \"s\"\nthen = \"pay\"\nthink_ms = [40, 40]";
        let mut crowd = crowd(shopper, "curve = \"constant\", rate_per_s = 1");
        let due = crowd.take_due(0).unwrap();
        let after = crowd.hear(due.journey, answer(due.action, Outcome::Won), 7 * MS).unwrap();
        assert_eq!(after.row.unwrap().kind, Told::Won);
        assert_eq!(crowd.take_due(46 * MS), None);
        let pay = crowd.take_due(47 * MS).unwrap();
        assert_eq!((pay.action, pay.at_ns), (Action::Checkout, 47 * MS));
    }

    #[test]
    fn whoever_was_not_served_is_counted_when_all_are_turned_away() {
        let mut crowd = crowd("[[shopper]]\nname = \"s\"", "curve = \"constant\", rate_per_s = 10");
        let served = crowd.take_due(0).unwrap();
        crowd.hear(served.journey, answer(Action::Purchase, Outcome::Pending), 0);
        let mut counted = Vec::new();
        crowd.turn_away(450 * MS, 450 * MS, |key, waited_ns| counted.push((key.outcome, waited_ns / MS)));
        let unsent = Outcome::Unsent;
        let due_at = [350, 250, 150, 50].map(|waited_ms| (unsent, waited_ms));
        assert_eq!(counted[..4], due_at);
        assert!(counted[4..].contains(&(Outcome::Pending, 450)), "{counted:?}");
        assert!(crowd.is_over());
    }
}
