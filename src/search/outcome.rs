//! Documents on their way, and what becomes of them.

use std::time::Duration;

/// One document on its way: `document` is what to put, nothing to remove what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub id: String,
    pub version: u64,
    /// JSON without a line feed.
    pub document: Option<String>,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is so.
    Taken,
    /// The index has a later version.
    Stale,
    /// The document is none for this index.
    Refused(String),
    /// Not now.
    Later(String),
}

/// Why nothing is known to have been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was too much at once, or one of many is wrong: a smaller part may pass.
    Whole(String),
    /// The server is away or busy, and may have said when to come back.
    Later(String, Option<Duration>),
    /// The server understands and does not do it: a right that the key does not have, for one.
    Refused(String),
}

impl Fault {
    /// In words.
    pub fn why(&self) -> &str {
        match self {
            Self::Whole(why) | Self::Later(why, _) | Self::Refused(why) => why,
        }
    }
}
