//! Random numbers for request ids and for the jitter of `Retry-After`: a generator a thread, no lock.
//! Not for secrets.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = Cell::new(rand::random());
}

/// The thread's next number (SplitMix64).
pub fn next() -> u64 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mut mixed = state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number of `0..=most`, evenly.
pub fn up_to(most: u32) -> u32 {
    ((u128::from(next()) * (u128::from(most) + 1)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_reaches_both_ends_and_no_further() {
        let drawn: std::collections::BTreeSet<u32> = (0..1000).map(|_| up_to(3)).collect();
        assert_eq!(drawn, [0, 1, 2, 3].into());
        assert_eq!(up_to(0), 0);
    }
}
