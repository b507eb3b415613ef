//! Where the rest of the engine asks the lease agent, which alone knows what this node holds.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::super::books::ThreeBooks;
use super::super::withdrawal::Withdrawal;
use crate::domain::SaleId;

/// Requests that may wait for the agent. They are an operator's: few.
const REQUESTS_MAX: usize = 64;

/// A request to the agent. One that is dropped was not carried out.
#[derive(Debug)]
pub(super) enum Request {
    /// Take units off sale.
    Withdraw {
        /// The sale.
        sale: SaleId,
        /// How many units.
        units: u64,
        /// Until when it is tried.
        give_up_at: Instant,
        /// Answered when the units are off sale; dropped when there are not as many.
        answer: oneshot::Sender<Withdrawal>,
    },
    /// Compare the books of the sale.
    Compare(SaleId, oneshot::Sender<ThreeBooks>),
}

/// The handle; cheap to clone.
#[derive(Clone, Debug)]
pub struct LeaseHandle(flume::Sender<Request>);

impl LeaseHandle {
    /// A handle and its other side.
    pub(super) fn new() -> (Self, flume::Receiver<Request>) {
        let (handle, requests) = flume::bounded(REQUESTS_MAX);
        (Self(handle), requests)
    }

    /// Takes `units` of the sale off sale, from wherever they are. `None` when there are not as many unsold within
    /// `wait`; then nothing has changed.
    pub async fn withdraw(&self, sale: SaleId, units: u64, wait: Duration) -> Option<Withdrawal> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Withdraw { sale, units, give_up_at: Instant::now() + wait, answer };
        self.0.try_send(request).ok()?;
        // An agent that waits for Redis does not look at its watch. An answer that nobody takes puts the units back.
        timeout(2 * wait, answered).await.ok()?.ok()
    }

    /// The three books of the sale, read and compared now. `None` when one of them cannot be read within `wait`.
    pub async fn compare(&self, sale: SaleId, wait: Duration) -> Option<ThreeBooks> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Request::Compare(sale, answer)).ok()?;
        timeout(wait, answered).await.ok()?.ok()
    }
}
