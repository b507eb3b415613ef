//! Times as the person at the console reads and writes them: on the clock of a time zone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::super::problem::Problem;
use crate::domain::EpochMs;

/// A time zone and the name that it was asked for by.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    /// A name of the time zone database, an offset such as `+02:00`, or `UTC`.
    pub name: String,
    zone: TimeZone,
}

impl Zone {
    /// The zone of this name; UTC without one.
    pub fn named(name: &str) -> Result<Self, Problem> {
        let name = name.trim();
        let zone = match name {
            "" | "UTC" | "Z" => Some(TimeZone::UTC),
            _ => fixed(name).or_else(|| TimeZone::get(name).ok()),
        };
        let rule = "must be a time zone such as Europe/Berlin (where this machine knows them), or an offset such as +02:00";
        let zone = zone.ok_or_else(|| Problem::field("zone", rule))?;
        Ok(Self { name: if name.is_empty() { "UTC".into() } else { name.into() }, zone })
    }

    /// The moment at which the clock of the zone shows this: `2030-01-31T12:00`, as browsers send it. One that it shows twice is
    /// the first of both, one that it leaves out is as much later as the clock jumps.
    pub fn moment(&self, field: &str, text: &str) -> Result<EpochMs, Problem> {
        let wrong = || Problem::field(field, "must be a date and a time such as 2030-01-31T12:00");
        let civil: DateTime = text.trim().parse().map_err(|_| wrong())?;
        let zoned = civil.to_zoned(self.zone.clone()).map_err(|_| wrong())?;
        Ok(EpochMs(zoned.timestamp().as_millisecond()))
    }

    /// What the clock of the zone shows, and the same in UTC where that differs.
    pub fn shown(&self, at: EpochMs) -> String {
        let Ok(at) = Timestamp::from_millisecond(at.0) else { return "never".into() };
        let format = "%Y-%m-%d %H:%M:%S";
        let here = at.to_zoned(self.zone.clone()).strftime(format).to_string();
        let utc = at.to_zoned(TimeZone::UTC).strftime(format).to_string();
        if here == utc { format!("{utc} UTC") } else { format!("{here} in {} ({utc} UTC)", self.name) }
    }
}

/// An offset such as `+02:00`.
fn fixed(name: &str) -> Option<TimeZone> {
    let (sign, rest) = match name.as_bytes().first()? {
        b'+' => (1, &name[1..]),
        b'-' => (-1, &name[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let digits = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten();
    let (hours, minutes) = (digits(hours)?, digits(minutes).filter(|minutes| *minutes < 60)?);
    let seconds = sign * (i32::from(hours) * 3_600 + i32::from(minutes) * 60);
    Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_read_in_its_zone() {
        let ahead = Zone::named("+02:00").unwrap();
        let at = ahead.moment("starts_at", "2030-01-31T12:00").unwrap();
        assert_eq!(at, EpochMs(1_896_084_000_000));
        assert_eq!(ahead.shown(at), "2030-01-31 12:00:00 in +02:00 (2030-01-31 10:00:00 UTC)");
        let utc = Zone::named("").unwrap();
        assert_eq!(utc.moment("starts_at", "2030-01-31T10:00").unwrap(), at);
        assert_eq!(utc.shown(at), "2030-01-31 10:00:00 UTC");
        for wrong in ["+2", "+02:60", "+99:00", "Europe/Nowhere", "-"] {
            assert!(Zone::named(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "tomorrow", "2030-02-31T10:00"] {
            assert!(utc.moment("starts_at", wrong).is_err(), "{wrong}");
        }
    }
}
