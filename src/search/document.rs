//! What stands in the document of a sale.

use serde_json::{Value, json};

use super::settings::SearchSettings;
use crate::domain::{EpochMs, Sale, SaleId, SalePhase, SaleTerms, Units};
use crate::orders::rfc3339;

/// How many units are left, roughly: the number changes with every order, and what it means to a buyer seldom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitsLeft {
    None,
    Few,
    Some,
    Plenty,
}

impl UnitsLeft {
    /// The class of `left` out of `total` units.
    fn of(left: Units, total: Units, settings: &SearchSettings) -> Self {
        let (left, total) = (u64::from(left), u64::from(total));
        let is_up_to = |percent: u32| left * 100 <= total * u64::from(percent);
        match left {
            0 => Self::None,
            _ if is_up_to(settings.few_percent) => Self::Few,
            _ if left * 100 >= total * u64::from(settings.plenty_percent) => Self::Plenty,
            // The last one is few, whatever the percentage says.
            1 => Self::Few,
            _ => Self::Some,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Few => "few",
            Self::Some => "some",
            Self::Plenty => "plenty",
        }
    }
}

/// Everything in a document that can change: two documents of a sale with the same face say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Face {
    /// The version of the sale's terms and total.
    pub version: u64,
    state: &'static str,
    units_left: UnitsLeft,
}

impl Face {
    /// The face of a sale that is in this phase.
    pub fn of(sale: &Sale, phase: SalePhase, settings: &SearchSettings) -> Self {
        let units_left = UnitsLeft::of(sale.total.saturating_sub(sale.sold), sale.total, settings);
        let state = match phase {
            SalePhase::Upcoming => "upcoming",
            SalePhase::Open if units_left == UnitsLeft::None => "sold_out",
            SalePhase::Open => "open",
            SalePhase::Paused => "paused",
            SalePhase::Ended => "ended",
        };
        Self { version: sale.version, state, units_left }
    }
}

/// When a document speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// The sale was so at this moment.
    pub as_of: EpochMs,
    /// Since when it is known to be so.
    pub since: EpochMs,
    /// Grows from document to document of a sale.
    pub version: u64,
}

/// The name under which the server keeps a sale's document: characters that every kind takes.
pub(super) fn id_of(sale: SaleId) -> String {
    sale.0.to_string()
}

/// The document.
pub(super) fn document(sale: &Sale, face: Face, moment: Moment) -> Value {
    let SaleTerms { title, price, currency, per_buyer_limit, starts_at, ends_at, .. } = &sale.terms;
    let ends_at = (*ends_at < SaleTerms::NO_END).then_some(*ends_at);
    json!({
        "id": id_of(sale.id),
        "tenant": sale.key.tenant(),
        "campaign": sale.key.campaign(),
        "sku": sale.key.sku(),
        "title": title,
        "state": face.state,
        "units_left": face.units_left.as_str(),
        "price_cents": price.0,
        "currency": currency.as_str(),
        "per_buyer_limit": per_buyer_limit,
        "waiting_room": sale.terms.waiting_room().is_some(),
        "starts_at": rfc3339(*starts_at),
        "starts_at_ms": starts_at.0,
        "ends_at": ends_at.map(rfc3339),
        "ends_at_ms": ends_at.map(|at| at.0),
        "as_of": rfc3339(moment.as_of),
        "updated_at": rfc3339(moment.since),
        "version": moment.version,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{Cents, Currency, SaleKey};

    /// A sale that has sold so many of its units.
    pub fn sale(id: u32, total: Units, sold: Units) -> Sale {
        let terms = SaleTerms {
            title: "A \"phone\"\nof two lines".into(),
            price: Cents(199_900),
            currency: Currency::USD,
            per_buyer_limit: 1,
            starts_at: EpochMs(1_000),
            ends_at: SaleTerms::NO_END,
            pay_within_s: 900,
            rate: None,
            paused: false,
            paused_until: None,
            room: None,
        };
        let key = SaleKey::new("shop", "11.11", "phone").unwrap();
        Sale { id: SaleId(id), key, terms, total, sold, version: 3, archived_at: None }
    }

    #[test]
    fn units_left_are_a_class_and_a_sale_without_any_is_sold_out() {
        let settings = SearchSettings::default();
        let words = [(0, "plenty"), (50, "plenty"), (51, "some"), (89, "some"), (90, "few"), (99, "few")];
        for (sold, word) in words {
            let face = Face::of(&sale(1, 100, sold), SalePhase::Open, &settings);
            assert_eq!((face.units_left.as_str(), face.state), (word, "open"), "{sold}");
        }
        let face = |total, sold, phase| Face::of(&sale(1, total, sold), phase, &settings);
        assert_eq!(face(100, 100, SalePhase::Open).state, "sold_out");
        assert_eq!(face(100, 100, SalePhase::Ended).state, "ended");
        assert_eq!(face(100, 100, SalePhase::Ended).units_left, UnitsLeft::None);
        assert_eq!(face(0, 0, SalePhase::Upcoming).units_left, UnitsLeft::None);
        assert_eq!(face(3, 2, SalePhase::Open).units_left, UnitsLeft::Few, "the last one");
        assert_eq!(face(1, 0, SalePhase::Open).units_left, UnitsLeft::Plenty, "all of it");
    }

    #[test]
    fn a_document_says_since_when_and_as_of_when_it_is_true() {
        let sale = sale(17, 100, 0);
        let face = Face::of(&sale, SalePhase::Open, &SearchSettings::default());
        let moment = Moment { as_of: EpochMs(2_000), since: EpochMs(1_500), version: 7 };
        let document = document(&sale, face, moment);
        assert_eq!((&document["id"], &document["version"]), (&"17".into(), &7.into()));
        assert_eq!(document["as_of"], "1970-01-01T00:00:02.000Z");
        assert_eq!(document["updated_at"], "1970-01-01T00:00:01.500Z");
        assert_eq!((&document["ends_at"], &document["starts_at_ms"]), (&Value::Null, &1_000.into()));
        assert!(!document.to_string().contains('\n'), "a line of its own");
    }
}
