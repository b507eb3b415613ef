//! Where the rest of the engine asks the lender's clerk, who alone knows what this node holds.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::super::books::ThreeBooks;
use super::super::withdrawal::Withdrawal;
use super::withholding::Withhold;
use crate::domain::SaleId;

/// Requests that may wait for the clerk. They are an operator's: few.
const REQUESTS_MAX: usize = 64;

/// A request to the clerk. One that is dropped was not carried out.
#[derive(Debug)]
pub enum Request {
    /// Take units off sale.
    Withhold(Withhold),
    /// Compare the books of the sale.
    Compare(SaleId, oneshot::Sender<ThreeBooks>),
}

/// The door; cheap to clone.
#[derive(Clone, Debug)]
pub struct LenderDoor(flume::Sender<Request>);

impl LenderDoor {
    /// A door and its other side.
    pub(super) fn new() -> (Self, flume::Receiver<Request>) {
        let (door, requests) = flume::bounded(REQUESTS_MAX);
        (Self(door), requests)
    }

    /// Takes `units` of the sale off sale, from wherever they are. `None` when there are not as many unsold within
    /// `wait`; then nothing has changed.
    pub async fn withhold(&self, sale: SaleId, units: u64, wait: Duration) -> Option<Withdrawal> {
        let (answer, answered) = oneshot::channel();
        let request = Withhold { sale, units, give_up_at: Instant::now() + wait, answer };
        self.0.try_send(Request::Withhold(request)).ok()?;
        // A clerk that waits for Redis does not look at its watch. An answer that nobody takes puts the units back.
        timeout(2 * wait, answered).await.ok()?.ok()
    }

    /// The three books of the sale, read and compared now. `None` when one of them cannot be read within `wait`.
    pub async fn compare(&self, sale: SaleId, wait: Duration) -> Option<ThreeBooks> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Request::Compare(sale, answer)).ok()?;
        timeout(wait, answered).await.ok()?.ok()
    }
}
