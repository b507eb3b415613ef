//! What is given back of what an order paid: in whole or part, with or without its units going back on sale.

use super::money::Cents;
use super::sale::Units;

/// Refunds of one order at most, those that came to nothing included.
pub const REFUNDS_MAX: u32 = 100;

/// The refunds of an order: what is given back for certain, and the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refunds {
    /// How many were begun: the number of the latest. 0 before the first.
    pub begun: u32,
    /// What the latest gives back, or gave. 0 when it came to nothing.
    pub amount: Cents,
    /// Units that the latest puts back on sale, or put.
    pub restock: Units,
    /// Given back by all of them together.
    pub refunded: Cents,
    /// Units put back on sale by all of them together.
    pub restocked: Units,
}

/// Which of its units an order gives up with a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restock {
    /// So many.
    Units(Units),
    /// All that it still holds.
    All,
}

/// A refund as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefundRequest {
    /// Which refund of the order it is to be, counted from 1: asked for twice under one number, it is made once. `None`:
    /// whichever is next.
    pub number: Option<u32>,
    /// How much; `None`: all that is left.
    pub amount: Option<Cents>,
    /// Units that go back on sale when it is made.
    pub restock: Restock,
}

/// Why an order takes no such refund now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundRefusal {
    /// It was never paid.
    NotPaid,
    /// Another one is under way.
    UnderWay,
    /// Nothing is left of what it paid.
    NothingLeft,
    /// The next refund has another number.
    OtherNumber {
        /// That one.
        next: u32,
    },
    /// More than is left, or nothing at all.
    Amount {
        /// What is left.
        left: Cents,
    },
    /// More units than the order holds.
    Units {
        /// What it holds.
        held: Units,
    },
    /// It had [`REFUNDS_MAX`].
    TooMany,
}

/// How the latest refund of an order ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundEnd {
    /// Which refund: what is heard late of one must not end the next.
    pub number: u32,
    /// Why it comes to nothing, or an operator's reason to say so.
    pub why: Option<String>,
    /// Only in this life of the node: of whoever concludes from what it did itself that nothing was done. Who takes a refund over
    /// ends that life before. `None`: in any life.
    pub only_in_life: Option<u64>,
}

/// What a step is about that begins or ends a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundStep {
    /// A new one, and why it is made.
    New {
        /// What is asked for.
        request: RefundRequest,
        /// Why; kept for good.
        reason: String,
    },
    /// The end of the latest.
    End(RefundEnd),
}
