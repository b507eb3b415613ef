//! What a node knows of one sale's waiting room: the marks as the order store had them a moment ago.
//!
//! # Protocol of the atomics
//!
//! The marks are replaced as a whole, and only by marks that are no lower, so that a purchase sees those of one moment.
//! `unwritten` is for the numbers that buyers are shown: relaxed, and the real atomic in the model, too, for no purchase
//! looks at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;

use super::place::{DrawKey, drawing_seed};
use crate::domain::{EpochMs, RoomMarks, RoomMode, RoomTerms, SalePhase, Who};

/// Where a room is in its life. What each word means stands in the API's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomState {
    /// Nobody can register yet.
    Closed,
    /// One can register, and the sale has not started.
    Registering,
    /// The sale has started, and those who are drawn are about to be.
    Drawing,
    /// People are admitted.
    Open,
    /// The sale is paused: places are kept and nobody is admitted.
    Paused,
    /// Nothing is left, unless units come back.
    SoldOut,
    /// The sale is over.
    Ended,
}

impl RoomState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Closed,
        Self::Registering,
        Self::Drawing,
        Self::Open,
        Self::Paused,
        Self::SoldOut,
        Self::Ended,
    ];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Registering => "registering",
            Self::Drawing => "drawing",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::SoldOut => "sold_out",
            Self::Ended => "ended",
        }
    }

    /// The state of a room with these terms and marks, of a sale in this phase.
    pub fn of(
        terms: &RoomTerms,
        marks: &RoomMarks,
        phase: SalePhase,
        is_sold_out: bool,
        now: EpochMs,
    ) -> Self {
        match phase {
            SalePhase::Ended => Self::Ended,
            SalePhase::Upcoming if terms.opens_at.is_some_and(|opens_at| now < opens_at) => Self::Closed,
            SalePhase::Upcoming => Self::Registering,
            SalePhase::Open | SalePhase::Paused if is_sold_out => Self::SoldOut,
            SalePhase::Paused => Self::Paused,
            SalePhase::Open if terms.mode == RoomMode::Draw && marks.drawn_at.is_none() => Self::Drawing,
            SalePhase::Open => Self::Open,
        }
    }
}

/// The marks, and the key that draws.
#[derive(Debug)]
struct View {
    marks: RoomMarks,
    draw: DrawKey,
}

/// A sale's waiting room on this node.
#[derive(Debug, Default)]
pub struct WaitingRoom {
    view: ArcSwapOption<View>,
    unwritten: AtomicU64,
}

impl WaitingRoom {
    /// The marks, as far as they are known here.
    pub fn marks(&self) -> RoomMarks {
        self.known_marks().unwrap_or_default()
    }

    /// The same; `None` until the store's have been shown.
    pub fn known_marks(&self) -> Option<RoomMarks> {
        self.view.load().as_ref().map(|view| view.marks)
    }

    /// The store has these marks now. What is known already does not fall behind them.
    pub fn show(&self, marks: &RoomMarks, terms: &RoomTerms) {
        // Whoever shows others at the same moment: neither's are lost.
        self.view.rcu(|known| match known {
            Some(view) if view.marks.raised_to(marks) == view.marks => Some(Arc::clone(view)),
            known => {
                let marks = known.as_ref().map_or(*marks, |view| view.marks.raised_to(marks));
                let draw = DrawKey::new(&drawing_seed(terms, &marks));
                Some(Arc::new(View { marks, draw }))
            }
        });
    }

    /// Whether who joined then is admitted.
    pub(super) fn admits(&self, joined_at: EpochMs, who: &Who) -> bool {
        let view = self.view.load();
        view.as_ref().is_some_and(|view| view.marks.admits(joined_at, || view.draw.priority(who)))
    }

    /// The buyer's place among those who are drawn, the first is 1; `None` for who is not, or while the draw has not begun.
    pub(super) fn drawn_place(&self, joined_at: EpochMs, who: &Who) -> Option<u64> {
        let view = self.view.load();
        let View { marks, draw } = view.as_deref()?;
        marks.drawn_at.filter(|drawn_at| joined_at < *drawn_at)?;
        let priority = u128::from(draw.priority(who));
        let before = priority * u128::from(marks.drawn) / u128::from(RoomMarks::PRIORITY_END);
        Some(before as u64 + 1)
    }

    /// Takes the next number by arrival.
    pub(super) fn next_number(&self) -> u64 {
        self.marks().registered + self.unwritten.fetch_add(1, Relaxed) + 1
    }

    /// All who have registered, as far as is known here.
    pub fn registered(&self) -> u64 {
        self.marks().registered + self.unwritten.load(Relaxed)
    }

    /// So many of this node's registrations are written down.
    pub fn note_written(&self, registrations: u64) {
        let _ = self.unwritten.fetch_update(Relaxed, Relaxed, |n| Some(n.saturating_sub(registrations)));
    }
}
