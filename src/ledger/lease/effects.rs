//! What a [`SaleLease`](super::SaleLease) looks at and what it wants done.

use std::time::{Duration, Instant};

use super::drift::{Drift, MemoryView};
use super::errand::Ask;
use crate::domain::NodeId;

/// How stock is lent, and how often is looked.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A lease is what is available divided by this and by the number of live nodes.
    pub lease_divisor: u64,
    /// Units of one lease at most.
    pub lease_units_max: u64,
    /// The next lease is asked for when this much of the last one is left, in percent.
    pub low_water_percent: u64,
    /// How long a node that got nothing waits before it asks again, and between two looks whether others starve.
    pub tail_pause: Duration,
    /// How often the books are compared.
    pub compare_every: Duration,
    /// How long a book may be behind the store's epoch before another one opens it.
    pub rebuild_patience: Duration,
}

/// What this node has in memory of the sale, and whom it hears, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Units on sale here.
    pub on_sale: u64,
    /// Units of orders on their way to the store.
    pub in_flight: u64,
    /// Whether a buyer was turned away for want of units.
    pub is_wanted: bool,
    /// Whether buyers hear that units may still come.
    pub more_may_come: bool,
    /// Units that one buyer may have.
    pub per_buyer_limit: u64,
    /// Other nodes that live.
    pub others_alive: u64,
    /// Memory knows all orders that were durable at this moment, wherever they were bought.
    pub followed_until: Option<Instant>,
    /// Whether the store has not answered this node for long.
    pub is_cut_off: bool,
    /// For how long the books of a sale are not compared once they agree, if nothing happens to it.
    pub rest: Duration,
    /// A lot that was drawn: who has too few units for a large order, like others, hands some back if it falls so.
    pub lot: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Something that has an answer.
    Ask(Ask),
    /// Take so many units off sale, all or none, and say how many it were.
    TakeOffSale(u64),
}

/// The books were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// What was in memory.
    pub memory: MemoryView,
    /// How far the books are apart.
    pub drift: Drift,
}

/// What follows for this node's memory and its books; to be carried out at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Units that go on sale.
    pub put_on_sale: u64,
    /// What buyers hear from now on: that units may still come, or that the sale is over.
    pub more_may_come: Option<bool>,
    /// Unsold units that this node does not have.
    pub elsewhere: Option<u64>,
    /// That buyers were turned away is known.
    pub demand_heard: bool,
    /// The units that an operator wants off sale are off sale.
    pub withdrawal_is_complete: bool,
    /// This life of the node is over, says a book that knows this one.
    pub life_is_over: Option<u64>,
    /// Units that were lent.
    pub leased: u64,
    /// Units that were handed back.
    pub handed_back: u64,
    /// The books were compared.
    pub compared: Option<Compared>,
    /// Movements that bring the ledger towards the store.
    pub repairs: u64,
    /// The book was opened anew.
    pub is_rebuilt: bool,
    /// The units of this silent node were taken back.
    pub reclaimed: Option<NodeId>,
    /// The other nodes are called to the sale: they hold what is wanted here, or have not said yet what they hold.
    pub calls_others: bool,
}
