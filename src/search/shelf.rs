//! What of the index is not as it should be: a machine without I/O and clock.
//!
//! It compares the picture of all sales with what the index was told last. Nothing is queued: a sale that changes three times
//! before it is its turn has one document, the newest, so that what waits is never more than there are sales.

use std::collections::HashMap;

use tokio::time::Instant;

use super::document::Face;
use crate::domain::{EpochMs, Sale, SaleId};

/// Something that the index is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// The sale is so, since that moment.
    Put { sale: Box<Sale>, face: Face, since: EpochMs },
    /// The sale is gone.
    Remove(SaleId),
}

impl Job {
    /// The sale that it is about.
    pub fn sale(&self) -> SaleId {
        match self {
            Self::Put { sale, .. } => sale.id,
            Self::Remove(sale) => *sale,
        }
    }

    /// What the index says of the sale afterwards.
    pub fn face(&self) -> Option<Face> {
        match self {
            Self::Put { face, .. } => Some(*face),
            Self::Remove(_) => None,
        }
    }
}

/// A sale.
#[derive(Debug)]
struct Row {
    /// As the last picture has it; `None` when it is gone.
    wanted: Option<Face>,
    since: EpochMs,
    /// As the index has it, if that is known.
    told: Option<Face>,
    is_to_refresh: bool,
    /// The index does not take what is wanted.
    is_refused: bool,
    late_since: Option<Instant>,
    round: u64,
}

impl Row {
    fn is_late(&self) -> bool {
        !self.is_refused && (self.wanted.is_none() || self.told != self.wanted)
    }
}

/// All sales, with what the index has of them.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    rows: HashMap<SaleId, Row>,
    round: u64,
}

impl Shelf {
    /// Looks at the sales as they are `as_of` this moment of the calendar. What is to be told, in order of urgency: what is
    /// gone, what has changed, and what is to be told again.
    pub fn look(&mut self, picture: Vec<(Sale, Face)>, as_of: EpochMs, now: Instant) -> Vec<Job> {
        self.round += 1;
        let (mut changed, mut same) = (Vec::new(), Vec::new());
        for (sale, face) in picture {
            let row = self.rows.entry(sale.id).or_insert_with(|| Row {
                wanted: None,
                since: as_of,
                told: None,
                is_to_refresh: false,
                is_refused: false,
                late_since: None,
                round: 0,
            });
            row.round = self.round;
            if row.wanted != Some(face) {
                (row.wanted, row.since, row.is_refused) = (Some(face), as_of, false);
            }
            let (is_late, is_again) = (row.is_late(), row.is_to_refresh && !row.is_refused);
            if is_late || is_again {
                let jobs = if is_late { &mut changed } else { &mut same };
                jobs.push(Job::Put { sale: Box::new(sale), face, since: row.since });
            }
        }
        let mut jobs = Vec::new();
        for (sale, row) in &mut self.rows {
            if row.round != self.round {
                (row.wanted, row.is_refused) = (None, false);
                jobs.push(Job::Remove(*sale));
            }
            row.late_since = if row.is_late() { row.late_since.or(Some(now)) } else { None };
        }
        jobs.append(&mut changed);
        jobs.append(&mut same);
        jobs
    }

    /// This is on its way: until there is an answer nobody knows what the index has.
    pub fn sent(&mut self, sale: SaleId) {
        if let Some(row) = self.rows.get_mut(&sale) {
            row.told = None;
        }
    }

    /// The index has done so.
    pub fn done(&mut self, sale: SaleId, face: Option<Face>) {
        if face.is_none() {
            self.rows.remove(&sale);
        } else if let Some(row) = self.rows.get_mut(&sale) {
            row.told = face;
            row.is_to_refresh = false;
            if row.told == row.wanted {
                row.late_since = None;
            }
        }
    }

    /// The index does not take this, and will not until it is another: it holds up no other sale.
    pub fn refused(&mut self, sale: SaleId) {
        if let Some(row) = self.rows.get_mut(&sale) {
            row.is_refused = true;
            row.late_since = None;
        }
    }

    /// Everything is to be told again, also what was refused.
    pub fn refresh(&mut self) {
        for row in self.rows.values_mut() {
            (row.is_to_refresh, row.is_refused) = (true, false);
        }
    }

    /// Whether all sales of the last picture have been told since the last [`refresh`](Self::refresh), but for those that the
    /// index does not take.
    pub fn is_refreshed(&self) -> bool {
        self.rows.values().all(|row| row.is_refused || (!row.is_to_refresh && row.told.is_some()))
    }

    /// Sales that there are and the index does not take as they are: what it has of them is of an older version, if it has
    /// something.
    pub fn refused_sales(&self) -> impl Iterator<Item = SaleId> {
        let refused = self.rows.iter().filter(|(_, row)| row.is_refused && row.wanted.is_some());
        refused.map(|(sale, _)| *sale)
    }

    /// Documents that are late.
    pub fn late(&self) -> usize {
        self.rows.values().filter(|row| row.is_late()).count()
    }

    /// Documents that the index does not take.
    pub fn refusals(&self) -> usize {
        self.rows.values().filter(|row| row.is_refused).count()
    }

    /// Since when the oldest of those that are late is.
    pub fn late_since(&self) -> Option<Instant> {
        self.rows.values().filter_map(|row| row.late_since).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::document::tests::sale;
    use super::super::settings::SearchSettings;
    use super::*;
    use crate::domain::SalePhase;

    fn face(sale: &Sale, phase: SalePhase) -> Face {
        Face::of(sale, phase, &SearchSettings::default())
    }

    fn picture(sales: &[(u32, u32)]) -> Vec<(Sale, Face)> {
        let shown = sales.iter().map(|(id, sold)| {
            let sale = sale(*id, 100, *sold);
            let face = face(&sale, SalePhase::Open);
            (sale, face)
        });
        shown.collect()
    }

    fn names(jobs: &[Job]) -> Vec<(u32, bool)> {
        jobs.iter().map(|job| (job.sale().0, job.face().is_some())).collect()
    }

    #[test]
    fn only_the_newest_of_a_sale_is_told_and_only_what_a_buyer_would_notice() {
        let (mut shelf, begin) = (Shelf::default(), Instant::now());
        let first = shelf.look(picture(&[(1, 0), (2, 0)]), EpochMs(1), begin);
        assert_eq!((names(&first), shelf.late()), (vec![(1, true), (2, true)], 2));
        for job in &first {
            shelf.done(job.sale(), job.face());
        }
        assert_eq!((shelf.late(), shelf.late_since()), (0, None));
        // Thirty are sold: there are plenty still.
        assert!(shelf.look(picture(&[(1, 30), (2, 0)]), EpochMs(2), begin).is_empty());
        // Nobody takes anything for a while, and the sale goes on.
        let later = begin + Duration::from_secs(5);
        shelf.look(picture(&[(1, 60), (2, 0)]), EpochMs(3), begin);
        shelf.look(picture(&[(1, 95), (2, 0)]), EpochMs(4), later);
        let jobs = shelf.look(picture(&[(1, 100), (2, 0)]), EpochMs(5), later);
        assert_eq!((names(&jobs), shelf.late_since()), (vec![(1, true)], Some(begin)));
        let [Job::Put { face: told, since, .. }] = &jobs[..] else { panic!("{jobs:?}") };
        assert_eq!((*told, *since), (face(&sale(1, 100, 100), SalePhase::Open), EpochMs(5)));
        // An answer for an older face leaves it late.
        shelf.done(SaleId(1), Some(face(&sale(1, 100, 60), SalePhase::Open)));
        assert_eq!((shelf.late(), shelf.late_since()), (1, Some(begin)));
    }

    #[test]
    fn what_is_gone_is_removed_first_and_until_it_is_done() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        for job in shelf.look(picture(&[(1, 0), (2, 0)]), EpochMs(1), now) {
            shelf.done(job.sale(), job.face());
        }
        for _ in 0..2 {
            let jobs = shelf.look(picture(&[(2, 95)]), EpochMs(2), now);
            assert_eq!((names(&jobs), shelf.late()), (vec![(1, false), (2, true)], 2));
        }
        shelf.done(SaleId(1), None);
        assert_eq!(names(&shelf.look(picture(&[(2, 95)]), EpochMs(3), now)), [(2, true)]);
    }

    #[test]
    fn what_was_sent_and_not_answered_is_told_again_also_when_the_sale_is_as_before() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        for job in shelf.look(picture(&[(1, 0)]), EpochMs(1), now) {
            shelf.done(job.sale(), job.face());
        }
        shelf.look(picture(&[(1, 95)]), EpochMs(2), now);
        shelf.sent(SaleId(1));
        // The units come back before anybody knows whether the index has them as gone.
        assert_eq!(names(&shelf.look(picture(&[(1, 0)]), EpochMs(3), now)), [(1, true)]);
        assert_eq!((shelf.late(), shelf.late_since()), (1, Some(now)));
    }

    #[test]
    fn what_is_refused_waits_for_another_face_or_the_next_refresh() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        shelf.look(picture(&[(1, 0)]), EpochMs(1), now);
        shelf.refused(SaleId(1));
        assert_eq!((shelf.look(picture(&[(1, 0)]), EpochMs(2), now), shelf.refusals()), (Vec::new(), 1));
        // What else there is of older versions is of no sale.
        assert!(shelf.is_refreshed() && shelf.late() == 0);
        assert!(shelf.refused_sales().eq([SaleId(1)]));
        assert_eq!(names(&shelf.look(picture(&[(1, 95)]), EpochMs(3), now)), [(1, true)]);
        shelf.refused(SaleId(1));
        shelf.refresh();
        assert!(!shelf.is_refreshed() && shelf.refused_sales().next().is_none());
        for job in shelf.look(picture(&[(1, 95)]), EpochMs(4), now) {
            shelf.done(job.sale(), job.face());
        }
        assert!(shelf.is_refreshed() && shelf.refusals() == 0);
        // What is the same is told again, and is not late meanwhile.
        shelf.refresh();
        assert_eq!(names(&shelf.look(picture(&[(1, 95)]), EpochMs(5), now)), [(1, true)]);
        assert!(!shelf.is_refreshed() && shelf.late() == 0);
    }
}
