//! What the settings of every component share: secrets, and the check of a number's range.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::FieldError;

/// A secret of the configuration: never printed, never serialised. Empty means that none is set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What stands for a secret wherever one would be printed.
    pub const MASK: &'static str = "********";

    /// The shortest secret that is not guessed, in bytes.
    pub const BYTES_MIN: usize = 16;

    /// Checks a secret that travels in a header field, if it is set.
    ///
    /// # Errors
    /// It is too short, or not of visible ASCII characters.
    pub fn check_travelling(&self, field: &'static str) -> Result<(), FieldError> {
        let wrong = |problem: String| Err(FieldError { field, problem });
        if !self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong(
                "must be of visible ASCII characters without blanks: it travels in a header".into(),
            );
        }
        if !self.is_empty() && self.0.len() < Self::BYTES_MIN {
            let problem = format!(
                "is shorter than {} bytes and could be guessed; make one with: openssl rand -hex 32",
                Self::BYTES_MIN
            );
            return wrong(problem);
        }
        Ok(())
    }

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

/// Without the blanks around it: files end with a line feed, and nobody means it.
impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.trim().to_owned())
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
        String::deserialize(deserializer).map(|secret| Self::from(secret.as_str()))
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "secret" })
    }
}

/// The text with what stands before the `@` of each address in it masked: whatever is shown may hold an address, and an
/// address may hold a password, rightly written or not.
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://").map(|colon| colon + 3) {
        let (before, address) = rest.split_at(start);
        shown.push_str(before);
        let end = address
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '`'))
            .unwrap_or(address.len());
        // Not beyond the next address: two may stand side by side.
        let end = address[..end].find("://").unwrap_or(end);
        let told = match address[..end].rfind('@') {
            Some(at) => {
                shown.push_str(Secret::MASK);
                at
            }
            None => 0,
        };
        rest = &address[told..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
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
    fn o6_a_secret_is_trimmed_and_has_to_be_long() {
        assert!(Secret::from("0123456789abcdef\n").matches(b"0123456789abcdef"));
        assert!(Secret::from(" 0123456789abcdef\r\n").check_travelling("f").is_ok());
        assert!(Secret::default().check_travelling("f").is_ok());
        for bad in ["x", "0123456789abcde", "0123456789 abcdef", "0123456789\nabcdef", "0123456789abcd\u{e9}"]
        {
            assert_eq!(Secret::from(bad).check_travelling("f").unwrap_err().field, "f", "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("s3cret");
        assert_eq!(format!("{secret:?}"), "\"********\"");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"********\"");
        assert_eq!(serde_json::to_string(&Secret::default()).unwrap(), "\"\"");
    }

    #[test]
    fn o6_no_address_shows_its_password() {
        for (text, shown) in [
            ("http://bank:81/pay", "http://bank:81/pay"),
            ("http://me:hunter2@bank/pay", "http://********@bank/pay"),
            ("is http://me:hun@t/er2@bank, https://x:y@z", "is http://********@bank, https://********@z"),
            ("no address, me@example", "no address, me@example"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn the_ends_of_a_range_belong_to_it() {
        assert!(within("n", 1, 1..=5).is_ok() && within("n", 5, 1..=5).is_ok());
        let error = within("n", 6, 1..=5).unwrap_err();
        assert_eq!((error.field, error.problem.as_str()), ("n", "is 6; set it to a number from 1 to 5"));
    }
}
