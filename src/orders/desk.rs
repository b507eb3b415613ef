//! The order desk: where the rest of the engine asks about orders and has them moved on.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use super::batched_lookup::Lookups;
use super::deadlines::Deadlines;
use super::events::Event;
use super::graces::Grace;
use super::log_watch::LogFigures;
use super::node_figures::{OwnFigures, ToldFigures};
use super::read_cancellation::ReadCancellation;
use super::refund_record::RefundRecord;
use super::retirement::{Retirement, RetirementReceipt};
use super::sale_change::{ChangeReceipt, SaleChange, StopChange};
use super::step::{ReplySender, Step, StopRelay};
use super::store::{
    Audit, CompleteOrders, DeadlineStep, DeadlineStepped, OrderFilter, PoolFigures, StoreError, StoreReader,
};
use super::trail::{Act, SaleAct, TrailEntry, TrailFilter};
use super::transition::{Applied, Transition};
use crate::admission::{Admission, LiveSale};
use crate::clock::Clock;
use crate::domain::{
    EpochMs, Order, OrderId, OrderStatus, Registration, Sale, SaleId, SaleKey, SaleTerms, Stops, Units,
};

/// A handle to the orders; cheap to clone. Reads run on the blocking pool of the calling tokio runtime and past the
/// writer; everything that changes an order goes through the writer and is durable when it returns.
#[derive(Clone, Debug)]
pub struct OrderDesk {
    admission: Arc<Admission>,
    steps: flume::Sender<Step>,
    reader: Arc<dyn StoreReader>,
    lookups: Arc<Lookups>,
    deadlines: Arc<Deadlines>,
    writers: usize,
    clock: Clock,
    /// Registrations at waiting rooms that the store has yet to take.
    pub(super) unwritten: Arc<tokio::sync::Mutex<Vec<Registration>>>,
}

impl OrderDesk {
    /// A desk in front of the `writers` threads that receive `steps`. Orders live by `clock`.
    pub(super) fn new(
        admission: Arc<Admission>,
        steps: flume::Sender<Step>,
        reader: Arc<dyn StoreReader>,
        deadlines: Arc<Deadlines>,
        writers: usize,
        clock: Clock,
    ) -> Self {
        let (lookups, unwritten) = Default::default();
        Self { admission, steps, reader, lookups, deadlines, writers, clock, unwritten }
    }

    /// The time by which orders live.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What the store's own calendar says, where several nodes may share it.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn store_calendar(&self) -> Result<Option<EpochMs>, StoreError> {
        self.read(|store| store.calendar()).await
    }

    /// As [`StoreReader::life`].
    pub fn life(&self) -> Option<u64> {
        self.reader.life()
    }

    /// As [`Admission::hold_openings`].
    pub(super) fn hold_openings(&self, bound: Option<EpochMs>) {
        self.admission.hold_openings(bound);
    }

    /// When orders that wait for payment run out of time.
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// A durable order.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        let found = self.lookups.order(&self.reader, id).await?;
        Ok(found.map(|order| self.shown(order)))
    }

    /// The buyer's own order in this tenant, durable or still on its way (`pending`). Other people's orders do not
    /// exist.
    ///
    /// # Errors
    /// The store does not answer, or the order is of a sale that another node has just made (transient).
    pub async fn order_of(
        &self,
        tenant: &str,
        buyer: &str,
        id: OrderId,
    ) -> Result<Option<Order>, StoreError> {
        let pending = self.pending(tenant, buyer, id);
        let durable = self.order(id).await?;
        // Looked for in memory first: an order that became durable in between is found in the store.
        let Some(owned) = durable.filter(|order| order.placed.buyer.as_str() == buyer) else {
            return Ok(pending);
        };
        match self.sale_of(owned.placed.sale).await? {
            Some(sale) => Ok(Some(owned).filter(|_| sale.key.tenant() == tenant)),
            // It was refused when its sale was deleted.
            None => Ok(None),
        }
    }

    /// The buyer's order that waits for the writer, from its claim. However many sales there are, only its own is asked.
    fn pending(&self, tenant: &str, buyer: &str, id: OrderId) -> Option<Order> {
        let sale = self.admission.flight().sale_of(id)?;
        let sales = self.admission.board().sales();
        sales.by_id(sale).filter(|sale| sale.key.tenant() == tenant)?.pending_order(buyer, id)
    }

    /// Orders above `after`, oldest first, at most `limit`, of the sale if one is named.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn orders_after(
        &self,
        sale: Option<SaleId>,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let orders = self.read(move |store| store.orders_after(sale, after, limit)).await?;
        Ok(orders.into_iter().map(|order| self.shown(order)).collect())
    }

    /// The same of those that pass the filter, but nothing above a number that may still become durable, here or at another node: who goes on from
    /// the last number he has seen misses nothing.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn complete_orders(
        &self,
        filter: OrderFilter,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<CompleteOrders, StoreError> {
        // Before the store is read: what is complete by now is seen there.
        let through = self.admission.flight().complete_through(None);
        let found = self.read(move |store| store.complete_orders(&filter, after, limit, through)).await?;
        let orders = found.orders.into_iter().map(|order| self.shown(order)).collect();
        Ok(CompleteOrders { orders, ..found })
    }

    /// Events above `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut events = self.read(move |store| store.events_after(after, limit)).await?;
        for event in &mut events {
            event.order = self.shown(event.order.clone());
        }
        Ok(events)
    }

    /// The refunds of an order, in order.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn refunds(&self, order: OrderId) -> Result<Vec<RefundRecord>, StoreError> {
        self.read(move |store| store.refunds(order)).await
    }

    /// Entries of the trail above `after` that are about the tenant or about all tenants, in order, at most `limit`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn trail_after(
        &self,
        tenant: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<TrailEntry>, StoreError> {
        let tenant = tenant.to_owned();
        self.read(move |store| store.trail_after(&tenant, after, limit)).await
    }

    /// Entries of the trail that pass the filter, the newest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn trail_page(&self, filter: TrailFilter) -> Result<Vec<TrailEntry>, StoreError> {
        self.read(move |store| store.trail_page(&filter)).await
    }

    /// Tells in the trail what was done elsewhere than in the store.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn tell(&self, act: Act) -> Result<(), StoreError> {
        self.ask(|reply| Step::Tell(Box::new(act), reply)).await
    }

    /// The sale's units, counted in the store. `None` when there is no such sale.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn audit(&self, sale: SaleId) -> Result<Option<Audit>, StoreError> {
        self.read(move |store| store.audit(sale)).await
    }

    /// A sale as it is stored. `None` when there is no such sale.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn sale(&self, id: SaleId) -> Result<Option<Sale>, StoreError> {
        self.read(move |store| store.sale(id)).await
    }

    /// A sale whatever has become of it: as it is on the board, or, when it is not there (it is archived, or another node has
    /// just made it), as it is stored, without units and buyers.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn sale_of(&self, id: SaleId) -> Result<Option<Arc<LiveSale>>, StoreError> {
        if let Some(live) = self.admission.board().sales().by_id(id) {
            return Ok(Some(Arc::clone(live)));
        }
        Ok(self.sale(id).await?.map(|stored| Arc::new(LiveSale::off_board(stored))))
    }

    /// The archived sale of this name.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn archived_sale(&self, key: &SaleKey) -> Result<Option<Sale>, StoreError> {
        let key = key.clone();
        self.read(move |store| store.archived_sale(&key)).await
    }

    /// The tenant's archived sales, oldest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn archived_sales(&self, tenant: &str) -> Result<Vec<Sale>, StoreError> {
        let tenant = tenant.to_owned();
        self.read(move |store| store.archived_sales(&tenant)).await
    }

    /// Archives or deletes a sale.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn retire_sale(&self, retirement: Retirement) -> Result<RetirementReceipt, StoreError> {
        self.ask(|reply| Step::RetireSale(Box::new(retirement), reply)).await
    }

    /// Goes on moving the orders of archived sales away from those of live ones, by at most `max`. 0 when nothing is left to do, or another
    /// engine is at it.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn move_archived(&self, max: usize) -> Result<usize, StoreError> {
        self.ask(|reply| Step::MoveArchived(max, reply)).await
    }

    /// Archived sales whose orders have yet to move.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn moving_sales(&self) -> Result<Vec<SaleId>, StoreError> {
        self.read(|store| store.moving_sales()).await
    }

    /// Tells the other engines that share the store what this one has to tell, and hears what they have told of late.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn exchange_figures(&self, own: Option<OwnFigures>) -> Result<Vec<ToldFigures>, StoreError> {
        self.read(move |store| store.exchange_figures(own.as_ref())).await
    }

    /// All live sales, oldest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn sales(&self) -> Result<Vec<Sale>, StoreError> {
        self.read(|store| store.sales()).await
    }

    /// Takes a step in a durable order's life. When this returns [`Applied::Done`] it is durable; the units and the
    /// claim of a cancelled or expired order are free again.
    ///
    /// # Errors
    /// Too many steps wait (transient), or the store failed.
    pub async fn apply(&self, transition: Transition) -> Result<Applied, StoreError> {
        let applied = self.ask(|reply| Step::Transition(transition, reply)).await?;
        Ok(self.shown_applied(applied))
    }

    /// Makes a sale. `None` when the tenant has one of that name.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn create_sale(
        &self,
        key: SaleKey,
        terms: SaleTerms,
        total: Units,
        act: Option<SaleAct>,
    ) -> Result<Option<Sale>, StoreError> {
        self.ask(|reply| Step::CreateSale(Box::new((key, terms, total, act)), reply)).await
    }

    /// Changes a sale.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn change_sale(&self, change: SaleChange) -> Result<ChangeReceipt, StoreError> {
        self.ask(|reply| Step::ChangeSale(Box::new(change), reply)).await
    }

    /// Where purchases are decided.
    pub(super) fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.admission)
    }

    /// Stops sales, or has them go on, and answers with all that is stopped then.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn change_stops(&self, change: StopChange) -> Result<Stops, StoreError> {
        self.ask(|reply| Step::ChangeStops(Box::new(change), reply)).await
    }

    /// With the deadline as it stands.
    pub(super) fn shown(&self, order: Order) -> Order {
        self.deadlines.graces().shown(order, self.clock.calendar())
    }

    fn shown_applied(&self, applied: Applied) -> Applied {
        match applied {
            Applied::Done(order) => Applied::Done(self.shown(order)),
            Applied::Refused(order) => Applied::Refused(self.shown(order)),
            Applied::UnknownOrder => Applied::UnknownOrder,
        }
    }

    /// Moves the deadline of an order to `pay_before`, or to the next later time that is possible. An order that has more
    /// time keeps it, one that waits for nothing any more is refused.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn extend(
        &self,
        id: OrderId,
        pay_before: EpochMs,
        act: Option<Act>,
    ) -> Result<Applied, StoreError> {
        let Some(order) = self.lookups.order(&self.reader, id).await? else {
            return Ok(Applied::UnknownOrder);
        };
        let at = self.clock.calendar();
        let row = self.deadlines.graces().row_for(&order.placed, pay_before, at);
        let step = DeadlineStep::Extend { order: id, pay_before: row, at };
        match self.move_deadlines(step, act).await? {
            DeadlineStepped::Order(applied) => Ok(self.shown_applied(*applied)),
            DeadlineStepped::Done => Ok(Applied::UnknownOrder),
        }
    }

    /// Grants a grace, durably, and takes it over together with what other nodes have granted.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn grant(&self, grace: Grace, act: Option<Act>) -> Result<(), StoreError> {
        self.move_deadlines(DeadlineStep::Grant(grace), act).await?;
        self.take_grants().await
    }

    /// Takes over what was granted, here or at other nodes.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn take_grants(&self) -> Result<(), StoreError> {
        let deadlines = Arc::clone(&self.deadlines);
        self.read(move |store| deadlines.take_granted(|| store.graces(), true)).await
    }

    /// Writes down that the engine lives.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn mark_alive(&self) -> Result<(), StoreError> {
        self.move_deadlines(DeadlineStep::Alive(self.clock.calendar()), None).await.map(drop)
    }

    /// Moves the deadlines with a calendar that jumps ahead by `off_ms`, so that nobody loses time. One that jumps back
    /// gives time by itself. A gift and no outage: should the calendar jump back again, orders of the hour that comes twice
    /// are not concerned.
    pub(super) async fn move_calendar(&self, off_ms: i64) -> Result<(), StoreError> {
        if off_ms <= 0 {
            return Ok(());
        }
        let now = self.clock.calendar();
        self.grant(Grace::gift(None, now, off_ms, "the calendar was set ahead".into()), None).await
    }

    /// Tells some of those who wait that their deadlines have moved, at most `max` orders.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`]; those orders are the next to be told.
    pub async fn tell_moved(&self, max: usize) -> Result<(), StoreError> {
        let Some((grace, orders)) = self.deadlines.next_untold(max) else { return Ok(()) };
        let told = self.tell_of(&grace, orders.clone()).await;
        if told.is_err() {
            self.deadlines.still_untold(grace, orders);
        }
        told
    }

    async fn tell_of(&self, grace: &Grace, orders: Vec<OrderId>) -> Result<(), StoreError> {
        let orders = self.read(move |store| store.orders(&orders)).await?;
        let moved = |order: &Order| order.status == OrderStatus::PrePay && grace.concerns(&order.placed);
        let orders: Vec<OrderId> =
            orders.into_iter().flatten().filter(moved).map(|order| order.placed.id).collect();
        if !orders.is_empty() {
            self.move_deadlines(DeadlineStep::Tell { orders, at: self.clock.calendar() }, None).await?;
        }
        Ok(())
    }

    async fn move_deadlines(
        &self,
        step: DeadlineStep,
        act: Option<Act>,
    ) -> Result<DeadlineStepped, StoreError> {
        self.ask(|reply| Step::Deadlines(Box::new(step), act.map(Box::new), reply)).await
    }

    /// The store's connections.
    pub fn pool_figures(&self) -> PoolFigures {
        self.reader.pool_figures()
    }

    /// The store's write-ahead log, where it keeps it itself.
    pub fn log_figures(&self) -> Option<LogFigures> {
        self.reader.log_figures()
    }

    /// Steps that may wait for the writer.
    pub fn steps_capacity(&self) -> usize {
        self.steps.capacity().unwrap_or(usize::MAX)
    }

    /// Steps that wait for the writer.
    pub fn steps_waiting(&self) -> usize {
        self.steps.len()
    }

    /// Has the writers finish what waits and close the store. Blocks for at most `wait`; `false` when that was not
    /// enough. Call it when nothing is put in the queue any more.
    pub fn stop(&self, wait: Duration) -> bool {
        let (stopped, ended) = mpsc::channel();
        let stop = Step::Stop(StopRelay::new(self.writers, self.steps.clone(), stopped));
        if self.steps.send_timeout(stop, wait).is_err() {
            return false;
        }
        self.admission.queue().knock();
        // The last writer drops its end once the store is closed.
        matches!(ended.recv_timeout(wait), Err(mpsc::RecvTimeoutError::Disconnected))
    }

    pub(super) async fn ask<T>(&self, step: impl FnOnce(ReplySender<T>) -> Step) -> Result<T, StoreError> {
        let gone = || StoreError::fatal("the order writer has ended; the outcome is known at the next start");
        let (reply, answer) = oneshot::channel();
        self.steps.try_send(step(reply)).map_err(|error| match error {
            flume::TrySendError::Full(_) => StoreError::transient(
                "too many order steps wait for the writer; raise store.steps_max or try again",
            ),
            flume::TrySendError::Disconnected(_) => gone(),
        })?;
        self.admission.queue().knock();
        answer.await.map_err(|_| gone())?
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn StoreReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reader = Arc::clone(&self.reader);
        ReadCancellation::read(move || query(&*reader)).await
    }
}
