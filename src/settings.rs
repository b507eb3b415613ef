//! What the settings of every component share: secrets, and the check of a number's range.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::FieldError;

/// A secret of the configuration: never printed, never serialised. Empty means that none is set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What stands for a secret wherever one would be printed.
    pub const MASK: &'static str = "********";

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `candidate` is this secret. Takes the same time wherever the two differ; only the lengths show.
    /// An empty secret equals nothing.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let secret = self.0.as_bytes();
        let same =
            secret.iter().zip(candidate).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
        !secret.is_empty() && secret.len() == candidate.len() && same == 0
    }

    /// The secret itself, for what must be computed with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", if self.is_empty() { "" } else { Self::MASK })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { Self::MASK })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// Checks that a number lies in its range.
///
/// # Errors
/// Names the field and the range.
pub fn within<T: PartialOrd + fmt::Display>(
    field: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), FieldError> {
    if range.contains(&value) {
        return Ok(());
    }
    let problem = format!("is {value}; set it to a number from {} to {}", range.start(), range.end());
    Err(FieldError { field, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_itself_only() {
        let secret = Secret::from("s3cret");
        assert!(secret.matches(b"s3cret"));
        for other in ["", "s3cre", "s3cret ", "S3cret"] {
            assert!(!secret.matches(other.as_bytes()), "{other:?}");
        }
        assert!(!Secret::default().matches(b""));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("s3cret");
        assert_eq!(format!("{secret:?}"), "\"********\"");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"********\"");
        assert_eq!(serde_json::to_string(&Secret::default()).unwrap(), "\"\"");
    }

    #[test]
    fn the_ends_of_a_range_belong_to_it() {
        assert!(within("n", 1, 1..=5).is_ok() && within("n", 5, 1..=5).is_ok());
        let error = within("n", 6, 1..=5).unwrap_err();
        assert_eq!((error.field, error.problem.as_str()), ("n", "is 6; set it to a number from 1 to 5"));
    }
}
