//! Waiting rooms, as the rest of the engine asks the order desk about them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::desk::OrderDesk;
use super::step::Step;
use super::store_error::StoreError;
use super::trail::Act;
use crate::admission::{DrawKey, Intake, Ladder, LiveSale, Load, RoomState};
use crate::domain::{DrawMix, EpochMs, Registration, RoomMarks, RoomMove, RoomSeed, SaleId, Who};

/// Registrations that are read at once while a draw is made.
const PAGE: usize = 20_000;
/// Between two looks while people register or are admitted.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// And while there is no room where anything happens.
const REST_EVERY: Duration = Duration::from_secs(1);

impl OrderDesk {
    /// Registrations that are written down at once.
    pub(super) const REGISTRATIONS_AT_ONCE: usize = 20_000;

    /// The sales whose buyers wait.
    pub(super) fn sales_with_room(&self) -> Vec<Arc<LiveSale>> {
        let admission = self.admission();
        let sales = admission.board().sales();
        sales.with_room().cloned().collect()
    }

    /// How long whoever looks at the rooms again and again pauses in between: by whether anything may happen in one of them before
    /// the next second is over.
    pub(super) fn between_looks(&self) -> Duration {
        let (admission, now) = (self.admission(), self.clock().calendar());
        let until = now.plus_ms(i64::try_from(REST_EVERY.as_millis()).unwrap_or(i64::MAX));
        let is_live_at = |sale: &LiveSale, at| {
            let Some(terms) = sale.terms.waiting_room() else { return false };
            let (marks, phase) = (sale.state.room().marks(), admission.phase(sale, at));
            let state = RoomState::of(terms, &marks, phase, sale.is_sold_out(), at);
            !matches!(state, RoomState::Closed | RoomState::Ended)
        };
        let is_live = |sale: &Arc<LiveSale>| is_live_at(sale, now) || is_live_at(sale, until);
        if self.sales_with_room().iter().any(is_live) { LOOK_EVERY } else { REST_EVERY }
    }

    /// Shows the store's marks of all rooms.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn show_marks(&self) -> Result<(), StoreError> {
        // Held until they are shown, for what is written down meanwhile would be counted twice: here and by the store.
        let unwritten = self.unwritten.try_lock();
        self.show(&self.sales_with_room(), unwritten.is_ok()).await
    }

    /// Shows the store's marks of these sales' rooms, with the count of registrations or as it is known.
    async fn show(&self, sales: &[Arc<LiveSale>], counts: bool) -> Result<(), StoreError> {
        if sales.is_empty() {
            return Ok(());
        }
        let marks = self.room_marks(sales.iter().map(|sale| sale.id).collect()).await?;
        let marks: HashMap<SaleId, RoomMarks> = marks.into_iter().collect();
        for sale in sales {
            if let Some(terms) = sale.terms.waiting_room() {
                let stored = marks.get(&sale.id).copied().unwrap_or_default();
                let registered = if counts { stored.registered } else { 0 };
                sale.state.room().show(&RoomMarks { registered, ..stored }, terms);
            }
        }
        Ok(())
    }

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

    /// Writes registrations of this node down that wait for it, as many as go at once, and answers with how many that were.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`]; they are the next to be written, whoever asks for it.
    pub async fn write_registrations(&self) -> Result<usize, StoreError> {
        let mut unwritten = self.unwritten.lock().await;
        let room = Self::REGISTRATIONS_AT_ONCE - unwritten.len();
        unwritten.extend(self.admission().rooms().registrations().try_iter().take(room));
        let written = unwritten.len();
        if written == 0 {
            return Ok(0);
        }
        self.register(unwritten.clone()).await?;
        let mut counts: HashMap<SaleId, u64> = HashMap::new();
        for registration in unwritten.drain(..) {
            *counts.entry(registration.sale).or_default() += 1;
        }
        let mut sales = self.sales_with_room();
        sales.retain(|sale| counts.contains_key(&sale.id));
        // From here on the store counts them, and what is shown must not fall.
        if let Err(error) = self.show(&sales, true).await {
            tracing::debug!(%error, "how many have registered is told later");
        }
        for sale in &sales {
            sale.state.room().note_written(counts[&sale.id]);
        }
        Ok(written)
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
        let key = DrawKey::new(&seed);
        self.read(move |store| {
            let mut priorities = Vec::new();
            let mut after = None;
            loop {
                let page = store.registrations(sale, after, PAGE)?;
                let drawn = page.iter().take_while(|registration| registration.joined_at < until);
                let before = priorities.len();
                priorities.extend(drawn.map(|registration| key.priority(&registration.who)));
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
