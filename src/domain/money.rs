//! Money is whole minor units of a named currency, as ISO 4217 has them: cents where there are a hundred, yen where there
//! is nothing smaller. The API has always called them cents.

use std::fmt;

/// An amount in minor units of its currency (hundredths of a dollar, whole yen, thousandths of a dinar). Never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(pub u64);

impl Cents {
    /// The largest price of one unit.
    pub const PRICE_MAX: Self = Self(100_000_000_000);

    /// The largest amount of one order: it fits a signed 64-bit column and a double's 53 bits, so that no reader of
    /// the JSON rounds it.
    pub const AMOUNT_MAX: Self = Self((1 << 53) - 1);

    /// The amount for `quantity` units at this price.
    pub const fn times(self, quantity: u32) -> Self {
        Self(self.0.saturating_mul(quantity as u64))
    }
}

/// A currency: the three upper-case letters of its code. Who makes a sale checks that ISO 4217 knows the code; here it may be
/// any, so that what was stored before that was checked can still be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The currency of a sale that names none.
    pub const USD: Self = Self(*b"USD");

    /// Parses three upper-case ASCII letters; `None` for anything else.
    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_uppercase).then_some(Self(bytes))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency is made of ASCII letters")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
