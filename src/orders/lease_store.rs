//! What the ledger's protocol needs of a store that several engines share.

use std::time::Instant;

use super::audit::Audit;
use super::store_error::StoreError;
use crate::domain::{KnownNode, NodeId, OrderId, SaleId, SaleKey, SaleUnits};

/// What the share of this engine's own node in a sale is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedShare {
    /// The sale.
    pub sale: SaleId,
    /// The life of the node in whose name it is.
    pub life: u64,
    /// Which turn of calls of that life this is: a call of a former turn, that comes late, changes nothing.
    pub turn: u64,
    /// Units that the node may sell in all, sold ones included.
    pub units: u64,
}

/// The book of a sale that has ended: there is nothing to lend any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBook {
    /// The sale.
    pub sale: SaleId,
    /// The name under which its book was opened. Of a deleted sale it may be another one's by now.
    pub key: SaleKey,
    /// The last epoch that was given to it. No other one will be, and those of a later sale of that name are above it.
    pub last_epoch: u64,
}

/// The leasing half of a store that several engines share: it is the fence of the stock that they are lent. All methods
/// but one block, and may be repeated by anyone.
pub trait LeaseStore: Send + Sync + std::fmt::Debug {
    /// Begins a new life of this engine's own node, with a number above `known`: its batches name it from now on. Never
    /// called while an order of the last life is in flight or a unit of its stock is on sale.
    ///
    /// # Errors
    /// What the database says.
    fn begin_life(&self, known: u64) -> Result<u64, StoreError>;

    /// The highest number of a durable order, of whatever node. A new life gives out only higher ones: what was shown to a
    /// follower of the orders before it began lies below them.
    ///
    /// # Errors
    /// What the database says.
    fn newest_order(&self) -> Result<Option<OrderId>, StoreError>;

    /// Ends the life `life` of `node`, and no later one. Answers with the number after it, which nobody else is given;
    /// `None` when that life is over already: a later one has begun, or somebody else has ended it. When this returns, no
    /// batch of that life commits any more.
    ///
    /// # Errors
    /// What the database says.
    fn end_life(&self, node: NodeId, life: u64) -> Result<Option<u64>, StoreError>;

    /// All nodes that ever lived, by number.
    ///
    /// # Errors
    /// What the database says.
    fn incarnations(&self) -> Result<Vec<KnownNode>, StoreError>;

    /// Ends the present epoch of the sale, which is `seen` or later, and answers with a new one that nobody else is given:
    /// a book that two open under one number could be opened twice. `None` when there is no such sale, or it has ended: no
    /// book of it is opened any more.
    ///
    /// # Errors
    /// What the database says.
    fn end_epoch(&self, sale: SaleId, seen: u64) -> Result<Option<u64>, StoreError>;

    /// Has the share of this engine's own node in a sale be what is wanted: never below what is sold, and raised only as far
    /// as all shares together stay within the total and what came back. Returns what the share is then; `None` when that life
    /// of the node is over, or there is no such sale.
    ///
    /// # Errors
    /// What the database says.
    fn set_share(&self, wanted: WantedShare) -> Result<Option<u64>, StoreError>;

    /// The same for many sales, in the same places: all of them or, with an error, perhaps none.
    ///
    /// # Errors
    /// What the database says.
    fn set_shares(&self, wanted: &[WantedShare]) -> Result<Vec<Option<u64>>, StoreError> {
        wanted.iter().map(|wanted| self.set_share(*wanted)).collect()
    }

    /// Takes from the share of `node` what its life `life`, which is over, did not sell. What a later life has in its own name
    /// stays.
    ///
    /// # Errors
    /// What the database says.
    fn release_share(&self, sale: SaleId, node: NodeId, life: u64) -> Result<(), StoreError>;

    /// The sale's units, in one snapshot. `None` when there is no such sale, or it has ended.
    ///
    /// # Errors
    /// What the database says.
    fn units(&self, sale: SaleId) -> Result<Option<SaleUnits>, StoreError>;

    /// The units of many sales, each as [`LeaseStore::units`] tells them, in the same places.
    ///
    /// # Errors
    /// What the database says.
    fn units_of(&self, sales: &[SaleId]) -> Result<Vec<Option<SaleUnits>>, StoreError> {
        sales.iter().map(|sale| self.units(*sale)).collect()
    }

    /// The sale's units as its orders hold them and as [`LeaseStore::units`] counts them, in one snapshot. `None` when
    /// there is no such sale.
    ///
    /// # Errors
    /// What the database says.
    fn audit(&self, sale: SaleId) -> Result<Option<(Audit, SaleUnits)>, StoreError>;

    /// At most `max` sales that have ended and whose books are to be forgotten: these, and others that nobody has
    /// [forgotten](Self::books_forgotten) yet, whichever node lent their stock. None of a store whose sales never end.
    ///
    /// # Errors
    /// What the database says.
    fn left_books(&self, ended: &[SaleId], max: usize) -> Result<Vec<LeftBook>, StoreError> {
        let _ = (ended, max);
        Ok(Vec::new())
    }

    /// Redis has no book of these sales any more.
    ///
    /// # Errors
    /// What the database says.
    fn books_forgotten(&self, sales: &[SaleId]) -> Result<(), StoreError> {
        let _ = sales;
        Ok(())
    }

    /// This node's memory knows all orders that were durable at this moment, wherever they were bought. `None` when it has
    /// not followed the store yet. Does not block.
    fn followed_until(&self) -> Option<Instant>;
}
