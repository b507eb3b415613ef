//! A sale: what is sold, when, to whom and how fast. [`SaleTerms::check`] is the one place that says what is allowed.

use super::field_error::FieldError;
use super::identity::{SaleId, SaleKey};
use super::money::{Cents, Currency};
use super::time::EpochMs;
use super::waiting_room::{RoomMode, RoomTerms};

/// A number of units of stock.
pub type Units = u32;

/// A rate of admissions with the burst it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Admissions a second over time, at least 1.
    pub per_s: u32,
    /// Admissions at once after a quiet time, at least 1.
    pub burst: u32,
}

/// The terms of a sale. All of them may change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleTerms {
    /// What pages show; at most [`SaleLimits::title_bytes_max`] bytes.
    pub title: String,
    /// The price of one unit.
    pub price: Cents,
    /// The currency of the price.
    pub currency: Currency,
    /// Units one buyer may hold or have bought in this sale, at least 1.
    pub per_buyer_limit: Units,
    /// Purchases are admitted from here on.
    pub starts_at: EpochMs,
    /// Purchases are admitted before this moment.
    pub ends_at: EpochMs,
    /// How long an order may wait for its payment before its units go back on sale, in seconds.
    pub pay_within_s: u32,
    /// Admissions a second of the whole sale on this node; `None` admits as fast as the node can.
    pub rate: Option<Rate>,
    /// A paused sale refuses everybody until it goes on.
    pub paused: bool,
    /// When the pause ends by itself; `None` when somebody has to end it.
    pub paused_until: Option<EpochMs>,
    /// The waiting room, also one that is off; `None` when there never was one. See [`SaleTerms::waiting_room`].
    pub room: Option<RoomTerms>,
}

/// A sale as the order store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// The store's number.
    pub id: SaleId,
    /// The name buyers use.
    pub key: SaleKey,
    /// The terms in force.
    pub terms: SaleTerms,
    /// All units ever put on sale.
    pub total: Units,
    /// Units of orders that are pre_pay, paying or paid. Never above `total`.
    pub sold: Units,
    /// Grows with every change of the terms or the total; what is sold does not change it.
    pub version: u64,
    /// When it was archived: it is over for good, and its orders are kept apart. `None` while it is live.
    pub archived_at: Option<EpochMs>,
}

/// Where a moment lies in a sale's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SalePhase {
    /// Before the start.
    Upcoming,
    /// Between start and end.
    Open,
    /// Stopped by the operator.
    Paused,
    /// After the end.
    Ended,
}

/// The largest values that terms may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaleLimits {
    /// Bytes of a title.
    pub title_bytes_max: usize,
    /// Units of one sale.
    pub stock_max: Units,
    /// Seconds to pay.
    pub pay_within_s_max: u32,
    /// Admissions a second, and the burst.
    pub rate_max: u32,
}

impl Default for SaleLimits {
    fn default() -> Self {
        Self {
            title_bytes_max: 200,
            stock_max: 100_000_000,
            pay_within_s_max: 7 * 24 * 3600,
            rate_max: 10_000_000,
        }
    }
}

impl SaleTerms {
    /// The end of a sale that has none: the last moment that RFC 3339 can write in every time zone.
    pub const NO_END: EpochMs = EpochMs(253_402_207_200_000);

    /// The phase at `now`. The window is looked at before the pause: an ended sale is ended, paused or not.
    pub fn phase(&self, now: EpochMs) -> SalePhase {
        if now >= self.ends_at {
            SalePhase::Ended
        } else if now < self.starts_at {
            SalePhase::Upcoming
        } else if self.is_paused(now) {
            SalePhase::Paused
        } else {
            SalePhase::Open
        }
    }

    /// The terms of the waiting room, if buyers have to wait.
    #[inline]
    pub fn waiting_room(&self) -> Option<&RoomTerms> {
        self.room.as_ref().filter(|room| room.mode != RoomMode::Off)
    }

    /// Whether a pause is in force at `now`.
    pub fn is_paused(&self, now: EpochMs) -> bool {
        self.paused && self.paused_until.is_none_or(|until| now < until)
    }

    /// Checks a title that is newly given: no character of it may end a line, command a terminal, or turn the text
    /// around it (Unicode's embeddings, overrides and isolates). Titles that were given before this rule stay.
    ///
    /// # Errors
    /// Names the character.
    pub fn check_new_title(&self) -> Result<(), FieldError> {
        let commands = |c: char| {
            c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        match self.title.chars().find(|c| commands(*c)) {
            None => Ok(()),
            Some(c) => {
                let problem =
                    format!("holds U+{:04X}, a control character; titles are plain text", u32::from(c));
                Err(FieldError { field: "title", problem })
            }
        }
    }

    /// Checks that the round which a draw is to be mixed with comes after registration has closed.
    ///
    /// # Errors
    /// As [`BeaconTerms::check_distance`](crate::domain::BeaconTerms::check_distance).
    pub fn check_new_round(&self) -> Result<(), FieldError> {
        let named = self.room.and_then(|room| room.named_round());
        named.map_or(Ok(()), |beacon| beacon.check_distance(self.starts_at))
    }

    /// Checks the terms and the stock of a sale against `limits`.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self, stock: Units, limits: &SaleLimits) -> Result<(), FieldError> {
        let wrong = |field, problem: String| Err(FieldError { field, problem });
        if self.title.len() > limits.title_bytes_max {
            return wrong("title", format!("is longer than {} bytes", limits.title_bytes_max));
        }
        if self.price > Cents::PRICE_MAX {
            return wrong("price_cents", format!("is above {}", Cents::PRICE_MAX.0));
        }
        if stock > limits.stock_max {
            return wrong("stock", format!("is above {} units", limits.stock_max));
        }
        if self.per_buyer_limit == 0 || self.per_buyer_limit > limits.stock_max {
            return wrong("per_buyer_limit", format!("must be 1 to {}", limits.stock_max));
        }
        if self.price.times(self.per_buyer_limit) > Cents::AMOUNT_MAX {
            let problem =
                format!("times price_cents is above {}, the largest amount of an order", Cents::AMOUNT_MAX.0);
            return wrong("per_buyer_limit", problem);
        }
        if self.ends_at <= self.starts_at {
            return wrong("ends_at", "must be later than starts_at".into());
        }
        if self.pay_within_s == 0 || self.pay_within_s > limits.pay_within_s_max {
            return wrong("pay_within_s", format!("must be 1 to {} seconds", limits.pay_within_s_max));
        }
        if let Some(Rate { per_s, burst }) = self.rate {
            if per_s == 0 || per_s > limits.rate_max {
                return wrong("rate_per_s", format!("must be 1 to {}", limits.rate_max));
            }
            if burst == 0 || burst > limits.rate_max {
                return wrong("burst", format!("must be 1 to {}", limits.rate_max));
            }
        }
        self.waiting_room().map_or(Ok(()), |room| room.check(self.starts_at, self.ends_at, limits.rate_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> SaleTerms {
        SaleTerms {
            title: "Widget".into(),
            price: Cents(1999),
            currency: Currency::USD,
            per_buyer_limit: 1,
            starts_at: EpochMs(1_000),
            ends_at: EpochMs(2_000),
            pay_within_s: 900,
            rate: Some(Rate { per_s: 1000, burst: 100 }),
            paused: false,
            paused_until: None,
            room: None,
        }
    }

    #[test]
    fn the_window_is_closed_at_the_start_and_open_at_the_end() {
        let mut terms = terms();
        let phases = [999, 1_000, 1_999, 2_000].map(|now| terms.phase(EpochMs(now)));
        assert_eq!(phases, [SalePhase::Upcoming, SalePhase::Open, SalePhase::Open, SalePhase::Ended]);
        terms.paused = true;
        let phases = [999, 1_000, 1_999, 2_000].map(|now| terms.phase(EpochMs(now)));
        assert_eq!(phases, [SalePhase::Upcoming, SalePhase::Paused, SalePhase::Paused, SalePhase::Ended]);
        terms.paused_until = Some(EpochMs(1_500));
        let phases = [1_000, 1_499, 1_500, 2_000].map(|now| terms.phase(EpochMs(now)));
        assert_eq!(phases, [SalePhase::Paused, SalePhase::Paused, SalePhase::Open, SalePhase::Ended]);
    }

    #[test]
    fn a7_a_title_is_plain_text() {
        let titled = |title: &str| SaleTerms { title: title.into(), ..terms() }.check_new_title();
        for good in ["Phone 15 — “blue”", "هاتف", "📱 \u{200d} phone", ""] {
            assert_eq!(titled(good), Ok(()), "{good:?}");
        }
        for bad in [
            "a\0b",
            "\u{1b}[31m",
            "a\r\nb",
            "a\tb",
            "\u{7f}",
            "\u{85}",
            "\u{202e}enohp",
            "\u{2066}x",
            "\u{2028}",
        ] {
            assert_eq!(titled(bad).unwrap_err().field, "title", "{bad:?}");
        }
    }

    #[test]
    fn each_broken_rule_names_its_field() {
        type Break = fn(&mut SaleTerms);
        let breaks: [(&str, Break); 8] = [
            ("title", |t| t.title = "x".repeat(201)),
            ("price_cents", |t| t.price = Cents(Cents::PRICE_MAX.0 + 1)),
            ("per_buyer_limit", |t| t.per_buyer_limit = 0),
            ("per_buyer_limit", |t| (t.price, t.per_buyer_limit) = (Cents::PRICE_MAX, 90_072)),
            ("ends_at", |t| t.ends_at = t.starts_at),
            ("pay_within_s", |t| t.pay_within_s = 0),
            ("rate_per_s", |t| t.rate = Some(Rate { per_s: 0, burst: 1 })),
            ("burst", |t| t.rate = Some(Rate { per_s: 1, burst: 0 })),
        ];
        let limits = SaleLimits::default();
        assert_eq!(terms().check(10, &limits), Ok(()));
        for (field, break_it) in breaks {
            let mut terms = terms();
            break_it(&mut terms);
            assert_eq!(terms.check(10, &limits).unwrap_err().field, field);
        }
        assert_eq!(terms().check(limits.stock_max + 1, &limits).unwrap_err().field, "stock");
    }
}
