//! When one node says what about one sale: it borrows ahead of need, hands back to those who have none, compares the books,
//! and tells the buyers how the sale stands. What may be said at all is the [`Lessee`]'s to know.
//!
//! A look goes through its stages once. A sale [rests](SaleLease::rests) while nothing happens to it and its books agree: it
//! need not be looked at then, for whoever wants something of this node calls it. Whoever looks after many sales may let their
//! asks go out together: one ask a sale is open at a time.

mod deciding;
mod hearing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use super::backoff::Backoff;
use super::book::{Book, BookReply};
use super::detector::FailureDetector;
use super::drift::MemoryView;
use super::effects::{Act, Effects, Terms, View};
use super::errand::{Answer, Ask, Errand, Progress};
use super::lessee::{Lessee, Membership};
use super::node_life::NodeLife;
use super::withdrawing::Withdrawing;
use crate::domain::{NodeId, SaleUnits};

/// How far a look has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begins,
    Recounts,
    Gathers,
    Withdraws,
    Leases,
    Compares,
    Shares,
    Over,
}

/// What the errand under way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Join,
    Announce,
    Sell {
        starves: bool,
    },
    Withdraw,
    GiveUp,
    Share,
    HandBack,
    Compare(MemoryView),
    Repair,
    /// The sale rests afterwards, or not.
    Settle {
        rests: bool,
    },
    Reclaim(NodeId),
    Reopen,
}

/// Something else may be to be done.
const SETTLE: Purpose = Purpose::Settle { rests: false };

/// For whom units are being taken off sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    ForTheOperator,
    ForOthers,
    WhileCutOff,
}

/// How the book stood at the last answer.
#[derive(Clone, Copy, Debug, Default)]
struct LastHeard {
    /// Units that may be lent.
    available: i64,
    /// Nodes that lately asked for units and got none.
    starving: u64,
}

/// One sale at one node.
#[derive(Debug)]
pub struct SaleLease {
    terms: Terms,
    node: NodeId,
    life: NodeLife,
    lessee: Lessee,
    stage: Stage,
    purpose: Purpose,
    taking: Option<(Taking, u64)>,
    /// What is to be done next, whatever the stage.
    todo: VecDeque<(Errand, Purpose)>,
    last: LastHeard,
    /// The book's last answer to the errand under way.
    reply: Option<BookReply>,
    /// Units of the last lease.
    chunk: u64,
    ask_at: Instant,
    compare_at: Instant,
    share_at: Instant,
    /// Since when calls are answered by a book that is older than this node's epoch.
    behind_since: Option<Instant>,
    /// Since when comparisons find a book that is older than the store's epoch.
    left_since: Option<Instant>,
    /// When the ledger said that the sale is over; until the buyers are told.
    over_since: Option<Instant>,
    /// Buyers were refused for want of units at this look.
    is_wanted: bool,
    /// They were, and the ledger had none to lend.
    asked_in_vain: bool,
    /// How often in a row the ledger had none.
    refusals: u32,
    /// Comparisons in a row that found store and ledger as they were.
    quiet: u32,
    /// Store and ledger at the last comparison.
    seen: Option<(SaleUnits, Book)>,
    /// Units on sale here at the last look.
    on_sale: u64,
    /// Units that are kept off sale for an operator who lowers the stock.
    withdrawing: Option<Withdrawing>,
    /// When the book is counted anew, if the store has refused what was lent from it.
    recount_at: Instant,
    backoff: Backoff,
}

impl SaleLease {
    /// A sale that this node has yet to join in its life.
    pub fn new(terms: Terms, life: NodeLife, now: Instant) -> Self {
        Self {
            terms,
            node: life.node(),
            life,
            lessee: Lessee::new(life.rules(), life.node(), life.incarnation()),
            stage: Stage::Over,
            purpose: Purpose::Join,
            taking: None,
            todo: VecDeque::new(),
            last: LastHeard::default(),
            reply: None,
            chunk: 0,
            ask_at: now,
            compare_at: now,
            share_at: now,
            behind_since: None,
            left_since: None,
            over_since: None,
            is_wanted: false,
            asked_in_vain: false,
            refusals: 0,
            quiet: 0,
            seen: None,
            on_sale: 0,
            withdrawing: None,
            recount_at: now,
            backoff: Backoff::default(),
        }
    }

    /// Another life of the node has begun, without stock.
    pub fn begin_life(&mut self, life: NodeLife, now: Instant) {
        let mut lessee = self.lessee.clone();
        lessee.begin_life(life.incarnation());
        let (recount_at, backoff) = (self.recount_at, self.backoff);
        *self = Self { lessee, recount_at, backoff, ..Self::new(self.terms, life, now) };
    }

    /// The store refused to sell what this node was lent: `units` are off sale for good, and the book is counted anew, at
    /// once or, where that was done lately, after a while.
    pub fn refused(&mut self, units: u64, now: Instant) {
        if !self.lessee.recounts() {
            self.recount_at = now + self.backoff.next(self.node, now);
        }
        self.lessee.refused(units);
    }

    /// Units of the sale came back: it is not over, whatever was heard.
    pub fn units_came_back(&mut self, now: Instant) {
        self.over_since = None;
        self.refusals = 0;
        self.ask_at = self.ask_at.min(now + self.terms.tail_pause);
        self.wake(now);
    }

    /// Something happens: the books are compared at once.
    pub fn wake(&mut self, now: Instant) {
        self.compare_at = self.compare_at.min(now);
    }

    /// Something happens, and there is no hurry.
    pub fn stir(&mut self, now: Instant) {
        self.wake(now + self.terms.compare_every);
    }

    /// An operator wants units off sale. One change of a sale at a time: `false` while another is under way.
    pub fn withdraw(&mut self, units: u64, give_up_at: Instant) -> bool {
        let is_free = self.withdrawing.is_none();
        if is_free {
            self.withdrawing = Some(Withdrawing::new(units, give_up_at));
        }
        is_free
    }

    /// The operator has decided about the units, or does not listen any more.
    pub fn decide(&mut self, is_given_up: bool) {
        if let Some(withdrawing) = &mut self.withdrawing {
            withdrawing.decide(is_given_up);
        }
    }

    /// Whether units are kept off sale for an operator, or gathered.
    pub fn is_withdrawing(&self) -> bool {
        self.withdrawing.is_some()
    }

    /// Store and ledger as they were last compared.
    pub fn seen(&self) -> Option<&(SaleUnits, Book)> {
        self.seen.as_ref()
    }

    /// Whether a look would come to nothing now, with `on_sale` units on sale here, and buyers turned away or not.
    pub fn rests(&self, now: Instant, on_sale: u64, is_wanted: bool) -> bool {
        !is_wanted && on_sale == self.on_sale && now < self.rests_until(now)
    }

    /// Until when the sale wants nothing, unless buyers buy or are turned away, or somebody calls; `now` when it wants
    /// something at once.
    pub fn rests_until(&self, now: Instant) -> Instant {
        match self.lessee.membership() {
            Membership::Unregistered => return self.ask_at,
            Membership::Announcing(_) => return now,
            Membership::Current => {}
        }
        let is_at_something = self.lessee.is_busy()
            || self.lessee.owes_units()
            || self.lessee.owes_share()
            || self.withdrawing.is_some()
            || self.over_since.is_some();
        if is_at_something {
            return now;
        }
        let recounts = self.lessee.recounts();
        let asks = (self.is_wanted || self.is_low(self.on_sale)) && !recounts;
        let ask_at = asks.then_some(self.ask_at);
        let share_at = (self.others_may_starve() && self.on_sale > 0).then_some(self.share_at);
        let recount_at = recounts.then_some(self.recount_at);
        [ask_at, share_at, recount_at].into_iter().flatten().fold(self.compare_at, Instant::min)
    }

    /// Begins a look.
    pub fn look(&mut self) {
        self.stage = Stage::Begins;
    }

    /// Begins the last look: everything is handed back, `unsold` units that were just taken off sale and those that an
    /// operator waits for, and what was sold is told.
    pub fn leave(&mut self, unsold: u64, effects: &mut Effects) {
        let withheld = self.withdrawing.take().map_or(0, |withdrawing| withdrawing.units());
        self.stage = Stage::Over;
        if self.lessee.membership() == Membership::Current {
            self.lessee.hand_back(unsold);
            self.lessee.hand_back_withheld(withheld);
            effects.handed_back += unsold + withheld;
            self.todo = [(Errand::HandBack, Purpose::HandBack), (Errand::Settle, SETTLE)].into();
        }
    }

    /// Whether the book knows, after the last look, that nothing is held here but what is sold.
    pub fn has_left(&self) -> bool {
        let lessee = &self.lessee;
        lessee.membership() == Membership::Current && !lessee.owes_units() && !lessee.owes_share()
    }

    /// What is to be done now; `None` ends the look.
    pub fn next(&mut self, now: Instant, view: &View, effects: &mut Effects) -> Option<Act> {
        loop {
            if let Some((_, units)) = self.taking {
                return Some(Act::TakeOffSale(units));
            }
            if let Some(ask) = self.lessee.ask() {
                return Some(Act::Ask(ask));
            }
            let (errand, purpose) = match self.todo.pop_front() {
                Some(next) => next,
                None => match self.decide_next(now, view, effects) {
                    Some(next) => next,
                    None if self.taking.is_some() => continue,
                    None => return None,
                },
            };
            self.purpose = purpose;
            self.reply = None;
            self.lessee.begin(errand);
        }
    }

    /// So many units were taken off sale.
    pub fn took_off_sale(&mut self, units: u64, effects: &mut Effects) {
        let taking = self.taking.take().map(|(whom, _)| whom);
        match (taking, &mut self.withdrawing) {
            (Some(Taking::ForTheOperator), Some(withdrawing)) => {
                withdrawing.gather(units);
                self.lessee.withhold(units);
                self.todo.push_front((Errand::Share, Purpose::Share));
            }
            (Some(Taking::ForOthers | Taking::WhileCutOff), _) if units > 0 => {
                self.lessee.hand_back(units);
                effects.handed_back += units;
                if taking == Some(Taking::ForOthers) {
                    self.todo.push_front((Errand::HandBack, Purpose::HandBack));
                }
            }
            _ => effects.put_on_sale += units,
        }
    }

    /// Takes in the answer to what was asked.
    pub fn heard(
        &mut self,
        answer: Answer,
        now: Instant,
        view: &View,
        detector: &mut FailureDetector,
        effects: &mut Effects,
    ) {
        if let Answer::Reply(reply) = &answer
            && !matches!(self.purpose, Purpose::Reclaim(_) | Purpose::Reopen)
        {
            self.last = LastHeard { available: reply.available, starving: reply.starving };
            self.reply = Some(reply.clone());
        }
        if let (Answer::Fenced(next), Some(Ask::Fence(node, life))) = (&answer, self.lessee.ask()) {
            // The number that follows the end of a life is nobody's.
            detector.has_ended(node, next.unwrap_or(life), now);
        }
        effects.calls_others |= self.lessee.needs_others(&answer);
        let knew = self.lessee.recounts();
        let progress = self.lessee.heard(answer);
        if self.lessee.recounts() && !knew {
            self.recount_at = now + self.backoff.next(self.node, now);
        }
        match progress {
            Progress::GoesOn => {}
            Progress::Compared(store, ledger) => self.compared(store, ledger, now, detector, effects),
            Progress::Done(units) => self.done(units, now, view, effects),
            refused => self.not_done(refused, now, effects),
        }
    }

    /// Nobody answered, or the store has no such sale: the look is over, and the next call waits a little.
    pub fn unheard(&mut self, now: Instant, effects: &mut Effects) {
        if let Progress::Done(units) = self.lessee.unheard() {
            effects.put_on_sale += units;
        }
        self.ask_at = now + self.terms.tail_pause;
        self.stir(now);
        self.todo.clear();
        self.stage = Stage::Over;
    }

    /// The stock here runs low, and there is more.
    fn is_low(&self, on_sale: u64) -> bool {
        on_sale <= self.chunk * self.terms.low_water_percent / 100 && self.last.available > 0
    }

    /// Nothing is available, and somebody asks for units.
    fn others_may_starve(&self) -> bool {
        self.last.available <= 0 && (self.is_wanted || self.last.starving > 0)
    }
}
