//! Chance that can be repeated: what the simulated services draw depends on the seed and the name of the call only,
//! not on the order in which calls arrive.

use std::time::Duration;

use super::service_settings::LatencySettings;

/// A stream of draws for one call (the SplitMix64 sequence).
#[derive(Clone, Debug)]
pub struct SeededRandom {
    state: u64,
}

impl SeededRandom {
    /// The stream that belongs to `seed` and the numbers that name the call.
    pub fn new(seed: u64, name: &[u64]) -> Self {
        let mut draw = Self { state: seed };
        for part in name {
            draw.state = draw.next() ^ part;
        }
        draw
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number from 0 up to, not including, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `true` in a share of `rate` of all draws.
    pub fn happens(&mut self, rate: f64) -> bool {
        self.fraction() < rate
    }

    /// A duration from the log-normal distribution with this median and 99th percentile.
    pub fn latency(&mut self, settings: &LatencySettings) -> Duration {
        /// The 99th percentile of the standard normal distribution.
        const Z99: f64 = 2.326_347_874;
        // Box and Muller's transform. 1 - fraction is never 0.
        let radius = (-2.0 * (1.0 - self.fraction()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.fraction()).cos();
        let sigma = (settings.p99_ms / settings.median_ms).ln() / Z99;
        Duration::from_secs_f64(settings.median_ms * (sigma * normal).exp() / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_draws_the_same_and_another_does_not() {
        let first = |seed, name: &[u64]| SeededRandom::new(seed, name).fraction();
        assert_eq!(first(1, &[2, 3]), first(1, &[2, 3]));
        let others = [first(2, &[2, 3]), first(1, &[3, 2]), first(1, &[2]), first(1, &[2, 4])];
        assert!(others.iter().all(|&other| other != first(1, &[2, 3])));
    }

    #[test]
    fn latencies_have_the_median_and_the_99th_percentile_that_were_asked_for() {
        let settings = LatencySettings { median_ms: 40.0, p99_ms: 210.0 };
        let mut drawn: Vec<_> = (0..100_000).map(|i| SeededRandom::new(7, &[i]).latency(&settings)).collect();
        drawn.sort();
        let percentile = |p: usize| drawn[drawn.len() * p / 100].as_secs_f64() * 1_000.0;
        assert!((percentile(50) / 40.0 - 1.0).abs() < 0.02, "median {}", percentile(50));
        assert!((percentile(99) / 210.0 - 1.0).abs() < 0.05, "P99 {}", percentile(99));
    }

    #[test]
    fn a_share_of_the_draws_happens() {
        let hits = (0..100_000).filter(|&i| SeededRandom::new(3, &[i]).happens(0.1)).count();
        assert!((9_500..10_500).contains(&hits), "{hits}");
        assert!(!(0..1_000).any(|i| SeededRandom::new(3, &[i]).happens(0.0)));
        assert!((0..1_000).all(|i| SeededRandom::new(3, &[i]).happens(1.0)));
    }
}
