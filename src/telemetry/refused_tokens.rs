//! Why buyers' tokens were refused: counted by reason, and told in the log once a minute.
//!
//! # Protocol of the atomics
//!
//! The counts only grow and publish nothing: relaxed. `told_at_s` is moved forward by one exchange, and whoever moves it
//! tells; two that race tell once. `told` is written by that one only.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::counter::Counter;

/// Seconds between two lines of the log.
const TELL_EVERY_S: u64 = 60;

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// There is none.
    Missing,
    /// It is not a signed JSON web token.
    Malformed,
    /// It is signed by another algorithm than the configured one.
    Algorithm,
    /// Its `kid` is in no set of keys, or it has none where there are several keys.
    UnknownKey,
    /// Its signature is not by a known key.
    Signature,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Another issuer made it.
    Issuer,
    /// It is meant for somebody else.
    Audience,
    /// It is meant for somebody, and nobody has told the engine who it is.
    AudienceNotSet,
    /// A claim that it needs is missing or of the wrong type.
    Claims,
    /// It demands an extension that the engine does not know.
    Critical,
    /// Its `sub` is no buyer's name.
    Subject,
}

impl TokenFault {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Missing,
        Self::Malformed,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::Expired,
        Self::NotYetValid,
        Self::Issuer,
        Self::Audience,
        Self::AudienceNotSet,
        Self::Claims,
        Self::Critical,
        Self::Subject,
    ];

    /// The name in metrics, logs and problem bodies.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown-key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::AudienceNotSet => "audience-not-set",
            Self::Claims => "claims",
            Self::Critical => "critical",
            Self::Subject => "subject",
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct RefusedTokens {
    counts: [Counter; TokenFault::ALL.len()],
    told: [AtomicU64; TokenFault::ALL.len()],
    told_at_s: AtomicU64,
}

impl RefusedTokens {
    /// Counts one. Once a minute, beginning with the first, the answer is what has come since: reason and number.
    pub fn count(&self, fault: TokenFault, now_s: u64) -> Option<String> {
        self.counts[fault as usize].increment();
        let told_at = self.told_at_s.load(Relaxed);
        if told_at != 0 && now_s < told_at.saturating_add(TELL_EVERY_S) {
            return None;
        }
        self.told_at_s.compare_exchange(told_at, now_s.max(1), Relaxed, Relaxed).ok()?;
        let news = TokenFault::ALL.into_iter().filter_map(|fault| {
            let count = self.value(fault);
            let new = count - self.told[fault as usize].swap(count, Relaxed);
            (new > 0).then(|| format!("{} {new}", fault.code()))
        });
        Some(news.collect::<Vec<_>>().join(", "))
    }

    /// How many were refused for this reason.
    pub fn value(&self, fault: TokenFault) -> u64 {
        self.counts[fault as usize].value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o7_reasons_are_told_once_a_minute() {
        let refused = RefusedTokens::default();
        assert_eq!(refused.count(TokenFault::Expired, 100).as_deref(), Some("expired 1"));
        assert_eq!(refused.count(TokenFault::Expired, 101), None);
        assert_eq!(refused.count(TokenFault::Signature, 159), None);
        let told = refused.count(TokenFault::Expired, 160);
        assert_eq!(told.as_deref(), Some("signature 1, expired 2"));
        assert_eq!(refused.value(TokenFault::Expired), 3);
    }
}
