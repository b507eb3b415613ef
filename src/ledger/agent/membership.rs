//! How this node belongs to the others: it says that it lives, begins another life when it was fenced, and leaves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::lease::Effects;
use super::watch::LeaseWatch;
use super::{AgentError, GROUP, LeaseAgent};
use crate::admission::Intake;
use crate::domain::{KnownNode, SaleId};

impl<W: LeaseWatch> LeaseAgent<W> {
    /// Says that this node lives, unless it is cut off from the store; hears of the others, and whether the store answers.
    pub(super) async fn give_a_sign(&mut self) -> Result<(), AgentError> {
        let is_cut_off = self.is_cut_off();
        let beaten = if self.life.beats(is_cut_off) { self.beat().await } else { Ok(()) };
        // Asked for its own sake: where all sales rest nothing else would ask.
        let heard = self.ask_store(|store| store.incarnations()).await;
        let own = self.life.node();
        let is_later = |known: &KnownNode| known.node == own && known.incarnation > self.life.incarnation();
        if let Some(later) = heard?.into_iter().find(is_later) {
            self.life.end_below(later.incarnation);
        }
        beaten
    }

    pub(super) async fn beat(&mut self) -> Result<(), AgentError> {
        // Who has not beaten for longer is silent, and has nothing any more that others could want.
        let calls_told = Duration::from_millis(self.settings.silent_ms_max);
        let heard = self.books.beat(self.life.node(), calls_told, self.calling.iter().copied()).await?;
        let now = Instant::now().into_std();
        let is_another = self.server.as_ref() != Some(&heard.server)
            || heard.since_own_ms.is_none_or(|since| self.detector.hears_another_clock(since, now));
        if is_another {
            self.detector.hears_another_server();
        }
        self.server = Some(heard.server);
        self.detector.hear(heard.silent_ms, now);
        self.called = std::mem::take(&mut self.calling);
        // Its own calls come back to it as well.
        let is_news = |call: &&(SaleId, u64)| !self.calls.contains(call) && !self.called.contains(&call.0);
        self.heard.extend(heard.calls.iter().filter(is_news).map(|(sale, _)| *sale));
        self.calls = heard.calls;
        self.looks_at_all |= self.detector.has_found_silent(now) || is_another;
        self.has_beaten = true;
        Ok(())
    }

    /// The others are called to the sale: soon, or with the next beat if the last one did so, too.
    pub(super) fn call_others_to(&mut self, sale: SaleId) {
        self.calling.insert(sale);
        if !self.called.contains(&sale) {
            let soon = Instant::now() + Duration::from_millis(self.settings.tail_pause_ms);
            self.beat_at = self.beat_at.min(soon);
        }
    }

    /// Whether the store has not answered for so long that the others shall have what is here.
    pub(super) fn is_cut_off(&self) -> bool {
        self.detector.is_cut_off(Instant::now().into_std())
    }

    /// One line when it begins, and one when it is over.
    pub(super) fn tell_whether_cut_off(&mut self, is_cut_off: bool) {
        if std::mem::replace(&mut self.was_cut_off, is_cut_off) == is_cut_off {
            return;
        }
        self.watch.cut_off(is_cut_off);
        if is_cut_off {
            tracing::warn!(
                silent_ms_max = self.settings.silent_ms_max,
                "the order store has not answered for ledger.silent_ms_max: this node has nothing on sale and gives no \
                 sign of life, so that the others take its units and sell them"
            );
        } else {
            tracing::info!("the order store answers again: this node lends and sells on");
        }
    }

    /// This life is over. Nothing of it may reach the store under the next one: the intake is stalled, the stock is
    /// dropped, and the next life begins only when no order is in flight any more. Lives that follow each other quickly
    /// begin ever later: whatever ends them is not mended by one more.
    pub(super) async fn begin_again(&mut self) -> Result<(), AgentError> {
        self.admission.queue().set_intake(Intake::Stalled);
        let sales = self.sales();
        let drain = || {
            for sale in &sales {
                sale.state.set_more_may_come(true);
                if self.life.drops_stock() {
                    sale.state.stock().drain();
                }
            }
        };
        drain();
        let units: u64 = sales.iter().map(|sale| sale.state.units_in_flight()).sum();
        if !self.life.may_begin_again(self.admission.queue().depth() as u64 + units) {
            return Ok(());
        }
        // What was refused on its way out came back to the stock.
        drain();
        // Every notice of the old life has been written by now.
        self.hear();
        let (node, now) = (self.life.node(), Instant::now());
        let begins_at = *self.begins_at.get_or_insert_with(|| now + self.lives.next(node, now.into_std()));
        if now < begins_at {
            return Ok(());
        }
        let known = self.life.known();
        let incarnation = self.ask_store(move |store| store.begin_life(known)).await?;
        self.begins_at = None;
        // What was shown to a follower of the orders while this node did not live lies below its next number.
        let newest = self.ask_store(|store| store.newest_order()).await?;
        self.admission.flight().complete_through(newest);
        tracing::warn!(incarnation, "this node registers anew");
        self.life.begin(incarnation);
        // Nobody hears of this life in a book before it was heard itself.
        self.has_beaten = false;
        self.beat_at = now;
        let (life, now) = (self.life, now.into_std());
        self.accounts.values_mut().for_each(|account| account.begin_life(life, now));
        self.looks_at_all = true;
        self.watch.rejoined();
        self.admission.queue().set_intake(Intake::Open);
        Ok(())
    }

    /// Hands everything back. What fails here is taken back by the others when this node stays silent.
    pub(super) async fn leave(mut self) {
        self.hear();
        let mut leaving = Vec::new();
        let sales = self.sales();
        for sale in &sales {
            let unsold = sale.state.stock().drain();
            let Some(mut account) = self.accounts.remove(&sale.id) else { continue };
            let mut effects = Effects::default();
            account.lease.leave(unsold.into(), &mut effects);
            self.carry_out(sale, &mut account, effects);
            leaving.push((Arc::clone(sale), account));
        }
        let mut left = 0;
        while !leaving.is_empty() && !self.life.is_over() {
            let group = leaving.drain(..leaving.len().min(GROUP)).collect();
            let (group, outcome) = self.ask_for(group).await;
            if let Err(error) = outcome {
                self.watch.round_failed(&error.to_string());
            }
            left += group.iter().filter(|(_, account)| account.lease.has_left()).count();
        }
        // Nobody looks for units of a node that has said that it leaves.
        let left = match left == sales.len() {
            true => self.books.leave(self.life.node()).await.map_err(|fault| fault.to_string()),
            false => Err(format!("{left} of {} sales were left", sales.len())),
        };
        match left {
            Ok(()) => tracing::info!("unsold units were handed back; this node has left the others"),
            Err(why) => {
                tracing::warn!(why, "the other nodes take this one's units back when it stays silent")
            }
        }
    }
}
