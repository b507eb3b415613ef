//! The check of a pass: a step of the column of refusals.

use super::super::live_sale::LiveSale;
use super::super::purchase::{Admission, Moment, Purchase};
use crate::domain::{Nanos, Rejection, RoomFailure, RoomRefusal, RoomTerms};

impl Admission {
    /// Lets in who is admitted: one hash for the pass, and one more where a draw decides.
    ///
    /// # Errors
    /// [`Rejection::WaitingRoom`].
    pub(in crate::admission) fn check_room(
        &self,
        sale: &LiveSale,
        terms: &RoomTerms,
        request: &Purchase<'_>,
        now: Moment,
    ) -> Result<(), Rejection> {
        let refused = |reason| Err(Rejection::WaitingRoom { reason, retry_after: Nanos::SECOND });
        if !self.rooms().can_tell(now.mono) {
            return match terms.on_failure {
                RoomFailure::Open => Ok(()),
                RoomFailure::Hold => refused(RoomRefusal::Held),
            };
        }
        let Some(text) = request.pass else { return refused(RoomRefusal::NoPass) };
        let Some(pass) = self.rooms().rules().keys.read(text, sale, request.buyer) else {
            return refused(RoomRefusal::InvalidPass);
        };
        if now.wall >= pass.expires_at {
            return refused(RoomRefusal::ExpiredPass);
        }
        if sale.state.room().admits(pass.joined_at, &pass.who) {
            Ok(())
        } else {
            refused(RoomRefusal::NotAdmitted)
        }
    }
}
