//! Work for the writers that is not a purchase, and where its answers go.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::retirement::{Retirement, RetirementReceipt};
use super::sale_change::{ChangeReceipt, SaleChange, StopChange};
use super::store::{DeadlineStep, DeadlineStepped, StoreError};
use super::trail::{Act, SaleAct};
use super::transition::{Applied, Transition};
use super::webhook_log::WebhookStep;
use crate::admission::Queue;
use crate::domain::{DrawMix, Registration, RoomMove, Sale, SaleId, SaleKey, SaleTerms, Stops, Units};

/// Where the answer to a step goes.
pub(super) type ReplySender<T> = oneshot::Sender<Result<T, StoreError>>;

/// Work for the writer that is not a purchase.
#[derive(Debug)]
pub(super) enum Step {
    /// A step in an order's life.
    Transition(Transition, ReplySender<Applied>),
    /// Make a sale. The answer is `None` when the name is taken.
    CreateSale(Box<(SaleKey, SaleTerms, Units, Option<SaleAct>)>, ReplySender<Option<Sale>>),
    /// Move deadlines.
    Deadlines(Box<DeadlineStep>, Option<Box<Act>>, ReplySender<DeadlineStepped>),
    /// Stop sales, or have them go on.
    ChangeStops(Box<StopChange>, ReplySender<Stops>),
    /// Tell in the trail what was done elsewhere.
    Tell(Box<Act>, ReplySender<()>),
    /// Archive or delete a sale.
    RetireSale(Box<Retirement>, ReplySender<RetirementReceipt>),
    /// Go on moving orders of archived sales, by so many at most.
    MoveArchived(usize, ReplySender<usize>),
    /// Write registrations at waiting rooms down.
    Register(Vec<Registration>, ReplySender<()>),
    /// Move the marks of a waiting room.
    MoveRoom(Box<RoomMove>, ReplySender<()>),
    /// Decide what the draw of a sale is mixed with.
    DecideMix(Box<(SaleId, DrawMix, Option<Act>)>, ReplySender<Option<DrawMix>>),
    /// Go on forgetting the rooms of deleted sales, by so many rows at most.
    ForgetRooms(usize, ReplySender<usize>),
    /// Write down how webhooks go.
    Webhooks(Box<WebhookStep>, ReplySender<bool>),
    /// Change a sale.
    ChangeSale(Box<SaleChange>, ReplySender<ChangeReceipt>),
    /// Finish what waits, close the store, tell the next writer, end.
    Stop(StopRelay),
}

/// The word to stop, handed from writer to writer until the last one has ended.
#[derive(Debug)]
pub(super) struct StopRelay {
    writers_left: usize,
    steps: flume::Sender<Step>,
    /// Dropped by the last writer.
    ended: mpsc::Sender<()>,
}

impl StopRelay {
    /// A word for `writers` writers that receive from `steps`. The last one drops `ended`.
    pub fn new(writers: usize, steps: flume::Sender<Step>, ended: mpsc::Sender<()>) -> Self {
        Self { writers_left: writers, steps, ended }
    }

    /// Whether no other writer is to hear it.
    pub fn is_last(&self) -> bool {
        self.writers_left <= 1
    }

    /// Hands the word on, or ends it.
    pub fn pass_on(self, queue: &Queue) {
        let is_last = self.is_last();
        let Self { writers_left, steps, ended } = self;
        if is_last {
            drop(ended);
            return;
        }
        let next = Self { writers_left: writers_left - 1, steps: steps.clone(), ended };
        // Nobody is left to stop when this fails.
        let _ = steps.send(Step::Stop(next));
        queue.knock();
    }
}
