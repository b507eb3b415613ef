//! What the other nodes did to orders, taken over into this node's memory.
//!
//! Nothing depends on it being quick: the store refuses what memory does not know yet. It makes the refusals cheap, and
//! it frees a claim here when the order was given up there.

use std::sync::Arc;

use super::events::EventKind;
use super::store::{StoreError, StoreReader};
use crate::admission::Admission;
use crate::domain::NodeId;

/// Events that are read at once.
const PAGE: usize = 1_000;

/// Follows the event log of a store that several nodes share.
#[derive(Debug)]
pub struct Follower {
    admission: Arc<Admission>,
    reader: Arc<dyn StoreReader>,
    node: NodeId,
    /// The number of the last event that memory knows.
    after: u64,
}

impl Follower {
    /// Follows from `after` on, the last event that a start has read
    /// ([`Recovered::last_event`](super::Recovered::last_event)).
    pub fn new(admission: Arc<Admission>, reader: Arc<dyn StoreReader>, node: NodeId, after: u64) -> Self {
        Self { admission, reader, node, after }
    }

    /// Takes over what has happened since the last time, at most one page of it. Says how many events that were.
    /// Blocks.
    ///
    /// # Errors
    /// The store does not answer; the next call goes on from the same place.
    pub fn catch_up(&mut self) -> Result<usize, StoreError> {
        let events = self.reader.events_after(self.after, PAGE)?;
        let sales = self.admission.board().sales();
        for event in &events {
            let placed = &event.order.placed;
            self.after = event.seq;
            // A sale that this node does not sell has no claims here.
            let Some(sale) = sales.by_id(placed.sale) else { continue };
            let claims = sale.state.claims();
            match event.kind {
                // This node's own orders have their claims since before they were durable.
                EventKind::Created if placed.id.node() != self.node => claims.restore(&event.order),
                EventKind::Created | EventKind::Paid => {}
                EventKind::Cancelled | EventKind::Expired => claims.release(placed.buyer.as_str(), placed.id),
            }
        }
        Ok(events.len())
    }
}
