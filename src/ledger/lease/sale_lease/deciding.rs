//! What is to be done next, at one moment of a look.

use std::time::Instant;

use super::super::book::Chunk;
use super::super::drift::MemoryView;
use super::super::effects::{Effects, View};
use super::super::errand::Errand;
use super::super::lessee::Membership;
use super::super::withdrawing::{Next, Withdrawing};
use super::{Purpose, SETTLE, SaleLease, Stage, Taking};

/// So often the pause between two asks doubles: no more, for a unit that another node hands back is asked for before long.
const REFUSALS_DOUBLED_MAX: u32 = 2;

impl SaleLease {
    /// Goes on through the stages of a look to the next errand.
    pub(super) fn decide_next(
        &mut self,
        now: Instant,
        view: &View,
        effects: &mut Effects,
    ) -> Option<(Errand, Purpose)> {
        match self.lessee.membership() {
            Membership::Current if view.is_cut_off => return self.take_all_off_sale(now, view, effects),
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
                    let errand = if self.lessee.owes_units() {
                        Some((Errand::HandBack, Purpose::HandBack))
                    } else {
                        self.lessee.owes_share().then_some((Errand::Share, Purpose::Share))
                    };
                    (Stage::Recounts, errand)
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

    /// The store has not answered for long: nothing can be sold, and buyers shall hear so. The share covers what is on sale
    /// here until the store is told otherwise, or ends this life.
    fn take_all_off_sale(
        &mut self,
        now: Instant,
        view: &View,
        effects: &mut Effects,
    ) -> Option<(Errand, Purpose)> {
        if std::mem::replace(&mut self.stage, Stage::Over) != Stage::Begins {
            return None;
        }
        if let Some(withdrawing) = &mut self.withdrawing
            && withdrawing.advance(now, self.lessee.owes_share()) == Next::PutBack
        {
            effects.handed_back += withdrawing.units();
            self.lessee.hand_back_withheld(withdrawing.units());
            self.withdrawing = None;
        }
        if view.on_sale > 0 {
            self.taking = Some((Taking::WhileCutOff, view.on_sale));
            return None;
        }
        let may_say = self.lessee.owes_units() && !self.lessee.owes_share();
        may_say.then_some((Errand::HandBack, Purpose::HandBack))
    }

    /// Goes on with the units that an operator wants off sale, and does with them what he decided.
    fn advance_withdrawal(&mut self, now: Instant, effects: &mut Effects) -> Option<(Errand, Purpose)> {
        let withdrawing = self.withdrawing.as_mut()?;
        match withdrawing.advance(now, self.lessee.owes_share()) {
            Next::Keep => {}
            Next::Deliver => effects.withdrawal_is_complete = true,
            Next::PutBack => {
                self.lessee.release_withheld(withdrawing.units());
                self.withdrawing = None;
                return self.lessee.owes_share().then_some((Errand::Share, Purpose::Share));
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
        // Nodes without a unit are many at the end of a sale: who asks in vain asks ever more rarely, down to a quarter.
        self.ask_at = now + self.terms.tail_pause * (1 << self.refusals.min(REFUSALS_DOUBLED_MAX));
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
}
