//! The waiting room of a sale: its terms, the marks that say who is admitted, and what is written down of who waits.
//!
//! Nothing is kept of who waits but a line in the log of registrations. A buyer's place follows from what the buyer's pass
//! says, and admission from two marks that only rise: of those who registered for the draw, all whose [priority] is below
//! `draw_mark`; of everybody, all who joined before `fifo_mark`.
//!
//! [priority]: RoomMarks::PRIORITY_END

use std::fmt;

use super::beacon::{BeaconTerms, DrawMix};
use super::field_error::FieldError;
use super::identity::SaleId;
use super::time::EpochMs;

/// In which order those who wait are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomMode {
    /// Nobody waits: whoever comes may buy.
    Off,
    /// By arrival.
    Fifo,
    /// Who registers before the start is drawn at random; who comes later queues behind, by arrival.
    Draw,
}

impl RoomMode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Off, Self::Fifo, Self::Draw];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Fifo => "fifo",
            Self::Draw => "draw",
        }
    }

    /// The mode with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }

    /// The number in the order store.
    pub const fn code(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Fifo => 1,
            Self::Draw => 2,
        }
    }

    /// The mode with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.code() == code)
    }
}

/// What becomes of buyers while nobody can tell who is admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomFailure {
    /// Everybody may buy: only fairness is lost.
    #[default]
    Open,
    /// Nobody may buy who has no order yet.
    Hold,
}

impl RoomFailure {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Hold => "hold",
        }
    }

    /// The choice with this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Open, Self::Hold].into_iter().find(|choice| choice.as_str() == word)
    }
}

/// What the draw of a sale is made with: 128 random bits, secret until the draw begins. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoomSeed(pub [u8; 16]);

impl fmt::Debug for RoomSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomSeed(secret)")
    }
}

/// The terms of a sale's waiting room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomTerms {
    /// In which order those who wait are admitted.
    pub mode: RoomMode,
    /// From when on one may register; `None`: at once.
    pub opens_at: Option<EpochMs>,
    /// People admitted a second; `None`: as many as the engine measures that it can serve.
    pub rate_per_s: Option<u32>,
    /// How long somebody who was admitted may take to come before counting as one who does not, in seconds. Who comes later is
    /// served all the same.
    pub grace_s: u32,
    /// What becomes of buyers while nobody can tell who is admitted.
    pub on_failure: RoomFailure,
    /// What the draw is made with. It stays for as long as the sale does, also while the mode is off.
    pub seed: RoomSeed,
    /// The round of a public beacon that the seed is mixed with; `None`: the seed alone draws.
    pub beacon: Option<BeaconTerms>,
}

impl RoomTerms {
    /// Seconds to come when nothing else is said.
    pub const GRACE_S: u32 = 180;
    /// The longest time to come, in seconds.
    pub const GRACE_S_MAX: u32 = 24 * 3600;

    /// Checks the terms of the room of a sale with this window.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self, starts_at: EpochMs, ends_at: EpochMs, rate_max: u32) -> Result<(), FieldError> {
        let wrong = |field, problem: String| Err(FieldError { field, problem });
        if let Some(opens_at) = self.opens_at {
            if self.mode == RoomMode::Draw && opens_at >= starts_at {
                return wrong(
                    "queue.opens_at",
                    "must be earlier than starts_at: who registers before the start is drawn".into(),
                );
            }
            if self.mode == RoomMode::Fifo && opens_at >= ends_at {
                return wrong("queue.opens_at", "must be earlier than ends_at".into());
            }
        }
        if self.rate_per_s.is_some_and(|rate| rate == 0 || rate > rate_max) {
            return wrong("queue.rate_per_s", format!("must be null or 1 to {rate_max}"));
        }
        if self.grace_s > Self::GRACE_S_MAX {
            return wrong("queue.grace_s", format!("must be 0 to {} seconds", Self::GRACE_S_MAX));
        }
        self.named_round().map_or(Ok(()), |beacon| beacon.check(ends_at))
    }

    /// The round that a draw is to be mixed with.
    pub fn named_round(&self) -> Option<BeaconTerms> {
        self.beacon.filter(|_| self.mode == RoomMode::Draw)
    }

    /// Whether buyers are drawn: a draw that is made goes on, whatever the mode becomes.
    pub fn draws(&self, marks: &RoomMarks) -> bool {
        self.mode == RoomMode::Draw || marks.drawn_at.is_some()
    }
}

/// What is to be different about a sale's waiting room. What is `None` stays as it is, or has its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomEdit {
    /// In which order those who wait are admitted. A sale that never had a room needs one.
    pub mode: Option<RoomMode>,
    /// From when on one may register; `Some(None)`: at once.
    pub opens_at: Option<Option<EpochMs>>,
    /// People admitted a second; `Some(None)`: as many as can be served.
    pub rate_per_s: Option<Option<u32>>,
    /// Seconds to come.
    pub grace_s: Option<u32>,
    /// What becomes of buyers while nobody can tell who is admitted.
    pub on_failure: Option<RoomFailure>,
    /// The round of a beacon that the seed is mixed with; `Some(None)`: none.
    pub beacon: Option<Option<BeaconTerms>>,
    /// The seed of a room that has none yet.
    pub new_seed: RoomSeed,
}

impl RoomEdit {
    /// The terms after the change of `room`.
    ///
    /// # Errors
    /// A new room needs a mode.
    pub fn apply(&self, room: Option<&RoomTerms>) -> Result<RoomTerms, FieldError> {
        let before = room.copied().unwrap_or(RoomTerms {
            mode: RoomMode::Off,
            opens_at: None,
            rate_per_s: None,
            grace_s: RoomTerms::GRACE_S,
            on_failure: RoomFailure::default(),
            seed: self.new_seed,
            beacon: None,
        });
        if self.mode.is_none() && room.is_none() {
            let problem = "is missing; it is off, fifo or draw".into();
            return Err(FieldError { field: "queue.mode", problem });
        }
        Ok(RoomTerms {
            mode: self.mode.unwrap_or(before.mode),
            opens_at: self.opens_at.unwrap_or(before.opens_at),
            rate_per_s: self.rate_per_s.unwrap_or(before.rate_per_s),
            grace_s: self.grace_s.unwrap_or(before.grace_s),
            on_failure: self.on_failure.unwrap_or(before.on_failure),
            seed: before.seed,
            beacon: self.beacon.unwrap_or(before.beacon),
        })
    }
}

/// How far a sale's waiting room has come, as the order store knows it. The counts and marks never fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomMarks {
    /// Of those who registered for the draw, all whose priority is below are admitted.
    pub draw_mark: u64,
    /// Who joined before is admitted.
    pub fifo_mark: EpochMs,
    /// Who joined before takes part in the draw; `None` until it begins.
    pub drawn_at: Option<EpochMs>,
    /// Buyers who take part in the draw.
    pub drawn: u64,
    /// Buyers who were admitted.
    pub admitted: u64,
    /// Registrations that were written down.
    pub registered: u64,
    /// People admitted a second, as things are.
    pub rate_per_s: u32,
    /// How many of a thousand who were admitted do not come, as measured.
    pub absent_permille: u32,
    /// What the draw is mixed with; `None` until it is decided, and where no beacon was named.
    pub mix: Option<DrawMix>,
}

impl RoomMarks {
    /// Priorities are below: 53 bits, so that every language reads them from JSON.
    pub const PRIORITY_END: u64 = 1 << 53;

    /// Whether who joined at `joined_at` is admitted. `priority` is asked for where the draw decides.
    pub fn admits(&self, joined_at: EpochMs, priority: impl FnOnce() -> u64) -> bool {
        joined_at < self.fifo_mark
            || (self.draw_mark > 0
                && self.drawn_at.is_some_and(|drawn_at| joined_at < drawn_at)
                && priority() < self.draw_mark)
    }

    /// Whether all who take part in the draw are admitted.
    pub const fn draw_is_over(&self) -> bool {
        self.draw_mark >= Self::PRIORITY_END
    }

    /// Moved to `other`, but for what is behind already.
    #[must_use]
    pub fn raised_to(&self, other: &Self) -> Self {
        Self {
            draw_mark: self.draw_mark.max(other.draw_mark),
            fifo_mark: self.fifo_mark.max(other.fifo_mark),
            drawn_at: self.drawn_at.or(other.drawn_at),
            drawn: self.drawn.max(other.drawn),
            admitted: self.admitted.max(other.admitted),
            registered: self.registered.max(other.registered),
            rate_per_s: other.rate_per_s,
            absent_permille: other.absent_permille,
            mix: self.mix.or(other.mix),
        }
    }
}

/// A buyer's name in the log of registrations and in the buyer's pass: the first half of a hash of sale and buyer.
pub type Who = [u8; 16];

/// A line of the log of registrations. The log is in order of time, then of name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registration {
    /// The sale.
    pub sale: SaleId,
    /// When the buyer joined.
    pub joined_at: EpochMs,
    /// Who joined.
    pub who: Who,
}

/// A move of a sale's marks: what they were from this moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomMove {
    /// The sale.
    pub sale: SaleId,
    /// When.
    pub at: EpochMs,
    /// The marks from then on.
    pub marks: RoomMarks,
}

/// Why a purchase has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomRefusal {
    /// It came without a pass.
    NoPass,
    /// Its pass was not issued here, to this buyer and for this sale.
    InvalidPass,
    /// Its pass is over: registering again with it keeps the place.
    ExpiredPass,
    /// Its turn has not come.
    NotAdmitted,
    /// Nobody can tell at the moment who is admitted, and the sale holds then.
    Held,
}

impl RoomRefusal {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::NoPass, Self::InvalidPass, Self::ExpiredPass, Self::NotAdmitted, Self::Held];

    /// The stable word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPass => "no-pass",
            Self::InvalidPass => "invalid-pass",
            Self::ExpiredPass => "expired-pass",
            Self::NotAdmitted => "not-admitted",
            Self::Held => "held",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDIT: RoomEdit = RoomEdit {
        mode: None,
        opens_at: None,
        rate_per_s: None,
        grace_s: None,
        on_failure: None,
        beacon: None,
        new_seed: RoomSeed([1; 16]),
    };

    #[test]
    fn words_and_codes_come_back() {
        for mode in RoomMode::ALL {
            assert_eq!(RoomMode::parse(mode.as_str()), Some(mode));
            assert_eq!(RoomMode::from_code(mode.code()), Some(mode));
        }
        assert_eq!((RoomMode::parse("random"), RoomMode::from_code(3)), (None, None));
        assert_eq!(RoomFailure::parse("hold"), Some(RoomFailure::Hold));
    }

    #[test]
    fn a_room_keeps_its_seed_and_what_is_not_named() {
        assert_eq!(EDIT.apply(None).unwrap_err().field, "queue.mode");
        let made =
            RoomEdit { mode: Some(RoomMode::Draw), rate_per_s: Some(Some(7)), ..EDIT }.apply(None).unwrap();
        assert_eq!((made.grace_s, made.rate_per_s, made.seed), (180, Some(7), RoomSeed([1; 16])));
        let edit = RoomEdit { rate_per_s: Some(None), new_seed: RoomSeed([2; 16]), ..EDIT };
        assert_eq!(edit.apply(Some(&made)), Ok(RoomTerms { rate_per_s: None, ..made }));
        let off = RoomEdit { mode: Some(RoomMode::Off), new_seed: RoomSeed([3; 16]), ..EDIT }
            .apply(Some(&made))
            .unwrap();
        assert_eq!((off.mode, off.seed), (RoomMode::Off, made.seed));
        assert_eq!(format!("{:?}", made.seed), "RoomSeed(secret)");
    }

    #[test]
    fn each_broken_rule_of_a_room_names_its_field() {
        let (starts_at, ends_at) = (EpochMs(1_000), EpochMs(2_000));
        let draw = RoomEdit { mode: Some(RoomMode::Draw), ..EDIT }.apply(None).unwrap();
        let fifo = RoomTerms { mode: RoomMode::Fifo, ..draw };
        let field = |terms: RoomTerms| terms.check(starts_at, ends_at, 100).err().map(|error| error.field);
        assert_eq!(field(draw), None);
        assert_eq!(field(RoomTerms { opens_at: Some(EpochMs(999)), ..draw }), None);
        assert_eq!(field(RoomTerms { opens_at: Some(EpochMs(1_000)), ..draw }), Some("queue.opens_at"));
        assert_eq!(field(RoomTerms { opens_at: Some(EpochMs(1_999)), ..fifo }), None);
        assert_eq!(field(RoomTerms { opens_at: Some(EpochMs(2_000)), ..fifo }), Some("queue.opens_at"));
        assert_eq!(field(RoomTerms { rate_per_s: Some(0), ..fifo }), Some("queue.rate_per_s"));
        assert_eq!(field(RoomTerms { grace_s: 86_401, ..fifo }), Some("queue.grace_s"));
    }

    #[test]
    fn the_marks_admit_who_is_below_and_nobody_else() {
        let (early, late) = (EpochMs(5), EpochMs(10));
        let marks = RoomMarks { draw_mark: 100, drawn_at: Some(EpochMs(10)), ..RoomMarks::default() };
        assert!(marks.admits(early, || 99) && !marks.admits(early, || 100) && !marks.admits(late, || 0));
        let marks = RoomMarks { fifo_mark: EpochMs(10), ..RoomMarks::default() };
        assert!(marks.admits(early, || unreachable!()) && !marks.admits(late, || 0));
        let none = RoomMarks::default();
        assert!(!none.admits(EpochMs(0), || unreachable!("nobody is drawn yet")));
    }

    #[test]
    fn marks_never_fall() {
        let high = RoomMarks {
            draw_mark: 9,
            fifo_mark: EpochMs(9),
            admitted: 9,
            drawn_at: Some(EpochMs(3)),
            ..RoomMarks::default()
        };
        let low = RoomMarks {
            draw_mark: 5,
            admitted: 12,
            drawn_at: Some(EpochMs(4)),
            rate_per_s: 2,
            ..RoomMarks::default()
        };
        let raised = high.raised_to(&low);
        assert_eq!(raised, RoomMarks { admitted: 12, rate_per_s: 2, ..high });
    }
}
