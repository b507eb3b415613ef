//! Times as events and the API write them.

use crate::domain::{EpochMs, SaleTerms};

/// The time as text: UTC, with milliseconds. What RFC 3339 cannot write is shown as the nearest time that it can.
pub fn rfc3339(time: EpochMs) -> String {
    let (first, last) = (jiff::Timestamp::MIN.as_millisecond(), SaleTerms::NO_END.0);
    format!("{:.3}", jiff::Timestamp::from_millisecond(time.0.clamp(first, last)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_end_can_be_written() {
        assert_eq!(rfc3339(SaleTerms::NO_END), "9999-12-30T22:00:00.000Z");
    }
}
