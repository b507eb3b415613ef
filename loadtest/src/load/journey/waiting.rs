//! A visitor in the waiting room.

use super::super::dice::Dice;
use super::super::room::{RoomPass, Turn};
use super::{Answer, Journey, RETRY_DEFAULT_MS, Reaction, clicks, pause_ms};
use crate::outcome::{Action, Outcome};
use crate::scenario::Shopper;

/// The pause between two looks at the room's document: at least, and by chance at most so much more, as the document says.
const LOOK_MS: [u64; 2] = [1_000, 1_000];

impl Journey {
    /// What follows from a registration.
    pub(super) fn after_registration(
        &mut self,
        answer: Answer<'_>,
        shopper: &Shopper,
        dice: &mut Dice,
    ) -> Reaction {
        let first_ns = *self.registered_ns.get_or_insert(answer.due_ns);
        let next = match answer.outcome {
            Outcome::Registered => {
                self.room = RoomPass::of(answer.body).map(Box::new);
                Some((Action::Wait, look_ms(dice)))
            }
            Outcome::QueueClosed | Outcome::RateLimited | Outcome::Overloaded | Outcome::ConnectFailed => {
                Some((Action::Register, pause_ms(answer, RETRY_DEFAULT_MS, dice)))
            }
            outcome if outcome.is_unknown() => Some((Action::Register, RETRY_DEFAULT_MS)),
            _ => None,
        };
        let next = next.filter(|_| is_patient(shopper, first_ns, answer.due_ns));
        Reaction { next, ..Reaction::default() }
    }

    /// What follows from the room's document, or from none.
    pub(super) fn after_look(&mut self, answer: Answer<'_>, shopper: &Shopper, dice: &mut Dice) -> Reaction {
        let turn = self.room.as_ref().and_then(|room| room.turn(answer.body));
        let mut reaction = Reaction::default();
        match turn {
            Some(Turn::Now) => reaction.next = clicks(shopper).next(),
            Some(Turn::SoldOut) => reaction.hears_sold_out = true,
            Some(Turn::Never) => {}
            // Not its turn, or no document came.
            Some(Turn::Later) | None => {
                let first_ns = self.registered_ns.unwrap_or(answer.due_ns);
                let next = Some((Action::Wait, look_ms(dice)));
                reaction.next = next.filter(|_| is_patient(shopper, first_ns, answer.due_ns));
            }
        }
        reaction
    }
}

/// Whether a visitor who registered at `first_ns` is still there.
fn is_patient(shopper: &Shopper, first_ns: u64, now_ns: u64) -> bool {
    shopper.patience_s == 0 || now_ns.saturating_sub(first_ns) < shopper.patience_s * 1_000_000_000
}

/// The pause before the next look at the document.
pub(super) fn look_ms(dice: &mut Dice) -> u64 {
    LOOK_MS[0] + dice.below(LOOK_MS[1] + 1)
}
