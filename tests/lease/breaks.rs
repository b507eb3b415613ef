//! Deliberate breaks of the protocol. The checker must find each. Those of the node take a rule out of the crate's own
//! machine; those of the scripts, the store and the writer are of their models.

use seckill::ledger::lease::{Rule, Rules};

/// One rule of the protocol, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The node's half of the protocol has all rules but these.
    Node(&'static [Rule]),
    /// The scripts take calls of former lives of a node.
    IgnoresIncarnation,
    /// The scripts take calls of former epochs.
    IgnoresEpoch,
    /// A Redis that rolled back is believed.
    TrustsAnyServer,
    /// A Redis that rolled back is believed, and the sale's row does not bound the shares.
    TrustsAnyServerWithoutGuard,
    /// A Redis that rolled back is believed, what was lent is on sale before the share is written, and a batch does not look
    /// at it.
    SellsWithoutShare,
    /// A hand-back adds to the counter instead of raising it to the new figure.
    MergesByAdding,
    /// A return adds to the counter instead of raising it to the store's count.
    ReturnsByAdding,
    /// The store changes a share as a call says that was given up.
    IgnoresTurns,
    /// A book that was opened anew lends at once.
    OpensWithoutAll,
    /// The store gives one epoch to all who end the one before.
    SharesEpochs,
    /// The store commits batches of fenced nodes.
    NoFence,
    /// A node that starts again keeps its incarnation.
    KeepsIncarnation,
    /// The unit of an expired order goes back on sale at its node and is also counted as returned.
    ReturnsTwice,
    /// The buyer hears before the commit.
    AcknowledgesFirst,
    /// A store that went back goes on with the epochs that it had.
    KeepsItsTimeline,
}

impl Break {
    /// All of them, but for those that `hearing` finds.
    pub const ALL: [Self; 32] = [
        Self::Node(&[Rule::SharesBeforeSelling]),
        Self::Node(&[Rule::ReleasesShares]),
        // Each of the two does what the other one is for.
        Self::Node(&[Rule::OpensWithIncarnations, Rule::ReclaimsInItsEpoch]),
        Self::Node(&[Rule::NamesWhoMaySell]),
        Self::Node(&[Rule::OpensWhatWasLeft]),
        Self::Node(&[Rule::BeatsBeforeFencing]),
        Self::Node(&[Rule::EndsTheLifeSeen]),
        Self::Node(&[Rule::FencesTheSilent]),
        Self::Node(&[Rule::CountsAfterFencing]),
        Self::Node(&[Rule::KeepsWhatWasSold]),
        Self::Node(&[Rule::HandsBackOffSale]),
        Self::Node(&[Rule::DropsStockAtEnd]),
        Self::Node(&[Rule::ReclaimsFromTheSilent]),
        Self::Node(&[Rule::FirstBookWaitsForNobody]),
        Self::Node(&[Rule::FallsSilentWhenCutOff]),
        Self::Node(&[Rule::RecountsWhenRefused]),
        Self::Node(&[Rule::CallsTheOthers]),
        Self::IgnoresIncarnation,
        Self::IgnoresEpoch,
        Self::TrustsAnyServer,
        Self::TrustsAnyServerWithoutGuard,
        Self::SellsWithoutShare,
        Self::MergesByAdding,
        Self::ReturnsByAdding,
        Self::IgnoresTurns,
        Self::OpensWithoutAll,
        Self::SharesEpochs,
        Self::NoFence,
        Self::KeepsIncarnation,
        Self::ReturnsTwice,
        Self::AcknowledgesFirst,
        Self::KeepsItsTimeline,
    ];
}

/// The rules that the nodes keep.
pub fn rules(broken: Option<Break>) -> Rules {
    match broken {
        Some(Break::Node(broken)) => broken.iter().fold(Rules::sound(), |rules, rule| rules.without(*rule)),
        Some(Break::SellsWithoutShare) => Rules::sound().without(Rule::SharesBeforeSelling),
        _ => Rules::sound(),
    }
}

/// Whether a rolled-back server passes for a sound one.
pub fn trusts_any_server(broken: Option<Break>) -> bool {
    matches!(
        broken,
        Some(Break::TrustsAnyServer | Break::TrustsAnyServerWithoutGuard | Break::SellsWithoutShare)
    )
}
