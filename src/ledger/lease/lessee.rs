//! One node's half of the lease protocol for one sale: what the node may say, in which order, and what the answers mean.
//!
//! A machine without I/O, clock or memory of its own. Somebody begins an [`Errand`], carries out what [`Lessee::ask`] asks
//! for, one thing at a time, and tells with [`Lessee::heard`] or [`Lessee::unheard`] what came of it. When to begin what is
//! not decided here ([`SaleLease`](super::SaleLease) does): every order of errands is sound, and the model checker tries
//! them all on this very code.

use super::book::{Book, BookReply, Caller, Movement, Rebuild, ServerId, Verdict};
use super::errand::{Answer, Ask, Errand, Progress, Silent};
use super::rules::{Rule, Rules};
use crate::domain::{NodeId, SaleUnits};

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

/// The next step of the errand under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    ReadToJoin,
    Register { epoch: u64, durable: u64 },
    JoinNewBook { epoch: u64, durable: u64 },
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
    Reclaim { silent: Silent, incarnation: u64, durable: u64 },
    ReadToRecount,
    ReadBookToRecount,
    EndEpoch { seen: u64, server: ServerId },
    ReadToOpen { epoch: u64, server: ServerId },
    ReadIncarnations { epoch: u64, server: ServerId, units: Box<SaleUnits> },
    Open(Box<Rebuild>),
}

/// What a node holds of one sale, as it counts it itself, and what it is about to say. `granted - handed_back` are its
/// units: sold, in flight, on sale and taken off sale.
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
    /// The store refused to sell what this node was lent: the book says more than there is.
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
        self.handed_back += units.min(self.held());
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

    /// Whether an errand is under way.
    pub fn is_busy(&self) -> bool {
        self.step.is_some()
    }

    /// Units that are off sale for good are handed back from now on, with the next [`Errand::HandBack`].
    pub fn hand_back(&mut self, units: u64) {
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
            Errand::Announce => Step::ReadToAnnounce { server: None },
            Errand::Compare => Step::ReadToCompare,
            Errand::Borrow { chunk, starves } => {
                Step::Say(Movement::Lease { seen: self.granted, chunk, starves })
            }
            Errand::HandBack => Step::Say(Movement::HandBack { handed_back: self.handed_back }),
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
            Step::Register { epoch, .. } => mine(*epoch, Movement::Register),
            Step::JoinNewBook { epoch, durable } => {
                mine(*epoch, Movement::Announce { held: *durable, durable: *durable })
            }
            Step::Announce { durable } => {
                let Membership::Announcing(epoch) = self.membership else { return None };
                mine(epoch, Movement::Announce { held: self.announced().max(*durable), durable: *durable })
            }
            Step::ReadBook(_) | Step::ReadBookToRecount => Ask::Book,
            Step::Say(movement) => mine(self.epoch, *movement),
            Step::Beat { silent } => Ask::Beat(silent.node),
            Step::Fence { silent, .. } => {
                let ends = self.rules.keep(Rule::EndsTheLifeSeen);
                Ask::Fence(silent.node, if ends { silent.incarnation } else { u64::MAX })
            }
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

    /// Whether this answer to what is asked means that the other nodes must look at the sale: they hold what is wanted here,
    /// or have not said yet what they hold.
    pub fn needs_others(&self, answer: &Answer) -> bool {
        let Answer::Reply(reply) = answer else { return false };
        let is_lent_nothing = match self.step {
            Some(Step::Say(Movement::Lease { seen, starves: true, .. })) => {
                reply.verdict == Verdict::Ok && reply.granted <= seen && reply.leased > 0
            }
            _ => false,
        };
        (is_lent_nothing || reply.awaited > 0) && self.rules.keep(Rule::CallsTheOthers)
    }

    /// Takes in the answer to what was asked. An answer to something else ends the errand.
    pub fn heard(&mut self, answer: Answer) -> Progress {
        let Some(step) = self.step.take() else { return Progress::NotNow };
        match (step, answer) {
            (Step::ReadToJoin, Answer::Units(units)) => {
                let (epoch, durable) = (units.epoch, units.settled_by(self.node));
                self.go_on(Step::Register { epoch, durable })
            }
            (Step::Register { epoch, durable }, Answer::Reply(reply)) => match reply.verdict {
                Verdict::Awaited => self.go_on(Step::JoinNewBook { epoch, durable }),
                _ => self.joined(epoch, durable, reply),
            },
            (Step::JoinNewBook { epoch, durable }, Answer::Reply(reply)) => {
                self.joined(epoch, durable, reply)
            }
            (Step::ReadToAnnounce { server }, Answer::Units(units)) => self.read_to_announce(server, &units),
            (Step::ReadAgainToJoin { seen, server }, Answer::Units(units)) if is_ahead(seen, &units) => {
                self.go_on(Step::EndEpoch { seen, server })
            }
            (Step::Announce { durable }, Answer::Reply(reply)) => self.announcement_heard(durable, &reply),
            (Step::ReadToCompare, Answer::Units(units)) => self.go_on(Step::ReadBook(Box::new(units))),
            (Step::ReadBook(units), Answer::Book(book)) => Progress::Compared(*units, book),
            (Step::ReadToSettle, Answer::Units(units)) => {
                self.go_on(Step::Say(Movement::Settle { durable: units.settled_by(self.node) }))
            }
            (Step::ReadToResize, Answer::Units(units)) => {
                let (total, revision) = (units.total, units.revision);
                self.go_on(Step::Say(Movement::Resize { total, revision }))
            }
            (Step::Say(movement), Answer::Reply(reply)) => self.movement_heard(movement, &reply),
            (Step::Beat { silent }, Answer::Silent(true)) => {
                let next = self.reclaim(silent, None, None);
                self.go_on(next)
            }
            // A life that somebody else has ended sells nothing either. Its units are taken in its own name then: the book
            // refuses that when a later life has joined.
            (Step::Fence { silent, durable }, Answer::Fenced(next)) => {
                let next = self.reclaim(silent, Some(next.unwrap_or(silent.incarnation)), durable);
                self.go_on(next)
            }
            // Whoever has ended the epoch since the node was found silent may have read its life before it was fenced: the
            // new book waits for it in that life, and what it announces there must not have been taken from it here.
            (Step::Count { silent, .. }, Answer::Units(units))
                if units.epoch != silent.epoch && self.rules.keep(Rule::ReclaimsInItsEpoch) =>
            {
                Progress::NotNow
            }
            (Step::Count { mut silent, incarnation }, Answer::Units(units)) => {
                if !self.rules.keep(Rule::ReclaimsInItsEpoch) {
                    silent.epoch = units.epoch;
                }
                let next = self.reclaim(silent, incarnation, Some(units.settled_by(silent.node)));
                self.go_on(next)
            }
            (Step::Reclaim { .. }, Answer::Reply(reply)) if reply.verdict == Verdict::Ok => Progress::Done(0),
            // Whoever else was refused in this epoch may have ended it: it is ended once.
            (Step::ReadToRecount, Answer::Units(units)) if units.epoch > self.epoch => {
                self.recounts = false;
                Progress::NotNow
            }
            (Step::ReadToRecount, Answer::Units(_)) => self.go_on(Step::ReadBookToRecount),
            (Step::ReadBookToRecount, Answer::Book(Book { server, .. })) => {
                self.go_on(Step::EndEpoch { seen: self.epoch, server })
            }
            (Step::EndEpoch { server, .. }, Answer::Epoch(epoch)) => {
                self.recounts = false;
                self.go_on(Step::ReadToOpen { epoch, server })
            }
            (Step::ReadToOpen { epoch, server }, Answer::Units(units)) => {
                // After the epoch was raised: whoever could hold units of the old book is listed.
                self.go_on(Step::ReadIncarnations { epoch, server, units: Box::new(units) })
            }
            (Step::ReadIncarnations { epoch, server, units }, Answer::Incarnations(nodes)) => {
                let rebuild = self.rebuild(epoch, server, &units, nodes);
                self.go_on(Step::Open(Box::new(rebuild)))
            }
            // Several nodes may do this together: one book comes of it, whatever was answered here.
            (Step::Open(_), Answer::Reply(_)) => Progress::Done(0),
            _ => Progress::NotNow,
        }
    }

    /// Nobody answered: what was asked may have been done, or may be later. The errand is over; an announcement is made
    /// again before anything else is said.
    pub fn unheard(&mut self) -> Progress {
        let step = self.step.take();
        let is_hand_back = matches!(step, Some(Step::Say(Movement::HandBack { .. })));
        if is_hand_back && !self.rules.keep(Rule::HandsBackOffSale) {
            return Progress::Done(
                std::mem::replace(&mut self.handed_back, self.confirmed_back) - self.confirmed_back,
            );
        }
        Progress::NotNow
    }

    fn go_on(&mut self, step: Step) -> Progress {
        self.step = Some(step);
        Progress::GoesOn
    }

    fn divert(&mut self, step: Step) -> Progress {
        self.step = Some(step);
        Progress::Diverted
    }

    /// The book that is opened in `epoch`, which the store gave to this node alone.
    fn rebuild(
        &self,
        epoch: u64,
        server: ServerId,
        units: &SaleUnits,
        mut nodes: Vec<(NodeId, u64)>,
    ) -> Rebuild {
        if !self.rules.keep(Rule::OpensWithIncarnations) {
            nodes.iter_mut().for_each(|(_, incarnation)| *incarnation = 0);
        }
        // A sale is made in epoch 1, which has no book, and each later epoch is given to one node: before the second one
        // nothing was ever lent.
        let is_first = epoch == FIRST_BOOK && units.settled.iter().all(|(_, sold)| *sold == 0);
        let waits = !(is_first && self.rules.keep(Rule::FirstBookWaitsForNobody));
        let SaleUnits { total, revision, returned, .. } = *units;
        Rebuild { epoch, server, total, revision, returned, nodes, waits }
    }

    /// The next step of a reclaim: the node is fenced, then counted, then its units are taken. Silence is only the reason
    /// to ask; the store's word is the evidence.
    fn reclaim(&self, silent: Silent, incarnation: Option<u64>, durable: Option<u64>) -> Step {
        let counts_first = !self.rules.keep(Rule::CountsAfterFencing);
        let fenced = match self.rules.keep(Rule::FencesTheSilent) {
            true => incarnation,
            false => Some(silent.incarnation),
        };
        match (fenced, durable) {
            (Some(incarnation), Some(durable)) => Step::Reclaim { silent, incarnation, durable },
            (None, None) if counts_first => Step::Count { silent, incarnation: None },
            (None, durable) => Step::Fence { silent, durable },
            (Some(_), None) => Step::Count { silent, incarnation: fenced },
        }
    }

    /// What it announces, at least: what it has sold is its own, also where a wrong book forgot that.
    fn announced(&self) -> u64 {
        if self.rules.keep(Rule::AnnouncesHeld) { self.held() } else { self.granted }
    }

    /// The answer to its registration in `epoch`, with `durable` units sold in former lives.
    fn joined(&mut self, epoch: u64, durable: u64, reply: BookReply) -> Progress {
        match reply.verdict {
            Verdict::Ok => {
                self.membership = Membership::Current;
                self.epoch = epoch;
                self.granted = reply.granted;
                (self.handed_back, self.confirmed_back) = (reply.handed_back, reply.handed_back);
                let sold = if self.rules.keep(Rule::KeepsWhatWasSold) { durable } else { 0 };
                Progress::Done(self.held().saturating_sub(sold))
            }
            Verdict::OldIncarnation => Progress::Fenced { known: reply.incarnation },
            Verdict::Lost => self.divert(Step::EndEpoch { seen: epoch, server: reply.server }),
            Verdict::Behind => Progress::Behind { seen: reply.epoch, server: reply.server },
            // Somebody has opened a newer book since the store was read, unless the store is older than that.
            Verdict::OldEpoch => {
                self.divert(Step::ReadAgainToJoin { seen: reply.epoch, server: reply.server })
            }
            _ => Progress::NotNow,
        }
    }

    fn read_to_announce(&mut self, server: Option<ServerId>, units: &SaleUnits) -> Progress {
        match (self.membership, server) {
            (Membership::Announcing(seen), Some(server)) if is_ahead(seen, units) => {
                self.membership = Membership::Current;
                self.divert(Step::EndEpoch { seen, server })
            }
            _ => self.go_on(Step::Announce { durable: units.settled_by(self.node) }),
        }
    }

    /// The answer to an announcement: it counts on from what it said. What it was refused since then is handed back to the
    /// new book, which is right.
    fn announcement_heard(&mut self, durable: u64, reply: &BookReply) -> Progress {
        let Membership::Announcing(epoch) = self.membership else { return Progress::NotNow };
        match reply.verdict {
            Verdict::Ok => {
                self.handed_back = reply.granted.saturating_sub(self.announced().max(durable));
                (self.granted, self.confirmed_back) = (reply.granted, 0);
                (self.membership, self.epoch) = (Membership::Current, epoch);
                self.recounts = false;
                Progress::Done(0)
            }
            Verdict::OldIncarnation | Verdict::Unregistered => Progress::Fenced { known: reply.incarnation },
            // Another book has begun since, or this one is lost: the next call in the old epoch says what to do.
            _ => {
                self.membership = Membership::Current;
                Progress::NotNow
            }
        }
    }

    /// The answer to a movement in the present epoch.
    fn movement_heard(&mut self, movement: Movement, reply: &BookReply) -> Progress {
        match reply.verdict {
            Verdict::Ok => Progress::Done(self.carried_out(movement, reply)),
            Verdict::Rebuilding => Progress::NotNow,
            Verdict::Behind => Progress::Behind { seen: reply.epoch, server: reply.server.clone() },
            Verdict::OldEpoch => {
                self.membership = Membership::Announcing(reply.epoch);
                self.divert(Step::ReadToAnnounce { server: Some(reply.server.clone()) })
            }
            // In its own epoch it has announced already: that epoch began twice, as in a store that was put back to an
            // older state.
            Verdict::Lost | Verdict::Awaited => {
                self.divert(Step::EndEpoch { seen: self.epoch, server: reply.server.clone() })
            }
            Verdict::OldIncarnation | Verdict::Unregistered => Progress::Fenced { known: reply.incarnation },
        }
    }

    /// Counts what a movement moved. Returns the units that are new, counted from what this node had seen: a lost answer is
    /// made good by the next one.
    fn carried_out(&mut self, movement: Movement, reply: &BookReply) -> u64 {
        match movement {
            Movement::Lease { .. } => {
                let new = reply.granted.saturating_sub(self.granted);
                self.granted += new;
                return new;
            }
            Movement::HandBack { handed_back } => self.confirmed_back = handed_back,
            _ => {}
        }
        if !self.rules.keep(Rule::LearnsGrantsFromLeases) {
            self.granted = reply.granted;
        }
        0
    }
}

/// Whether a book of epoch `seen` is newer than the store, which was read after it: every book's epoch was the store's
/// first, so the store has gone back since.
fn is_ahead(seen: u64, store: &SaleUnits) -> bool {
    seen > store.epoch
}
