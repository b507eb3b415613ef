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
    /// The highest life of the node that a book knows, as far as it was heard.
    known: u64,
}

impl NodeLife {
    /// The life `incarnation`, which has just begun in the store.
    pub fn new(rules: Rules, node: NodeId, incarnation: u64) -> Self {
        Self { rules, node, incarnation, is_over: false, known: 0 }
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

    /// The store has refused what was written in the life `incarnation`. Whether that is news: an answer may come when the
    /// next life has begun, which goes on.
    pub fn end(&mut self, incarnation: u64) -> bool {
        let is_news = incarnation == self.incarnation && !self.is_over;
        self.is_over |= is_news;
        is_news
    }

    /// This life is over, says a book that knows the life `known`: the next one is above it.
    pub fn end_below(&mut self, known: u64) {
        self.is_over = true;
        self.known = self.known.max(known);
    }

    /// The highest life of the node that a book knows, as far as it was heard: the next one must be above it, also in a
    /// store that was put back to an older state.
    pub fn known(&self) -> u64 {
        self.known
    }

    /// Whether it is over: nothing is said any more, and no purchase admitted, until the next one begins.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether everything has to be taken off sale.
    pub fn drops_stock(&self) -> bool {
        self.is_over && self.rules.keep(Rule::DropsStockAtEnd)
    }

    /// Whether the node says that it lives, where `is_cut_off` says that the store has not answered it for long. Then it
    /// does not: it cannot sell, and what it holds is in its share, from which only the others can take it.
    pub fn beats(&self, is_cut_off: bool) -> bool {
        !(is_cut_off && self.rules.keep(Rule::FallsSilentWhenCutOff))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_an_earlier_life_does_not_end_the_present_one() {
        let mut life = NodeLife::new(Rules::sound(), NodeId::new(1).unwrap(), 3);
        assert!(life.end(3));
        assert!(!life.end(3), "no news");
        life.begin(5);
        assert!(!life.end(3));
        assert!(!life.is_over());
        assert!(life.end(5));
    }
}
