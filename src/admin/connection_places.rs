//! The places of the admin port's connections.
//!
//! Whoever opens a connection is unknown until a request has come that may be answered. Unknown connections are few, and
//! when there is one too many the oldest that says nothing is closed: those who hold connections open and send nothing
//! push out each other, and never keep a probe or an operator out. A probe that is being answered is not closed. A known
//! connection has a place of another kind, which nobody can take from it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    known: Arc<Semaphore>,
    unknown_max: usize,
    unknown: Mutex<Unknown>,
}

/// Unknown connections, the oldest first.
#[derive(Debug, Default)]
struct Unknown {
    waiting: VecDeque<(u64, Arc<Notify>)>,
    opened: u64,
    probed: usize,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    close: Arc<Notify>,
    known: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Places {
    pub fn new(known_max: usize, unknown_max: usize) -> Arc<Self> {
        Arc::new(Self { known: Arc::new(Semaphore::new(known_max)), unknown_max, unknown: Mutex::default() })
    }

    /// A place for a new connection. The oldest that says nothing may have to give up its own.
    pub fn open(self: &Arc<Self>) -> Arc<Place> {
        let mut unknown = self.unknown.lock();
        unknown.opened += 1;
        let (number, close) = (unknown.opened, Arc::new(Notify::new()));
        self.wait(&mut unknown, number, Arc::clone(&close));
        Arc::new(Place { places: Arc::clone(self), number, close, known: Mutex::default() })
    }

    fn wait(&self, unknown: &mut Unknown, number: u64, close: Arc<Notify>) {
        unknown.waiting.push_back((number, close));
        if unknown.waiting.len() > self.unknown_max
            && let Some((_, oldest)) = unknown.waiting.pop_front()
        {
            oldest.notify_one();
        }
    }
}

impl Unknown {
    /// Takes a connection out of those that may be closed. `false` when it is not among them.
    fn leave(&mut self, number: u64) -> bool {
        let place = self.waiting.iter().position(|(waiting, _)| *waiting == number);
        place.is_some_and(|place| self.waiting.remove(place).is_some())
    }
}

impl Place {
    /// Ends when another connection needs this place.
    pub async fn given_up(&self) {
        self.close.notified().await;
    }

    /// Its request may be answered: gives the connection a place of its own. `false` when there is none.
    pub fn become_known(&self) -> bool {
        let mut known = self.known.lock();
        if known.is_none() {
            *known = Arc::clone(&self.places.known).try_acquire_owned().ok();
            if known.is_some() {
                self.places.unknown.lock().leave(self.number);
            }
        }
        known.is_some()
    }

    /// Its request is a probe: it is not closed until that has been answered. `None` when too many are answered already.
    pub fn probe(self: &Arc<Self>) -> Option<Probe> {
        let mut unknown = self.places.unknown.lock();
        if unknown.probed >= self.places.unknown_max {
            return None;
        }
        unknown.probed += 1;
        let waits = unknown.leave(self.number);
        Some(Probe { place: Arc::clone(self), waits })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.unknown.lock().leave(self.number);
    }
}

/// A probe that is being answered.
#[derive(Debug)]
pub(super) struct Probe {
    place: Arc<Place>,
    /// Whether the connection goes back to those that may be closed.
    waits: bool,
}

impl Drop for Probe {
    fn drop(&mut self) {
        let place = &self.place;
        let mut unknown = place.places.unknown.lock();
        unknown.probed -= 1;
        if self.waits {
            place.places.wait(&mut unknown, place.number, Arc::clone(&place.close));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_given_up(place: &Place) -> bool {
        pin!(place.given_up()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn d3_the_oldest_that_says_nothing_makes_room() {
        let places = Places::new(1, 2);
        let [silent, probed, operator] = [(); 3].map(|()| places.open());
        assert!(is_given_up(&silent) && !is_given_up(&probed));
        let probe = probed.probe().unwrap();
        assert!(operator.become_known() && operator.become_known());
        let later: Vec<_> = (0..10).map(|_| places.open()).collect();
        assert!(!is_given_up(&probed) && !is_given_up(&operator), "neither of them is silent");
        assert!(later[..8].iter().all(|place| is_given_up(place)) && !is_given_up(&later[9]));
        assert!(!later[9].become_known(), "there is one place only");
        drop(operator);
        assert!(later[9].become_known());
        drop(probe);
        drop((places.open(), places.open()));
        assert!(is_given_up(&probed), "answered, it waits like the others");
        assert_eq!(places.unknown.lock().probed, 0);
    }
}
