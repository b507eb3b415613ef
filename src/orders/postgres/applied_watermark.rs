//! How far this node's memory has followed the store.

use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The moment up to which memory knows every durable order, and the last event it has seen. One hand writes it, the
/// follower's.
#[derive(Debug, Default)]
pub(super) struct AppliedWatermark {
    moment: Mutex<Option<Instant>>,
    last_event: watch::Sender<u64>,
}

impl AppliedWatermark {
    /// Everything that was durable at `moment` has been taken over.
    pub fn advance(&self, moment: Instant) {
        *self.moment.lock() = Some(moment);
    }

    /// Up to when everything has been taken over; `None` before the first time.
    pub fn reached(&self) -> Option<Instant> {
        *self.moment.lock()
    }

    /// The store's events end at this number.
    pub fn saw_event(&self, number: u64) {
        self.last_event.send_if_modified(|last| std::mem::replace(last, number) != number);
    }

    /// The number of the last event that was seen, again whenever it changes.
    pub fn last_event(&self) -> watch::Receiver<u64> {
        self.last_event.subscribe()
    }
}

/// An event is durable before it has a number, and is followed by its number. So what a look that has read the log to its
/// end can say of is the moment of an earlier one: the latest whose events all have their numbers by now.
#[derive(Debug, Default)]
pub(super) struct UnplacedEvents {
    /// When the look began that is waited for, and the last stamp without a number that it saw.
    awaited: Option<(Instant, i64)>,
}

impl UnplacedEvents {
    /// A look that began at `moment` saw stamps from the first to the last `unplaced`, and has taken over everything with a
    /// number. The moment up to which that is all there was, if it is a later one than before.
    pub fn taken_at(&mut self, moment: Instant, unplaced: Option<(i64, i64)>) -> Option<Instant> {
        let Some((first, last)) = unplaced else {
            self.awaited = None;
            return Some(moment);
        };
        match self.awaited {
            Some((_, stamp)) if first <= stamp => None,
            before => {
                self.awaited = Some((moment, last));
                before.map(|(moment, _)| moment)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_reached_when_all_events_of_its_look_have_their_numbers() {
        let (mut events, start) = (UnplacedEvents::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(events.taken_at(at(0), None), Some(at(0)));
        assert_eq!(events.taken_at(at(1), Some((4, 6))), None);
        assert_eq!(events.taken_at(at(2), Some((5, 9))), None, "5 was there a second ago");
        assert_eq!(events.taken_at(at(3), Some((7, 11))), Some(at(1)), "7 was not");
        assert_eq!(events.taken_at(at(4), Some((12, 12))), Some(at(3)));
        assert_eq!(events.taken_at(at(5), None), Some(at(5)));
        assert_eq!(events.taken_at(at(6), Some((13, 13))), None);
    }
}
