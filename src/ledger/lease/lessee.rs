//! One node's half of the lease protocol for one sale: what the node may say, in which order, and what the answers mean.
//!
//! A machine without I/O, clock or memory of its own. Somebody begins an [`Errand`], carries out what [`Lessee::ask`] asks
//! for, one thing at a time, and tells with [`Lessee::heard`] or [`Lessee::unheard`] what came of it. When to begin what is
//! not decided here ([`SaleLease`](super::SaleLease) does): every order of errands is sound, and the model checker tries
//! them all on this very code.

mod hearing;

use super::book::{Caller, Movement, Rebuild, ServerId};
use super::errand::{Ask, Errand, Silent};
use super::own_share::OwnShare;
use super::rules::{Rule, Rules};
use crate::domain::{KnownNode, NodeId, SaleUnits};

/// The epoch of a sale's first book.
const FIRST_BOOK: u64 = 2;

/// Where the node stands with the sale's book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Membership {
    /// It has not registered in this life.
    Unregistered,
    /// It counts in the book's epoch.
    Current,
    /// The book of this newer epoch wants to hear, or has heard, what it holds; until that is answered its counters stand
    /// still.
    Announcing(u64),
}

/// What former lives of the node have left in the store, which is in `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Former {
    epoch: u64,
    durable: u64,
    share: u64,
}

/// What the share is written for, and is done next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum AfterShare {
    Nothing,
    HandBack,
    Announce { server: Option<ServerId> },
}

/// The next step of the errand under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    ReadToJoin,
    Register(Former),
    JoinNewBook(Former),
    Share { then: AfterShare },
    ReadToAnnounce { server: Option<ServerId> },
    Announce { durable: u64 },
    ReadAgainToJoin { seen: u64, server: ServerId },
    ReadToCompare,
    ReadBook(Box<SaleUnits>),
    ReadToSettle,
    ReadToResize,
    Say(Movement),
    Beat { silent: Silent },
    Fence { silent: Silent, durable: Option<u64> },
    Count { silent: Silent, incarnation: Option<u64> },
    Release { silent: Silent, incarnation: u64, durable: u64 },
    Reclaim { silent: Silent, incarnation: u64, durable: u64 },
    ReadToRecount,
    ReadBookToRecount,
    EndEpoch { seen: u64, server: ServerId },
    ReadIncarnations { epoch: u64, server: ServerId },
    ReadToOpen { epoch: u64, server: ServerId, nodes: Vec<KnownNode> },
    Open(Box<Rebuild>),
}

/// What a node holds of one sale, as it counts it itself, and what it is about to say. `granted - handed_back` are its
/// units: sold, in flight, on sale and taken off sale. They are in its memory only as far as its own share covers them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lessee {
    rules: Rules,
    node: NodeId,
    incarnation: u64,
    membership: Membership,
    /// The epoch it counts in.
    epoch: u64,
    /// Units it was granted, as far as it has heard.
    granted: u64,
    /// Units it took off sale to hand them back.
    handed_back: u64,
    /// Units handed back that the book has confirmed.
    confirmed_back: u64,
    share: OwnShare,
    /// The store refused to sell what this node was lent, or to have it in its share: the book says more than there is.
    recounts: bool,
    step: Option<Step>,
}

impl Lessee {
    /// A node that has yet to join the sale's book in its life `incarnation`.
    pub fn new(rules: Rules, node: NodeId, incarnation: u64) -> Self {
        Self {
            rules,
            node,
            incarnation,
            membership: Membership::Unregistered,
            epoch: 0,
            granted: 0,
            handed_back: 0,
            confirmed_back: 0,
            share: OwnShare::default(),
            recounts: false,
            step: None,
        }
    }

    /// Another life of the node begins, without stock. A book that is wrong still is.
    pub fn begin_life(&mut self, incarnation: u64) {
        *self = Self { recounts: self.recounts, ..Self::new(self.rules, self.node, incarnation) };
    }

    /// The store refused to sell what this node was lent. These units are off sale for good: those of the refused orders,
    /// and what else was on sale.
    pub fn refused(&mut self, units: u64) {
        // In a life that has not joined nothing is held; what a former one was refused is stock when it joins.
        self.hand_back(units.min(self.held()));
        self.share.forget();
        self.recounts = true;
    }

    /// Whether the book is wrong and was not counted anew yet.
    pub fn recounts(&self) -> bool {
        self.recounts && self.rules.keep(Rule::RecountsWhenRefused)
    }

    /// Where it stands.
    pub fn membership(&self) -> Membership {
        self.membership
    }

    /// Units ever granted in this epoch, as far as it has heard.
    pub fn granted(&self) -> u64 {
        self.granted
    }

    /// Its units: sold, in flight, on sale and taken off sale.
    pub fn held(&self) -> u64 {
        self.granted - self.handed_back
    }

    /// Whether the book has not confirmed all that was handed back.
    pub fn owes_units(&self) -> bool {
        self.handed_back > self.confirmed_back
    }

    fn wanted_share(&self) -> u64 {
        self.share.wanted(self.held())
    }

    /// Whether the share in the store is not what it is to be, as far as this node has heard.
    pub fn owes_share(&self) -> bool {
        !self.share.is(self.wanted_share())
    }

    /// Whether an errand is under way.
    pub fn is_busy(&self) -> bool {
        self.step.is_some()
    }

    /// Units that are off sale for good are handed back from now on, with the next [`Errand::HandBack`].
    pub fn hand_back(&mut self, units: u64) {
        self.handed_back += units;
        self.share.off_sale(units);
    }

    /// Units that are off sale are kept for an operator.
    pub fn withhold(&mut self, units: u64) {
        self.share.withhold(units);
    }

    /// Units that were kept for an operator are to go on sale again: they do so with the next [`Errand::Share`].
    pub fn release_withheld(&mut self, units: u64) {
        self.share.release_withheld(units);
    }

    /// Units that were kept for an operator are handed back from now on.
    pub fn hand_back_withheld(&mut self, units: u64) {
        self.share.release_withheld(units);
        self.handed_back += units;
    }

    /// Begins an errand, if no other is under way and the node's membership allows it.
    pub fn begin(&mut self, errand: Errand) -> bool {
        let is_allowed = match errand {
            Errand::Join => self.membership == Membership::Unregistered,
            Errand::Announce => matches!(self.membership, Membership::Announcing(_)),
            // Who has not joined may have to open the book that it wants to join.
            Errand::Reopen { .. } => !matches!(self.membership, Membership::Announcing(_)),
            _ => self.membership == Membership::Current,
        };
        if self.is_busy() || !is_allowed {
            return false;
        }
        self.step = Some(match errand {
            Errand::Join => Step::ReadToJoin,
            Errand::Announce => self.announce(None),
            Errand::Compare => Step::ReadToCompare,
            Errand::Borrow { chunk, starves } => {
                Step::Say(Movement::Lease { seen: self.granted, chunk, starves })
            }
            Errand::Share => Step::Share { then: AfterShare::Nothing },
            Errand::HandBack if self.owes_share() => Step::Share { then: AfterShare::HandBack },
            Errand::HandBack => self.say_hand_back(),
            Errand::Settle => Step::ReadToSettle,
            Errand::SettleKnown(durable) => Step::Say(Movement::Settle { durable }),
            Errand::Return(returned) => Step::Say(Movement::Return { returned }),
            Errand::Resize => Step::ReadToResize,
            Errand::ResizeKnown(total, revision) => Step::Say(Movement::Resize { total, revision }),
            Errand::Reclaim(silent) if self.rules.keep(Rule::BeatsBeforeFencing) => Step::Beat { silent },
            Errand::Reclaim(silent) => self.reclaim(silent, None, None),
            Errand::Reopen { seen, server } => Step::EndEpoch { seen, server },
            Errand::Recount => Step::ReadToRecount,
        });
        true
    }

    /// What is to be done now; the same until it was [heard](Self::heard) or [not](Self::unheard). `None` when no errand
    /// is under way.
    pub fn ask(&self) -> Option<Ask> {
        let Self { node, incarnation, .. } = *self;
        let mine = |epoch, movement| Ask::Move(Caller { node, incarnation, epoch }, movement);
        Some(match self.step.as_ref()? {
            Step::ReadToJoin
            | Step::ReadToAnnounce { .. }
            | Step::ReadAgainToJoin { .. }
            | Step::ReadToCompare
            | Step::ReadToSettle
            | Step::ReadToResize
            | Step::ReadToRecount
            | Step::Count { .. }
            | Step::ReadToOpen { .. } => Ask::Units,
            Step::Register(former) => mine(former.epoch, Movement::Register),
            Step::JoinNewBook(Former { epoch, durable, share }) => {
                mine(*epoch, Movement::Announce { held: *share.max(durable), durable: *durable })
            }
            Step::Share { .. } => {
                Ask::Share { incarnation, turn: self.share.turn(), units: self.wanted_share() }
            }
            Step::Announce { durable } => {
                let Membership::Announcing(epoch) = self.membership else { return None };
                // What it has sold is its own, also where a wrong book forgot that.
                mine(epoch, Movement::Announce { held: self.held().max(*durable), durable: *durable })
            }
            Step::ReadBook(_) | Step::ReadBookToRecount => Ask::Book,
            Step::Say(movement) => mine(self.epoch, *movement),
            Step::Beat { silent } => Ask::Beat(silent.node, silent.incarnation),
            Step::Fence { silent, .. } => {
                let ends = self.rules.keep(Rule::EndsTheLifeSeen);
                Ask::Fence(silent.node, if ends { silent.incarnation } else { u64::MAX })
            }
            Step::Release { silent, .. } => Ask::Release { node: silent.node, life: silent.incarnation },
            Step::Reclaim { silent, incarnation, durable } => {
                let Silent { node, epoch, .. } = *silent;
                let from = Caller { node, incarnation: *incarnation, epoch };
                Ask::Move(from, Movement::Reclaim { durable: *durable })
            }
            Step::EndEpoch { seen, .. } => Ask::EndEpoch(*seen),
            Step::ReadIncarnations { .. } => Ask::Incarnations,
            Step::Open(rebuild) => Ask::Open(rebuild.clone()),
        })
    }

    /// The book that is opened in `epoch`, which the store gave to this node alone.
    fn rebuild(&self, epoch: u64, server: ServerId, units: &SaleUnits, nodes: &[KnownNode]) -> Rebuild {
        let may_sell = |known: &&KnownNode| {
            let has_share = units.granted_to(known.node) > 0 || units.settled_by(known.node) > 0;
            known.node == self.node || (known.may_live || has_share) && self.rules.keep(Rule::NamesWhoMaySell)
        };
        let knows = self.rules.keep(Rule::OpensWithIncarnations);
        let incarnation = |known: &KnownNode| if knows { known.incarnation } else { 0 };
        let named = nodes.iter().filter(may_sell);
        let nodes = named.map(|known| (known.node, incarnation(known))).collect();
        // A sale is made in epoch 1, which has no book, and each later epoch is given to one node: before the second one
        // nothing was ever lent.
        let is_first = epoch == FIRST_BOOK && units.settled.iter().all(|(_, sold)| *sold == 0);
        let waits = !(is_first && self.rules.keep(Rule::FirstBookWaitsForNobody));
        let SaleUnits { total, revision, returned, .. } = *units;
        Rebuild { epoch, server, total, revision, returned, nodes, waits }
    }

    /// The book hears of units that went back once they are out of the share, and of none that the share does not have.
    fn announce(&self, server: Option<ServerId>) -> Step {
        match self.owes_share() {
            true => Step::Share { then: AfterShare::Announce { server } },
            false => Step::ReadToAnnounce { server },
        }
    }

    fn say_hand_back(&self) -> Step {
        Step::Say(Movement::HandBack { handed_back: self.handed_back })
    }

    /// The next step of a reclaim: the node is fenced, then counted, then its units are taken, from its share and from the
    /// book. Silence is only the reason to ask; the store's word is the evidence.
    fn reclaim(&self, silent: Silent, incarnation: Option<u64>, durable: Option<u64>) -> Step {
        let counts_first = !self.rules.keep(Rule::CountsAfterFencing);
        let fenced = match self.rules.keep(Rule::FencesTheSilent) {
            true => incarnation,
            false => Some(silent.incarnation),
        };
        match (fenced, durable) {
            (Some(incarnation), Some(durable)) if self.rules.keep(Rule::ReleasesShares) => {
                Step::Release { silent, incarnation, durable }
            }
            (Some(incarnation), Some(durable)) => Step::Reclaim { silent, incarnation, durable },
            (None, None) if counts_first => Step::Count { silent, incarnation: None },
            (None, durable) => Step::Fence { silent, durable },
            (Some(_), None) => Step::Count { silent, incarnation: fenced },
        }
    }
}
