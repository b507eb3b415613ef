//! A line that the same trouble would repeat for every request is said once a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a line keeps quiet after it was said.
const QUIET: Duration = Duration::from_secs(1);

/// Lets one through a second, and counts those that it holds back. For what is logged because of requests: trouble that
/// all of them meet must not become a flood of lines.
#[derive(Debug)]
pub struct Seldom {
    said: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// Nothing has been said yet.
    pub const fn new() -> Self {
        Self { said: Mutex::new((None, 0)) }
    }

    /// Whether to say it now: with the number of times that it was held back since it was said last.
    pub fn now(&self) -> Option<u64> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<u64> {
        let mut said = self.said.lock();
        if said.0.is_some_and(|last| now.saturating_duration_since(last) < QUIET) {
            said.1 += 1;
            return None;
        }
        said.0 = Some(now);
        Some(std::mem::take(&mut said.1))
    }
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d5_one_passes_a_second_and_knows_of_the_others() {
        let (seldom, start) = (Seldom::new(), Instant::now());
        assert_eq!(seldom.at(start), Some(0));
        assert_eq!(seldom.at(start + QUIET / 2), None);
        assert_eq!(seldom.at(start + QUIET / 2), None);
        assert_eq!(seldom.at(start + QUIET), Some(2));
        assert_eq!(seldom.at(start + QUIET * 3), Some(0));
    }
}
