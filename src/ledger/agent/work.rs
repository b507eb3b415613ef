//! Runs the machine of one sale: looks for it, asks for it, and carries out what follows.

use std::time::Duration;

use tokio::time::Instant;

use super::super::lease::{Act, Answer, Ask, Effects, View};
use super::super::redis::RedisFault;
use super::account::Account;
use super::watch::LeaseWatch;
use super::{AgentError, LeaseAgent};
use crate::admission::{LiveSale, TakenUnits};
use crate::domain::Units;
use crate::orders::{LeaseStore, StoreError};

/// Comparisons stop for this look after so long: sales that sell must not wait for those that do not.
const COMPARING_MAX: Duration = Duration::from_millis(50);

impl<W: LeaseWatch> LeaseAgent<W> {
    /// Does what the sale's machine wants done, until it wants nothing more.
    pub(super) async fn work(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), AgentError> {
        loop {
            let mut effects = Effects::default();
            let act = account.lease.next(Instant::now().into_std(), &self.view(sale), &mut effects);
            self.carry_out(sale, account, effects);
            let mut effects = Effects::default();
            match act {
                None => return Ok(()),
                Some(Act::TakeOffSale(units)) => {
                    let units = Units::try_from(units).unwrap_or(Units::MAX);
                    let taken = sale.state.stock().take(0, units).map_or(0, TakenUnits::keep);
                    account.lease.took_off_sale(taken.into(), &mut effects);
                }
                Some(Act::Ask(ask)) => match self.ask(sale, ask).await {
                    Ok(Some(answer)) => {
                        let (now, view) = (Instant::now().into_std(), self.view(sale));
                        account.lease.heard(answer, now, &view, &mut self.detector, &mut effects);
                    }
                    unheard => {
                        account.lease.unheard(Instant::now().into_std(), &mut effects);
                        self.carry_out(sale, account, effects);
                        return unheard.map(drop);
                    }
                },
            }
            self.carry_out(sale, account, effects);
            if self.life.is_over() {
                return Ok(());
            }
        }
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
            may_compare: self.look_began.elapsed() < COMPARING_MAX,
            lot: rand::random(),
        }
    }

    /// Asks Redis or the store. `None` when the store has no such sale.
    async fn ask(&mut self, sale: &LiveSale, ask: Ask) -> Result<Option<Answer>, AgentError> {
        let id = sale.id;
        Ok(match ask {
            Ask::Units => self.ask_store(move |store| store.units(id)).await?.map(Answer::Units),
            Ask::Incarnations => {
                Some(Answer::Incarnations(self.ask_store(|store| store.incarnations()).await?))
            }
            Ask::Beat(node) => {
                self.beat().await?;
                Some(Answer::Silent(self.detector.is_silent(node, Instant::now().into_std())))
            }
            Ask::Fence(node, life) => {
                let next = self.ask_store(move |store| store.end_life(node, life)).await?;
                if next.is_some() {
                    tracing::warn!(
                        node = node.number(),
                        life,
                        "a silent node is fenced and its unsold units are taken back"
                    );
                }
                Some(Answer::Fenced(next))
            }
            Ask::EndEpoch(seen) => {
                if seen == 1 {
                    tracing::info!(sale = %sale.key, "opening the sale's book in the ledger");
                } else {
                    tracing::warn!(sale = %sale.key, epoch = seen, "the ledger has no valid book of the sale; opening a new one");
                }
                self.ask_store(move |store| store.end_epoch(id, seen)).await?.map(Answer::Epoch)
            }
            Ask::Book => Some(Answer::Book(self.books.read(&sale.key).await?)),
            Ask::Move(from, movement) => {
                Some(Answer::Reply(self.books.run(&sale.key, from, &movement).await?))
            }
            Ask::Open(rebuild) => Some(Answer::Reply(self.books.rebuild(&sale.key, &rebuild).await?)),
        })
    }

    pub(super) async fn ask_store<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&dyn LeaseStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AgentError> {
        let store = self.store.clone();
        let answer = tokio::task::spawn_blocking(move || question(&*store)).await;
        // A question that was cut off by the end of the runtime has nobody left to answer to.
        let answer = answer.map_err(|error| RedisFault::Away(error.to_string()))?;
        match &answer {
            Ok(_) => self.detector.store_answered(Instant::now().into_std()),
            Err(_) => self.detector.store_failed(),
        }
        Ok(answer?)
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
    }
}
