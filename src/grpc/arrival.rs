//! What is known of a call before its message is read: when it came, from where, and until when its caller waits.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderMap;

use crate::admission::Moment;
use crate::domain::Nanos;

/// How a caller says how long it waits.
const TIMEOUT: &str = "grpc-timeout";
/// An answer has to be sent while its caller still waits: a tenth of the time is for the way, within these.
const WAY_MIN: Duration = Duration::from_millis(1);
const WAY_MAX: Duration = Duration::from_millis(50);

/// The arrival of a call.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// When its header was read.
    pub at: Moment,
    /// The other end of its connection.
    pub peer: SocketAddr,
    /// The name that was asked.
    pub authority: Option<String>,
    /// How long its caller waits, counted from `at`, if it says so.
    pub patience: Patience,
}

/// How long a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It does not say.
    Unknown,
    /// So long.
    Until(Duration),
    /// It says something that cannot be understood.
    Malformed,
}

impl Arrival {
    /// When the answer has to be on its way, on the stopwatch.
    pub fn answer_by(&self) -> Option<Nanos> {
        let Patience::Until(patience) = self.patience else { return None };
        let way = (patience / 10).clamp(WAY_MIN, WAY_MAX);
        Some(after(self.at.mono, patience.saturating_sub(way)))
    }

    /// How long its caller still waits, if it says so.
    pub fn left(&self, now: Nanos) -> Option<Duration> {
        let Patience::Until(patience) = self.patience else { return None };
        Some(Duration::from_nanos(after(self.at.mono, patience).0.saturating_sub(now.0)))
    }

    /// Whether nobody waits for an answer any more.
    pub fn is_overdue(&self, now: Nanos) -> bool {
        self.left(now).is_some_and(|left| left.is_zero())
    }
}

impl Patience {
    /// What the header of a call says: up to eight digits and a unit.
    pub fn of(headers: &HeaderMap) -> Self {
        let Some(text) = headers.get(TIMEOUT) else { return Self::Unknown };
        let text = text.to_str().unwrap_or_default();
        let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).unwrap_or_default();
        let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let Some(number) = digits.parse::<u64>().ok().filter(|_| is_number) else { return Self::Malformed };
        Self::Until(match unit {
            "H" => Duration::from_secs(number * 3_600),
            "M" => Duration::from_secs(number * 60),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return Self::Malformed,
        })
    }
}

fn after(start: Nanos, wait: Duration) -> Nanos {
    Nanos(start.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EpochMs;

    fn patience(text: &str) -> Patience {
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT, text.parse().unwrap());
        Patience::of(&headers)
    }

    #[test]
    fn a_caller_says_how_long_it_waits() {
        for (text, wait) in [
            ("1H", Duration::from_secs(3_600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("40m", Duration::from_millis(40)),
            ("50u", Duration::from_micros(50)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
        ] {
            assert_eq!(patience(text), Patience::Until(wait), "{text}");
        }
        for text in ["", "S", "1", "1s", "123456789n", "-1S", "+1S", "1.5S", "1 S"] {
            assert_eq!(patience(text), Patience::Malformed, "{text:?}");
        }
        assert_eq!(Patience::of(&HeaderMap::new()), Patience::Unknown);
    }

    #[test]
    fn an_answer_is_sent_while_its_caller_waits() {
        let arrival = |patience| Arrival {
            at: Moment { wall: EpochMs(0), mono: Nanos(1_000_000_000) },
            peer: ([127, 0, 0, 1], 1).into(),
            authority: None,
            patience,
        };
        let by = |ms| arrival(Patience::Until(Duration::from_millis(ms))).answer_by();
        assert_eq!(by(100), Some(Nanos(1_090_000_000)));
        assert_eq!(by(10_000), Some(Nanos(10_950_000_000)));
        assert_eq!(by(0), Some(Nanos(1_000_000_000)));
        assert_eq!(arrival(Patience::Unknown).answer_by(), None);
        let late = arrival(Patience::Until(Duration::from_millis(5)));
        assert_eq!(late.left(Nanos(1_004_999_999)), Some(Duration::from_nanos(1)));
        assert!(!late.is_overdue(Nanos(1_004_999_999)) && late.is_overdue(Nanos(1_005_000_000)));
        assert!(!arrival(Patience::Unknown).is_overdue(Nanos(u64::MAX)));
    }
}
