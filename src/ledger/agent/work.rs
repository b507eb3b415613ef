//! Runs the machines of sales: looks for them, has asked what they ask, and carries out what follows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::lease::{Act, Answer, Ask, Effects, View};
use super::account::Account;
use super::schedule::Urgency;
use super::watch::LeaseWatch;
use super::{AgentError, LeaseAgent};
use crate::admission::{LiveSale, TakenUnits};
use crate::domain::{SaleId, Units};

/// The books of a sale where nothing happens are compared once in this time all the same, or in half of it: each at another
/// moment.
const REST_MAX: Duration = Duration::from_secs(2 * 3_600);

/// A sale and its account, while something is done about it.
pub(super) type Member = (Arc<LiveSale>, Account);

impl<W: LeaseWatch> LeaseAgent<W> {
    /// Does what the machines of these sales want done, until they want nothing more. Who does not answer for one of them
    /// may have answered for the others.
    pub(super) async fn work(&mut self, sales: Vec<SaleId>) -> Result<(), AgentError> {
        let mut group = Vec::with_capacity(sales.len());
        for sale in sales {
            let Some(live) = self.live(sale) else {
                // It has yet to come to the board, or has left it: who was named already is not named for that once more.
                if self.accounts.contains_key(&sale) {
                    self.let_go(sale);
                }
                continue;
            };
            let (terms, life, now) = (self.terms, self.life, Instant::now().into_std());
            let mut account = self.accounts.remove(&sale).unwrap_or_else(|| Account::new(terms, life, now));
            live.state.take_up();
            if live.state.take_units_came_back() {
                live.state.set_more_may_come(true);
                account.lease.units_came_back(now);
            }
            account.hear_operator();
            account.lease.look();
            group.push((live, account));
        }
        let (group, outcome) = self.ask_for(group).await;
        group.into_iter().for_each(|member| self.let_rest(member));
        outcome
    }

    /// When the sale is looked at next, unless something happens to it before.
    fn let_rest(&mut self, (live, account): Member) {
        if self.live(live.id).is_none() {
            // It has left the board meanwhile.
            return self.let_go(live.id);
        }
        let now = Instant::now();
        let (on_sale, is_wanted) = (live.remaining().into(), live.state.has_unmet_demand());
        if self.is_cut_off() {
            // It cannot sell, nor compare; what comes on sale meanwhile is looked for with each beat.
            let next_beat = now + Duration::from_millis(self.settings.beat_ms);
            self.schedule.wait_until(live.id, self.beat_at.max(next_beat));
        } else if account.lease.rests(now.into_std(), on_sale, is_wanted) {
            self.schedule.wait_until(live.id, account.lease.rests_until(now.into_std()).into());
        } else {
            let is_awaited = is_wanted || account.lease.is_withdrawing();
            self.schedule.name(live.id, if is_awaited { Urgency::Now } else { Urgency::InTurn });
        }
        self.accounts.insert(live.id, account);
    }

    /// Asks for the members of a group what their machines ask, until they ask nothing more.
    pub(super) async fn ask_for(&mut self, mut group: Vec<Member>) -> (Vec<Member>, Result<(), AgentError>) {
        let mut outcome = Ok(());
        let mut active: Vec<usize> = (0..group.len()).collect();
        while !self.life.is_over() {
            let mut asks = Vec::with_capacity(active.len());
            for place in active.drain(..) {
                asks.extend(self.advance(&mut group[place]).map(|ask| (place, ask)));
            }
            if asks.is_empty() {
                break;
            }
            for (places, heard) in self.ask(&group, asks).await {
                let answers = heard.unwrap_or_else(|error| {
                    outcome = Err(error);
                    vec![None; places.len()]
                });
                for (place, answer) in places.into_iter().zip(answers) {
                    if self.take_in(&mut group[place], answer) {
                        active.push(place);
                    }
                }
            }
        }
        (group, outcome)
    }

    /// What the sale's machine asks next; `None` when it wants nothing more.
    fn advance(&mut self, (sale, account): &mut Member) -> Option<Ask> {
        loop {
            let mut effects = Effects::default();
            let act = account.lease.next(Instant::now().into_std(), &self.view(sale), &mut effects);
            self.carry_out(sale, account, effects);
            match act? {
                Act::Ask(ask) => return Some(ask),
                Act::TakeOffSale(units) => {
                    let units = Units::try_from(units).unwrap_or(Units::MAX);
                    let taken = sale.state.stock().take(0, units).map_or(0, TakenUnits::keep);
                    let mut effects = Effects::default();
                    account.lease.took_off_sale(taken.into(), &mut effects);
                    self.carry_out(sale, account, effects);
                }
            }
        }
    }

    /// Takes in the answer, if there is one. Says whether the machine may go on.
    fn take_in(&mut self, (sale, account): &mut Member, answer: Option<Answer>) -> bool {
        let (now, mut effects) = (Instant::now().into_std(), Effects::default());
        let is_heard = answer.is_some();
        if let Some(answer) = answer {
            let view = self.view(sale);
            account.lease.heard(answer, now, &view, &mut self.detector, &mut effects);
        } else {
            account.lease.unheard(now, &mut effects);
            account.onlookers.clear();
        }
        self.carry_out(sale, account, effects);
        is_heard
    }

    fn view(&self, sale: &LiveSale) -> View {
        let state = &sale.state;
        View {
            on_sale: sale.remaining().into(),
            in_flight: state.units_in_flight(),
            is_wanted: state.has_unmet_demand(),
            more_may_come: state.more_may_come(),
            per_buyer_limit: sale.terms.per_buyer_limit.into(),
            others_alive: self.detector.others_alive(Instant::now().into_std()),
            followed_until: self.store.followed_until(),
            is_cut_off: self.is_cut_off(),
            rest: REST_MAX.mul_f64(rand::random_range(0.5..1.0)),
            lot: rand::random(),
        }
    }

    /// Does to memory what follows, and tells of it.
    pub(super) fn carry_out(&mut self, sale: &LiveSale, account: &mut Account, effects: Effects) {
        if effects.put_on_sale > 0 {
            let units = Units::try_from(effects.put_on_sale).unwrap_or(Units::MAX);
            sale.state.stock().add_spread(units);
        }
        if let Some(more_may_come) = effects.more_may_come {
            sale.state.set_more_may_come(more_may_come);
        }
        if let Some(units) = effects.elsewhere {
            sale.state.set_units_elsewhere(units);
        }
        if effects.demand_heard {
            sale.state.take_unmet_demand();
        }
        if effects.withdrawal_is_complete {
            account.deliver();
        }
        if let Some(known) = effects.life_is_over {
            self.life.end_below(known);
        }
        if effects.leased > 0 {
            self.watch.leased(effects.leased);
        }
        if effects.handed_back > 0 {
            self.watch.handed_back(effects.handed_back);
        }
        if let Some(compared) = effects.compared {
            self.watch.compared(sale.id, &compared.drift);
            account.show(compared);
        }
        if effects.repairs > 0 {
            tracing::debug!(sale = %sale.key, movements = effects.repairs, "the ledger is told what the store has");
            self.watch.repaired(effects.repairs);
        }
        if effects.is_rebuilt {
            self.watch.rebuilt(sale.id);
        }
        if let Some(node) = effects.reclaimed {
            self.watch.reclaimed(node);
        }
        if effects.calls_others {
            self.call_others_to(sale.id);
        }
    }
}
