//! Waiting rooms, as the rest of the engine asks the order desk about them.

use super::desk::OrderDesk;
use super::step::Step;
use super::store_error::StoreError;
use super::trail::Act;
use crate::admission::{Intake, Ladder, Load, priority_of};
use crate::domain::{DrawMix, EpochMs, Registration, RoomMarks, RoomMove, RoomSeed, SaleId, Who};

/// Registrations that are read at once while a draw is made.
const PAGE: usize = 20_000;

impl OrderDesk {
    /// How much work waits for this node's order writers: purchases, or payments and what else happens to orders, whichever is
    /// fuller.
    pub fn load(&self) -> Load {
        let admission = self.admission();
        let queue = admission.queue();
        let is_stalled = queue.intake() != Intake::Open;
        let purchases = Load { waiting: queue.depth(), capacity: queue.capacity(), is_stalled };
        let steps = Load { waiting: self.steps_waiting(), capacity: self.steps_capacity(), is_stalled };
        purchases.or_fuller(steps)
    }

    /// Writes registrations down.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn register(&self, registrations: Vec<Registration>) -> Result<(), StoreError> {
        self.ask(|reply| Step::Register(registrations, reply)).await
    }

    /// Writes down all registrations of this node that wait for it.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn write_registrations(&self) -> Result<(), StoreError> {
        let waiting: Vec<_> = self.admission().rooms().registrations().try_iter().collect();
        if waiting.is_empty() { Ok(()) } else { self.register(waiting).await }
    }

    /// Moves the marks of a room.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn move_room(&self, moved: RoomMove) -> Result<(), StoreError> {
        self.ask(|reply| Step::MoveRoom(Box::new(moved), reply)).await
    }

    /// Decides what the draw of a sale is mixed with, and answers with what is decided: that may have been another decision.
    /// `None` when the draw was made before there was any.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn decide_mix(
        &self,
        sale: SaleId,
        mix: DrawMix,
        act: Option<Act>,
    ) -> Result<Option<DrawMix>, StoreError> {
        self.ask(|reply| Step::DecideMix(Box::new((sale, mix, act)), reply)).await
    }

    /// Goes on forgetting the rooms of deleted sales, by at most `max` rows. 0 when nothing is left.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn forget_rooms(&self, max: usize) -> Result<usize, StoreError> {
        self.ask(|reply| Step::ForgetRooms(max, reply)).await
    }

    /// The marks of these sales' rooms, as far as there are any.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn room_marks(&self, sales: Vec<SaleId>) -> Result<Vec<(SaleId, RoomMarks)>, StoreError> {
        self.read(move |store| store.room_marks(&sales)).await
    }

    /// Registrations at a sale behind `after`, in the order of the log, at most `limit`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn registrations(
        &self,
        sale: SaleId,
        after: Option<(EpochMs, Who)>,
        limit: usize,
    ) -> Result<Vec<Registration>, StoreError> {
        self.read(move |store| store.registrations(sale, after, limit)).await
    }

    /// The moves of a room's marks after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn room_moves(
        &self,
        sale: SaleId,
        after: EpochMs,
        limit: usize,
    ) -> Result<Vec<RoomMove>, StoreError> {
        self.read(move |store| store.room_moves(sale, after, limit)).await
    }

    /// Draws: the order of all who registered at the sale before `until`. Eight bytes for each of them while it is made.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn draw(
        &self,
        sale: SaleId,
        seed: RoomSeed,
        until: EpochMs,
    ) -> Result<Ladder, StoreError> {
        self.read(move |store| {
            let mut priorities = Vec::new();
            let mut after = None;
            loop {
                let page = store.registrations(sale, after, PAGE)?;
                let drawn = page.iter().take_while(|registration| registration.joined_at < until);
                let before = priorities.len();
                priorities.extend(drawn.map(|registration| priority_of(&seed, &registration.who)));
                let is_whole = priorities.len() - before == page.len();
                match page.last().filter(|_| is_whole && page.len() == PAGE) {
                    Some(last) => after = Some((last.joined_at, last.who)),
                    None => return Ok(Ladder::of(priorities)),
                }
            }
        })
        .await
    }
}
