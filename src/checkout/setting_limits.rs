//! Limits of settings, and how a value outside of them is told.

use std::fmt;

/// A key whose value is out of its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongKey {
    /// The key, from `checkout` on: `checkout.gateway.http.url`.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.problem)
    }
}

impl std::error::Error for WrongKey {}

pub(super) type Checked = Result<(), WrongKey>;

pub(super) fn wrong(key: String, problem: impl Into<String>) -> Checked {
    Err(WrongKey { key, problem: problem.into() })
}

pub(super) fn within(key: String, value: u64, min: u64, max: u64) -> Checked {
    if (min..=max).contains(&value) { Ok(()) } else { wrong(key, format!("must be {min} to {max}")) }
}

pub(super) fn share(key: String, rate: f64) -> Checked {
    if (0.0..=1.0).contains(&rate) { Ok(()) } else { wrong(key, "must be 0 to 1") }
}

pub(super) const HOUR_MS: u64 = 3_600_000;
