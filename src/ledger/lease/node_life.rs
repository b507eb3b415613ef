//! A node's life, which the order store numbers: how it ends, and when the next one may begin.

use super::rules::{Rule, Rules};
use crate::domain::NodeId;

/// The life of this node, over all sales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeLife {
    rules: Rules,
    node: NodeId,
    incarnation: u64,
    is_over: bool,
}

impl NodeLife {
    /// The life `incarnation`, which has just begun in the store.
    pub fn new(rules: Rules, node: NodeId, incarnation: u64) -> Self {
        Self { rules, node, incarnation, is_over: false }
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Which life it is.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The rules that the node keeps.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The store or a book has said that this life is over, or refused what it sold.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether it is over: nothing is said any more, and no purchase admitted, until the next one begins.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether everything has to be taken off sale.
    pub fn drops_stock(&self) -> bool {
        self.is_over && self.rules.keep(Rule::DropsStockAtEnd)
    }

    /// Whether the next life may begin while so many orders or units are on their way to the store: nothing of the last
    /// one may reach it under the next one's number.
    pub fn may_begin_again(&self, in_flight: u64) -> bool {
        self.is_over && in_flight == 0
    }

    /// The next life has begun in the store.
    pub fn begin(&mut self, incarnation: u64) {
        (self.incarnation, self.is_over) = (incarnation, false);
    }
}
