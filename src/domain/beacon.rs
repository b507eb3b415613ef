//! Public randomness that a draw is mixed with: a round of a beacon that is named before registration closes and is drawn, by
//! others, only afterwards. So not even whoever knows the seed knows the draw while people register.

use std::fmt;

use super::field_error::FieldError;
use super::time::EpochMs;

/// Whose rounds they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeaconSource {
    /// The network `quicknet` of drand: a round every three seconds.
    DrandQuicknet,
    /// The network `default` of drand: a round every thirty seconds.
    DrandDefault,
    /// The NIST Randomness Beacon 2.0, chain 2: a round is a pulse, by its index.
    Nist,
}

/// Rounds that come at equal distances.
struct Schedule {
    first_at: EpochMs,
    every_ms: i64,
}

impl BeaconSource {
    /// All sources.
    pub const ALL: [Self; 3] = [Self::DrandQuicknet, Self::DrandDefault, Self::Nist];

    /// The word in the API, and in what is hashed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DrandQuicknet => "drand-quicknet",
            Self::DrandDefault => "drand-default",
            Self::Nist => "nist-chain-2",
        }
    }

    /// The source with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }

    /// The number in the order store.
    pub const fn code(self) -> u8 {
        match self {
            Self::DrandQuicknet => 1,
            Self::DrandDefault => 2,
            Self::Nist => 3,
        }
    }

    /// The source with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.code() == code)
    }

    /// Bytes of a round's value: what drand calls `randomness`, the SHA-256 of the round's signature, and NIST `outputValue`.
    pub const fn value_bytes(self) -> usize {
        match self {
            Self::DrandQuicknet | Self::DrandDefault => 32,
            Self::Nist => 64,
        }
    }

    /// Where anybody reads the value of a round.
    pub fn address(self, round: u64) -> String {
        const QUICKNET: &str = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971";
        const DEFAULT: &str = "8990e7a9aaed2ffed73dbd7092123d6f289930540d7651336225dc172e51b2ce";
        match self {
            Self::DrandQuicknet => format!("https://api.drand.sh/{QUICKNET}/public/{round}"),
            Self::DrandDefault => format!("https://api.drand.sh/{DEFAULT}/public/{round}"),
            Self::Nist => format!("https://beacon.nist.gov/beacon/2.0/chain/2/pulse/{round}"),
        }
    }

    /// When rounds come, where that follows from their numbers.
    const fn schedule(self) -> Option<Schedule> {
        match self {
            Self::DrandQuicknet => Some(Schedule { first_at: EpochMs(1_692_803_367_000), every_ms: 3_000 }),
            Self::DrandDefault => Some(Schedule { first_at: EpochMs(1_595_431_050_000), every_ms: 30_000 }),
            // A pulse that failed has no index.
            Self::Nist => None,
        }
    }

    /// The first round that is drawn at `at` or later, where that can be told.
    pub fn first_round_from(self, at: EpochMs) -> Option<u64> {
        let Schedule { first_at, every_ms } = self.schedule()?;
        let since = at.ms_since(first_at).max(0).unsigned_abs();
        Some(since.div_ceil(every_ms.unsigned_abs()) + 1)
    }
}

/// The round that a draw is to be mixed with, and how long the draw waits for its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeaconTerms {
    /// Whose round.
    pub source: BeaconSource,
    /// Its number, from 1 on.
    pub round: u64,
    /// How long the draw waits for the value, from the start of the sale or the round on, whichever is later, in seconds. Then it is
    /// made without.
    pub wait_s: u32,
}

impl BeaconTerms {
    /// Seconds to wait when nothing else is said.
    pub const WAIT_S: u32 = 600;
    /// The longest wait, in seconds.
    pub const WAIT_S_MAX: u32 = 24 * 3600;
    /// The highest round: every language reads it from JSON.
    pub const ROUND_MAX: u64 = (1 << 53) - 1;
    /// The round comes so long after the start, in ms: a node whose clock is behind registers for so long after that.
    const DISTANCE_MS: i64 = 1_000;

    /// When the round is drawn, where that can be told from its number.
    pub fn drawn_at(&self) -> Option<EpochMs> {
        let Schedule { first_at, every_ms } = self.source.schedule()?;
        let rounds = i64::try_from(self.round.saturating_sub(1)).unwrap_or(i64::MAX);
        Some(EpochMs(first_at.0.saturating_add(rounds.saturating_mul(every_ms))))
    }

    /// From when on the value may be given, at a sale that starts then: nobody registers for the draw any more, and the round is drawn.
    pub fn due_at(&self, starts_at: EpochMs) -> EpochMs {
        self.drawn_at().map_or(starts_at, |drawn_at| drawn_at.max(starts_at))
    }

    /// Until when the draw waits for the value.
    pub fn waits_until(&self, starts_at: EpochMs) -> EpochMs {
        self.due_at(starts_at).plus_ms(i64::from(self.wait_s) * 1_000)
    }

    /// Checks the round for a sale that ends then.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self, ends_at: EpochMs) -> Result<(), FieldError> {
        let wrong = |field, problem: String| Err(FieldError { field, problem });
        if !(1..=Self::ROUND_MAX).contains(&self.round) {
            return wrong("queue.beacon.round", format!("must be 1 to {}", Self::ROUND_MAX));
        }
        if self.wait_s > Self::WAIT_S_MAX {
            return wrong("queue.beacon.wait_s", format!("must be 0 to {} seconds", Self::WAIT_S_MAX));
        }
        if self.drawn_at().is_some_and(|drawn_at| drawn_at >= ends_at) {
            return wrong("queue.beacon.round", "must be drawn before ends_at".into());
        }
        Ok(())
    }

    /// Checks that the round comes after registration has closed, at a sale that starts then, for one that is newly named, or whose
    /// sale has another start: one that was named under an older rule stays.
    ///
    /// # Errors
    /// It comes before, or too soon.
    pub fn check_distance(&self, starts_at: EpochMs) -> Result<(), FieldError> {
        let first_at = starts_at.plus_ms(Self::DISTANCE_MS);
        if self.drawn_at().is_none_or(|drawn_at| drawn_at >= first_at) {
            return Ok(());
        }
        let first = self.source.first_round_from(first_at).unwrap_or(Self::ROUND_MAX);
        let problem = format!(
            "must come a second after starts_at, so that nobody who registers knows its value: {first} is the first round that does"
        );
        Err(FieldError { field: "queue.beacon.round", problem })
    }
}

/// The value of a round: bytes that mean nothing here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BeaconValue {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl BeaconValue {
    /// Bytes of a value at most.
    pub const BYTES_MAX: usize = 64;
    /// And at least: fewer would let somebody try them all.
    pub const BYTES_MIN: usize = 16;

    /// A value of these bytes; `None` when there are too few or too many.
    pub fn new(given: &[u8]) -> Option<Self> {
        if !(Self::BYTES_MIN..=Self::BYTES_MAX).contains(&given.len()) {
            return None;
        }
        let mut bytes = [0; Self::BYTES_MAX];
        bytes.get_mut(..given.len())?.copy_from_slice(given);
        Some(Self { bytes, len: u8::try_from(given.len()).ok()? })
    }

    /// A value of hexadecimal digits, large or small ones.
    pub fn parse(digits: &str) -> Option<Self> {
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes.filter(|_| rest.is_empty()).and_then(|bytes| Self::new(&bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// Small hexadecimal digits.
impl fmt::Display for BeaconValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BeaconValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BeaconValue({self})")
    }
}

/// What a draw is mixed with. Once it is decided it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawMix {
    /// Nothing: an operator said so, or no value came in time.
    Plain,
    /// The value of the round that was named.
    Beacon(BeaconValue),
}

impl DrawMix {
    /// As the order store keeps it: the value, or nothing.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain => &[],
            Self::Beacon(value) => value.bytes(),
        }
    }

    /// What the order store has kept.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() { Some(Self::Plain) } else { BeaconValue::new(bytes).map(Self::Beacon) }
    }
}

/// How far a draw has come with its beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeaconState {
    /// The draw waits for the value, or for its own time.
    Awaited,
    /// The draw is mixed with the value.
    Mixed,
    /// The draw is made with the seed alone.
    Plain,
}

impl BeaconState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Awaited, Self::Mixed, Self::Plain];

    /// Where a draw is that has been decided so, if it has, and is made, or not yet.
    pub fn of(mix: Option<&DrawMix>, is_drawn: bool) -> Self {
        match mix {
            Some(DrawMix::Beacon(_)) => Self::Mixed,
            Some(DrawMix::Plain) => Self::Plain,
            // By an engine of a version that knows no beacons.
            None if is_drawn => Self::Plain,
            None => Self::Awaited,
        }
    }

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Mixed => "mixed",
            Self::Plain => "plain",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(source: BeaconSource, round: u64) -> BeaconTerms {
        BeaconTerms { source, round, wait_s: 60 }
    }

    #[test]
    fn words_and_codes_come_back() {
        for source in BeaconSource::ALL {
            assert_eq!(BeaconSource::parse(source.as_str()), Some(source));
            assert_eq!(BeaconSource::from_code(source.code()), Some(source));
        }
        assert_eq!((BeaconSource::parse("dice"), BeaconSource::from_code(0)), (None, None));
    }

    #[test]
    fn rounds_of_drand_come_when_their_numbers_say() {
        let quick = BeaconSource::DrandQuicknet;
        assert_eq!(terms(quick, 1).drawn_at(), Some(EpochMs(1_692_803_367_000)));
        assert_eq!(terms(quick, 1_001).drawn_at(), Some(EpochMs(1_692_806_367_000)));
        for source in [quick, BeaconSource::DrandDefault] {
            for at in [0, 1_700_000_000_000, 1_700_000_000_001, 1_700_000_029_999] {
                let round = source.first_round_from(EpochMs(at)).unwrap();
                assert!(terms(source, round).drawn_at() >= Some(EpochMs(at)));
                assert!(round == 1 || terms(source, round - 1).drawn_at() < Some(EpochMs(at)));
            }
        }
        assert_eq!(BeaconSource::Nist.first_round_from(EpochMs(0)), None);
        assert_eq!(terms(quick, u64::MAX).drawn_at(), Some(EpochMs(i64::MAX)));
    }

    #[test]
    fn a_round_that_is_known_before_registration_closes_is_none() {
        let (starts_at, ends_at) = (EpochMs(1_700_000_000_000), EpochMs(1_700_000_100_000));
        let field = |terms: BeaconTerms| terms.check(ends_at).err().map(|error| error.field);
        let source = BeaconSource::DrandQuicknet;
        let first = source.first_round_from(starts_at).unwrap();
        assert_eq!(field(terms(source, first)), None);
        let drawn_at = terms(source, first).drawn_at().unwrap();
        let is_far = |starts_at| terms(source, first).check_distance(starts_at).is_ok();
        assert_eq!([-1_000, -999, 0, 1].map(|ms| is_far(drawn_at.plus_ms(ms))), [true, false, false, false]);
        let refused = terms(source, first).check_distance(drawn_at).unwrap_err();
        assert!(refused.field == "queue.beacon.round" && refused.problem.contains(&(first + 1).to_string()));
        assert!(terms(BeaconSource::Nist, 1).check_distance(starts_at).is_ok());
        assert_eq!(field(terms(source, first + 40)), Some("queue.beacon.round"));
        assert_eq!(field(terms(source, 0)), Some("queue.beacon.round"));
        assert_eq!(field(terms(BeaconSource::Nist, 1)), None);
        let long = BeaconTerms { wait_s: BeaconTerms::WAIT_S_MAX + 1, ..terms(BeaconSource::Nist, 1) };
        assert_eq!(field(long), Some("queue.beacon.wait_s"));
        let round = terms(source, first);
        assert_eq!(round.waits_until(EpochMs(0)), round.drawn_at().unwrap().plus_ms(60_000));
        assert_eq!(terms(BeaconSource::Nist, 1).waits_until(EpochMs(5)), EpochMs(60_005));
    }

    #[test]
    fn values_are_digits_and_come_back_from_the_store() {
        let digits = "00ff".repeat(16);
        let value = BeaconValue::parse(&digits.to_uppercase()).unwrap();
        assert_eq!((value.to_string(), value.bytes().len()), (digits.clone(), 32));
        for wrong in ["", "0", &digits[1..], &"zz".repeat(32), &"00".repeat(15), &"00".repeat(65)] {
            assert_eq!(BeaconValue::parse(wrong), None, "{wrong}");
        }
        for mix in [DrawMix::Plain, DrawMix::Beacon(value)] {
            assert_eq!(DrawMix::of_bytes(mix.bytes()), Some(mix));
        }
        assert_eq!(DrawMix::of_bytes(&[1]), None);
    }
}
