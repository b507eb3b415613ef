//! What an answer means for the errand under way, and for what the node counts.

use super::super::book::{Book, BookReply, Movement, ServerId, Verdict};
use super::super::errand::{Answer, Progress};
use super::super::own_share::OwnShare;
use super::super::rules::Rule;
use super::{AfterShare, Former, Lessee, Membership, Step};
use crate::domain::SaleUnits;

impl Lessee {
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
                let (durable, share) = (units.settled_by(self.node), units.granted_to(self.node));
                self.go_on(Step::Register(Former { epoch: units.epoch, durable, share }))
            }
            (Step::Register(former), Answer::Reply(reply)) => match reply.verdict {
                Verdict::Awaited => self.go_on(Step::JoinNewBook(former)),
                _ => self.joined(former, reply),
            },
            (Step::JoinNewBook(former), Answer::Reply(reply)) => self.joined(former, reply),
            (Step::Share { .. }, Answer::Share(None)) => Progress::Fenced { known: self.incarnation },
            (Step::Share { then }, Answer::Share(Some(share))) => match (self.shared(share), then) {
                (0, AfterShare::HandBack) => {
                    let next = self.say_hand_back();
                    self.go_on(next)
                }
                (0, AfterShare::Announce { server }) => self.go_on(Step::ReadToAnnounce { server }),
                (units, _) => Progress::Done(units),
            },
            (Step::ReadToAnnounce { server }, Answer::Units(units)) => self.read_to_announce(server, &units),
            (Step::ReadAgainToJoin { seen, server }, Answer::Units(units)) if is_ahead(seen, &units) => {
                self.go_on(Step::EndEpoch { seen, server })
            }
            (Step::Announce { durable }, Answer::Reply(reply)) => self.announcement_heard(durable, &reply),
            (Step::ReadToCompare, Answer::Units(units)) => self.go_on(Step::ReadBook(Box::new(units))),
            (Step::ReadBook(units), Answer::Book(book)) => {
                self.share.seen(units.granted_to(self.node));
                Progress::Compared(*units, book)
            }
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
            (Step::Release { silent, incarnation, durable }, Answer::Released) => {
                self.go_on(Step::Reclaim { silent, incarnation, durable })
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
                self.go_on(Step::ReadIncarnations { epoch, server })
            }
            // After the epoch was raised: whoever could hold units of the old book is listed. And before the shares are read:
            // whose life is over by now gets none any more, and a later life of his counts in the new epoch.
            (Step::ReadIncarnations { epoch, server }, Answer::Incarnations(nodes)) => {
                self.go_on(Step::ReadToOpen { epoch, server, nodes })
            }
            (Step::ReadToOpen { epoch, server, nodes }, Answer::Units(units)) => {
                let rebuild = self.rebuild(epoch, server, &units, &nodes);
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
        if matches!(step, Some(Step::Share { .. })) {
            self.share.unheard();
        }
        let is_hand_back = matches!(step, Some(Step::Say(Movement::HandBack { .. })));
        if is_hand_back && !self.rules.keep(Rule::HandsBackOffSale) {
            let kept = std::mem::replace(&mut self.handed_back, self.confirmed_back) - self.confirmed_back;
            self.share.covers_unasked(kept);
            return Progress::Done(kept);
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

    /// The share is so many units now. What the book has lent above it, the store has for nobody: it goes back.
    fn shared(&mut self, share: u64) -> u64 {
        let wanted = self.wanted_share();
        let new = self.share.becomes(share, wanted);
        if share < wanted {
            self.handed_back += self.share.lacks(self.held());
            self.recounts = true;
        }
        new
    }

    /// The answer to its registration.
    fn joined(&mut self, former: Former, reply: BookReply) -> Progress {
        match reply.verdict {
            Verdict::Ok => {
                self.membership = Membership::Current;
                self.epoch = former.epoch;
                self.granted = reply.granted;
                (self.handed_back, self.confirmed_back) = (reply.handed_back, reply.handed_back);
                let share = OwnShare::left_by_a_former_life(former.share, former.durable);
                let keeps = self.rules.keep(Rule::KeepsWhatWasSold);
                self.share = if keeps { share } else { share.forgetting_what_was_sold() };
                if self.owes_share() {
                    return self.go_on(Step::Share { then: AfterShare::Nothing });
                }
                Progress::Done(self.shared(former.share))
            }
            Verdict::OldIncarnation => Progress::Fenced { known: reply.incarnation },
            Verdict::Lost => self.divert(Step::EndEpoch { seen: former.epoch, server: reply.server }),
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
                self.handed_back = reply.granted.saturating_sub(self.held().max(durable));
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
            Verdict::Ok => self.carried_out(movement, reply),
            Verdict::Rebuilding => Progress::NotNow,
            Verdict::Behind => Progress::Behind { seen: reply.epoch, server: reply.server.clone() },
            Verdict::OldEpoch => {
                self.membership = Membership::Announcing(reply.epoch);
                let next = self.announce(Some(reply.server.clone()));
                self.divert(next)
            }
            // In its own epoch it has announced already: that epoch began twice, as in a store that was put back to an
            // older state.
            Verdict::Lost | Verdict::Awaited => {
                self.divert(Step::EndEpoch { seen: self.epoch, server: reply.server.clone() })
            }
            Verdict::OldIncarnation | Verdict::Unregistered => Progress::Fenced { known: reply.incarnation },
        }
    }

    /// Counts what a movement moved. What was granted is new as far as this node has not heard of it: a lost answer is made
    /// good by the next one, to whatever movement.
    fn carried_out(&mut self, movement: Movement, reply: &BookReply) -> Progress {
        if let Movement::HandBack { handed_back } = movement {
            self.confirmed_back = handed_back;
        }
        let new = reply.granted.saturating_sub(self.granted);
        self.granted += new;
        if !self.rules.keep(Rule::SharesBeforeSelling) {
            self.share.covers_unasked(new);
            return Progress::Done(new);
        }
        match movement {
            Movement::Lease { .. } if self.owes_share() => {
                self.go_on(Step::Share { then: AfterShare::Nothing })
            }
            _ => Progress::Done(0),
        }
    }
}

/// Whether a book of epoch `seen` is newer than the store, which was read after it: every book's epoch was the store's
/// first, so the store has gone back since.
fn is_ahead(seen: u64, store: &SaleUnits) -> bool {
    seen > store.epoch
}
