//! The way of an order from the purchase to the store, put together in one place: queue, admission, writers, desk.

use std::fmt;
use std::sync::Arc;

use super::deadlines::Deadlines;
use super::desk::OrderDesk;
use super::store::{StoreReader, StoreWriter};
use super::writer::{OrderWriter, StockNotice, WriterSettings, WriterWatch};
use crate::admission::{Admission, OrderIds, Queue};
use crate::clock::Clock;

/// What a pipeline is made of.
pub struct PipelineParts {
    /// The writing halves of the store: as many writers as there are.
    pub stores: Vec<Box<dyn StoreWriter>>,
    /// Its reading half.
    pub reader: Arc<dyn StoreReader>,
    /// The numbers of the orders to come.
    pub order_ids: OrderIds,
    /// When orders that wait for their payment run out of time.
    pub deadlines: Arc<Deadlines>,
    /// The time by which orders live.
    pub clock: Clock,
    /// Who lends the stock; `None` when all of it is this engine's own.
    pub lease_agent: Option<flume::Sender<StockNotice>>,
    /// Limits.
    pub settings: WriterSettings,
    /// Who watches the commits.
    pub watch: Arc<dyn WriterWatch>,
}

impl PipelineParts {
    /// Over this store, with stock of the engine's own, a clock of its own, no deadlines yet and nobody who watches.
    pub fn new(
        stores: Vec<Box<dyn StoreWriter>>,
        reader: Arc<dyn StoreReader>,
        order_ids: OrderIds,
        settings: WriterSettings,
    ) -> Self {
        Self {
            stores,
            reader,
            order_ids,
            deadlines: Arc::default(),
            clock: Clock::start(),
            lease_agent: None,
            settings,
            watch: Arc::new(()),
        }
    }
}

impl fmt::Debug for PipelineParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineParts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A pipeline whose writers do not run yet: until they do, sales can be put on the board and nothing is committed.
#[derive(Debug)]
pub struct Pipeline {
    /// Where purchases are decided. It limits no buyer and has no sale.
    pub admission: Arc<Admission>,
    /// The handle to the orders.
    pub desk: OrderDesk,
    /// Each [`runs`](OrderWriter::run) on a thread of its own. When the last one is gone nobody takes work any more.
    pub writers: Vec<OrderWriter>,
}

impl Pipeline {
    /// Puts the parts together.
    pub fn new(parts: PipelineParts) -> Self {
        let PipelineParts { stores, reader, order_ids, deadlines, clock, lease_agent, settings, watch } =
            parts;
        let (queue, arrivals) = Queue::bounded(settings.queue_orders_max);
        let admission = Arc::new(Admission::new(queue, order_ids, None, None));
        let (steps_in, steps) = flume::bounded(settings.steps_max);
        let desk = OrderDesk::new(
            Arc::clone(&admission),
            steps_in,
            reader,
            Arc::clone(&deadlines),
            stores.len(),
            clock,
        );
        let counting = Arc::default();
        let writers = stores.into_iter().map(|store| OrderWriter {
            store,
            admission: Arc::clone(&admission),
            arrivals: arrivals.clone(),
            steps: steps.clone(),
            deadlines: Arc::clone(&deadlines),
            lease_agent: lease_agent.clone(),
            counting: Arc::clone(&counting),
            settings: settings.clone(),
            watch: Arc::clone(&watch),
        });
        let writers = writers.collect();
        Self { admission, desk, writers }
    }
}
