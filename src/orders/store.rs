//! What an order store must do, whatever database is behind it.
//!
//! Writing is batched: one [`Batch`] is one transaction. Reading goes past the writers, on connections of its own.

use crate::domain::{EpochMs, NewOrder, Order, OrderAction, OrderId, SaleId};

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
