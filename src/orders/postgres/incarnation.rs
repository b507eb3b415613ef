//! The incarnation of this node: each start, and each return after a fence, is another one.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use super::rows;
use crate::domain::NodeId;

/// Which incarnation of which node this engine is. The writers name it in every batch.
///
/// # Protocol of the atomic
///
/// `number` is read once a batch, and before a refund begins. A batch that reads the old one is refused by the store, and a
/// refund that does is not given up here: relaxed. `writers` counts those that may still commit; the last one that closes has
/// seen the ends of the others: acquire and release.
#[derive(Debug)]
pub struct NodeIncarnation {
    node: NodeId,
    number: AtomicI64,
    writers: AtomicUsize,
}

impl NodeIncarnation {
    /// None has begun: nothing can be written.
    pub fn none(node: NodeId) -> Self {
        Self { node, number: AtomicI64::new(0), writers: AtomicUsize::new(0) }
    }

    /// A new one begins.
    pub fn begin(&self, number: i64) {
        self.number.store(number, Ordering::Relaxed);
    }

    /// The node's number in its column.
    pub fn node(&self) -> i16 {
        rows::column(self.node.number())
    }

    /// One more writer may commit.
    pub fn writer_opened(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// One writer commits nothing any more. Whether it was the last.
    pub fn writer_closed(&self) -> bool {
        self.writers.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// The incarnation that is current as far as this engine knows.
    pub fn number(&self) -> i64 {
        self.number.load(Ordering::Relaxed)
    }
}
