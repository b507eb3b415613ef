//! What an operator changes of a sale: only what is named, so that two who change different things both get them.

use super::field_error::FieldError;
use super::money::Cents;
use super::sale::{Rate, Sale, SaleLimits, SaleTerms, Units};
use super::time::EpochMs;
use super::waiting_room::RoomEdit;

/// A change of a sale, field by field. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaleEdit {
    /// What pages show.
    pub title: Option<String>,
    /// The price of one unit.
    pub price: Option<Cents>,
    /// Units one buyer may hold; only upwards once units are sold.
    pub per_buyer_limit: Option<Units>,
    /// When it opens.
    pub starts_at: Option<EpochMs>,
    /// When it ends.
    pub ends_at: Option<EpochMs>,
    /// Seconds to pay.
    pub pay_within_s: Option<u32>,
    /// Admissions a second; `Some(None)` takes the rate away.
    pub rate_per_s: Option<Option<u32>>,
    /// Admissions at once; `Some(None)` makes it one second's worth.
    pub burst: Option<Option<u32>>,
    /// Whether it refuses everybody for now.
    pub paused: Option<bool>,
    /// When the pause that begins ends by itself; `None` when somebody has to end it.
    pub paused_until: Option<EpochMs>,
    /// It is over from this moment on, unless it was before; one that has not begun by then never does.
    pub ended_at: Option<EpochMs>,
    /// The waiting room.
    pub room: Option<RoomEdit>,
    /// All units ever put on sale.
    pub stock: Option<StockEdit>,
}

/// How the total of a sale changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockEdit {
    /// To so many, whatever it is now.
    To(Units),
    /// By so many: two such changes add up.
    By(i64),
}

impl SaleEdit {
    /// The terms and the total of `sale` after the change.
    ///
    /// # Errors
    /// The first field that breaks its rule. A change that does nothing but pause, end a pause, or end the sale breaks none:
    /// a sale that was made under other limits must still be stoppable.
    pub fn apply(&self, sale: &Sale, limits: &SaleLimits) -> Result<(SaleTerms, Units), FieldError> {
        let mut terms = sale.terms.clone();
        if let Some(paused) = self.paused {
            terms.paused = paused;
            terms.paused_until = self.paused_until.filter(|_| paused);
        }
        if let Some(at) = self.ended_at.filter(|at| *at < terms.ends_at) {
            terms.ends_at = at;
            terms.starts_at = terms.starts_at.min(at.plus_ms(-1));
        }
        let Self { paused, paused_until, ended_at, .. } = *self;
        if (Self { paused, paused_until, ended_at, ..Self::default() }) == *self {
            return Ok((terms, sale.total));
        }
        set(&self.title, &mut terms.title);
        set(&self.price, &mut terms.price);
        set(&self.per_buyer_limit, &mut terms.per_buyer_limit);
        set(&self.starts_at, &mut terms.starts_at);
        set(&self.ends_at, &mut terms.ends_at);
        set(&self.pay_within_s, &mut terms.pay_within_s);
        terms.rate = changed_rate(terms.rate, self.rate_per_s, self.burst)?;
        if let Some(edit) = &self.room {
            terms.room = Some(edit.apply(terms.room.as_ref())?);
        }
        let total = match self.stock {
            None => sale.total,
            Some(StockEdit::To(units)) => units,
            Some(StockEdit::By(units)) => {
                let total = i64::from(sale.total).checked_add(units);
                total.and_then(|total| Units::try_from(total).ok()).ok_or_else(|| FieldError {
                    field: "stock_delta",
                    problem: format!(
                        "would make the stock of {} fall below 0 or outgrow every limit",
                        sale.total
                    ),
                })?
            }
        };
        if terms.title != sale.terms.title {
            terms.check_new_title()?;
        }
        terms.check(total, limits)?;
        let round = |terms: &SaleTerms| (terms.starts_at, terms.room.and_then(|room| room.named_round()));
        if round(&terms) != round(&sale.terms) {
            terms.check_new_round()?;
        }
        if terms.per_buyer_limit < sale.terms.per_buyer_limit && sale.sold > 0 {
            let problem =
                "may only be raised once units are sold: buyers rely on what they were allowed".into();
            return Err(FieldError { field: "per_buyer_limit", problem });
        }
        Ok((terms, total))
    }
}

fn set<T: Clone>(given: &Option<T>, place: &mut T) {
    if let Some(given) = given {
        place.clone_from(given);
    }
}

/// The rate after `per_s` and `burst` were given. A burst that was never given is one second's worth.
fn changed_rate(
    rate: Option<Rate>,
    per_s: Option<Option<u32>>,
    burst: Option<Option<u32>>,
) -> Result<Option<Rate>, FieldError> {
    let Some(per_s) = per_s.unwrap_or(rate.map(|rate| rate.per_s)) else {
        return match burst {
            Some(Some(_)) => Err(FieldError { field: "burst", problem: "needs rate_per_s".into() }),
            Some(None) | None => Ok(None),
        };
    };
    let burst = match burst {
        Some(Some(burst)) => burst,
        Some(None) => per_s,
        None => rate.map_or(per_s, |rate| rate.burst),
    };
    Ok(Some(Rate { per_s, burst }))
}

#[cfg(test)]
mod tests {
    use super::super::beacon::{BeaconSource, BeaconTerms};
    use super::super::identity::{SaleId, SaleKey};
    use super::super::money::Currency;
    use super::super::waiting_room::{RoomMode, RoomSeed};
    use super::*;

    fn sale(total: Units, sold: Units) -> Sale {
        let terms = SaleTerms {
            title: "Widget".into(),
            price: Cents(1999),
            currency: Currency::USD,
            per_buyer_limit: 2,
            starts_at: EpochMs(1_000),
            ends_at: EpochMs(2_000),
            pay_within_s: 900,
            rate: None,
            paused: false,
            paused_until: None,
            room: None,
        };
        let key = SaleKey::new("default", "c", "s").unwrap();
        Sale { id: SaleId(1), key, terms, total, sold, version: 1, archived_at: None }
    }

    #[test]
    fn a_rate_is_set_changed_and_taken_away() {
        let rate = |per_s, burst| Some(Rate { per_s, burst });
        let some = |value| Some(Some(value));
        assert_eq!(changed_rate(None, None, None), Ok(None));
        assert_eq!(changed_rate(None, some(10), None), Ok(rate(10, 10)));
        assert_eq!(changed_rate(None, some(10), some(5)), Ok(rate(10, 5)));
        assert_eq!(changed_rate(rate(10, 5), some(20), None), Ok(rate(20, 5)));
        assert_eq!(changed_rate(rate(10, 5), None, some(7)), Ok(rate(10, 7)));
        assert_eq!(changed_rate(rate(10, 5), None, Some(None)), Ok(rate(10, 10)));
        assert_eq!(changed_rate(rate(10, 5), Some(None), None), Ok(None));
        assert_eq!(changed_rate(None, None, some(5)).unwrap_err().field, "burst");
        assert_eq!(changed_rate(rate(10, 5), Some(None), some(5)).unwrap_err().field, "burst");
    }

    #[test]
    fn only_what_is_named_changes() {
        let limits = SaleLimits::default();
        let sale = sale(10, 3);
        assert_eq!(SaleEdit::default().apply(&sale, &limits), Ok((sale.terms.clone(), 10)));
        let edit = SaleEdit { stock: Some(StockEdit::By(-4)), price: Some(Cents(5)), ..SaleEdit::default() };
        let expected = SaleTerms { price: Cents(5), ..sale.terms.clone() };
        assert_eq!(edit.apply(&sale, &limits), Ok((expected, 6)));
        let below = SaleEdit { stock: Some(StockEdit::By(-11)), ..SaleEdit::default() };
        assert_eq!(below.apply(&sale, &limits).unwrap_err().field, "stock_delta");
        let overflow = SaleEdit { stock: Some(StockEdit::By(i64::MAX)), ..SaleEdit::default() };
        assert_eq!(overflow.apply(&sale, &limits).unwrap_err().field, "stock_delta");
        let lower = SaleEdit { per_buyer_limit: Some(1), ..SaleEdit::default() };
        assert_eq!(lower.apply(&sale, &limits).unwrap_err().field, "per_buyer_limit");
    }

    #[test]
    fn a_round_that_is_too_near_is_refused_where_it_is_new() {
        let limits = SaleLimits::default();
        let source = BeaconSource::DrandQuicknet;
        let beacon = BeaconTerms { source, round: 7, wait_s: 60 };
        let room = RoomEdit {
            mode: Some(RoomMode::Draw),
            opens_at: None,
            rate_per_s: None,
            grace_s: None,
            on_failure: None,
            beacon: Some(Some(beacon)),
            new_seed: RoomSeed([1; 16]),
        };
        let mut sale = sale(10, 0);
        (sale.terms.starts_at, sale.terms.ends_at) = (beacon.drawn_at().unwrap(), SaleTerms::NO_END);
        let named = SaleEdit { room: Some(room), ..SaleEdit::default() };
        assert_eq!(named.apply(&sale, &limits).unwrap_err().field, "queue.beacon.round");
        // As it was named under an older rule.
        sale.terms.room = Some(room.apply(None).unwrap());
        let faster = RoomEdit { mode: None, beacon: None, rate_per_s: Some(Some(5)), ..room };
        assert!(SaleEdit { room: Some(faster), ..SaleEdit::default() }.apply(&sale, &limits).is_ok());
        let starts = |ms| {
            let starts_at = Some(sale.terms.starts_at.plus_ms(ms));
            SaleEdit { starts_at, ..SaleEdit::default() }.apply(&sale, &limits).err().map(|error| error.field)
        };
        assert_eq!(
            [-1_000, -999, 1].map(starts),
            [None, Some("queue.beacon.round"), Some("queue.beacon.round")]
        );
    }

    #[test]
    fn a_sale_beyond_todays_limits_can_be_paused_all_the_same() {
        let limits = SaleLimits { stock_max: 5, ..SaleLimits::default() };
        let pause = SaleEdit { paused: Some(true), ..SaleEdit::default() };
        assert!(pause.apply(&sale(10, 3), &limits).unwrap().0.paused);
        let end = |at| SaleEdit { ended_at: Some(EpochMs(at)), ..SaleEdit::default() };
        let window = |at| {
            let (terms, _) = end(at).apply(&sale(10, 3), &limits).unwrap();
            (terms.starts_at.0, terms.ends_at.0)
        };
        assert_eq!([900, 1_500, 3_000].map(window), [(899, 900), (1_000, 1_500), (1_000, 2_000)]);
        let renamed = SaleEdit { title: Some("x".into()), ..pause };
        assert_eq!(renamed.apply(&sale(10, 3), &limits).unwrap_err().field, "stock");
    }
}
