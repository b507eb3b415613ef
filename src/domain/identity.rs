//! Who and what: names that come from outside are checked once, here, and trusted afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::field_error::FieldError;
use super::time::EpochMs;

/// Why a name from outside is not one of ours. The text says which rule it broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId(pub &'static str);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidId {}

/// Tells one order store from every other: 128 random bits, drawn when the store is made and kept in it. What leaves the
/// engine and must be unique outside (a payment's key) carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreIdentity(u128);

impl StoreIdentity {
    /// The identity of these 16 bytes; `None` for any other number of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }

    /// The identity that is written like this: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for StoreIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a buyer sees as one sale: tenant, campaign and SKU.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaleKey {
    tenant: Box<str>,
    campaign: Box<str>,
    sku: Box<str>,
}

impl SaleKey {
    /// The tenant of a request that names none.
    pub const DEFAULT_TENANT: &'static str = "default";
    /// The SKU of the load tester's sales.
    pub const LOAD_TEST_SKU: &'static str = "load-test";
    /// The longest tenant, campaign or SKU, in bytes.
    pub const PART_BYTES_MAX: usize = 64;

    /// Checks the three parts: each 1–64 characters of `A–Z a–z 0–9 . _ -`.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn new(tenant: &str, campaign: &str, sku: &str) -> Result<Self, InvalidId> {
        for part in [tenant, campaign, sku] {
            Self::check_part(part)?;
        }
        Ok(Self { tenant: tenant.into(), campaign: campaign.into(), sku: sku.into() })
    }

    /// Whether it is a load tester's: whoever watches sees it apart from the sales for buyers.
    pub fn is_load_test(&self) -> bool {
        self.sku() == Self::LOAD_TEST_SKU
    }

    /// Checks one part alone.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn check_part(part: &str) -> Result<(), InvalidId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if part.is_empty() || part.len() > Self::PART_BYTES_MAX || !part.bytes().all(allowed) {
            return Err(InvalidId("must be 1 to 64 characters of A-Z a-z 0-9 . _ -"));
        }
        Ok(())
    }

    /// Checks the names of a sale that is to be made. A path segment that is `.` or `..` is taken away by whoever
    /// normalises paths on the way, so a sale of that name could not be reached. Sales that were made before this rule
    /// keep their names.
    ///
    /// # Errors
    /// The field and the rule.
    pub fn check_new(&self) -> Result<(), FieldError> {
        let fields = [("tenant", self.tenant()), ("campaign", self.campaign()), ("sku", self.sku())];
        match fields.into_iter().find(|(_, part)| matches!(*part, "." | "..")) {
            None => Ok(()),
            Some((field, part)) => {
                let problem = format!("cannot be {part:?}: paths with such a part mean another path");
                Err(FieldError { field, problem })
            }
        }
    }

    /// The tenant that owns the sale.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The campaign that the sale is part of.
    pub fn campaign(&self) -> &str {
        &self.campaign
    }

    /// The stock-keeping unit on sale.
    pub fn sku(&self) -> &str {
        &self.sku
    }
}

impl fmt::Display for SaleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.tenant, self.campaign, self.sku)
    }
}

/// The order store's number of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaleId(pub u32);

/// One engine among those that sell the same stock: 0 to [`NodeId::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u16);

impl NodeId {
    /// The highest node number: ten bits of every order id.
    pub const MAX: u16 = 1023;

    /// `None` above [`NodeId::MAX`].
    pub const fn new(number: u16) -> Option<Self> {
        if number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// A buyer's name that keeps its rule, borrowed from the request: refusing somebody allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BuyerName<'a>(&'a str);

impl<'a> BuyerName<'a> {
    /// The longest buyer name, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Takes 1–128 visible ASCII characters.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn new(name: &'a str) -> Result<Self, InvalidId> {
        const RULE: &str = "a buyer must be 1 to 128 visible ASCII characters";
        visible_ascii(name, Self::BYTES_MAX, RULE).map(Self)
    }

    /// The name.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// A buyer, as the gateway or the token names it. Shared text: an order on its way to the store is cloned once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuyerId(Arc<str>);

impl BuyerId {
    /// Takes the name if it keeps the rule of [`BuyerName`].
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        BuyerName::new(name).map(Self::from)
    }

    /// The name, known to keep its rule.
    pub fn name(&self) -> BuyerName<'_> {
        BuyerName(&self.0)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<BuyerName<'_>> for BuyerId {
    fn from(name: BuyerName<'_>) -> Self {
        Self(name.0.into())
    }
}

/// A client's name of one attempt to buy that keeps its rule, borrowed from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyName<'a>(&'a str);

impl<'a> KeyName<'a> {
    /// The longest key, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Takes 1–64 visible ASCII characters.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn new(key: &'a str) -> Result<Self, InvalidId> {
        const RULE: &str = "Idempotency-Key must be 1 to 64 visible ASCII characters";
        visible_ascii(key, Self::BYTES_MAX, RULE).map(Self)
    }

    /// The key.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// What a client calls one attempt to buy, so that a repeat is not a second purchase.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Takes the key if it keeps the rule of [`KeyName`].
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn new(key: &str) -> Result<Self, InvalidId> {
        KeyName::new(key).map(Self::from)
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<KeyName<'_>> for IdempotencyKey {
    fn from(key: KeyName<'_>) -> Self {
        Self(key.0.into())
    }
}

fn visible_ascii<'a>(text: &'a str, bytes_max: usize, rule: &'static str) -> Result<&'a str, InvalidId> {
    if text.is_empty() || text.len() > bytes_max || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(InvalidId(rule));
    }
    Ok(text)
}

/// An order's number, unique over all nodes and growing with time on each:
/// 41 bits of milliseconds since 2024, 12 bits of sequence, 10 bits of node.
///
/// Growing ids are appended at one edge of the order table; random ones cost the embedded store ten times as much.
/// Written as 13 characters of Crockford's base 32, which sort like the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(u64);

impl OrderId {
    /// 2024-01-01T00:00:00Z: the clock of ids starts here and lasts until 2093.
    const EPOCH_MS: i64 = 1_704_067_200_000;
    const NODE_BITS: u32 = 10;
    const SEQUENCE_BITS: u32 = 12;
    const TEXT_LEN: usize = 13;
    const ALPHABET: &'static [u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// The id of the given tick (see [`OrderId::tick_at`]) on `node`.
    pub const fn from_tick(tick: u64, node: NodeId) -> Self {
        Self((tick << Self::NODE_BITS | node.0 as u64) & i64::MAX as u64)
    }

    /// The first tick of a moment: 4,096 ticks a millisecond. A node that makes ids faster runs ahead of the clock.
    pub const fn tick_at(now: EpochMs) -> u64 {
        let since = now.0 - Self::EPOCH_MS;
        if since < 0 { 0 } else { (since as u64) << Self::SEQUENCE_BITS }
    }

    /// The moment the id was made, or a little later on a node that ran ahead of the clock.
    pub const fn made_at(self) -> EpochMs {
        EpochMs((self.tick() >> Self::SEQUENCE_BITS) as i64 + Self::EPOCH_MS)
    }

    /// The tick this id was made of.
    pub const fn tick(self) -> u64 {
        self.0 >> Self::NODE_BITS
    }

    /// The node that made the order.
    pub const fn node(self) -> NodeId {
        NodeId((self.0 & NodeId::MAX as u64) as u16)
    }

    /// The highest id below all ids of the given tick.
    pub const fn last_below_tick(tick: u64) -> Self {
        Self(((tick << Self::NODE_BITS) & i64::MAX as u64).saturating_sub(1))
    }

    /// The number, at most 63 bits: fits a signed column.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The id with this number; `None` when it needs more than 63 bits.
    pub const fn from_number(number: u64) -> Option<Self> {
        if number <= i64::MAX as u64 { Some(Self(number)) } else { None }
    }

    /// The 13 characters, without allocating.
    pub fn text(self) -> [u8; Self::TEXT_LEN] {
        let mut text = [0; Self::TEXT_LEN];
        for (place, slot) in text.iter_mut().rev().enumerate() {
            *slot = Self::ALPHABET[(self.0 >> (5 * place) & 31) as usize];
        }
        text
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OrderId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const INVALID: InvalidId = InvalidId("an order id is 13 characters of 0-9 a-z without i l o u");
        if text.len() != Self::TEXT_LEN {
            return Err(INVALID);
        }
        let mut number: u64 = 0;
        for byte in text.bytes() {
            let digit = Self::ALPHABET.iter().position(|&a| a == byte).ok_or(INVALID)?;
            number = number.checked_mul(32).ok_or(INVALID)? | digit as u64;
        }
        Self::from_number(number).ok_or(INVALID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_ids_round_trip_and_sort_like_their_text() {
        let node = NodeId::new(7).unwrap();
        let ids: Vec<_> =
            [0, 1, 4095, 4096, 1 << 40, (1 << 53) - 1].map(|tick| OrderId::from_tick(tick, node)).to_vec();
        for pair in ids.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_string() < pair[1].to_string());
        }
        for id in ids {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn text_that_is_no_order_id_is_refused() {
        for text in ["", "0", "iiiiiiiiiiiii", "zzzzzzzzzzzzz", "00000000000000", "000000000000é"] {
            assert!(text.parse::<OrderId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_from_outside_keep_their_rules() {
        assert!(SaleKey::new("default", "11.11", "phone_x-1").is_ok());
        for bad in ["", "a b", "a/b", "ü", &"x".repeat(65)] {
            assert!(SaleKey::new("default", bad, "sku").is_err(), "{bad:?}");
        }
        for (campaign, sku, field) in [(".", "a", "campaign"), ("a", "..", "sku"), ("..", "..", "campaign")] {
            let key = SaleKey::new("default", campaign, sku).expect("what a store may hold");
            assert_eq!(key.check_new().unwrap_err().field, field);
        }
        assert_eq!(SaleKey::new("default", "...", "a.b").unwrap().check_new(), Ok(()));
        assert!(BuyerName::new("user|42@example").is_ok());
        for bad in ["", "a b", "a\n", &"x".repeat(129)] {
            assert!(BuyerName::new(bad).is_err(), "{bad:?}");
        }
    }
}
