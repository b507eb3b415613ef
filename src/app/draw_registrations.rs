//! Who registered, read from an export in pieces, each on a thread of its own. The answer is that of whoever reads it line by line,
//! on however many threads: findings come in the order of the lines, and of two lines that are broken the first is told.

use std::collections::HashMap;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

use serde::Deserialize;

use super::draw_export::{bytes_of, moment};
use super::draw_findings::Findings;
use crate::admission::DrawKey;
use crate::domain::{EpochMs, RoomSeed, Who};

/// When these buyers joined first.
type Shelf = HashMap<Who, EpochMs, ahash::RandomState>;

/// All who registered.
pub(super) struct Registered {
    /// Each buyer is on one of them: see [`shelf_of`].
    shelves: Vec<Shelf>,
    /// The priorities of those who are drawn, in their order, each once; `None` where nobody can tell: there was no draw.
    pub drawn: Option<Vec<u64>>,
}

impl Registered {
    /// Reads the lines on so many threads. `draw` is before when one had to join for the draw, and its seed.
    ///
    /// # Errors
    /// A line is no registration.
    pub fn read(
        threads: NonZero<usize>,
        lines: &str,
        draw: Option<(EpochMs, &RoomSeed)>,
        findings: &mut Findings,
    ) -> Result<Self, String> {
        let draw = draw.map(|(until, seed)| (until, DrawKey::new(seed)));
        let pieces = side_by_side(pieces_of(lines, threads), |(before, lines)| {
            Piece::read(before, lines, draw.as_ref())
        });
        let pieces: Vec<Piece<'_>> = pieces.into_iter().collect::<Result<_, _>>()?;
        for who in pieces.iter().flat_map(|piece| &piece.told_otherwise) {
            findings.add("priority", format_args!("{who} is told another than is computed"));
        }
        // To fill one table takes nearly as long as to read the lines: each thread has its own.
        let all: usize = pieces.iter().map(|piece| piece.joined.len()).sum();
        let shelves = side_by_side(0..threads.get(), |shelf| {
            let mut joined = Shelf::with_capacity_and_hasher(all / threads, ahash::RandomState::default());
            let registrations = pieces.iter().flat_map(|piece| &piece.joined);
            for (who, at) in registrations.filter(|(who, _)| shelf_of(who, threads) == shelf) {
                joined.entry(*who).and_modify(|first| *first = (*first).min(*at)).or_insert(*at);
            }
            joined
        });
        let drawn = draw.map(|_| {
            let priorities: Vec<&[u64]> = pieces.iter().map(|piece| &piece.priorities[..]).collect();
            let mut priorities: Vec<u64> = priorities.concat();
            // The stable way on purpose: it finds that each piece is in order already, and merges them.
            priorities.sort();
            priorities.dedup();
            priorities
        });
        Ok(Self { shelves, drawn })
    }

    /// How many registered: who did twice is one.
    pub fn buyers(&self) -> usize {
        self.shelves.iter().map(HashMap::len).sum()
    }

    /// When the buyer joined first; `None` for who did not register.
    pub fn joined_at(&self, who: &Who) -> Option<EpochMs> {
        let shelves = NonZero::new(self.shelves.len())?;
        self.shelves[shelf_of(who, shelves)].get(who).copied()
    }
}

/// Where a buyer is found. A name is a hash: its first byte spreads buyers evenly.
fn shelf_of(who: &Who, shelves: NonZero<usize>) -> usize {
    usize::from(who[0]) % shelves
}

#[derive(Deserialize)]
struct RegistrationLine<'a> {
    who: &'a str,
    joined_at: &'a str,
    priority: Option<u64>,
}

/// What some lines say.
#[derive(Default)]
struct Piece<'a> {
    /// Who joined when, in the order of the lines.
    joined: Vec<(Who, EpochMs)>,
    /// Of those who are drawn, in their order.
    priorities: Vec<u64>,
    /// Who has another priority than the line tells, in the order of the lines.
    told_otherwise: Vec<&'a str>,
}

impl<'a> Piece<'a> {
    /// Reads `lines`, which stand behind those of `before`.
    fn read(before: &str, lines: &'a str, draw: Option<&(EpochMs, DrawKey)>) -> Result<Self, String> {
        let mut piece = Self::default();
        for (place, line) in lines.lines().enumerate() {
            // Counted where somebody has to hear it only.
            let number = || before.lines().count() + place + 1;
            let line: RegistrationLine<'_> =
                serde_json::from_str(line).map_err(|error| format!("registration {}: {error}", number()))?;
            let who = bytes_of(line.who);
            let who = who.ok_or_else(|| format!("registration {}: no name of 16 bytes", number()))?;
            let at = moment(line.joined_at)?;
            piece.joined.push((who, at));
            let Some((_, key)) = draw.filter(|(until, _)| at < *until) else { continue };
            let priority = key.priority(&who);
            if line.priority.is_some_and(|told| told != priority) {
                piece.told_otherwise.push(line.who);
            }
            piece.priorities.push(priority);
        }
        piece.priorities.sort_unstable();
        Ok(piece)
    }
}

/// The text in `most` pieces of whole lines and about the same length, or in fewer, each with what stands before it.
fn pieces_of(text: &str, most: NonZero<usize>) -> Vec<(&str, &str)> {
    let wanted = text.len().div_ceil(most.get());
    let mut pieces = Vec::with_capacity(most.get());
    let mut from = 0;
    while from < text.len() {
        let near = (from + wanted).min(text.len());
        // The end of the line that the piece would end in.
        let rest = text.as_bytes()[near - 1..].iter().position(|byte| *byte == b'\n');
        let until = rest.map_or(text.len(), |rest| near + rest);
        pieces.push((&text[..from], &text[from..until]));
        from = until;
    }
    pieces
}

/// Does the work for all of them at once, each on a thread of its own, and answers in their order.
fn side_by_side<J: Send, T: Send>(jobs: impl IntoIterator<Item = J>, work: impl Fn(J) -> T + Sync) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let working: Vec<_> = jobs.into_iter().map(|job| scope.spawn(move || work(job))).collect();
        let done = working.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => resume_unwind(panic),
        });
        done.collect()
    })
}
