//! Where the units of a sale went, as an order store counts them.

use super::identity::NodeId;

/// A sale's units as the order store counts them, of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SaleUnits {
    /// The epoch of the sale's book: which of its books lends the stock.
    pub epoch: u64,
    /// Units ever put on sale.
    pub total: u64,
    /// Grows with every change of `total`.
    pub revision: u64,
    /// Units of orders that hold some.
    pub sold: u64,
    /// Units of orders that were cancelled or have expired. Only grows.
    pub returned: u64,
    /// Units of each node's orders that were ever durable. Only grow. A node without any may be left out.
    pub settled: Vec<(NodeId, u64)>,
    /// What each node may sell. A node without a share may be left out.
    pub shares: Vec<Share>,
}

/// What a node may sell of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// The node.
    pub node: NodeId,
    /// Its life that has the share: what is not sold is that one's.
    pub life: u64,
    /// Units in all, sold ones included.
    pub granted: u64,
}

impl SaleUnits {
    /// Units of the node's orders that were ever durable.
    pub fn settled_by(&self, node: NodeId) -> u64 {
        self.settled.iter().find(|(known, _)| *known == node).map_or(0, |(_, units)| *units)
    }

    /// The node's share.
    pub fn share_of(&self, node: NodeId) -> Option<&Share> {
        self.shares.iter().find(|share| share.node == node)
    }

    /// Units that the node may sell in all.
    pub fn granted_to(&self, node: NodeId) -> u64 {
        self.share_of(node).map_or(0, |share| share.granted)
    }
}
