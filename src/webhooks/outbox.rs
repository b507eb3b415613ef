//! What waits for one endpoint of one log, and in which order it goes out: a machine without I/O and clock.
//!
//! Events of a sale wait in its *lane* and leave it one at a time: the next one goes when the one before it was taken. Lanes
//! know nothing of each other. When the endpoint refuses an event, its lane is *held*: of what it has only that event stays in
//! memory, the others are read again from the log when they are due, and the log is read on for all other lanes. So one sale
//! that the endpoint chokes on holds up no other, however long, and takes no memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::told::Told;
use crate::orders::LogCursor;

/// Events that wait in memory before the log is read on.
const WAITING_MAX: usize = 512;
/// Lanes that may be held. Beyond them what waits stays in memory, so that the log is not read on in the end.
const HELD_MAX: usize = 64;

/// A sale's events.
#[derive(Debug, Default)]
struct Lane {
    /// The next ones.
    events: VecDeque<Told>,
    in_flight: bool,
    /// Times that the first one was refused.
    failures: u32,
    /// It is not tried again before.
    not_before: Option<Instant>,
    /// Held: the events from this number on are to be read again from the log.
    from: Option<u64>,
}

impl Lane {
    fn is_due(&self, now: Instant) -> bool {
        !self.in_flight && self.not_before.is_none_or(|at| at <= now)
    }
}

/// What waits for one endpoint of one log.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Up to here the log was read for lanes that are not held.
    read_through: u64,
    lanes: HashMap<Arc<str>, Lane>,
    /// Events in all lanes.
    waiting: usize,
    held: usize,
}

impl Outbox {
    /// What is still to be told of a log that was told so far.
    pub fn new(cursor: &LogCursor) -> Self {
        let held = cursor
            .held
            .iter()
            .map(|(lane, from)| (Arc::from(lane.as_str()), Lane { from: Some(*from), ..Lane::default() }));
        let lanes: HashMap<_, _> = held.collect();
        Self { read_through: cursor.through, held: lanes.len(), lanes, waiting: 0 }
    }

    /// How far it was told: what is in flight or waits counts as not told.
    pub fn cursor(&self) -> LogCursor {
        let mut cursor = LogCursor { through: self.read_through, held: BTreeMap::new() };
        for (name, lane) in &self.lanes {
            let first = lane.events.front().map(|event| event.seq);
            match (lane.from, first) {
                (Some(from), first) => {
                    cursor.held.insert(name.to_string(), first.unwrap_or(from));
                }
                (None, Some(first)) => cursor.through = cursor.through.min(first - 1),
                (None, None) => {}
            }
        }
        cursor
    }

    /// Up to which number the log was read.
    pub fn read_through(&self) -> u64 {
        self.read_through
    }

    /// Whether there is room for more of the log.
    pub fn has_room(&self) -> bool {
        self.waiting < WAITING_MAX
    }

    /// Takes what was read of the log, up to this number.
    pub fn offer(&mut self, read: Vec<Told>, through: u64) {
        for event in read {
            let lane = self.lanes.entry(Arc::clone(&event.lane)).or_default();
            match lane.from {
                None => {}
                // It has caught up: nothing lies between what was read for it and this one.
                Some(from) if lane.events.is_empty() && from > self.read_through && event.seq >= from => {
                    lane.from = None;
                    self.held -= 1;
                }
                // It is read later, or was told before.
                Some(_) => continue,
            }
            lane.events.push_back(event);
            self.waiting += 1;
        }
        self.read_through = self.read_through.max(through);
    }

    /// A held lane that is due and whose events have to be read again, above this number.
    pub fn to_refill(&self, now: Instant) -> Option<(Arc<str>, u64)> {
        let due = self.lanes.iter().filter(|(_, lane)| lane.events.is_empty() && lane.is_due(now));
        let behind = due.filter_map(|(name, lane)| {
            let from = lane.from.filter(|from| *from <= self.read_through)?;
            Some((name, from - 1))
        });
        behind.min_by_key(|(_, after)| *after).map(|(name, after)| (Arc::clone(name), after))
    }

    /// Takes what was read again for a held lane, up to this number; events of other lanes are passed over.
    pub fn refill(&mut self, name: &Arc<str>, read: Vec<Told>, through: u64) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let Some(from) = lane.from else { return };
        let of_lane =
            read.into_iter().filter(|it| it.lane == *name && it.seq >= from && it.seq <= self.read_through);
        let before = lane.events.len();
        lane.events.extend(of_lane);
        self.waiting += lane.events.len() - before;
        if through >= self.read_through {
            // From here on it is read with all others.
            lane.from = None;
            self.held -= 1;
        } else {
            lane.from = Some(from.max(through + 1));
        }
        self.forget_if_done(name);
    }

    /// The next event to deliver: the oldest of all that are due. It is in flight from now on.
    pub fn next(&mut self, now: Instant) -> Option<Told> {
        let due = self.lanes.values_mut().filter(|lane| lane.is_due(now) && !lane.events.is_empty());
        let oldest = due.min_by_key(|lane| lane.events.front().map(|event| event.seq))?;
        oldest.in_flight = true;
        oldest.events.front().cloned()
    }

    /// When something becomes due that is not yet.
    pub fn due_after(&self, now: Instant) -> Option<Instant> {
        let waiting = self.lanes.values().filter(|lane| !lane.in_flight);
        let can = waiting.filter(|lane| {
            !lane.events.is_empty() || lane.from.is_some_and(|from| from <= self.read_through)
        });
        can.filter_map(|lane| lane.not_before).filter(|at| *at > now).min()
    }

    /// The event of this lane that was in flight was taken.
    pub fn delivered(&mut self, name: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        lane.in_flight = false;
        lane.failures = 0;
        lane.not_before = None;
        if lane.events.pop_front().is_some() {
            self.waiting -= 1;
        }
        if lane.events.is_empty() && lane.from == Some(self.read_through + 1) {
            lane.from = None;
            self.held -= 1;
        }
        self.forget_if_done(name);
    }

    /// How often the event of this lane that is in flight was refused, this time included.
    pub fn failures(&self, name: &Arc<str>) -> u32 {
        self.lanes.get(name).map_or(0, |lane| lane.failures.saturating_add(1))
    }

    /// The event of this lane that was in flight was refused: its lane is held, and not tried before this moment.
    pub fn refused(&mut self, name: &Arc<str>, not_before: Instant) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        lane.in_flight = false;
        lane.failures = lane.failures.saturating_add(1);
        lane.not_before = Some(not_before);
        if lane.from.is_none() {
            if self.held >= HELD_MAX {
                return;
            }
            self.held += 1;
            lane.from = Some(self.read_through + 1);
        }
        if let Some(second) = lane.events.get(1) {
            lane.from = Some(second.seq);
            self.waiting -= lane.events.len() - 1;
            lane.events.truncate(1);
        }
    }

    /// The endpoint answers again: whatever was refused while it did not is tried at once.
    pub fn forgive(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.not_before = None;
        }
    }

    fn forget_if_done(&mut self, name: &Arc<str>) {
        if self.lanes.get(name).is_some_and(|lane| lane.events.is_empty() && lane.from.is_none()) {
            self.lanes.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn event(seq: u64, lane: &str) -> Told {
        Told { seq, lane: lane.into(), id: format!("e{seq}"), body: String::new() }
    }

    fn lane(name: &str) -> Arc<str> {
        name.into()
    }

    fn numbers(outbox: &mut Outbox, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| outbox.next(now)).map(|event| event.seq).collect()
    }

    #[tokio::test]
    async fn lanes_go_beside_each_other_and_each_one_at_a_time() {
        let now = Instant::now();
        let mut outbox = Outbox::new(&LogCursor::default());
        outbox.offer(vec![event(1, "a"), event(2, "a"), event(4, "b")], 5);
        assert_eq!(numbers(&mut outbox, now), [1, 4]);
        assert_eq!(outbox.cursor().through, 0);
        outbox.delivered(&lane("b"));
        assert_eq!(numbers(&mut outbox, now), [0; 0]);
        outbox.delivered(&lane("a"));
        assert_eq!((outbox.cursor().through, numbers(&mut outbox, now)), (1, vec![2]));
        outbox.delivered(&lane("a"));
        assert_eq!(outbox.cursor(), LogCursor { through: 5, held: BTreeMap::new() });
    }

    #[tokio::test]
    async fn a_lane_that_is_refused_is_held_and_the_others_go_on() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut outbox = Outbox::new(&LogCursor::default());
        outbox.offer(vec![event(1, "a"), event(2, "b"), event(3, "a"), event(4, "a")], 4);
        assert_eq!(numbers(&mut outbox, now), [1, 2]);
        outbox.delivered(&lane("b"));
        outbox.refused(&lane("a"), later);
        assert_eq!(outbox.cursor(), LogCursor { through: 4, held: BTreeMap::from([("a".into(), 1)]) });
        assert_eq!((outbox.waiting, outbox.due_after(now)), (1, Some(later)));
        outbox.offer(vec![event(5, "a"), event(6, "b")], 6);
        assert_eq!(numbers(&mut outbox, now), [6]);
        assert_eq!(numbers(&mut outbox, later), [1]);
        outbox.delivered(&lane("a"));
        // Page by page up to where the others are.
        assert_eq!(outbox.to_refill(later), Some((lane("a"), 2)));
        outbox.refill(&lane("a"), vec![event(3, "a")], 3);
        assert_eq!(numbers(&mut outbox, later), [3]);
        outbox.delivered(&lane("a"));
        assert_eq!(outbox.to_refill(later), Some((lane("a"), 3)));
        outbox.refill(&lane("a"), vec![event(4, "a"), event(5, "a"), event(6, "b"), event(7, "a")], 7);
        assert_eq!(numbers(&mut outbox, later), [4]);
        outbox.delivered(&lane("a"));
        outbox.delivered(&lane("b"));
        outbox.offer(vec![event(7, "a")], 7);
        assert_eq!(numbers(&mut outbox, later), [5]);
        outbox.delivered(&lane("a"));
        assert_eq!(numbers(&mut outbox, later), [7]);
        outbox.delivered(&lane("a"));
        assert_eq!(outbox.cursor(), LogCursor { through: 7, held: BTreeMap::new() });
        assert_eq!((outbox.waiting, outbox.held, outbox.lanes.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn forgiven_lanes_are_due_at_once() {
        let now = Instant::now();
        let mut outbox = Outbox::new(&LogCursor::default());
        outbox.offer(vec![event(1, "a")], 1);
        assert_eq!(numbers(&mut outbox, now), [1]);
        outbox.refused(&lane("a"), now + Duration::from_secs(3_600));
        assert_eq!(outbox.failures(&lane("a")), 2);
        assert_eq!(numbers(&mut outbox, now), [0; 0]);
        outbox.forgive();
        assert_eq!(numbers(&mut outbox, now), [1]);
    }

    /// What happens next to an outbox.
    #[derive(Clone, Debug)]
    enum Turn {
        /// So many events more are read.
        Read(usize),
        /// A held lane is read again.
        Refill(usize),
        /// One goes out and is taken, or refused.
        Deliver(bool),
        /// The engine dies, and another one goes on from what was saved.
        Die,
    }

    fn turns() -> impl Strategy<Value = Vec<Turn>> {
        let turn = prop_oneof![
            4 => (1usize..6).prop_map(Turn::Read),
            3 => (1usize..6).prop_map(Turn::Refill),
            8 => prop::bool::weighted(0.7).prop_map(Turn::Deliver),
            1 => Just(Turn::Die),
        ];
        prop::collection::vec(turn, 0..200)
    }

    proptest! {
        #[test]
        fn whatever_happens_nothing_is_lost_and_each_lane_comes_in_order(
            lanes in prop::collection::vec(0u8..4, 1..60),
            turns in turns(),
        ) {
            // Time stands still here: what is refused is due at once.
            let now = Instant::now();
            let log: Vec<Told> =
                (1..).zip(&lanes).map(|(seq, lane)| event(seq, &format!("lane-{lane}"))).collect();
            let page = |after: u64, limit: usize| {
                let read: Vec<Told> = log.iter().skip(after as usize).take(limit).cloned().collect();
                let through = read.last().map_or(after, |event| event.seq);
                (read, through)
            };
            let mut outbox = Outbox::new(&LogCursor::default());
            // What each lane has taken, each event where it came first.
            let mut taken: HashMap<Arc<str>, Vec<u64>> = HashMap::new();
            let mut turn = |outbox: &mut Outbox, turn: &Turn| match turn {
                Turn::Read(limit) => {
                    let (read, through) = page(outbox.read_through(), *limit);
                    outbox.offer(read, through);
                }
                Turn::Refill(limit) => {
                    if let Some((lane, after)) = outbox.to_refill(now) {
                        let (read, through) = page(after, *limit);
                        outbox.refill(&lane, read, through);
                    }
                }
                Turn::Deliver(is_taken) => {
                    let Some(event) = outbox.next(now) else { return };
                    if *is_taken {
                        let taken = taken.entry(Arc::clone(&event.lane)).or_default();
                        if !taken.contains(&event.seq) {
                            taken.push(event.seq);
                        }
                        outbox.delivered(&event.lane);
                    } else {
                        outbox.refused(&event.lane, now);
                    }
                }
                Turn::Die => *outbox = Outbox::new(&outbox.cursor()),
            };
            for next in &turns {
                turn(&mut outbox, next);
            }
            // From here on all goes well.
            for _ in 0..4 * log.len() {
                for next in [Turn::Read(3), Turn::Refill(3), Turn::Deliver(true)] {
                    turn(&mut outbox, &next);
                }
            }
            prop_assert_eq!(outbox.cursor(), LogCursor { through: log.len() as u64, held: BTreeMap::new() });
            prop_assert_eq!((outbox.waiting, outbox.held, outbox.lanes.len()), (0, 0, 0));
            for lane in 0..4 {
                let lane: Arc<str> = format!("lane-{lane}").into();
                let expected: Vec<u64> =
                    log.iter().filter(|event| event.lane == lane).map(|event| event.seq).collect();
                prop_assert_eq!(taken.remove(&lane).unwrap_or_default(), expected);
            }
        }
    }
}
