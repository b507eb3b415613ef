//! What an answer changes: for the units, for what is done next, and for what the buyers hear.

use std::time::{Duration, Instant};

use super::super::book::{Book, BookReply};
use super::super::detector::FailureDetector;
use super::super::drift::{agree, compare, left_behind, repairs, silent_holders};
use super::super::effects::{Compared, Effects, View};
use super::super::errand::{Errand, Progress};
use super::super::lessee::Membership;
use super::{Purpose, SaleLease, Taking};
use crate::domain::SaleUnits;

/// What a node has not settled after so many comparisons that found nothing else, it will not settle: it has died, and all
/// that it was lent is sold.
const QUIET_ROUNDS: u32 = 10;

impl SaleLease {
    pub(super) fn done(&mut self, units: u64, now: Instant, view: &View, effects: &mut Effects) {
        match self.purpose {
            Purpose::Reclaim(node) => return effects.reclaimed = Some(node),
            Purpose::Reopen => {
                effects.is_rebuilt = true;
                return self.stir(now);
            }
            Purpose::Announce => {
                effects.put_on_sale += units;
                return self.stir(now);
            }
            _ => self.behind_since = None,
        }
        match self.purpose {
            Purpose::Join => {
                effects.put_on_sale += units;
                (self.ask_at, self.compare_at) = (now, now);
            }
            Purpose::Sell { starves } => {
                self.borrowed(units, now, effects);
                self.asked_in_vain = starves && units == 0;
                self.refusals = if units == 0 { self.refusals + 1 } else { 0 };
                effects.put_on_sale += units;
                if units > 0 {
                    self.chunk = units;
                }
            }
            Purpose::Withdraw => {
                self.borrowed(units, now, effects);
                match &mut self.withdrawing {
                    Some(withdrawing) => {
                        withdrawing.gather(units);
                        self.lessee.withhold(units);
                        self.todo.push_front((Errand::Share, Purpose::Share));
                    }
                    None => effects.put_on_sale += units,
                }
            }
            Purpose::GiveUp => {
                let units = self.withdrawing.take().map_or(0, |withdrawing| withdrawing.units());
                self.lessee.hand_back_withheld(units);
                self.todo.push_front((Errand::HandBack, Purpose::HandBack));
            }
            Purpose::Share | Purpose::HandBack => effects.put_on_sale += units,
            _ => {}
        }
        let Some(reply) = self.reply.take() else { return };
        match self.purpose {
            Purpose::Sell { .. } | Purpose::Withdraw => self.tell(&reply, now, view, effects),
            Purpose::Settle { rests } => {
                self.share(&reply, view);
                self.tell(&reply, now, view, effects);
                if reply.available > 0 {
                    (self.ask_at, self.refusals) = (now, 0);
                }
                if rests {
                    self.compare_at = now + view.rest;
                }
            }
            _ => {}
        }
    }

    fn borrowed(&mut self, units: u64, now: Instant, effects: &mut Effects) {
        effects.leased += units;
        if units > 0 {
            self.ask_at = now;
        }
    }

    /// What was to be said came to nothing, or something else must be done first.
    pub(super) fn not_done(&mut self, progress: Progress, now: Instant, effects: &mut Effects) {
        if let Purpose::Sell { starves } = self.purpose {
            self.asked_in_vain = starves;
        }
        self.stir(now);
        // The next silent node may still be reclaimed, and what is handed back is said again at the next look.
        if !matches!(self.purpose, Purpose::Reclaim(_) | Purpose::Share | Purpose::HandBack)
            || progress != Progress::NotNow
        {
            self.todo.clear();
        }
        match progress {
            Progress::Fenced { known } => effects.life_is_over = Some(known),
            Progress::Behind { seen, server }
                if has_lasted(&mut self.behind_since, self.terms.rebuild_patience, now) =>
            {
                self.todo.push_front((Errand::Reopen { seen, server }, Purpose::Reopen));
            }
            Progress::Diverted if matches!(self.lessee.membership(), Membership::Announcing(_)) => {
                self.purpose = Purpose::Announce;
            }
            Progress::Diverted => self.purpose = Purpose::Reopen,
            _ => {}
        }
    }

    /// Moves the ledger towards the store, and shows the drift.
    pub(super) fn compared(
        &mut self,
        store: SaleUnits,
        ledger: Book,
        now: Instant,
        detector: &mut FailureDetector,
        effects: &mut Effects,
    ) {
        let Purpose::Compare(memory) = self.purpose else { return };
        let mut drift = compare(self.node, memory, &ledger, &store);
        effects.compared = Some(Compared { memory, drift });
        self.todo.extend(repairs(&ledger, &store).map(|errand| (errand, Purpose::Repair)));
        effects.repairs += self.todo.len() as u64;
        let is_as_it_was = self.seen.as_ref().is_some_and(|seen| (&seen.0, &seen.1) == (&store, &ledger));
        self.quiet = if is_as_it_was { (self.quiet + 1).min(QUIET_ROUNDS) } else { 0 };
        if self.quiet == QUIET_ROUNDS {
            drift.unsettled = 0;
        }
        let is_silent = |node, life| detector.is_silent(node, life, now);
        let silent = silent_holders(self.life.rules(), self.node, &ledger, &store, is_silent);
        let rests = silent.is_empty() && agree(self.node, &memory, &drift, &ledger, &store);
        self.todo.push_back((Errand::SettleKnown(store.settled_by(self.node)), Purpose::Settle { rests }));
        self.todo.extend(
            silent.into_iter().map(|silent| (Errand::Reclaim(silent), Purpose::Reclaim(silent.node))),
        );
        let reopens = left_behind(self.life.rules(), &ledger, &store);
        match &reopens {
            None => self.left_since = None,
            Some(errand) if has_lasted(&mut self.left_since, self.terms.rebuild_patience, now) => {
                self.todo.push_back((errand.clone(), Purpose::Reopen));
            }
            Some(_) => {}
        }
        self.seen = Some((store, ledger));
    }

    /// Nothing is available and somebody starves: half of what is on sale here goes back, at least one unit.
    fn share(&mut self, reply: &BookReply, view: &View) {
        // Nodes that want more units than each of them has draw lots, until one of them has enough.
        let others_starve = reply.starving > u64::from(self.asked_in_vain);
        let gives = others_starve && (!self.asked_in_vain || view.lot);
        let short = reply.available < 0 || (reply.available == 0 && gives);
        if short && view.on_sale > 0 {
            self.taking = Some((Taking::ForOthers, view.on_sale.div_ceil(2)));
        }
    }

    /// Takes in how the sale stands. It is over when nothing is available and nobody holds a unit that is not sold.
    fn tell(&mut self, reply: &BookReply, now: Instant, view: &View, effects: &mut Effects) {
        let unsold_here = reply.granted as i64 - reply.handed_back as i64 - reply.settled as i64;
        let elsewhere = reply.available + reply.leased - unsold_here;
        effects.elsewhere = Some(u64::try_from(elsewhere).unwrap_or(0));
        if reply.available > 0 || reply.leased > 0 || reply.awaited > 0 {
            self.over_since = None;
            effects.more_may_come = Some(true);
        } else if view.more_may_come {
            self.over_since.get_or_insert(now);
            self.conclude(view, effects);
        } else {
            // Who asks is told the same by its own node.
            self.last.starving = 0;
        }
    }

    /// Tells the buyers that a sale is over, once this node knows every order that was durable when it was: who holds one
    /// hears of it here too, and not "sold out".
    pub(super) fn conclude(&mut self, view: &View, effects: &mut Effects) {
        if self.over_since.is_some_and(|since| view.followed_until.is_some_and(|known| known >= since)) {
            self.over_since = None;
            // Who asked last is told the same by its own node.
            self.last.starving = 0;
            effects.more_may_come = Some(false);
            // Whoever comes from now on is refused for good, and wakes the sale again.
            effects.demand_heard = true;
        }
    }
}

/// Whether something that was seen again at `now`, and before `since`, has lasted for so long. It begins anew then.
fn has_lasted(since: &mut Option<Instant>, patience: Duration, now: Instant) -> bool {
    let first = *since.get_or_insert(now);
    let has_lasted = now.saturating_duration_since(first) >= patience;
    if has_lasted {
        *since = None;
    }
    has_lasted
}
