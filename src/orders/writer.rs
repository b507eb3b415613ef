//! The order writer: takes what waits, commits it in one transaction, then answers all of it.
//!
//! The batch is what arrived during the last commit; there is no timer. A batch that meets a busy store is tried again
//! while the intake is stalled. A store that fails for good ends the writer: whoever waits hears that the outcome is
//! not known, and the process must end.
//!
//! Several writers may share the queue: while one waits for its commit, the next prepares its own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deadlines::Deadlines;
use super::step::{ReplySender, Step, StopRelay};
use super::store::{Batch, Receipt, RefusalReason, RefusedOrder, StoreError, StoreWriter};
use super::trail::Act;
use super::transition::{Applied, Transition};
use crate::admission::{Admission, Arrival, Intake, QueuedOrder, Resolution};
use crate::domain::{NewOrder, Order, OrderStatus, Rejection, SaleId, SpanContext, Units};

/// Settings of the way from admission to the store.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct WriterSettings {
    /// Orders that may wait for a writer; one more is answered with 503 and takes no unit.
    pub queue_orders_max: usize,
    /// Threads that write to the store. An embedded store has one, whatever this says.
    pub writers: usize,
    /// Orders in one transaction.
    pub batch_orders_max: usize,
    /// Payment, cancel and expiry steps that may wait for a writer.
    pub steps_max: usize,
    /// The longest pause between two attempts while the store is busy, in ms. The first pause is 1 ms, and doubles.
    pub retry_pause_ms_max: u64,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            queue_orders_max: 65_536,
            writers: 2,
            batch_orders_max: 8_192,
            steps_max: 16_384,
            retry_pause_ms_max: 250,
        }
    }
}

/// What the lease agent of this node's stock has to know of the store's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockNotice {
    /// Units of a cancelled or expired order are free again. They are the lease agent's, not this node's. A hint: it is not
    /// sent when many wait already.
    Returned(SaleId),
    /// The sale has another total. A hint, as above.
    Resized(SaleId),
    /// The store refused orders above the sale's total. So many units are off sale for good: theirs, and this node's stock
    /// of the sale.
    Refused(SaleId, u64),
    /// The store has refused what this node wrote in its life `life`: that life is over. The lease agent drops the stock,
    /// registers the node anew when no order is in flight any more, and then opens the intake. Said of a life before the
    /// present one it is old news.
    Fenced {
        /// The life that the refused batch named.
        life: u64,
    },
}

/// A batch that was committed.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// Purchases in it.
    pub orders: usize,
    /// Steps in it.
    pub steps: usize,
    /// How long that took, just now.
    pub took: Duration,
    /// The spans that have waited for it.
    pub spans: &'a [SpanContext],
}

/// What the writers tell of their commits. All methods are called on a writer's thread.
pub trait WriterWatch: Send + Sync {
    /// A batch was committed.
    fn committed(&self, commit: Commit<'_>);
    /// An attempt to commit met a busy store.
    fn stalled(&self);
}

/// Nobody watches.
impl WriterWatch for () {
    fn committed(&self, _commit: Commit<'_>) {}
    fn stalled(&self) {}
}

/// How often the writer gives way before a commit at most: so that the first order of a batch never waits long.
const GIVEN_WAY_MAX: usize = 8;

/// A thread that owns a writing half of the store. [`Pipeline`](super::Pipeline) makes them.
pub struct OrderWriter {
    /// The store.
    pub(super) store: Box<dyn StoreWriter>,
    /// Admission: its board is told what comes back on sale.
    pub(super) admission: Arc<Admission>,
    /// The queue's exit.
    pub(super) arrivals: flume::Receiver<Arrival>,
    /// Work that is not a purchase.
    pub(super) steps: flume::Receiver<Step>,
    /// Told of each order that waits for its payment.
    pub(super) deadlines: Arc<Deadlines>,
    /// Who lends the stock; `None` when all of it is this engine's own.
    pub(super) lease_agent: Option<flume::Sender<StockNotice>>,
    /// Shared by all writers: held for reading from a commit until its orders are resolved, so that whoever counts the
    /// stock anew counts no order twice.
    pub(super) counting: Arc<RwLock<()>>,
    /// Limits.
    pub(super) settings: WriterSettings,
    /// Who watches the commits.
    pub(super) watch: Arc<dyn WriterWatch>,
}

/// One round's work, taken from the queue and the steps.
#[derive(Default)]
struct Round {
    purchases: Vec<QueuedOrder>,
    transitions: Vec<Transition>,
    replies: Vec<ReplySender<Applied>>,
    sale_steps: Vec<Step>,
    acts: Vec<Act>,
    act_replies: Vec<ReplySender<()>>,
    stop: Option<StopRelay>,
}

impl fmt::Debug for OrderWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderWriter").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl OrderWriter {
    /// Works until it is told to stop.
    ///
    /// # Errors
    /// The store failed for good. Admission's intake is closed, everyone who waited has been told, and the process
    /// must end: nothing that this engine believes about the store is certain any more.
    pub fn run(mut self) -> Result<(), StoreError> {
        let outcome = self.work();
        self.admission.queue().set_intake(Intake::Closed);
        let others_go_on = matches!(&outcome, Ok(Some(stop)) if !stop.is_last());
        if !others_go_on {
            // Nobody will commit what still waits: dropping it tells those who do that the outcome is not known.
            drop(self.arrivals.drain());
            drop(self.steps.drain());
        }
        let stop = outcome?;
        self.store.close()?;
        if let Some(stop) = stop {
            stop.pass_on(self.admission.queue());
        }
        Ok(())
    }

    fn work(&mut self) -> Result<Option<StopRelay>, StoreError> {
        let mut stop = None;
        loop {
            if stop.is_some() && self.arrivals.is_empty() && self.steps.is_empty() {
                return Ok(stop);
            }
            if stop.is_none() && self.arrivals.is_empty() && self.steps.is_empty() {
                match self.arrivals.recv() {
                    Ok(arrival) => {
                        self.let_others_go_first();
                        let mut round = self.gather(Some(arrival));
                        stop = round.stop.take().or(stop);
                        self.finish_round(round)?;
                        continue;
                    }
                    Err(flume::RecvError::Disconnected) => return Ok(None),
                }
            }
            self.let_others_go_first();
            let mut round = self.gather(None);
            stop = round.stop.take().or(stop);
            self.finish_round(round)?;
        }
    }

    /// Gives way to threads that wait for this processor, as long as they bring more work. A commit costs the same for
    /// one order as for a hundred: without this, a writer that shares its processor with the edge is woken for the first
    /// order of a burst and commits it alone. Where nobody waits for the processor, this costs a system call.
    fn let_others_go_first(&self) {
        let mut waiting = self.arrivals.len() + self.steps.len();
        for _ in 0..GIVEN_WAY_MAX {
            std::thread::yield_now();
            let now = self.arrivals.len() + self.steps.len();
            if now <= waiting || now >= self.settings.batch_orders_max {
                return;
            }
            waiting = now;
        }
    }

    /// Takes what waits, up to the limits of one transaction.
    fn gather(&self, first: Option<Arrival>) -> Round {
        let mut round = Round::default();
        let limit = self.settings.batch_orders_max.max(1);
        round.purchases.reserve(self.arrivals.len().min(limit));
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
                Step::Tell(act, reply) => {
                    round.acts.push(*act);
                    round.act_replies.push(reply);
                }
                Step::Stop(stop) => round.stop = Some(stop),
                other => round.sale_steps.push(other),
            }
        }
        round
    }

    fn finish_round(&mut self, mut round: Round) -> Result<(), StoreError> {
        for step in round.sale_steps.drain(..) {
            self.change_sales(step)?;
        }
        let (acts, replies) = (take(&mut round.acts), take(&mut round.act_replies));
        self.commit_round(round)?;
        // Last: no purchase depends on it, and none waits for it.
        self.tell(&acts, replies)
    }

    fn commit_round(&mut self, round: Round) -> Result<(), StoreError> {
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
            graces: self.deadlines.graces(),
        };
        // Where nothing is traced this takes no memory.
        let steps = batch.transitions.iter().filter_map(|step| step.span);
        let spans: Vec<_> = purchases.iter().filter_map(QueuedOrder::span).chain(steps).collect();
        let counting = Arc::clone(&self.counting);
        let uncounted = counting.read();
        let (applied, refused) = loop {
            match self.commit(&batch, &spans)? {
                Receipt::Committed { applied, refused } => break (applied, refused),
                Receipt::Oversold(sales) => {
                    if !batch.placed.iter().any(|order| sales.contains(&order.sale)) {
                        return Err(StoreError::fatal(
                            "the order store is damaged: a sale counts fewer units sold than are given back; \
                                      restore a backup",
                        ));
                    }
                    let (over, kept): (Vec<NewOrder>, Vec<NewOrder>) =
                        batch.placed.into_iter().partition(|order| sales.contains(&order.sale));
                    batch.placed = kept;
                    batch.rejected.extend(over);
                }
                Receipt::Fenced { life } => return self.stand_down(life, purchases, round.replies),
            }
        };
        let purchases = self.answer_refused(purchases, refused);
        self.enter_deadlines(&purchases, &applied);
        let mut oversold: BTreeMap<SaleId, u64> =
            batch.rejected.iter().map(|order| (order.sale, 0)).collect();
        for queued in purchases {
            match oversold.get_mut(&queued.order().sale) {
                Some(units) => {
                    *units += u64::from(queued.order().quantity);
                    queued.disowned();
                }
                None => queued.durable(),
            }
        }
        for ((applied, step), reply) in applied.into_iter().zip(&batch.transitions).zip(round.replies) {
            self.put_back_on_sale(step, &applied);
            // Nobody waits for the answer any more: the step is durable all the same.
            let _ = reply.send(Ok(applied));
        }
        drop(uncounted);
        // Last, for it counts what was just put back on sale, too.
        self.recount_stock(oversold)
    }

    /// Answers the purchases that the store refused alone: the buyer has, from another node, what counts instead.
    /// Returns the others.
    fn answer_refused(&self, purchases: Vec<QueuedOrder>, refused: Vec<RefusedOrder>) -> Vec<QueuedOrder> {
        if refused.is_empty() {
            return purchases;
        }
        let mut reasons: HashMap<_, _> =
            refused.into_iter().map(|refused| (refused.order, refused.reason)).collect();
        let mut others = Vec::with_capacity(purchases.len());
        for queued in purchases {
            let quantity = queued.order().quantity;
            match reasons.remove(&queued.order().id) {
                None => others.push(queued),
                Some(RefusalReason::BuyerLimit(Some(prior))) => {
                    let rejection = Rejection::AlreadyPurchased { order_id: prior.placed.id };
                    queued.superseded(&prior, Resolution::Rejected(rejection));
                }
                // More units than the limit, and no order that holds any: the terms have changed on the way.
                Some(RefusalReason::BuyerLimit(None)) => queued.refused(),
                Some(RefusalReason::KeyUsed(first)) if first.placed.quantity == quantity => {
                    queued.superseded(&first, Resolution::Replay(first.placed.id));
                }
                Some(RefusalReason::KeyUsed(first)) => {
                    queued.superseded(&first, Resolution::Rejected(Rejection::IdempotencyKeyReused));
                }
            }
        }
        others
    }

    /// The life under which the round was written is over: nothing of it was kept. While purchases are in flight no other
    /// life has begun, and no unit in memory is certain. Of steps alone the answer may come when one has: what that one
    /// sells is its own.
    fn stand_down(
        &self,
        life: u64,
        purchases: Vec<QueuedOrder>,
        replies: Vec<ReplySender<Applied>>,
    ) -> Result<(), StoreError> {
        let Some(lease_agent) = &self.lease_agent else {
            return Err(StoreError::fatal(
                "the order store knows a later life of this node: another engine runs under its number; give every \
                 engine a --node-id of its own",
            ));
        };
        if !purchases.is_empty() {
            self.admission.queue().set_intake(Intake::Stalled);
            for sale in self.admission.board().sales().iter() {
                sale.state.stock().drain();
            }
        }
        purchases.into_iter().for_each(QueuedOrder::disowned);
        for reply in replies {
            let _ = reply.send(Err(StoreError::transient(
                "this node was fenced before the step was written: it is to be offered again",
            )));
        }
        // A lease agent that is gone has nothing to register.
        let _ = lease_agent.send(StockNotice::Fenced { life });
        Ok(())
    }

    /// Commits, again and again while the store is busy.
    fn commit(&mut self, batch: &Batch, spans: &[SpanContext]) -> Result<Receipt, StoreError> {
        let started = Instant::now();
        let receipt = self.repeat_while_busy(|store| store.commit(batch))?;
        // A store that fences this node takes nothing more of this life: the intake opens with the next one.
        if !matches!(receipt, Receipt::Fenced { .. }) {
            self.answers_again();
        }
        let is_committed = matches!(receipt, Receipt::Committed { .. });
        self.watch.committed(Commit {
            orders: batch.placed.len() + batch.rejected.len(),
            steps: batch.transitions.len(),
            took: started.elapsed(),
            spans: if is_committed { spans } else { &[] },
        });
        Ok(receipt)
    }

    pub(super) fn until_not_busy<T>(
        &mut self,
        work: impl FnMut(&mut dyn StoreWriter) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = self.repeat_while_busy(work)?;
        self.answers_again();
        Ok(done)
    }

    fn answers_again(&self) {
        let queue = self.admission.queue();
        if queue.intake() == Intake::Stalled {
            tracing::info!(code = "order-store-answers", "the order store answers again");
            queue.set_intake(Intake::Open);
        }
    }

    fn repeat_while_busy<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn StoreWriter) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let queue = self.admission.queue();
        let mut pause = Duration::from_millis(1);
        loop {
            match work(&mut *self.store) {
                Err(error) if error.is_transient() => {
                    if queue.intake() == Intake::Open {
                        tracing::warn!(
                            %error,
                            code = error.code.unwrap_or("order-store-busy"),
                            sqlstate = error.sqlstate.as_deref(),
                            "the order store is busy; purchases are refused until it answers"
                        );
                        queue.set_intake(Intake::Stalled);
                    }
                    self.watch.stalled();
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(self.settings.retry_pause_ms_max));
                }
                other => return other,
            }
        }
    }

    fn enter_deadlines(&self, placed: &[QueuedOrder], applied: &[Applied]) {
        let waits_again = applied.iter().filter_map(|applied| match applied {
            Applied::Done(Order { placed, status: OrderStatus::PrePay, .. }) => Some(placed),
            _ => None,
        });
        let waiting = placed.iter().map(QueuedOrder::order).chain(waits_again);
        self.deadlines.enter_all(waiting.map(|order| (order.pay_before, order.id)));
        let ended = applied.iter().filter_map(|applied| match applied {
            Applied::Done(Order { placed, status, .. }) if !status.is_open() => Some(placed),
            _ => None,
        });
        self.deadlines.forget_all(ended);
    }

    /// What the step frees is durably free: units of an order that was cancelled, has expired, or gave some up with a refund.
    fn put_back_on_sale(&self, step: &Transition, applied: &Applied) {
        let Applied::Done(order) = applied else { return };
        let (placed, units) = (&order.placed, step.frees(order));
        if units == 0 {
            return;
        }
        if let Some(sale) = self.admission.board().sales().by_id(placed.sale) {
            let (claims, buyer) = (sale.state.claims(), placed.buyer.as_str());
            match order.status {
                OrderStatus::Cancelled | OrderStatus::Expired => claims.release(buyer, placed.id),
                _ => claims.keep_only(buyer, placed.id, order.units_held()),
            }
            match &self.lease_agent {
                None => sale.state.stock().add(placed.id.tick() as usize, units),
                // It counts what is free in the store, sooner or later.
                Some(lease_agent) => drop(lease_agent.try_send(StockNotice::Returned(placed.sale))),
            }
        }
    }

    /// Memory had more units than the store: it is counted anew, from the store or by the lease agent.
    fn recount_stock(&mut self, sales: BTreeMap<SaleId, u64>) -> Result<(), StoreError> {
        if sales.is_empty() {
            return Ok(());
        }
        let counting = Arc::clone(&self.counting);
        let _alone = counting.write();
        for (id, refused) in sales {
            let Some(sale) = self.admission.board().sales().by_id(id).cloned() else { continue };
            tracing::error!(sale = %sale.key, "the store refused orders above the total; counting the stock anew");
            let dropped = sale.state.stock().drain();
            if let Some(lease_agent) = &self.lease_agent {
                let _ = lease_agent.send(StockNotice::Refused(id, refused + u64::from(dropped)));
                continue;
            }
            let (total, sold) = self.until_not_busy(|store| store.units_of(id))?;
            let taken = u64::from(sold) + sale.state.units_in_flight();
            sale.state.stock().add_spread(u64::from(total).saturating_sub(taken) as Units);
        }
        Ok(())
    }
}
