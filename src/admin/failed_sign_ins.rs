//! Who tries tokens that are none: how often it is heard, and how often it is told.
//!
//! A right token is never held up, whatever else comes from its address: tokens are too long to be guessed, and a guard that
//! shuts people out would be a way to shut them out. What is bounded is what a wrong one costs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Wrong tokens of an address that are answered one by one in a [`WINDOW`]; then it hears 429.
const HEARD_MAX: u32 = 20;
/// How long they count.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered. What is above counts as one address.
const ADDRESSES_MAX: usize = 4_096;

/// What becomes of a wrong token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the first of its address in a while: the trail keeps it.
    Told,
    /// It is answered.
    Heard,
    /// There were too many: this one is refused without a word.
    TooMany,
}

/// The wrong tokens of the last minute.
#[derive(Debug, Default)]
pub(super) struct FailedSignIns(Mutex<HashMap<Option<IpAddr>, (Instant, u32)>>);

impl FailedSignIns {
    /// One more from this address.
    pub fn note(&self, address: Option<IpAddr>, now: Instant) -> Verdict {
        let mut counted = self.0.lock();
        if counted.len() >= ADDRESSES_MAX && !counted.contains_key(&address) {
            counted.retain(|_, (since, _)| now.saturating_duration_since(*since) < WINDOW);
        }
        let place =
            if counted.len() < ADDRESSES_MAX || counted.contains_key(&address) { address } else { None };
        let (since, count) = counted.entry(place).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        match *count {
            1 => Verdict::Told,
            2..=HEARD_MAX => Verdict::Heard,
            _ => Verdict::TooMany,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_once_a_minute_and_heard_for_a_while() {
        let (failed, now) = (FailedSignIns::default(), Instant::now());
        let address = |last: u32| Some(IpAddr::from(last.to_be_bytes()));
        assert_eq!(failed.note(address(1), now), Verdict::Told);
        for _ in 1..HEARD_MAX {
            assert_eq!(failed.note(address(1), now), Verdict::Heard);
        }
        assert_eq!(failed.note(address(1), now), Verdict::TooMany);
        assert_eq!(failed.note(address(2), now), Verdict::Told, "another one");
        assert_eq!(failed.note(address(1), now + WINDOW), Verdict::Told);
        for last in 0..20_000 {
            failed.note(address(last), now + WINDOW);
        }
        assert!(failed.0.lock().len() <= ADDRESSES_MAX + 1);
    }
}
