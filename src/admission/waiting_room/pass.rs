//! The pass: what a buyer holds while waiting. It says when the buyer joined and under which number, and is signed over
//! that, the sale and the buyer: copied to another buyer or another sale it is no pass.
//!
//! 99 characters of base64url: version, key, joined at, end, number, name and whether it is drawn (42 bytes, big-endian), then
//! their HMAC-SHA256 together with the sale's number, its name and the buyer's.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{digest, hmac};

use super::super::live_sale::LiveSale;
use crate::domain::{BuyerName, EpochMs, Who};

const VERSION: u8 = 1;
const BODY_BYTES: usize = 1 + 4 + 8 + 8 + 4 + 16 + 1;
const TAG_BYTES: usize = 32;
const PASS_BYTES: usize = BODY_BYTES + TAG_BYTES;
/// Characters of a pass.
const TEXT_BYTES: usize = (PASS_BYTES * 4).div_ceil(3);
/// The signed bytes at most: the body, the sale's number, three parts of its name with a zero behind each, and the buyer.
const SIGNED_BYTES_MAX: usize = BODY_BYTES + 4 + 3 * 65 + BuyerName::BYTES_MAX;

/// What a pass says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SalePass {
    /// When the buyer joined.
    pub joined_at: EpochMs,
    /// From this moment on it is no pass.
    pub expires_at: EpochMs,
    /// The buyer's number by arrival, as far as the node that issued it knew.
    pub number: u32,
    /// The buyer's name in the sale.
    pub who: Who,
    /// Whether the buyer takes part in the draw, as far as was known then: the terms may change until it begins. What counts is when
    /// the buyer joined.
    pub is_drawn: bool,
}

/// A pass as it travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PassText([u8; TEXT_BYTES]);

impl PassText {
    /// The characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }
}

impl fmt::Debug for PassText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassText")
    }
}

/// One key, and the number by which a pass names it.
#[derive(Debug)]
struct PassKey {
    id: [u8; 4],
    key: hmac::Key,
}

/// The keys that passes are signed with: the first signs, all are valid.
#[derive(Debug, Default)]
pub struct PassKeys(Vec<PassKey>);

impl PassKeys {
    /// Keys that are valid at once.
    pub const KEYS_MAX: usize = 2;

    /// Keys of these secrets. The first signs.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let key = |secret: &[u8]| {
            let hash = digest::digest(&digest::SHA256, secret);
            let id = hash.as_ref().first_chunk().copied().unwrap_or_default();
            PassKey { id, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
        };
        Self(secrets.into_iter().map(key).collect())
    }

    /// Whether there is none: no pass can be issued or told from a forged one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pass for this buyer of this sale; `None` without a key.
    pub fn sign(&self, pass: &SalePass, sale: &LiveSale, buyer: BuyerName<'_>) -> Option<PassText> {
        let PassKey { id, key } = self.0.first()?;
        let mut bytes = [0; PASS_BYTES];
        let (body, tag) = bytes.split_at_mut(BODY_BYTES);
        let body: &mut [u8; BODY_BYTES] = body.try_into().ok()?;
        write_body(body, *id, pass);
        let signed = Signed::of(body, sale, buyer);
        tag.copy_from_slice(hmac::sign(key, signed.bytes()).as_ref());
        let mut text = [0; TEXT_BYTES];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).ok()?;
        Some(PassText(text))
    }

    /// What a pass says, if it was issued to this buyer for this sale under a key that is valid. Its end is not looked at.
    pub fn read(&self, text: &[u8], sale: &LiveSale, buyer: BuyerName<'_>) -> Option<SalePass> {
        if text.len() != TEXT_BYTES {
            return None;
        }
        // Room for what the decoder expects at most.
        let mut bytes = [0; TEXT_BYTES];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? != PASS_BYTES {
            return None;
        }
        let (body, rest) = bytes.split_first_chunk::<BODY_BYTES>()?;
        let tag = &rest[..TAG_BYTES];
        let (id, pass) = read_body(body)?;
        let PassKey { key, .. } = self.0.iter().find(|key| key.id == id)?;
        let signed = Signed::of(body, sale, buyer);
        hmac::verify(key, signed.bytes(), tag).ok()?;
        Some(pass)
    }
}

fn write_body(body: &mut [u8; BODY_BYTES], key: [u8; 4], pass: &SalePass) {
    body[0] = VERSION;
    body[1..5].copy_from_slice(&key);
    body[5..13].copy_from_slice(&pass.joined_at.0.to_be_bytes());
    body[13..21].copy_from_slice(&pass.expires_at.0.to_be_bytes());
    body[21..25].copy_from_slice(&pass.number.to_be_bytes());
    body[25..41].copy_from_slice(&pass.who);
    body[41] = u8::from(pass.is_drawn);
}

fn read_body(body: &[u8; BODY_BYTES]) -> Option<([u8; 4], SalePass)> {
    let (version, rest) = body.split_first()?;
    let (key, rest) = rest.split_first_chunk()?;
    let (joined_at, rest) = rest.split_first_chunk()?;
    let (expires_at, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (who, is_drawn) = rest.split_first_chunk()?;
    let pass = SalePass {
        joined_at: EpochMs(i64::from_be_bytes(*joined_at)),
        expires_at: EpochMs(i64::from_be_bytes(*expires_at)),
        number: u32::from_be_bytes(*number),
        who: *who,
        is_drawn: *is_drawn.first()? != 0,
    };
    (*version == VERSION).then_some((*key, pass))
}

/// The bytes that are signed, put together without allocating.
struct Signed {
    bytes: [u8; SIGNED_BYTES_MAX],
    length: usize,
}

impl Signed {
    fn of(body: &[u8; BODY_BYTES], sale: &LiveSale, buyer: BuyerName<'_>) -> Self {
        let mut signed = Self { bytes: [0; SIGNED_BYTES_MAX], length: 0 };
        signed.add(body);
        signed.add(&sale.id.0.to_be_bytes());
        for part in [sale.key.tenant(), sale.key.campaign(), sale.key.sku()] {
            signed.add(part.as_bytes());
            signed.add(&[0]);
        }
        signed.add(buyer.as_str().as_bytes());
        signed
    }

    fn add(&mut self, part: &[u8]) {
        self.bytes[self.length..][..part.len()].copy_from_slice(part);
        self.length += part.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::super::live_sale::SaleState;
    use super::*;
    use crate::domain::{Cents, Currency, SaleId, SaleKey, SaleTerms};

    fn sale(id: u32, campaign: &str, sku: &str) -> LiveSale {
        let terms = SaleTerms {
            title: String::new(),
            price: Cents(5),
            currency: Currency::USD,
            per_buyer_limit: 1,
            starts_at: EpochMs(0),
            ends_at: EpochMs(1),
            pay_within_s: 1,
            rate: None,
            paused: false,
            paused_until: None,
            room: None,
        };
        let key = SaleKey::new("default", campaign, sku).unwrap();
        LiveSale::new(SaleId(id), key, terms, Arc::new(SaleState::new(1, 1)))
    }

    fn buyer(name: &str) -> BuyerName<'_> {
        BuyerName::new(name).unwrap()
    }

    const PASS: SalePass = SalePass {
        joined_at: EpochMs(1_700_000_000_123),
        expires_at: EpochMs(1_800_000_000_000),
        number: 7,
        who: [9; 16],
        is_drawn: true,
    };
    const ONE: &[u8] = b"the first secret of the passes";
    const TWO: &[u8] = b"the second secret of the passes";

    #[test]
    fn a_pass_is_short_and_of_one_buyer_and_one_sale() {
        let keys = PassKeys::new([ONE]);
        let ours = sale(1, "spring", "phone");
        let pass = keys.sign(&PASS, &ours, buyer("ann")).unwrap();
        assert_eq!(pass.as_str().len(), 99);
        let read = |text: &str, sale: &LiveSale, name| keys.read(text.as_bytes(), sale, buyer(name));
        assert_eq!(read(pass.as_str(), &ours, "ann"), Some(PASS));
        assert_eq!(read(pass.as_str(), &ours, "bob"), None, "copied");
        for other in [sale(2, "spring", "phone"), sale(1, "springp", "hone"), sale(1, "spring", "phones")] {
            assert_eq!(read(pass.as_str(), &other, "ann"), None, "foreign: {}", other.key);
        }
        assert_eq!(read("", &ours, "ann"), None);
        assert_eq!(PassKeys::default().read(pass.as_str().as_bytes(), &ours, buyer("ann")), None);
        assert!(PassKeys::default().sign(&PASS, &ours, buyer("ann")).is_none());
    }

    #[test]
    fn keys_are_exchanged_one_after_the_other() {
        let ours = sale(1, "spring", "phone");
        let (old, both, new) = (PassKeys::new([ONE]), PassKeys::new([TWO, ONE]), PassKeys::new([TWO]));
        let before = old.sign(&PASS, &ours, buyer("ann")).unwrap();
        let after = both.sign(&PASS, &ours, buyer("ann")).unwrap();
        let knows = |keys: &PassKeys, pass: &PassText| {
            keys.read(pass.as_str().as_bytes(), &ours, buyer("ann")).is_some()
        };
        assert!(knows(&both, &before) && knows(&both, &after) && knows(&new, &after));
        assert!(!knows(&new, &before) && !knows(&old, &after));
    }

    /// `cargo xtask room pass` says how often, and tells how long one took.
    #[test]
    fn a_pass_is_read_again_and_again_for_the_price_of_a_hash() {
        let long =
            std::env::var("SECKILL_ROOM_PEOPLE").ok().map(|times| times.parse::<u32>().expect("a number"));
        let times = long.unwrap_or(100);
        let (keys, ours) = (PassKeys::new([ONE, TWO]), sale(1, "spring", "phone"));
        let passes: Vec<(String, PassText)> = (0..64)
            .map(|number| {
                let name = format!("buyer-{number}");
                let pass = keys.sign(&SalePass { number, ..PASS }, &ours, buyer(&name)).unwrap();
                (name, pass)
            })
            .collect();
        let began = std::time::Instant::now();
        let read = (0..times as usize)
            .filter(|place| {
                let (name, pass) = &passes[place % passes.len()];
                keys.read(std::hint::black_box(pass.as_str().as_bytes()), &ours, buyer(name)).is_some()
            })
            .count();
        assert_eq!(read, times as usize);
        if long.is_some() {
            println!(
                "{times} passes read, {} ns each",
                began.elapsed().as_nanos() / u128::from(times.max(1))
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_a_pass_says_is_read_and_nothing_else(
            joined_at in any::<i64>(), expires_at in any::<i64>(), number in any::<u32>(), who in any::<[u8; 16]>(),
            is_drawn in any::<bool>(), name in "[!-~]{1,128}", place in 0usize..99, other in "[0-9A-Za-z_-]",
        ) {
            let keys = PassKeys::new([ONE]);
            let ours = sale(3, "spring", "phone");
            let pass = SalePass { joined_at: EpochMs(joined_at), expires_at: EpochMs(expires_at), number, who, is_drawn };
            let text = keys.sign(&pass, &ours, buyer(&name)).unwrap();
            prop_assert_eq!(keys.read(text.as_str().as_bytes(), &ours, buyer(&name)), Some(pass));
            let mut forged = text.as_str().to_owned();
            forged.replace_range(place..=place, &other);
            if forged != text.as_str() {
                prop_assert_eq!(keys.read(forged.as_bytes(), &ours, buyer(&name)), None);
            }
        }

        #[test]
        fn no_bytes_are_a_pass(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let ours = sale(3, "spring", "phone");
            prop_assert_eq!(PassKeys::new([ONE, TWO]).read(&bytes, &ours, buyer("ann")), None);
        }
    }
}
