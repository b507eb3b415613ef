//! What a check of a draw finds.

use std::collections::HashMap;
use std::fmt::Write;

/// Findings of one kind that are shown one by one.
const SHOWN_MAX: usize = 5;

/// What is not as it should be.
#[derive(Default)]
pub(super) struct Findings {
    /// In words.
    pub text: String,
    /// How many there are.
    pub all: usize,
    of_kind: HashMap<&'static str, usize>,
}

impl Findings {
    /// Something that is told and is as it may be.
    pub fn note(&mut self, what: impl std::fmt::Display) {
        let _ = writeln!(self.text, "  note: {what}");
    }

    /// One more of this kind.
    pub fn add(&mut self, kind: &'static str, what: impl std::fmt::Display) {
        self.all += 1;
        let of_kind = self.of_kind.entry(kind).or_default();
        *of_kind += 1;
        if *of_kind <= SHOWN_MAX {
            let _ = writeln!(self.text, "  {kind}: {what}");
        } else if *of_kind == SHOWN_MAX + 1 {
            let _ = writeln!(self.text, "  {kind}: and more");
        }
    }
}
