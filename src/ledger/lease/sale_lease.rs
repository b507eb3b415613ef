//! When one node says what about one sale: it borrows ahead of need, hands back to those who have none, compares the books,
//! and tells the buyers how the sale stands. What may be said at all is the [`Lessee`]'s to know.
//!
//! A look goes through its stages once. A sale [rests](SaleLease::rests) while nothing happens to it and its books agree: it
//! need not be looked at then, for whoever wants something of this node calls it. Whoever looks after many sales may let their
//! asks go out together: one ask a sale is open at a time.

mod hearing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use super::backoff::Backoff;
use super::book::{Book, Chunk};
use super::detector::FailureDetector;
use super::drift::MemoryView;
use super::effects::{Act, Effects, Terms, View};
use super::errand::{Answer, Errand, Progress};
use super::lessee::{Lessee, Membership};
use super::node_life::NodeLife;
use super::withdrawing::{Next, Withdrawing};
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
            chunk: 0,
            ask_at: now,
            compare_at: now,
            share_at: now,
            behind_since: None,
            left_since: None,
            over_since: None,
            is_wanted: false,
            asked_in_vain: false,
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
        let unsold = unsold + self.withdrawing.take().map_or(0, |withdrawing| withdrawing.units());
        self.stage = Stage::Over;
        if self.lessee.membership() == Membership::Current {
            self.lessee.hand_back(unsold);
            effects.handed_back += unsold;
            self.todo = [(Errand::HandBack, Purpose::HandBack), (Errand::Settle, SETTLE)].into();
        }
    }

    /// Whether the book knows, after the last look, that nothing is held here but what is sold.
    pub fn has_left(&self) -> bool {
        self.lessee.membership() == Membership::Current && !self.lessee.owes_units()
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
            self.lessee.begin(errand);
        }
    }

    /// So many units were taken off sale.
    pub fn took_off_sale(&mut self, units: u64, effects: &mut Effects) {
        match (self.taking.take(), &mut self.withdrawing) {
            (Some((Taking::ForTheOperator, _)), Some(withdrawing)) => withdrawing.gather(units),
            (Some((Taking::ForOthers, _)), _) if units > 0 => {
                self.lessee.hand_back(units);
                effects.handed_back += units;
                self.todo.push_front((Errand::HandBack, Purpose::HandBack));
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
        let reply = match &answer {
            Answer::Reply(reply) if !matches!(self.purpose, Purpose::Reclaim(_) | Purpose::Reopen) => {
                self.last = LastHeard { available: reply.available, starving: reply.starving };
                Some(reply.clone())
            }
            _ => None,
        };
        effects.calls_others |= self.lessee.needs_others(&answer);
        match self.lessee.heard(answer) {
            Progress::GoesOn => {}
            Progress::Compared(store, ledger) => self.compared(store, ledger, now, detector, effects),
            Progress::Done(units) => self.done(units, reply, now, view, effects),
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

    /// Goes on through the stages of a look to the next errand.
    fn decide_next(&mut self, now: Instant, view: &View, effects: &mut Effects) -> Option<(Errand, Purpose)> {
        match self.lessee.membership() {
            Membership::Current if self.life.hands_back(view.is_cut_off) => {
                return self.hand_all_back(now, view, effects);
            }
            Membership::Current => {}
            _ if self.stage != Stage::Begins => return None,
            Membership::Unregistered if self.ask_at > now => return None,
            Membership::Unregistered => {
                self.stage = Stage::Over;
                self.ask_at = now + self.terms.tail_pause;
                self.over_since = None;
                effects.more_may_come = Some(true);
                return Some((Errand::Join, Purpose::Join));
            }
            Membership::Announcing(_) => {
                self.stage = Stage::Over;
                return Some((Errand::Announce, Purpose::Announce));
            }
        }
        loop {
            let (next, found) = match self.stage {
                Stage::Begins => {
                    let owes = self.lessee.owes_units();
                    (Stage::Recounts, owes.then_some((Errand::HandBack, Purpose::HandBack)))
                }
                Stage::Recounts if self.lessee.recounts() && self.recount_at <= now => {
                    (Stage::Gathers, Some((Errand::Recount, Purpose::Reopen)))
                }
                Stage::Recounts => (Stage::Gathers, None),
                Stage::Gathers => {
                    self.stage = Stage::Withdraws;
                    self.conclude(view, effects);
                    let missing = self.withdrawing.as_ref().map_or(0, Withdrawing::missing);
                    if missing.min(view.on_sale) > 0 {
                        self.taking = Some((Taking::ForTheOperator, missing.min(view.on_sale)));
                        return None;
                    }
                    (Stage::Withdraws, None)
                }
                Stage::Withdraws => (Stage::Leases, self.advance_withdrawal(now, effects)),
                Stage::Leases => (Stage::Compares, self.lease(now, view, effects)),
                Stage::Compares if self.compare_at <= now => {
                    self.compare_at = now + self.terms.compare_every;
                    self.share_at = now + self.terms.tail_pause;
                    // Who clicks on a sale that is over wakes it once, and not for ever.
                    effects.demand_heard |= !view.more_may_come;
                    let withheld = self.withdrawing.as_ref().map_or(0, Withdrawing::units);
                    // Before the store is read: what becomes durable meanwhile shows as a unit in two places, never as one
                    // that is missing.
                    let memory = MemoryView {
                        on_sale: view.on_sale + withheld,
                        in_flight: view.in_flight,
                        held: self.lessee.held(),
                    };
                    (Stage::Over, Some((Errand::Compare, Purpose::Compare(memory))))
                }
                Stage::Compares => (Stage::Shares, None),
                Stage::Shares => (Stage::Over, self.look_whether_others_starve(now, view)),
                Stage::Over => return None,
            };
            self.stage = next;
            if found.is_some() {
                return found;
            }
        }
    }

    /// The store has not answered for long: nothing can be sold, and others can sell what is on sale here.
    fn hand_all_back(
        &mut self,
        now: Instant,
        view: &View,
        effects: &mut Effects,
    ) -> Option<(Errand, Purpose)> {
        if std::mem::replace(&mut self.stage, Stage::Over) != Stage::Begins {
            return None;
        }
        if let Some(withdrawing) = &mut self.withdrawing
            && withdrawing.advance(now) == Next::PutBack
        {
            effects.put_on_sale += withdrawing.units();
            self.withdrawing = None;
        }
        if view.on_sale > 0 {
            self.taking = Some((Taking::ForOthers, view.on_sale));
            return None;
        }
        self.lessee.owes_units().then_some((Errand::HandBack, Purpose::HandBack))
    }

    /// Goes on with the units that an operator wants off sale, and does with them what he decided.
    fn advance_withdrawal(&mut self, now: Instant, effects: &mut Effects) -> Option<(Errand, Purpose)> {
        let withdrawing = self.withdrawing.as_mut()?;
        match withdrawing.advance(now) {
            Next::Keep => {}
            Next::Deliver => effects.withdrawal_is_complete = true,
            Next::PutBack => {
                effects.put_on_sale += withdrawing.units();
                self.withdrawing = None;
                return None;
            }
            // The total first: units that are handed back before it is lower could be lent out again.
            Next::GiveUp => return Some((Errand::Resize, Purpose::GiveUp)),
        }
        let missing = withdrawing.missing();
        if missing == 0 || self.ask_at > now {
            return None;
        }
        self.ask_at = now + self.terms.tail_pause;
        let chunk = Chunk { divisor: 1, min: missing, max: missing };
        Some((Errand::Borrow { chunk, starves: true }, Purpose::Withdraw))
    }

    /// Borrows when stock runs low and there is more, or when a buyer was turned away.
    fn lease(&mut self, now: Instant, view: &View, effects: &mut Effects) -> Option<(Errand, Purpose)> {
        if std::mem::replace(&mut self.on_sale, view.on_sale) != view.on_sale || view.is_wanted {
            self.stir(now);
        }
        self.is_wanted = view.is_wanted && view.more_may_come;
        let is_short = self.is_low(view.on_sale) || self.is_wanted;
        // From a book that is wrong nothing is borrowed.
        if !is_short || self.ask_at > now || self.lessee.recounts() {
            return None;
        }
        self.ask_at = now + self.terms.tail_pause;
        effects.demand_heard = true;
        let max = self.terms.lease_units_max;
        let chunk = Chunk {
            divisor: self.terms.lease_divisor.max(1) * (view.others_alive + 1),
            min: view.per_buyer_limit.clamp(1, max),
            max,
        };
        // A node without buyers needs nothing: others keep what they have.
        let starves = view.is_wanted;
        Some((Errand::Borrow { chunk, starves }, Purpose::Sell { starves }))
    }

    /// Nothing is available, and not everything is sold: who has nothing may need what this node has.
    fn look_whether_others_starve(&mut self, now: Instant, view: &View) -> Option<(Errand, Purpose)> {
        // Who has nothing hears how the sale stands when it asks.
        if !view.more_may_come || view.on_sale == 0 || !self.others_may_starve() || self.share_at > now {
            return None;
        }
        self.share_at = now + self.terms.tail_pause;
        Some((Errand::Settle, SETTLE))
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
