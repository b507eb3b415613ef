//! What the engines that share a store tell each other of themselves, for whoever watches at one of them. The store carries it
//! and knows nothing of what it says.

use crate::domain::NodeId;

/// What this engine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFigures {
    /// Whether somebody watches here: the others are to tell, too.
    pub is_watched: bool,
    /// The figures, as the engines write them to each other.
    pub figures: String,
}

/// What another engine has told within the last seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldFigures {
    /// The node.
    pub node: NodeId,
    /// Whether somebody watches there.
    pub is_watched: bool,
    /// The figures.
    pub figures: String,
}
