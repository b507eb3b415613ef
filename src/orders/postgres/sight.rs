//! How far this node's memory has followed the store.

use std::time::Instant;

use parking_lot::Mutex;

/// The moment up to which memory knows every durable order. One hand writes it, the follower's.
#[derive(Debug, Default)]
pub(super) struct Sight(Mutex<Option<Instant>>);

impl Sight {
    /// Everything that was durable at `moment` has been taken over.
    pub fn reaches(&self, moment: Instant) {
        *self.0.lock() = Some(moment);
    }

    /// Whether everything that was durable at `moment` has been taken over.
    pub fn covers(&self, moment: Instant) -> bool {
        self.0.lock().is_some_and(|seen| seen >= moment)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_covers_what_lies_before_it() {
        let (sight, now) = (Sight::default(), Instant::now());
        assert!(!sight.covers(now), "nothing has been read yet");
        sight.reaches(now);
        assert!(sight.covers(now) && !sight.covers(now + Duration::from_nanos(1)));
    }
}
