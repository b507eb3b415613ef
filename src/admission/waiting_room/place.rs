//! Where a buyer stands: computed from seed, sale and buyer, the same on every node, and by whoever checks the draw.

use ring::{digest, hmac};

use crate::domain::{
    BeaconTerms, BeaconValue, BuyerName, DrawMix, RoomMarks, RoomSeed, RoomTerms, SaleKey, Who,
};

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

/// The key that draws. To make it costs as much as a buyer's place: whoever asks for many places makes it once.
#[derive(Clone, Debug)]
pub struct DrawKey(hmac::Key);

impl DrawKey {
    /// The key of a seed, or of what came of it and a beacon.
    pub fn new(seed: &RoomSeed) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &seed.0))
    }

    /// The place of a buyer in the draw, lower is earlier: the first 53 bits of the HMAC-SHA256 of the name under the seed. All are
    /// below [`RoomMarks::PRIORITY_END`].
    pub fn priority(&self, who: &Who) -> u64 {
        const BITS: u32 = RoomMarks::PRIORITY_END.trailing_zeros();
        let tag = hmac::sign(&self.0, who);
        let first = tag.as_ref().first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first));
        first >> (u64::BITS - BITS)
    }
}

/// [`DrawKey::priority`] of one buyer.
pub fn priority_of(seed: &RoomSeed, who: &Who) -> u64 {
    DrawKey::new(seed).priority(who)
}

/// What a draw is made with whose seed is mixed with the value of a beacon's round: the first 16 bytes of the HMAC-SHA256 under the
/// seed of `seckill-draw-1`, the source's word and the round's number in decimal, each with a zero byte behind it, and the value.
pub fn mixed_seed(seed: &RoomSeed, beacon: &BeaconTerms, value: &BeaconValue) -> RoomSeed {
    let mut tag = hmac::Context::with_key(&DrawKey::new(seed).0);
    for part in ["seckill-draw-1", beacon.source.as_str(), &beacon.round.to_string()] {
        tag.update(part.as_bytes());
        tag.update(&[0]);
    }
    tag.update(value.bytes());
    RoomSeed(tag.sign().as_ref().first_chunk().copied().unwrap_or_default())
}

/// What the draw of a room is made with, as things stand: the seed, or what came of it and the beacon.
pub fn drawing_seed(terms: &RoomTerms, marks: &RoomMarks) -> RoomSeed {
    match (&terms.beacon, &marks.mix) {
        (Some(beacon), Some(DrawMix::Beacon(value))) => mixed_seed(&terms.seed, beacon, value),
        _ => terms.seed,
    }
}

/// What is published of a seed before the draw: the SHA-256 of its 16 bytes.
pub fn seed_commitment(seed: &RoomSeed) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, &seed.0);
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;
    use crate::domain::{BeaconSource, RoomFailure, RoomMode};

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

    #[test]
    fn a_seed_is_mixed_as_anybody_mixes_it() {
        // python3 -c 'import hashlib, hmac; print(hmac.new(b"0123456789abcdef",
        //   b"seckill-draw-1\0drand-quicknet\0" + b"12345678\0" + bytes(range(32)), hashlib.sha256).hexdigest()[:32])'
        let bytes: Vec<u8> = (0..32).collect();
        let value = BeaconValue::new(&bytes).unwrap();
        let beacon = BeaconTerms { source: BeaconSource::DrandQuicknet, round: 12_345_678, wait_s: 600 };
        let seed = RoomSeed(*b"0123456789abcdef");
        let hex = |seed: RoomSeed| seed.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(mixed_seed(&seed, &beacon, &value)), "4d2eb6674de3fdd6a9fbb993107172ed");
        // Another round, or another source, with the same value: another draw.
        let other = BeaconTerms { round: 12_345_679, ..beacon };
        assert_ne!(mixed_seed(&seed, &beacon, &value), mixed_seed(&seed, &other, &value));
        let room = RoomTerms {
            mode: RoomMode::Draw,
            opens_at: None,
            rate_per_s: None,
            grace_s: 180,
            on_failure: RoomFailure::Open,
            seed,
            beacon: Some(beacon),
        };
        let with = |mix| drawing_seed(&room, &RoomMarks { mix, ..RoomMarks::default() });
        assert_eq!(with(Some(DrawMix::Beacon(value))), mixed_seed(&seed, &beacon, &value));
        assert_eq!((with(Some(DrawMix::Plain)), with(None)), (seed, seed));
        let none = RoomTerms { beacon: None, ..room };
        let marks = RoomMarks { mix: Some(DrawMix::Beacon(value)), ..RoomMarks::default() };
        assert_eq!(drawing_seed(&none, &marks), seed);
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

    /// `cargo xtask room draws` makes a hundred, of as many people as it says.
    #[test]
    fn each_draw_spreads_its_buyers_evenly() {
        let long = std::env::var("SECKILL_ROOM_PEOPLE").ok().map(|people| people.parse().expect("a number"));
        let (people, draws) = long.map_or((10_000, 20), |people: usize| (people, 100));
        let whos = whos(people);
        let found: Vec<(f64, f64)> = (0..draws)
            .map(|draw| {
                let key = DrawKey::new(&seed(draw));
                let priorities: Vec<u64> = whos.iter().map(|who| key.priority(who)).collect();
                (chi_square(priorities.iter().copied()), gain_by_coming_early(&priorities))
            })
            .collect();
        // With a hundred of them, one in ten thousand: the seeds are fixed, too.
        let most = if long.is_some() { 112.0 } else { CHI_SQUARE_MAX };
        let gain_max = 5.0 / (people as f64).sqrt();
        for (draw, (statistic, gain)) in found.iter().enumerate() {
            assert!(*statistic < most, "draw {draw}: {statistic}");
            assert!(gain.abs() < gain_max, "draw {draw}: who comes early gains {gain}");
        }
        if long.is_some() {
            let mean = found.iter().map(|(statistic, _)| statistic).sum::<f64>() / f64::from(draws);
            let largest = found.iter().map(|(statistic, _)| *statistic).fold(0.0, f64::max);
            let gain = found.iter().map(|(_, gain)| gain.abs()).fold(0.0, f64::max);
            println!(
                "{draws} draws of {people}: χ² with {} degrees of freedom {mean:.1} on average (expected {}), at most {largest:.1}; \
                 correlation of the order of arrival with that of admission at most {gain:.4} (bound {gain_max:.4})",
                BINS - 1,
                BINS - 1
            );
        }
    }

    /// The correlation of the order in which people came with that in which they are admitted (Spearman).
    fn gain_by_coming_early(priorities: &[u64]) -> f64 {
        let mut order: Vec<(u64, usize)> = priorities.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let people = order.len() as f64;
        let squares: f64 =
            order.iter().enumerate().map(|(rank, (_, came))| (rank as f64 - *came as f64).powi(2)).sum();
        1.0 - 6.0 * squares / (people * (people * people - 1.0))
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
            let key = DrawKey::new(&seed(draw));
            let mut order: Vec<(u64, usize)> =
                whos.iter().enumerate().map(|(place, who)| (key.priority(who), place)).collect();
            order.sort_unstable();
            // Of the first tenth that is admitted, how many were in the first half of those who came: 500, give or take 15.
            let early = order[..1_000].iter().filter(|(_, place)| *place < 5_000).count();
            assert!(early.abs_diff(500) < 60, "draw {draw}: {early}");
        }
    }
}
