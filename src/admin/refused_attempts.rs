//! Who tries what is refused, a token that is none or an act that a role does not allow: how often it is heard, and how often it
//! is told.
//!
//! A right token is never held up, whatever else comes from its address: tokens are too long to be guessed, and a guard that
//! shuts people out would be a way to shut them out. What is bounded is what a refused attempt costs: the trail never gets
//! shorter, and each of its entries is written by those who write orders.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// Attempts of one source that are answered one by one within a [`WINDOW`]; a further wrong token hears 429.
const HEARD_MAX: u32 = 20;
/// How long attempts count, from the first one on.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Sources that are told apart. What is above counts as one: the trail gets so many entries in a [`WINDOW`], and as many that
/// say how many attempts there were, whoever tries.
const SOURCES_MAX: usize = 256;

/// Who tries, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// The name that goes with the token; `None` where there is none.
    pub who: Option<Arc<str>>,
    /// The other end of the connection.
    pub address: Option<IpAddr>,
}

/// What becomes of a refused attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the first of its source in a while: the trail keeps it.
    Told,
    /// It is answered.
    Heard,
    /// There were too many: a token is refused without a word.
    TooMany,
}

/// As whose an attempt was counted; `None` for those of more sources than are told apart.
pub(super) type CountedAs = Option<Source>;

/// The refused attempts of the last [`WINDOW`], by source.
#[derive(Debug, Default)]
pub(super) struct RefusedAttempts(Mutex<HashMap<CountedAs, u32>>);

impl RefusedAttempts {
    /// One more of this source. Whoever is told of the first one [`closes`](Self::close) its count, a [`WINDOW`] later.
    pub fn note(&self, source: Source) -> (Verdict, CountedAs) {
        let mut counts = self.0.lock();
        let source = Some(source);
        let counted_as =
            if counts.len() < SOURCES_MAX || counts.contains_key(&source) { source } else { None };
        let count = counts.entry(counted_as.clone()).or_default();
        *count = count.saturating_add(1);
        let verdict = match *count {
            1 => Verdict::Told,
            2..=HEARD_MAX => Verdict::Heard,
            // Who is not told apart cannot be told that it was often.
            _ if counted_as.is_none() => Verdict::Heard,
            _ => Verdict::TooMany,
        };
        (verdict, counted_as)
    }

    /// Ends a count: how many attempts there were beyond the one that was told. The next one is told again.
    pub fn close(&self, counted_as: &CountedAs) -> u32 {
        self.0.lock().remove(counted_as).map_or(0, |count| count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(who: Option<&str>, last: u32) -> Source {
        Source { who: who.map(Arc::from), address: Some(IpAddr::from(last.to_be_bytes())) }
    }

    #[test]
    fn a_source_is_told_once_in_a_while_heard_for_a_while_and_counted() {
        let attempts = RefusedAttempts::default();
        let note = |source: &Source| attempts.note(source.clone()).0;
        let (one, other) = (source(None, 1), source(None, 2));
        assert_eq!(note(&one), Verdict::Told);
        for _ in 1..HEARD_MAX {
            assert_eq!(note(&one), Verdict::Heard);
        }
        assert_eq!(note(&one), Verdict::TooMany);
        assert_eq!(note(&other), Verdict::Told, "another one");
        assert_eq!(note(&source(Some("eye"), 1)), Verdict::Told, "somebody with a name, from there");
        assert_eq!(attempts.close(&Some(one.clone())), HEARD_MAX);
        assert_eq!((note(&one), attempts.close(&Some(one))), (Verdict::Told, 0));
    }

    #[test]
    fn however_many_try_few_are_told() {
        let attempts = RefusedAttempts::default();
        let noted: Vec<_> = (0..20_000).map(|last| attempts.note(source(None, last))).collect();
        let told = noted.iter().filter(|(verdict, _)| *verdict == Verdict::Told).count();
        assert_eq!((told, attempts.0.lock().len()), (SOURCES_MAX + 1, SOURCES_MAX + 1));
        assert_eq!(noted[19_999].1, None);
        assert_eq!(attempts.close(&None), 20_000 - SOURCES_MAX as u32 - 1);
    }
}
