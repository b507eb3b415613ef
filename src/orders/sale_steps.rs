//! The writer's work that is about sales and not about orders: one step after the other, each with a transaction of its own. And
//! what only the trail is told.

use super::sale_change::ChangeReceipt;
use super::step::{ReplySender, Step};
use super::store::StoreError;
use super::trail::Act;
use super::writer::{OrderWriter, StockNotice};

impl OrderWriter {
    /// Carries out a step that is none of an order.
    pub(super) fn change_sales(&mut self, step: Step) -> Result<(), StoreError> {
        match step {
            Step::CreateSale(new, reply) => {
                let (key, terms, total, act) = *new;
                let created =
                    self.until_not_busy(|store| store.create_sale(&key, &terms, total, act.as_ref()))?;
                let _ = reply.send(Ok(created));
            }
            Step::ChangeSale(change, reply) => {
                let changed = self.until_not_busy(|store| store.change_sale(&change))?;
                if let (Some(lease_agent), ChangeReceipt::Changed { .. }) = (&self.lease_agent, &changed) {
                    let _ = lease_agent.try_send(StockNotice::Resized(change.sale));
                }
                let _ = reply.send(Ok(changed));
            }
            Step::Deadlines(step, act, reply) => {
                let stepped = self.until_not_busy(|store| store.move_deadlines(&step, act.as_deref()))?;
                let _ = reply.send(Ok(stepped));
            }
            Step::ChangeStops(change, reply) => {
                let stops = self.until_not_busy(|store| store.change_stops(&change))?;
                let _ = reply.send(Ok(stops));
            }
            Step::RetireSale(retirement, reply) => {
                let receipt = self.until_not_busy(|store| store.retire_sale(&retirement))?;
                let _ = reply.send(Ok(receipt));
            }
            Step::MoveArchived(max, reply) => {
                // Who buys is not made to wait for it: it is asked for again later.
                match self.store.move_archived(max) {
                    Err(error) if !error.is_transient() => return Err(error),
                    moved => drop(reply.send(moved)),
                }
            }
            Step::Register(registrations, reply) => {
                // Nor is he here: a pass is as good without its line in the log.
                match self.store.register(&registrations) {
                    Err(error) if !error.is_transient() => return Err(error),
                    registered => drop(reply.send(registered)),
                }
            }
            Step::MoveRoom(moved, reply) => match self.store.move_room(&moved) {
                Err(error) if !error.is_transient() => return Err(error),
                moved => drop(reply.send(moved)),
            },
            Step::DecideMix(decision, reply) => {
                let (sale, mix, act) = *decision;
                let decided = self.until_not_busy(|store| store.decide_mix(sale, &mix, act.as_ref()))?;
                let _ = reply.send(Ok(decided));
            }
            Step::ForgetRooms(max, reply) => match self.store.forget_rooms(max) {
                Err(error) if !error.is_transient() => return Err(error),
                forgotten => drop(reply.send(forgotten)),
            },
            Step::Webhooks(step, reply) => match self.store.step_webhooks(&step) {
                // Nobody who buys waits for it, and whoever asks asks again.
                Err(error) if !error.is_transient() => return Err(error),
                stepped => drop(reply.send(stepped)),
            },
            // The writer gathers these.
            Step::Transition(..) | Step::Tell(..) | Step::Stop(_) => {}
        }
        Ok(())
    }

    /// Tells in the trail what was done elsewhere, all of it in one transaction: each of its own would cost a sync, and somebody
    /// may have much told.
    pub(super) fn tell(&mut self, acts: &[Act], replies: Vec<ReplySender<()>>) -> Result<(), StoreError> {
        if acts.is_empty() {
            return Ok(());
        }
        self.until_not_busy(|store| store.tell(acts))?;
        for reply in replies {
            let _ = reply.send(Ok(()));
        }
        Ok(())
    }
}
