//! The rules that the node's half of the protocol stands on, each with a name, so that the checker can take one away and
//! show what comes of it. An engine always keeps all of them.

/// A rule of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// What a node was lent goes on sale when its share in the store covers it, and not before.
    SharesBeforeSelling,
    /// From the share of a silent node goes what it did not sell.
    ReleasesShares,
    /// A book that is opened anew knows the store's incarnation of every node that it names.
    OpensWithIncarnations,
    /// A book that is opened anew names, and waits for, whoever lives or has a share of the sale; nobody else can have
    /// units of it. Nodes that are gone cost no book anything.
    NamesWhoMaySell,
    /// A node gives a sign of life right before it fences another, and hears that the other one is silent still. Who is not
    /// heard itself judges nobody.
    BeatsBeforeFencing,
    /// A node judges another silent only while both servers have answered itself for as long without a gap.
    JudgesOnlyWhileHeard,
    /// What another server has kept of beats counts for nothing: silence is heard at one server without a gap.
    ListensToOneServer,
    /// The silence of a life that follows one that was ended begins when that was heard.
    NewLifeNewSilence,
    /// A silent node is fenced in the store before anything is taken from it.
    FencesTheSilent,
    /// The life that was found silent is ended, and no later one.
    EndsTheLifeSeen,
    /// What a silent node has sold is counted after it was fenced, when it can sell no more.
    CountsAfterFencing,
    /// Of what a former life was lent, only what it did not sell is stock again.
    KeepsWhatWasSold,
    /// Units that are handed back are off sale before it is said, and stay so whether or not an answer comes.
    HandsBackOffSale,
    /// A node whose life is over drops its stock.
    DropsStockAtEnd,
    /// The units of silent nodes are taken back.
    ReclaimsFromTheSilent,
    /// Units are taken back in the epoch in which the node was found silent, and in no later one.
    ReclaimsInItsEpoch,
    /// A book that is older than the store's epoch is opened anew by whoever finds it so, also when the one who ended the
    /// epoch has died.
    OpensWhatWasLeft,
    /// The first book of a sale waits for nobody: no node can hold a unit of it.
    FirstBookWaitsForNobody,
    /// A node that the store has not answered for long gives no sign of life: what it cannot sell, the others take.
    FallsSilentWhenCutOff,
    /// When the store refuses what a node was lent, in its share or in a batch, the book is wrong: its epoch is ended and
    /// all is counted anew.
    RecountsWhenRefused,
    /// A node that is lent nothing though others have units, or whose book waits for others, calls them: theirs may be a
    /// node where the sale rests.
    CallsTheOthers,
}

/// The rules in force: all of them, but for the checker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    /// A bit for each rule that is not in force.
    broken: u32,
}

impl Rules {
    /// All rules.
    pub const fn sound() -> Self {
        Self { broken: 0 }
    }

    /// All of these rules but one: for the checker, which must notice.
    pub const fn without(self, rule: Rule) -> Self {
        Self { broken: self.broken | 1 << rule as u32 }
    }

    /// Whether the rule is in force.
    pub(super) fn keep(self, rule: Rule) -> bool {
        self.broken & 1 << rule as u32 == 0
    }
}
