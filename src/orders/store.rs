//! What an order store must do, whatever database is behind it.
//!
//! Writing is batched: one [`Batch`] is one transaction. Reading goes past the writers, on connections of its own.

use std::sync::Arc;

use super::events::Event;
use super::graces::{Grace, Graces};
use super::log_watch::LogFigures;
use super::node_figures::{OwnFigures, ToldFigures};
use super::refund_record::RefundRecord;
use super::retirement::{Retirement, RetirementReceipt};
use super::room_log::{RoomReader, RoomWriter};
use super::sale_change::{ChangeReceipt, SaleChange, StopChange};
use super::trail::{Act, SaleAct, TrailEntry, TrailFilter};
use super::transition::{Applied, Transition};
use super::wanted_orders::WantedOrders;
use super::webhook_log::{WebhookReader, WebhookWriter};
use crate::domain::{
    EpochMs, NewOrder, NodeId, Order, OrderId, Sale, SaleId, SaleKey, SaleTerms, Stops, StoreIdentity, Units,
};

pub use super::audit::Audit;
pub use super::lease_store::{LeaseStore, LeftBook, WantedShare};
pub use super::order_search::{CompleteOrders, OrderFilter, TenantSales};
pub use super::store_error::{Fault, StoreError};

/// The writing half of a store, in the hands of one writer thread. All methods block.
///
/// After a transient error the same call is made again, until it has another outcome: a store behind a network may not
/// know whether the first attempt was carried out, and finds that out before it does anything else.
pub trait StoreWriter: RoomWriter + WebhookWriter + Send {
    /// Commits the batch in one transaction. What a [`Receipt::Committed`] speaks of survives any crash from then on.
    ///
    /// The last statement before the commit raises what is sold of each sale, only if that stays within its total, or within
    /// this node's share of it: whatever bug there is in memory, this cannot oversell.
    ///
    /// # Errors
    /// See [`Fault`].
    fn commit(&mut self, batch: &Batch) -> Result<Receipt, StoreError>;

    /// Makes a sale, and tells it in the trail if it is an operator's act. `None` when this tenant has one of that name.
    ///
    /// # Errors
    /// As [`StoreWriter::commit`].
    fn create_sale(
        &mut self,
        key: &SaleKey,
        terms: &SaleTerms,
        total: Units,
        act: Option<&SaleAct>,
    ) -> Result<Option<Sale>, StoreError>;

    /// Changes a sale, in one transaction: the change is merged with the sale as it is stored at that moment, whoever else
    /// changes it. Reads and writes the sale's own row and no order.
    ///
    /// # Errors
    /// As [`StoreWriter::commit`].
    fn change_sale(&mut self, change: &SaleChange) -> Result<ChangeReceipt, StoreError>;

    /// Stops sales, or has them go on, and answers with all that is stopped then.
    ///
    /// # Errors
    /// As [`StoreWriter::commit`].
    fn change_stops(&mut self, change: &StopChange) -> Result<Stops, StoreError>;

    /// Moves deadlines, or writes down what is needed for it. Where it does something and is an operator's act, the trail
    /// tells it.
    ///
    /// # Errors
    /// As [`StoreWriter::commit`].
    fn move_deadlines(
        &mut self,
        step: &DeadlineStep,
        act: Option<&Act>,
    ) -> Result<DeadlineStepped, StoreError>;

    /// Tells in the trail what was done elsewhere than in this store, all of it in one transaction.
    ///
    /// # Errors
    /// As [`StoreWriter::commit`].
    fn tell(&mut self, acts: &[Act]) -> Result<(), StoreError>;

    /// Archives or deletes a sale, in one transaction that counts none of its orders, and tells it in the trail. Asked again
    /// after a transient error, it finds out whether it was done.
    ///
    /// # Errors
    /// As [`StoreWriter::commit`].
    fn retire_sale(&mut self, retirement: &Retirement) -> Result<RetirementReceipt, StoreError>;

    /// Goes on moving the orders of archived sales away from those of live ones, by at most `max` in one transaction. 0 when
    /// all are moved and nothing is left to do, or another engine is at it ([`StoreReader::moving_sales`] tells).
    ///
    /// # Errors
    /// As [`StoreWriter::commit`].
    fn move_archived(&mut self, max: usize) -> Result<usize, StoreError>;

    /// A sale's total and sold units.
    ///
    /// # Errors
    /// As [`StoreWriter::commit`].
    fn units_of(&mut self, sale: SaleId) -> Result<(Units, Units), StoreError>;

    /// Leaves the store as a clean stop leaves it.
    ///
    /// # Errors
    /// As [`StoreWriter::commit`].
    fn close(self: Box<Self>) -> Result<(), StoreError>;
}

/// The reading half of a store: sees the last commit, and never makes a writer wait. All methods block: call them where
/// blocking is allowed, never on a thread that drives an async runtime.
pub trait StoreReader: RoomReader + WebhookReader + Send + Sync + std::fmt::Debug {
    /// These orders, in the same places; `None` where there is no such order.
    ///
    /// # Errors
    /// What the database says.
    fn orders(&self, ids: &[OrderId]) -> Result<Vec<Option<Order>>, StoreError>;

    /// One order.
    ///
    /// # Errors
    /// What the database says.
    fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        Ok(self.orders(&[id])?.pop().flatten())
    }

    /// Orders of the buyer that hold units of these sales, in no order, where other engines may make some: those that memory
    /// may not know of yet. None where there are no others.
    ///
    /// # Errors
    /// What the database says.
    fn held_orders(&self, sales: &[SaleId], buyer: &str) -> Result<Vec<(OrderId, SaleId)>, StoreError> {
        let _ = (sales, buyer);
        Ok(Vec::new())
    }

    /// The buyer's orders of archived sales, the newest first.
    ///
    /// # Errors
    /// What the database says.
    fn archived_orders_of(&self, wanted: &WantedOrders) -> Result<Vec<(OrderId, SaleId)>, StoreError>;

    /// The tenant's archived sales, oldest first.
    ///
    /// # Errors
    /// What the database says.
    fn archived_sales(&self, tenant: &str) -> Result<Vec<Sale>, StoreError>;

    /// The archived sale of this name.
    ///
    /// # Errors
    /// What the database says.
    fn archived_sale(&self, key: &SaleKey) -> Result<Option<Sale>, StoreError>;

    /// Archived sales whose orders have yet to move.
    ///
    /// # Errors
    /// What the database says.
    fn moving_sales(&self) -> Result<Vec<SaleId>, StoreError>;

    /// Orders above `after`, oldest first, at most `limit`, of the sale if one is named.
    ///
    /// # Errors
    /// What the database says.
    fn orders_after(
        &self,
        sale: Option<SaleId>,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError>;

    /// As [`StoreReader::orders_after`], of those that pass the filter, but only up to the number below which nothing can become durable any more.
    /// `through` is how far the numbers of this node itself are complete; other nodes say it in a store that they share. Fewer
    /// than `limit` may be found although there are more: how far was looked stands in the answer.
    ///
    /// # Errors
    /// What the database says.
    fn complete_orders(
        &self,
        filter: &OrderFilter,
        after: Option<OrderId>,
        limit: usize,
        through: OrderId,
    ) -> Result<CompleteOrders, StoreError>;

    /// Events above `after`, in order, at most `limit`. What is numbered lower than an event that was seen has been
    /// visible before it: a reader that goes on from the last number misses nothing.
    ///
    /// # Errors
    /// What the database says.
    fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// Entries of the trail above `after` that are about `tenant` or about all tenants, in order, at most `limit`. A reader
    /// that goes on from the last number misses nothing.
    ///
    /// # Errors
    /// What the database says.
    fn trail_after(&self, tenant: &str, after: u64, limit: usize) -> Result<Vec<TrailEntry>, StoreError>;

    /// Entries of the trail that pass the filter, the newest first.
    ///
    /// # Errors
    /// What the database says.
    fn trail_page(&self, filter: &TrailFilter) -> Result<Vec<TrailEntry>, StoreError>;

    /// The refunds of an order, in order.
    ///
    /// # Errors
    /// What the database says.
    fn refunds(&self, order: OrderId) -> Result<Vec<RefundRecord>, StoreError>;

    /// The sale's units, counted as of one moment. `None` when there is no such sale.
    ///
    /// # Errors
    /// What the database says.
    fn audit(&self, sale: SaleId) -> Result<Option<Audit>, StoreError>;

    /// One sale, archived or not. `None` when there is no such sale.
    ///
    /// # Errors
    /// What the database says.
    fn sale(&self, id: SaleId) -> Result<Option<Sale>, StoreError>;

    /// All live sales, oldest first.
    ///
    /// # Errors
    /// What the database says.
    fn sales(&self) -> Result<Vec<Sale>, StoreError>;

    /// What is stopped at once.
    ///
    /// # Errors
    /// What the database says.
    fn stops(&self) -> Result<Stops, StoreError>;

    /// All graces.
    ///
    /// # Errors
    /// What the database says.
    fn graces(&self) -> Result<Vec<Grace>, StoreError>;

    /// The latest moment at which an engine is known to have lived and written to this store.
    ///
    /// # Errors
    /// What the database says.
    fn last_alive(&self) -> Result<Option<EpochMs>, StoreError>;

    /// The life of this engine as its steps are written now. `None` in a store of one engine. Does not block.
    fn life(&self) -> Option<u64> {
        None
    }

    /// Whether another engine that sells from this store lives, and has since that moment, as far as the store can tell.
    ///
    /// # Errors
    /// What the database says.
    fn another_lives_since(&self, _: EpochMs) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Tells the other engines that sell from this store what this one has to tell, if anything, and answers with what they have
    /// told within the last seconds, by number. Nothing where there are no others.
    ///
    /// # Errors
    /// What the database says.
    fn exchange_figures(&self, own: Option<&OwnFigures>) -> Result<Vec<ToldFigures>, StoreError> {
        let _ = own;
        Ok(Vec::new())
    }

    /// Shows the visitor what a start needs, as of one moment: the end of the event log, the names of archived sales, all
    /// live sales, then their orders; of archived sales those that have yet to move, and before all others those whose refund
    /// is under way.
    ///
    /// # Errors
    /// What the database says. What was shown is worth nothing then.
    fn read_all(&self, visitor: &mut dyn StartVisitor) -> Result<(), StoreError>;

    /// What tells this store from every other. Made with the store and never changed.
    ///
    /// # Errors
    /// What the database says.
    fn identity(&self) -> Result<StoreIdentity, StoreError>;

    /// What the store's own calendar says. `None` for a store that has none but this machine's.
    ///
    /// # Errors
    /// What the database says.
    fn calendar(&self) -> Result<Option<EpochMs>, StoreError> {
        Ok(None)
    }

    /// What the connections have done since the start, and are now.
    fn pool_figures(&self) -> PoolFigures;

    /// The write-ahead log, where the store keeps it itself.
    fn log_figures(&self) -> Option<LogFigures> {
        None
    }
}

/// The connections of a store: since the start, and now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// Connections for reading that are kept at most.
    pub capacity: usize,
    /// Of these, connections that are in use now.
    pub in_use: usize,
    /// Of these, connections that wait for use now.
    pub idle: usize,
    /// Connections made.
    pub opened: u64,
    /// Connections that could not be made.
    pub failed: u64,
    /// Connections that were lost, or given up because an answer did not come in time.
    pub broken: u64,
    /// Reads that found a connection ready.
    pub reused: u64,
    /// Reads that had to wait because all connections were in use.
    pub waited: u64,
    /// Of these, reads that were refused because it took too long.
    pub timed_out: u64,
}

/// Who is shown what a start needs.
pub trait StartVisitor: Sync {
    /// Is shown it. Nothing but orders comes after the first order.
    fn see(&mut self, record: Record);

    /// Is called by each thread where several read: who is shown that thread's orders, when all that is no order was seen.
    fn beside(&self) -> Box<dyn OrderVisitor + '_>;
}

/// Who is shown the orders that one of several threads reads, each order by one of them, in no order between them.
pub trait OrderVisitor {
    /// Is shown an order, and the node that took the last step in its life; `None` in a store of one engine.
    fn see(&mut self, order: Order, last_step_by: Option<NodeId>);

    /// There are no more. Not called where the reading failed.
    fn done(self: Box<Self>);
}

/// What [`StoreReader::read_all`] shows.
#[derive(Debug)]
pub enum Record {
    /// The number of the last event, 0 before the first.
    LastEvent(u64),
    /// The highest number of an order that is not among those that are shown.
    NewestElsewhere(OrderId),
    /// The name of an archived sale.
    Archived(SaleKey),
    /// A live sale, or an archived one whose orders have yet to move.
    Sale(Sale),
    /// An order of an archived sale that has moved and whose refund is under way, and the node that took the last step in its
    /// life; `None` in a store of one engine.
    Refunding(Order, Option<NodeId>),
    /// An order, and the node that took the last step in its life; `None` in a store of one engine.
    Order(Order, Option<NodeId>),
}

/// One transaction's worth of work.
#[derive(Debug, Default)]
pub struct Batch {
    /// Purchases to make durable, in any order.
    pub placed: Vec<NewOrder>,
    /// Purchases of sales that refused them: recorded as `rejected`, holding no units.
    pub rejected: Vec<NewOrder>,
    /// Steps of orders that are durable already.
    pub transitions: Vec<Transition>,
    /// By what the deadlines of these orders have moved, as far as memory knows: what was granted the store knows better.
    pub graces: Arc<Graces>,
}

impl Batch {
    /// Whether the deadline of an order decides any of its steps: then what was granted is read from the store.
    pub fn asks_for_the_time(&self) -> bool {
        self.transitions.iter().any(Transition::asks_for_the_time)
    }
}

/// A step that is about when orders run out of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadlineStep {
    /// The engine lives at this moment.
    Alive(EpochMs),
    /// A grace is granted, or an outage that is known lasts longer: done again that changes nothing. A gift beside another one of
    /// its sale and moment counts from the next moment that is free.
    Grant(Grace),
    /// What ended before this moment concerns no open order any more, and is forgotten.
    Forget(EpochMs),
    /// The row of an order that waits to be paid, or is being paid, names a later time; an event tells it.
    Extend {
        /// The order.
        order: OrderId,
        /// What its row shall say. An earlier time than it says changes nothing.
        pay_before: EpochMs,
        /// When this happens.
        at: EpochMs,
    },
    /// Events tell that a grace has moved the deadlines of these orders.
    Tell {
        /// The orders.
        orders: Vec<OrderId>,
        /// When this happens.
        at: EpochMs,
    },
}

/// What became of a [`DeadlineStep`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadlineStepped {
    /// It is durable.
    Done,
    /// What became of the order that was to be extended.
    Order(Box<Applied>),
}

impl DeadlineStepped {
    /// Whether something was done.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Order(applied) => matches!(**applied, Applied::Done(_)),
        }
    }
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Receipt {
    /// All of it is durable, but for the purchases that were refused one by one.
    Committed {
        /// One entry for each transition, in their order.
        applied: Vec<Applied>,
        /// Purchases of which nothing was kept, because of what the buyer has at other nodes.
        refused: Vec<RefusedOrder>,
    },
    /// Nothing is durable: these sales would have sold more than their total.
    Oversold(Vec<SaleId>),
    /// Nothing is durable: the life of this node under which the batch was written is not current any more.
    Fenced {
        /// That life. Another one may have begun before this answer came.
        life: u64,
    },
}

/// A purchase that the store refused alone.
#[derive(Debug, PartialEq, Eq)]
pub struct RefusedOrder {
    /// The refused purchase.
    pub order: OrderId,
    /// Why.
    pub reason: RefusalReason,
}

/// Why the store refused one purchase of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// The buyer's orders would hold more units than one buyer may. The latest of them, if there is one.
    BuyerLimit(Option<Box<Order>>),
    /// The buyer's idempotency key made this order before.
    KeyUsed(Box<Order>),
}
