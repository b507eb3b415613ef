//! Where a buyer stands: computed from seed, sale and buyer, the same on every node, and by whoever checks the draw.

use ring::{digest, hmac};

use crate::domain::{BuyerName, RoomMarks, RoomSeed, SaleKey, Who};

/// A buyer's name in one sale: the first 16 bytes of the SHA-256 of tenant, campaign, SKU and buyer, with a zero byte between
/// them.
pub fn who_is(sale: &SaleKey, buyer: BuyerName<'_>) -> Who {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [sale.tenant(), sale.campaign(), sale.sku()] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    hash.update(buyer.as_str().as_bytes());
    hash.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// The key that draws.
pub(super) fn draw_key(seed: &RoomSeed) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &seed.0)
}

/// The place of a buyer in the draw, lower is earlier: the first 53 bits of the HMAC-SHA256 of the name under the seed. All are below
/// [`RoomMarks::PRIORITY_END`].
pub fn priority_of(seed: &RoomSeed, who: &Who) -> u64 {
    priority(&draw_key(seed), who)
}

pub(super) fn priority(key: &hmac::Key, who: &Who) -> u64 {
    const BITS: u32 = RoomMarks::PRIORITY_END.trailing_zeros();
    let tag = hmac::sign(key, who);
    let first = tag.as_ref().first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first));
    first >> (u64::BITS - BITS)
}

/// What is published of a seed before the draw: the SHA-256 of its 16 bytes.
pub fn seed_commitment(seed: &RoomSeed) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, &seed.0);
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_that_anybody_computes() {
        // By another implementation: python3 -c 'import hashlib, hmac; ...' over the same bytes.
        let key = SaleKey::new("default", "spring", "phone").unwrap();
        let who = who_is(&key, BuyerName::new("ann").unwrap());
        let hex: String = who.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "dc1b8b95ecd08f8303e51cecba9616d8");
        let seed = RoomSeed(*b"0123456789abcdef");
        assert_eq!(priority_of(&seed, &who), 7_610_544_848_786_360);
        let hex: String = seed_commitment(&seed).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f");
    }

    const BINS: usize = 64;
    /// With 63 degrees of freedom one draw in a thousand is beyond; the seeds are fixed, so it is always the same answer.
    const CHI_SQUARE_MAX: f64 = 103.4;

    fn chi_square(priorities: impl Iterator<Item = u64>) -> f64 {
        let mut bins = [0u32; BINS];
        let mut all = 0;
        for priority in priorities {
            bins[(priority / (RoomMarks::PRIORITY_END / BINS as u64)) as usize] += 1;
            all += 1;
        }
        let expected = f64::from(all) / BINS as f64;
        bins.iter().map(|&seen| (f64::from(seen) - expected).powi(2) / expected).sum()
    }

    fn seed(number: u32) -> RoomSeed {
        let mut seed = [0; 16];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        RoomSeed(seed)
    }

    fn whos(count: usize) -> Vec<Who> {
        let key = SaleKey::new("default", "spring", "phone").unwrap();
        (0..count).map(|n| who_is(&key, BuyerName::new(&format!("buyer-{n}")).unwrap())).collect()
    }

    #[test]
    fn each_draw_spreads_its_buyers_evenly() {
        let whos = whos(10_000);
        for draw in 0..20 {
            let key = draw_key(&seed(draw));
            let statistic = chi_square(whos.iter().map(|who| priority(&key, who)));
            assert!(statistic < CHI_SQUARE_MAX, "draw {draw}: {statistic}");
        }
    }

    #[test]
    fn each_buyer_is_spread_evenly_over_the_draws() {
        for (buyer, who) in whos(20).iter().enumerate() {
            let statistic = chi_square((0..10_000).map(|draw| priority_of(&seed(draw), who)));
            assert!(statistic < CHI_SQUARE_MAX, "buyer {buyer}: {statistic}");
        }
    }

    #[test]
    fn who_comes_early_is_drawn_no_earlier() {
        let whos = whos(10_000);
        for draw in 0..20 {
            let key = draw_key(&seed(draw));
            let mut order: Vec<(u64, usize)> =
                whos.iter().enumerate().map(|(place, who)| (priority(&key, who), place)).collect();
            order.sort_unstable();
            // Of the first tenth that is admitted, how many were in the first half of those who came: 500, give or take 15.
            let early = order[..1_000].iter().filter(|(_, place)| *place < 5_000).count();
            assert!(early.abs_diff(500) < 60, "draw {draw}: {early}");
        }
    }
}
