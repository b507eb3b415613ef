//! The engines that sell from one order store, as it knows them.

use super::identity::NodeId;

/// A node that lives, or has lived at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KnownNode {
    /// The node.
    pub node: NodeId,
    /// Its last life, or the number that followed when that one was ended.
    pub incarnation: u64,
    /// Whether that life may go on: nobody has ended it, and the node has not left. What it may sell without being so
    /// stands in its shares.
    pub may_live: bool,
}
