//! How this node belongs to the others: it says that it lives, begins another life when it was fenced, and leaves.

use tokio::time::Instant;

use super::super::lease::Effects;
use super::watch::LeaseWatch;
use super::{AgentError, LeaseAgent};
use crate::admission::Intake;

impl<W: LeaseWatch> LeaseAgent<W> {
    pub(super) async fn beat(&mut self) -> Result<(), AgentError> {
        let beats = self.books.beat(self.life.node()).await?;
        self.detector.hear(beats, Instant::now().into_std());
        Ok(())
    }

    /// This life is over. Nothing of it may reach the store under the next one: the intake is stalled, the stock is
    /// dropped, and the next life begins only when no order is in flight any more.
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
        let incarnation = self.ask_store(|store| store.begin_life()).await?;
        // What was shown to a follower of the orders while this node did not live lies below its next number.
        let newest = self.ask_store(|store| store.newest_order()).await?;
        self.admission.flight().complete_through(newest);
        tracing::warn!(incarnation, "this node registers anew");
        self.life.begin(incarnation);
        let (life, now) = (self.life, Instant::now().into_std());
        self.accounts.values_mut().for_each(|account| account.begin_life(life, now));
        self.watch.rejoined();
        self.admission.queue().set_intake(Intake::Open);
        Ok(())
    }

    /// Hands everything back. What fails here is taken back by the others in their own time.
    pub(super) async fn leave(mut self) {
        self.hear();
        for sale in self.sales() {
            let Some(mut account) = self.accounts.remove(&sale.id) else { continue };
            let unsold = sale.state.stock().drain();
            if self.life.is_over() {
                continue;
            }
            let mut effects = Effects::default();
            account.lease.leave(unsold.into(), &mut effects);
            self.carry_out(&sale, &mut account, effects);
            if let Err(error) = self.work(&sale, &mut account).await {
                self.watch.round_failed(&error.to_string());
            }
        }
        match self.books.leave(self.life.node()).await {
            Ok(()) => tracing::info!("unsold units were handed back; this node has left the others"),
            Err(fault) => {
                tracing::warn!(%fault, "the other nodes take this one's units back when it stays silent")
            }
        }
    }
}
