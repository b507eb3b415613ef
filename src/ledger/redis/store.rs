//! What the ledger needs of the order store, which is its fence.

use std::time::Instant;

use crate::domain::{NodeId, OrderId, SaleId};
use crate::orders::{Audit, StoreError};

/// A sale's units as the store counts them, of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreView {
    /// The epoch of the sale's book.
    pub epoch: u64,
    /// Units ever put on sale.
    pub total: u64,
    /// Grows with every change of `total`.
    pub revision: u64,
    /// Units of orders that hold some.
    pub sold: u64,
    /// Units of orders that were cancelled or have expired. Only grows.
    pub returned: u64,
    /// Units of each node's orders that were ever durable. Only grow.
    pub settled: Vec<(NodeId, u64)>,
}

impl StoreView {
    /// Units of the node's orders that were ever durable.
    pub fn settled_by(&self, node: NodeId) -> u64 {
        self.settled.iter().find(|(known, _)| *known == node).map_or(0, |(_, units)| *units)
    }
}

/// The store's side of the protocol. The methods block; the ledger calls them on threads that may.
pub trait LedgerStore: Send + Sync + 'static {
    /// Begins a new life of this engine's own node: its batches name it from now on. Never called while an order of the
    /// last life is in flight or a unit of its stock is on sale.
    ///
    /// # Errors
    /// The store does not answer.
    fn begin_life(&self) -> Result<u64, StoreError>;

    /// The highest number of a durable order, of whatever node. A new life gives out only higher ones.
    ///
    /// # Errors
    /// The store does not answer.
    fn newest_order(&self) -> Result<Option<OrderId>, StoreError>;

    /// Ends the present life of `node` and answers with a number that no other caller gets. When this returns, no batch
    /// of an earlier life commits any more.
    ///
    /// # Errors
    /// The store does not answer.
    fn raise_incarnation(&self, node: NodeId) -> Result<u64, StoreError>;

    /// All nodes that ever lived, and their present lives.
    ///
    /// # Errors
    /// The store does not answer.
    fn incarnations(&self) -> Result<Vec<(NodeId, u64)>, StoreError>;

    /// Ends the epoch `seen` of the sale, unless it has ended already, and answers with the present one. `None` when
    /// there is no such sale.
    ///
    /// # Errors
    /// The store does not answer.
    fn end_epoch(&self, sale: SaleId, seen: u64) -> Result<Option<u64>, StoreError>;

    /// The sale's units, in one snapshot. `None` when there is no such sale.
    ///
    /// # Errors
    /// The store does not answer.
    fn view(&self, sale: SaleId) -> Result<Option<StoreView>, StoreError>;

    /// Whether this node's memory knows all orders that were durable at `moment`, wherever they were bought. Does not
    /// block.
    fn has_followed(&self, moment: Instant) -> bool;

    /// The sale's units as its orders hold them and as [`LedgerStore::view`] counts them, in one snapshot. `None` when
    /// there is no such sale.
    ///
    /// # Errors
    /// The store does not answer.
    fn audit(&self, sale: SaleId) -> Result<Option<(Audit, StoreView)>, StoreError>;
}
