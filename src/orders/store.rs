//! What an order store must do, whatever database is behind it.
//!
//! Writing is batched: one [`Batch`] is one transaction. Reading goes past the writers, on connections of its own.

use crate::domain::{EpochMs, NewOrder, Order, OrderAction, OrderId, SaleId, SaleTerms, Units};

/// Why the store did not do as asked. Nothing of the batch is durable, unless `kind` is [`Fault::Fatal`]: then nobody
/// knows until the store is opened again.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// Whether trying again can help.
    pub kind: Fault,
    /// What the database said, and what to do about it.
    pub message: String,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Busy, locked or away: the same batch may pass later.
    Transient,
    /// A failed sync, a full disk, a damaged file: the process must end, and the truth is read at the next start.
    Fatal,
}

impl StoreError {
    /// Whether the same work may pass later.
    pub fn is_transient(&self) -> bool {
        self.kind == Fault::Transient
    }
}

/// A step in the life of a durable order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The order.
    pub order: OrderId,
    /// The step, as in [`OrderStatus::after`](crate::domain::OrderStatus::after). `Persist` and `Reject` are the
    /// writers' own and refused here.
    pub action: OrderAction,
    /// When it happens. `BeginPayment` is refused from `pay_before` on, `Expire` before it.
    pub at: EpochMs,
    /// The payment method, for `BeginPayment`.
    pub payment_method: Option<String>,
}

/// What became of a [`Transition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Durable; the order as it is now.
    Done(Order),
    /// The order's status (or its deadline) does not allow it; the order as it is.
    Refused(Order),
    /// There is no such durable order.
    UnknownOrder,
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
}

/// What a committed batch did.
#[derive(Debug, PartialEq, Eq)]
pub enum Receipt {
    /// All of it is durable; one entry for each transition, in their order.
    Committed(Vec<Applied>),
    /// Nothing is durable: these sales would have sold more than their total.
    Oversold(Vec<SaleId>),
}

/// New terms and a new total for a sale, which may be running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleChange {
    /// The sale.
    pub sale: SaleId,
    /// All of its terms from now on.
    pub terms: SaleTerms,
    /// All units ever put on sale. Not below what is sold.
    pub total: Units,
}

/// A sale's units as the store counts them in one snapshot: `total` and `sold` as the guard keeps them, the rest added
/// up from the orders themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// All units ever put on sale.
    pub total: Units,
    /// Sold units, as the guard counts them.
    pub sold_by_guard: Units,
    /// Units of orders that are pre_pay or paying.
    pub held: u64,
    /// Units of paid orders.
    pub paid: u64,
    /// Orders of any status.
    pub durable_orders: u64,
    /// Buyers whose orders hold more units than one buyer may.
    pub buyers_over_limit: u64,
}

impl Audit {
    /// Units of orders that are held or paid.
    pub fn sold(&self) -> u64 {
        self.held + self.paid
    }

    /// Units that no order holds, by the guard's count.
    pub fn available(&self) -> u64 {
        u64::from(self.total.saturating_sub(self.sold_by_guard))
    }

    /// Whether the guard's count and the orders agree, nothing is oversold, and `leased` units (with other nodes) leave
    /// the sum right.
    pub fn conserved(&self, leased: u64) -> bool {
        self.sold_by_guard <= self.total
            && (self.available() - leased.min(self.available())) + leased + self.sold()
                == u64::from(self.total)
    }
}
