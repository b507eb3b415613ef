//! The order writer: takes what waits, commits it in one transaction, then answers all of it.
//!
//! The batch is what arrived during the last commit; there is no timer. A batch that meets a busy store is tried again
//! while the intake is stalled. A store that fails for good ends the writer: whoever waits hears that the outcome is
//! not known, and the process must end.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::deadlines::Deadlines;
use super::sqlite::SqliteWriter;
use super::store::{Applied, Batch, Receipt, SaleChange, StoreError, Transition};
use crate::admission::{Admission, Arrival, Intake, QueuedOrder};
use crate::domain::{NewOrder, Order, OrderStatus, Sale, SaleId, SaleKey, SaleTerms, Units};

/// Settings of the way from admission to the store.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct WriterSettings {
    /// Orders that may wait for a writer; one more is answered with 503 and takes no unit.
    pub queue_orders_max: usize,
    /// Orders in one transaction.
    pub batch_orders_max: usize,
    /// Payment, cancel and expiry steps that may wait for a writer.
    pub steps_max: usize,
    /// The longest pause between two attempts while the store is busy, in ms. The first pause is 1 ms, and doubles.
    pub retry_pause_ms_max: u64,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self { queue_orders_max: 65_536, batch_orders_max: 4_096, steps_max: 16_384, retry_pause_ms_max: 250 }
    }
}

/// Work for the writer that is not a purchase.
#[derive(Debug)]
pub enum Step {
    /// A step in an order's life.
    Transition(Transition, Reply<Applied>),
    /// Make a sale. The answer is `None` when the name is taken.
    CreateSale(Box<(SaleKey, SaleTerms, Units)>, Reply<Option<Sale>>),
    /// Change a sale. The answer is `None` when more is sold than the new total.
    ChangeSale(Box<SaleChange>, Reply<Option<Sale>>),
    /// Finish what waits, close the store, end.
    Stop(mpsc::Sender<()>),
}

/// Where the answer to a step goes.
pub type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer tells of its commits. All methods are called on the writer's thread.
pub trait WriterWatch: Send {
    /// A batch of `orders` purchases and `steps` steps was committed in `took`.
    fn committed(&self, orders: usize, steps: usize, took: Duration);
    /// An attempt to commit met a busy store.
    fn stalled(&self);
}

/// The thread that owns the writing half of the store.
pub struct OrderWriter<W> {
    /// The store.
    pub store: SqliteWriter,
    /// Admission: its board is told what comes back on sale.
    pub admission: Arc<Admission>,
    /// The queue's exit.
    pub arrivals: flume::Receiver<Arrival>,
    /// Work that is not a purchase.
    pub steps: flume::Receiver<Step>,
    /// Told of each order that waits for its payment.
    pub deadlines: Arc<Deadlines>,
    /// Limits.
    pub settings: WriterSettings,
    /// Who watches the commits.
    pub watch: W,
}

/// One round's work, taken from the queue and the steps.
#[derive(Default)]
struct Round {
    purchases: Vec<QueuedOrder>,
    transitions: Vec<Transition>,
    replies: Vec<Reply<Applied>>,
    sale_steps: Vec<Step>,
    stop: Option<mpsc::Sender<()>>,
}

impl<W: WriterWatch> OrderWriter<W> {
    /// Works until it is told to stop.
    ///
    /// # Errors
    /// The store failed for good. Admission's intake is closed, everyone who waited has been told, and the process
    /// must end: nothing that this engine believes about the store is certain any more.
    pub fn run(mut self) -> Result<(), StoreError> {
        let outcome = self.work();
        self.admission.queue().set_intake(Intake::Closed);
        // Nobody will commit what still waits: dropping it tells its buyers that the outcome is not known.
        drop(self.arrivals.drain());
        match outcome {
            Ok(stopped) => {
                self.store.close()?;
                drop(stopped);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn work(&mut self) -> Result<Option<mpsc::Sender<()>>, StoreError> {
        let mut stop = None;
        loop {
            if stop.is_some() && self.arrivals.is_empty() && self.steps.is_empty() {
                return Ok(stop);
            }
            if stop.is_none() && self.arrivals.is_empty() && self.steps.is_empty() {
                match self.arrivals.recv() {
                    Ok(arrival) => {
                        let mut round = self.gather(Some(arrival));
                        stop = round.stop.take().or(stop);
                        self.settle(round)?;
                        continue;
                    }
                    Err(flume::RecvError::Disconnected) => return Ok(None),
                }
            }
            let mut round = self.gather(None);
            stop = round.stop.take().or(stop);
            self.settle(round)?;
        }
    }

    /// Takes what waits, up to the limits of one transaction.
    fn gather(&self, first: Option<Arrival>) -> Round {
        let mut round = Round::default();
        let limit = self.settings.batch_orders_max.max(1);
        for arrival in first.into_iter().chain(self.arrivals.try_iter()) {
            if let Arrival::Purchase(order) = arrival {
                round.purchases.push(order);
                if round.purchases.len() == limit {
                    break;
                }
            }
        }
        self.admission.queue().leave(round.purchases.len());
        for step in self.steps.try_iter().take(limit) {
            match step {
                Step::Transition(transition, reply) => {
                    round.transitions.push(transition);
                    round.replies.push(reply);
                }
                Step::Stop(stopped) => round.stop = Some(stopped),
                other => round.sale_steps.push(other),
            }
        }
        round
    }

    fn settle(&mut self, round: Round) -> Result<(), StoreError> {
        for step in round.sale_steps {
            self.change_sales(step)?;
        }
        if round.purchases.is_empty() && round.transitions.is_empty() {
            return Ok(());
        }
        // Sorted, so that the order table grows at one edge although several threads hand out the numbers.
        let mut purchases = round.purchases;
        purchases.sort_unstable_by_key(|queued| queued.order().id);
        let mut batch = Batch {
            placed: purchases.iter().map(|queued| queued.order().clone()).collect(),
            rejected: Vec::new(),
            transitions: round.transitions,
        };
        let applied = loop {
            match self.commit(&batch)? {
                Receipt::Committed(applied) => break applied,
                Receipt::Oversold(sales) => {
                    let (refused, kept): (Vec<NewOrder>, Vec<NewOrder>) =
                        batch.placed.into_iter().partition(|order| sales.contains(&order.sale));
                    batch.placed = kept;
                    batch.rejected.extend(refused);
                }
            }
        };
        self.enter_deadlines(&batch.placed, &applied);
        let refused: Vec<SaleId> = batch.rejected.iter().map(|order| order.sale).collect();
        for queued in purchases {
            if refused.contains(&queued.order().sale) { queued.disowned() } else { queued.durable() }
        }
        self.settle_anew(refused)?;
        for (applied, reply) in applied.into_iter().zip(round.replies) {
            self.put_back_on_sale(&applied);
            // Nobody waits for the answer any more: the step is durable all the same.
            let _ = reply.send(Ok(applied));
        }
        Ok(())
    }

    /// Commits, again and again while the store is busy.
    fn commit(&mut self, batch: &Batch) -> Result<Receipt, StoreError> {
        let started = Instant::now();
        let receipt = self.until_not_busy(|store| store.commit(batch))?;
        self.watch.committed(
            batch.placed.len() + batch.rejected.len(),
            batch.transitions.len(),
            started.elapsed(),
        );
        Ok(receipt)
    }

    fn until_not_busy<T>(
        &mut self,
        mut work: impl FnMut(&mut SqliteWriter) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let queue = self.admission.queue();
        let mut pause = Duration::from_millis(1);
        loop {
            match work(&mut self.store) {
                Err(error) if error.is_transient() => {
                    if queue.intake() == Intake::Open {
                        tracing::warn!(%error, "the order store is busy; purchases are refused until it answers");
                        queue.set_intake(Intake::Stalled);
                    }
                    self.watch.stalled();
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(self.settings.retry_pause_ms_max));
                }
                other => {
                    if queue.intake() == Intake::Stalled && other.is_ok() {
                        tracing::info!("the order store answers again");
                        queue.set_intake(Intake::Open);
                    }
                    return other;
                }
            }
        }
    }

    fn enter_deadlines(&self, placed: &[NewOrder], applied: &[Applied]) {
        let waits_again = applied.iter().filter_map(|applied| match applied {
            Applied::Done(Order { placed, status: OrderStatus::PrePay, .. }) => Some(placed),
            _ => None,
        });
        let waiting = placed.iter().chain(waits_again);
        self.deadlines.enter_all(waiting.map(|order| (order.pay_before, order.id)));
    }

    /// A cancelled or expired order is durable as such: its claim and its units are free.
    fn put_back_on_sale(&self, applied: &Applied) {
        let Applied::Done(Order { placed, status: OrderStatus::Cancelled | OrderStatus::Expired, .. }) =
            applied
        else {
            return;
        };
        if let Some(sale) = self.admission.board().sales().by_id(placed.sale) {
            sale.state.claims().release(placed.buyer.as_str(), placed.id);
            sale.state.stock().add(placed.id.tick() as usize, placed.quantity);
        }
    }

    /// Memory had more units than the store: it is counted anew from the store.
    fn settle_anew(&mut self, mut sales: Vec<SaleId>) -> Result<(), StoreError> {
        sales.sort_unstable();
        sales.dedup();
        for id in sales {
            let Some(sale) = self.admission.board().sales().by_id(id).cloned() else { continue };
            tracing::error!(sale = %sale.key, "the store refused orders above the total; counting the stock anew");
            sale.state.stock().drain();
            let (total, sold) = self.until_not_busy(|store| store.units_of(id))?;
            let taken = u64::from(sold) + sale.state.units_in_flight();
            sale.state.stock().add_spread(u64::from(total).saturating_sub(taken) as Units);
        }
        Ok(())
    }

    fn change_sales(&mut self, step: Step) -> Result<(), StoreError> {
        match step {
            Step::CreateSale(new, reply) => {
                let (key, terms, total) = *new;
                let created = self.until_not_busy(|store| store.create_sale(&key, &terms, total))?;
                let _ = reply.send(Ok(created));
            }
            Step::ChangeSale(change, reply) => {
                let changed = self.until_not_busy(|store| store.change_sale(&change))?;
                let _ = reply.send(Ok(changed));
            }
            Step::Transition(..) | Step::Stop(_) => {}
        }
        Ok(())
    }
}
