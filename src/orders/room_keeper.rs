//! Moves the marks of the waiting rooms, on the one engine that does.
//!
//! Any engine may be the one: it goes on from the marks that the store has. Two that move the same room for a moment admit faster
//! for that moment, and nobody out of order: marks are merged by maximum.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::desk::OrderDesk;
use super::store::StoreError;
use crate::admission::{Admission, Ladder, LiveSale, Moment, Releasing, RoomState, Seen, drawing_seed};
use crate::domain::{
    DrawMix, EpochMs, Nanos, Registration, RoomMarks, RoomMode, RoomMove, RoomTerms, SaleId, SalePhase,
};

/// How far the calendars of the nodes may be apart, and how long a registration may be on its way to the log.
const APART_MS: i64 = 500;
/// From the start until the draw: by then what was registered before the start is in the log.
const SETTLES_MS: i64 = 1_000;
/// Registrations of one millisecond that are counted, at most.
const SAME_TIME_MAX: usize = 1_000;
/// How often what is sold is read.
const COUNT_EVERY: Nanos = Nanos::SECOND;

/// Where nobody waits of whom the log tells, the mark of arrival rises all the same once it is so old: somebody may wait whose
/// registration the store did not keep up with. Each time after twice that, up to [`RESTS_MAX`] times.
const REST_MS: i64 = 5_000;
/// 80 seconds are the longest rest.
const RESTS_MAX: u32 = 4;

/// Moves the marks, for ever. `elected` says whether this engine is the one that does; without it it always is.
pub async fn move_marks(desk: OrderDesk, elected: Option<watch::Receiver<bool>>) {
    let admission = desk.admission();
    let mut keeper = Keeper { desk, admission, elected, moving: HashMap::new(), logged_until: EpochMs(0) };
    loop {
        keeper.look().await;
        tokio::time::sleep(keeper.desk.between_looks()).await;
    }
}

struct Keeper {
    desk: OrderDesk,
    admission: Arc<Admission>,
    elected: Option<watch::Receiver<bool>>,
    moving: HashMap<SaleId, Moving>,
    /// Until when all who registered at this node are in the log. A mark that passes over somebody who is not admits uncounted.
    logged_until: EpochMs,
}

/// A room whose marks this engine moves.
#[derive(Default)]
struct Moving {
    releasing: Releasing,
    ladder: Option<Ladder>,
    sold: u64,
    counted_at: Option<Nanos>,
    /// How often in a row the mark of arrival rose where nobody waited.
    rests: u32,
}

impl Keeper {
    /// One look at all rooms.
    async fn look(&mut self) {
        let is_elected = self.elected.as_ref().is_none_or(|elected| *elected.borrow());
        // Nobody is admitted by marks that were not compared with the store for long.
        if !is_elected || !self.admission.rooms().can_tell(self.now().mono) {
            self.moving.clear();
            return;
        }
        let sales = self.desk.sales_with_room();
        self.moving.retain(|id, _| sales.iter().any(|sale| sale.id == *id));
        let began = self.now().wall;
        match self.desk.write_registrations().await {
            // There may be more of them.
            Ok(OrderDesk::REGISTRATIONS_AT_ONCE) => {}
            Ok(_) => self.logged_until = began,
            Err(error) => {
                tracing::debug!(%error, "the marks of all waiting rooms wait for their registrations");
                return;
            }
        }
        for sale in &sales {
            if let Err(error) = self.move_on(sale).await {
                tracing::debug!(%error, sale = %sale.key, "the marks of a waiting room wait for the store");
            }
        }
    }

    fn now(&self) -> Moment {
        self.desk.clock().now()
    }

    /// Draws, if it is time, and admits as many as may be admitted now.
    async fn move_on(&mut self, sale: &Arc<LiveSale>) -> Result<(), StoreError> {
        let Some(terms) = sale.terms.waiting_room() else { return Ok(()) };
        let now = self.now();
        let phase = self.admission.phase(sale, now.wall);
        if matches!(phase, SalePhase::Upcoming | SalePhase::Ended) {
            self.moving.remove(&sale.id);
            return Ok(());
        }
        // By default marks a draw that has begun would be forgotten.
        let Some(marks) = sale.state.room().known_marks() else { return Ok(()) };
        let mut moving = self.moving.remove(&sale.id).unwrap_or_default();
        let moved = self.moved(sale, terms, &mut moving, marks, phase, now).await;
        self.moving.insert(sale.id, moving);
        let Some(marks) = moved? else { return Ok(()) };
        self.desk.move_room(RoomMove { sale: sale.id, at: now.wall, marks }).await?;
        sale.state.room().show(&marks, terms);
        Ok(())
    }

    /// The marks from now on; `None` where they stay: nobody waits, or the draw does for its last registrations.
    async fn moved(
        &self,
        sale: &LiveSale,
        terms: &RoomTerms,
        moving: &mut Moving,
        mut marks: RoomMarks,
        phase: SalePhase,
        now: Moment,
    ) -> Result<Option<RoomMarks>, StoreError> {
        let before = marks;
        if terms.mode == RoomMode::Draw && marks.drawn_at.is_none() {
            let starts_at = sale.terms.starts_at;
            if phase != SalePhase::Open || self.logged_until < starts_at.plus_ms(SETTLES_MS) {
                return Ok(None);
            }
            if !self.is_mixed(sale, terms, &mut marks, now.wall).await? {
                return Ok(None);
            }
            let ladder = self.desk.draw(sale.id, drawing_seed(terms, &marks), starts_at).await?;
            marks.drawn_at = Some(starts_at);
            marks.drawn = ladder.drawn();
            tracing::info!(sale = %sale.key, drawn = marks.drawn, "a waiting room was drawn");
            moving.ladder = Some(ladder);
        }
        // Whatever the mode has become: by arrival all of them would come at once.
        let drawn_at = marks.drawn_at.filter(|_| !marks.draw_is_over());
        if let Some(drawn_at) = drawn_at
            && moving.ladder.is_none()
        {
            moving.ladder = Some(self.desk.draw(sale.id, drawing_seed(terms, &marks), drawn_at).await?);
        }
        let ladder = drawn_at.and(moving.ladder.as_ref());
        if moving.counted_at.is_none_or(|at| now.mono.0.saturating_sub(at.0) >= COUNT_EVERY.0) {
            moving.counted_at = Some(now.mono);
            moving.sold = self.desk.sale(sale.id).await?.map_or(0, |stored| stored.sold.into());
        }
        let state = RoomState::of(terms, &marks, phase, sale.is_sold_out(), now.wall);
        let seen = Seen {
            admitted: marks.admitted,
            sold: moving.sold,
            is_open: state == RoomState::Open,
            // Whoever is admitted buys at any node: the fullest of them says how many more there may be.
            load: self.desk.load().or_fuller(self.admission.rooms().elsewhere()),
            most_per_s: self.admission.rooms().rules().most_per_s,
            step: ladder.map_or(1, Ladder::step),
        };
        let release = moving.releasing.next(terms, &seen, now);
        if release.people > 0 {
            let admitted = match ladder {
                Some(ladder) => admit_drawn(&mut marks, ladder, release.people),
                None => {
                    let (people, rests) = (release.people, &mut moving.rests);
                    self.admit_by_arrival(sale.id, &mut marks, people, rests, now.wall).await?
                }
            };
            moving.releasing.took(admitted);
        }
        if marks == before {
            return Ok(None);
        }
        // The rate rises and falls all the time. That alone is no move: it is told with the next one.
        marks.rate_per_s = release.rate_per_s;
        marks.absent_permille = release.absent_permille;
        Ok(Some(marks))
    }

    /// Whether it is decided what the seed is mixed with: there is no beacon, its value is there, or nobody gave it in time.
    async fn is_mixed(
        &self,
        sale: &LiveSale,
        terms: &RoomTerms,
        marks: &mut RoomMarks,
        now: EpochMs,
    ) -> Result<bool, StoreError> {
        let Some(beacon) = terms.beacon.filter(|_| marks.mix.is_none()) else { return Ok(true) };
        if now < beacon.waits_until(sale.terms.starts_at) {
            return Ok(false);
        }
        // A value that comes at this very moment may have been first.
        marks.mix = self.desk.decide_mix(sale.id, DrawMix::Plain, None).await?;
        if marks.mix == Some(DrawMix::Plain) {
            tracing::warn!(
                code = "draw-without-beacon",
                sale = %sale.key,
                source = beacon.source.as_str(),
                round = beacon.round,
                "a waiting room is drawn with its seed alone: nobody gave the value of the beacon's round in time"
            );
        }
        Ok(true)
    }

    /// Raises the mark of arrival by `people`, and answers with how many were there. Where nobody was it rests, as it did `rests`
    /// times in a row.
    async fn admit_by_arrival(
        &self,
        sale: SaleId,
        marks: &mut RoomMarks,
        people: u64,
        rests: &mut u32,
        now: EpochMs,
    ) -> Result<u64, StoreError> {
        let until = now.min(self.logged_until).plus_ms(-APART_MS);
        let from = marks.drawn_at.map_or(marks.fifo_mark, |drawn_at| drawn_at.max(marks.fifo_mark));
        let before = Some((from.plus_ms(-1), [u8::MAX; 16]));
        let most = usize::try_from(people).unwrap_or(usize::MAX);
        let mut next = self.desk.registrations(sale, before, most).await?;
        next.retain(|registration| registration.joined_at < until);
        if !next.is_empty() {
            *rests = 0;
        } else if until.ms_since(marks.fifo_mark) < REST_MS << *rests {
            return Ok(0);
        } else {
            *rests = RESTS_MAX.min(*rests + 1);
        }
        let mut admitted = next.len() as u64;
        let mark = match next.last() {
            Some(last) if admitted == people => {
                // The mark is a time: whoever came in the same millisecond is admitted with the last one.
                let behind = Some((last.joined_at, last.who));
                let with_last = self.desk.registrations(sale, behind, SAME_TIME_MAX).await?;
                let is_with_last = |registration: &&Registration| registration.joined_at == last.joined_at;
                admitted += with_last.iter().take_while(is_with_last).count() as u64;
                last.joined_at.plus_ms(1)
            }
            // Nobody waits who has come by then.
            _ => until,
        };
        marks.fifo_mark = marks.fifo_mark.max(mark);
        marks.admitted += admitted;
        Ok(admitted)
    }
}

/// Raises the mark of the draw by `people`, as far as there is a rung, and answers with how many that admits.
fn admit_drawn(marks: &mut RoomMarks, ladder: &Ladder, people: u64) -> u64 {
    let before = marks.admitted;
    let (mark, admitted) = ladder.mark_for(before + people);
    marks.draw_mark = marks.draw_mark.max(mark);
    marks.admitted = before.max(admitted);
    marks.admitted - before
}
