//! Money as people read it.

use crate::domain::{Cents, Currency};

/// The amount in units of its currency, with the currency's code: `19.99 USD`, `500 JPY`. Of a code that ISO 4217 does not know
/// it is in minor units.
pub fn in_units(amount: Cents, currency: &Currency) -> String {
    let known = iso_currency::Currency::from_code(currency.as_str());
    let digits = known.and_then(|known| known.exponent()).map_or(0, usize::from);
    if digits == 0 {
        return format!("{} {currency}", amount.0);
    }
    let whole = 10u64.pow(digits as u32);
    format!("{}.{:0digits$} {currency}", amount.0 / whole, amount.0 % whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_divided_as_their_currency_is() {
        for (cents, code, words) in [
            (199_900, "USD", "1999.00 USD"),
            (5, "EUR", "0.05 EUR"),
            (500, "JPY", "500 JPY"),
            (1_234, "KWD", "1.234 KWD"),
            (7, "ZZZ", "7 ZZZ"),
        ] {
            assert_eq!(in_units(Cents(cents), &Currency::parse(code).unwrap()), words);
        }
    }
}
