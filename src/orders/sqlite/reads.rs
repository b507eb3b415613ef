//! Which reads of the store are under way, and since when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The reads that are under way.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<Begun>);

#[derive(Debug, Default)]
struct Begun {
    next: u64,
    /// By number: the first one is the oldest.
    at: BTreeMap<u64, Instant>,
}

/// A read that is under way.
#[must_use = "the read is over when this is dropped"]
#[derive(Debug)]
pub(super) struct Read<'a> {
    reads: &'a Reads,
    number: u64,
}

impl Reads {
    /// A read begins.
    pub fn begin(&self) -> Read<'_> {
        let mut begun = self.0.lock();
        let number = begun.next;
        begun.next += 1;
        begun.at.insert(number, Instant::now());
        Read { reads: self, number }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().at.len()
    }

    /// For how long the oldest one has lasted.
    pub fn oldest(&self) -> Option<Duration> {
        self.0.lock().at.first_key_value().map(|(_, at)| at.elapsed())
    }

    /// Who reads, for a person.
    pub fn in_words(&self) -> String {
        match self.oldest() {
            Some(lasts) => {
                format!("{} reads of this engine, the oldest for {} ms", self.count(), lasts.as_millis())
            }
            None => "no read of this engine; another program (a backup) has it open".into(),
        }
    }
}

impl Drop for Read<'_> {
    fn drop(&mut self) {
        self.reads.0.lock().at.remove(&self.number);
    }
}
