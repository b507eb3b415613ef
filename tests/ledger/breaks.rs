//! Deliberate breaks of the protocol. The checker must find each.

/// One rule of the protocol, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The scripts take calls of former lives of a node.
    IgnoresIncarnation,
    /// The scripts take calls of former epochs.
    IgnoresEpoch,
    /// A lease grants anew whatever the node has seen, and the node takes what this one call granted.
    ForgetsSeen,
    /// A Redis that rolled back is believed.
    TrustsAnyLife,
    /// A Redis that rolled back is believed, and the store sells above the total.
    TrustsAnyLifeWithoutGuard,
    /// A hand-back adds to the counter instead of raising it to the new figure.
    MergesByAdding,
    /// A return adds to the counter instead of raising it to the store's count.
    ReturnsByAdding,
    /// A book that was opened anew lends at once.
    OpensWithoutAll,
    /// A book that was opened anew knows no incarnation.
    RebuildForgetsIncarnations,
    /// The store commits batches of fenced nodes.
    NoFence,
    /// A silent node's units are taken by the clock: nothing is fenced.
    ReclaimsByTimeAlone,
    /// The silent node's sold units are counted before it is fenced.
    CountsBeforeFencing,
    /// A node that starts again keeps its incarnation.
    KeepsIncarnation,
    /// A node that starts again takes what it was lent, sold or not.
    ForgetsSold,
    /// Units are handed back and stay on sale until the answer comes.
    HandsBackOnSale,
    /// The unit of an expired order goes back on sale at its node and is also counted as returned.
    ReturnsTwice,
    /// A node that is asked by a new book announces what it was ever lent.
    AnnouncesGranted,
    /// A node announces a second time in one epoch.
    AnnouncesTwice,
    /// A node that noticed its fencing goes on with the stock it had.
    KeepsStockWhenFenced,
    /// The buyer hears before the commit.
    AcknowledgesFirst,
    /// A silent node is never reclaimed.
    NeverReclaims,
}

impl Break {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::IgnoresIncarnation,
        Self::IgnoresEpoch,
        Self::ForgetsSeen,
        Self::TrustsAnyLife,
        Self::TrustsAnyLifeWithoutGuard,
        Self::MergesByAdding,
        Self::ReturnsByAdding,
        Self::OpensWithoutAll,
        Self::RebuildForgetsIncarnations,
        Self::NoFence,
        Self::ReclaimsByTimeAlone,
        Self::CountsBeforeFencing,
        Self::KeepsIncarnation,
        Self::ForgetsSold,
        Self::HandsBackOnSale,
        Self::ReturnsTwice,
        Self::AnnouncesGranted,
        Self::AnnouncesTwice,
        Self::KeepsStockWhenFenced,
        Self::AcknowledgesFirst,
        Self::NeverReclaims,
    ];
}

/// Whether a rolled-back server passes for a sound one.
pub fn trusts_any_life(broken: Option<Break>) -> bool {
    matches!(broken, Some(Break::TrustsAnyLife | Break::TrustsAnyLifeWithoutGuard))
}
