//! What an order store keeps of waiting rooms: the log of registrations, the marks and how they moved, and the secret of the
//! passes. Nothing here is on the way of a purchase.

use super::store_error::StoreError;
use super::trail::Act;
use crate::domain::{DrawMix, EpochMs, Registration, RoomMarks, RoomMove, SaleId, Who};

/// The writing half, as far as waiting rooms go. As with the rest of it, what met a transient error is asked for again, and
/// comes to the same when it is done twice.
pub trait RoomWriter {
    /// Writes registrations down and counts those that are new.
    ///
    /// # Errors
    /// See [`Fault`](super::Fault).
    fn register(&mut self, registrations: &[Registration]) -> Result<(), StoreError>;

    /// Moves the marks of a sale's room, which never fall, and writes the move down.
    ///
    /// # Errors
    /// As [`RoomWriter::register`].
    fn move_room(&mut self, moved: &RoomMove) -> Result<(), StoreError>;

    /// Decides what a sale's draw is mixed with, unless that is decided, or the draw is made, and tells the act in the trail if it
    /// was this that decided. Answers with what is decided; `None` when the draw was made before anything was.
    ///
    /// # Errors
    /// As [`RoomWriter::register`].
    fn decide_mix(
        &mut self,
        sale: SaleId,
        mix: &DrawMix,
        act: Option<&Act>,
    ) -> Result<Option<DrawMix>, StoreError>;

    /// Goes on forgetting the waiting rooms of deleted sales, by at most `max` rows in one transaction. 0 when nothing of one is
    /// left.
    ///
    /// # Errors
    /// As [`RoomWriter::register`].
    fn forget_rooms(&mut self, max: usize) -> Result<usize, StoreError>;
}

/// The reading half, as far as waiting rooms go. All methods block.
pub trait RoomReader {
    /// The marks of these sales' rooms, as far as there are any.
    ///
    /// # Errors
    /// What the database says.
    fn room_marks(&self, sales: &[SaleId]) -> Result<Vec<(SaleId, RoomMarks)>, StoreError>;

    /// Registrations at a sale behind `after`, in the order of the log, at most `limit`.
    ///
    /// # Errors
    /// What the database says.
    fn registrations(
        &self,
        sale: SaleId,
        after: Option<(EpochMs, Who)>,
        limit: usize,
    ) -> Result<Vec<Registration>, StoreError>;

    /// The moves of a room's marks after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// What the database says.
    fn room_moves(&self, sale: SaleId, after: EpochMs, limit: usize) -> Result<Vec<RoomMove>, StoreError>;

    /// What passes are signed with where no key is configured: made with the store, and the same for all who use it.
    ///
    /// # Errors
    /// What the database says.
    fn pass_secret(&self) -> Result<Vec<u8>, StoreError>;
}
