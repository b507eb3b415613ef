//! When requests are due: pure functions from an arrival's number to its time.
//!
//! A [`Curve`] is a rate over time, made of straight pieces. Its area up to `t` is the number of
//! arrivals expected by `t`; an arrival's due time is the inverse of that area. Nothing here knows
//! a clock or a server: a slow answer cannot move the next request.

use serde::{Deserialize, Serialize};

use super::dice::Dice;

/// A stretch of time over which the rate changes along a straight line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// Length in seconds, above zero.
    pub duration_s: f64,
    /// Arrivals per second at its start.
    pub from_per_s: f64,
    /// Arrivals per second at its end.
    pub to_per_s: f64,
}

impl Segment {
    /// Arrivals expected over the whole segment.
    fn arrivals(&self) -> f64 {
        self.duration_s * (self.from_per_s + self.to_per_s) / 2.0
    }

    /// The time, in seconds from the segment's start, by which `count` arrivals are expected.
    fn time_of(&self, count: f64) -> f64 {
        let slope = (self.to_per_s - self.from_per_s) / self.duration_s;
        let root = (self.from_per_s * self.from_per_s + 2.0 * slope * count).max(0.0).sqrt();
        // The form with the root below the line keeps its precision when the slope is almost zero.
        let divisor = self.from_per_s + root;
        if divisor > 0.0 { (2.0 * count / divisor).min(self.duration_s) } else { 0.0 }
    }
}

/// How arrivals lie under the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// At equal shares of the area: a constant rate is a metronome.
    #[default]
    Even,
    /// At random, as independent people arrive: the counts of disjoint stretches are Poisson.
    Poisson,
}

/// A rate over time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    segments: Vec<Segment>,
}

impl Curve {
    /// One rate throughout.
    pub fn constant(rate_per_s: f64, duration_s: f64) -> Self {
        Self::ramp(rate_per_s, rate_per_s, duration_s)
    }

    /// A straight climb or fall.
    pub fn ramp(from_per_s: f64, to_per_s: f64, duration_s: f64) -> Self {
        let mut curve = Self::default();
        curve.push(duration_s, from_per_s, to_per_s);
        curve
    }

    /// A staircase: each rate for an equal share of the time.
    pub fn steps(rates_per_s: &[f64], duration_s: f64) -> Self {
        let mut curve = Self::default();
        for rate_per_s in rates_per_s {
            curve.push(duration_s / rates_per_s.len() as f64, *rate_per_s, *rate_per_s);
        }
        curve
    }

    /// A sale's opening: `base` until `at_s`, at once `peak` for `hold_s`, then back to `base` over `decay_s`.
    pub fn spike(spike: Spike, duration_s: f64) -> Self {
        let rest_s = duration_s - spike.at_s - spike.hold_s - spike.decay_s;
        let mut curve = Self::default();
        curve.push(spike.at_s, spike.base_per_s, spike.base_per_s);
        curve.push(spike.hold_s, spike.peak_per_s, spike.peak_per_s);
        curve.push(spike.decay_s, spike.peak_per_s, spike.base_per_s);
        curve.push(rest_s, spike.base_per_s, spike.base_per_s);
        curve
    }

    fn push(&mut self, duration_s: f64, from_per_s: f64, to_per_s: f64) {
        if duration_s > 0.0 {
            self.segments.push(Segment { duration_s, from_per_s, to_per_s });
        }
    }

    /// Length in seconds.
    pub fn duration_s(&self) -> f64 {
        self.segments.iter().map(|segment| segment.duration_s).sum()
    }

    /// Arrivals expected over the whole curve.
    pub fn arrivals(&self) -> f64 {
        self.segments.iter().map(Segment::arrivals).sum()
    }

    /// Arrivals a second at this time, in seconds from the start; 0 behind the end.
    pub fn rate_at(&self, at_s: f64) -> f64 {
        let mut into_s = at_s;
        for segment in &self.segments {
            if into_s < segment.duration_s {
                let share = (into_s / segment.duration_s).max(0.0);
                return segment.from_per_s + (segment.to_per_s - segment.from_per_s) * share;
            }
            into_s -= segment.duration_s;
        }
        0.0
    }

    /// The highest rate on the curve, per second.
    pub fn peak_per_s(&self) -> f64 {
        self.segments.iter().fold(0.0, |peak: f64, s| peak.max(s.from_per_s).max(s.to_per_s))
    }

    /// When `count` arrivals are expected to have come, in seconds; `None` past the end of the curve.
    pub fn time_of(&self, count: f64) -> Option<f64> {
        let mut left = count;
        let mut start_s = 0.0;
        for segment in &self.segments {
            let area = segment.arrivals();
            // An arrival on the border belongs to the next piece; rounding must not invent one.
            if left < area - 1e-6 {
                return Some(start_s + segment.time_of(left));
            }
            left = (left - area).max(0.0);
            start_s += segment.duration_s;
        }
        None
    }
}

/// The shape of [`Curve::spike`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spike {
    /// Arrivals per second before and after.
    pub base_per_s: f64,
    /// Arrivals per second at the top.
    pub peak_per_s: f64,
    /// Start of the top, seconds from the start of the curve.
    pub at_s: f64,
    /// Length of the top in seconds.
    pub hold_s: f64,
    /// Length of the way back down in seconds.
    pub decay_s: f64,
}

/// One worker's share of a curve's arrivals, in order of time.
///
/// Even arrivals are dealt round robin, so that the workers together are the metronome. Poisson arrivals
/// are one independent process a worker at its share of the rate: their union is the process wanted.
#[derive(Debug)]
pub struct Arrivals {
    curve: Curve,
    pacing: Pacing,
    worker: u64,
    workers: u64,
    dealt: u64,
    area: f64,
    dice: Dice,
}

impl Arrivals {
    /// The share of worker `worker` of `workers`; `seed` decides the random ones.
    pub fn new(curve: Curve, pacing: Pacing, worker: u64, workers: u64, seed: u64) -> Self {
        let dice = Dice::new(seed ^ worker.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { curve, pacing, worker, workers, dealt: 0, area: 0.0, dice }
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    /// The next due time, in nanoseconds from the start of the curve.
    fn next(&mut self) -> Option<u64> {
        let count = match self.pacing {
            Pacing::Even => (self.dealt * self.workers + self.worker) as f64,
            Pacing::Poisson => {
                self.area += self.dice.exponential() * self.workers as f64;
                self.area
            }
        };
        self.dealt += 1;
        self.curve.time_of(count).map(|due_s| (due_s * 1e9).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues_ms(curve: Curve) -> Vec<u64> {
        Arrivals::new(curve, Pacing::Even, 0, 1, 1).map(|ns| ns / 1_000_000).collect()
    }

    const SPIKE: Spike = Spike { base_per_s: 2.0, peak_per_s: 10.0, at_s: 1.0, hold_s: 0.5, decay_s: 0.0 };

    #[test]
    fn arrivals_are_due_where_the_area_says() {
        let table: [(&str, Curve, Vec<u64>); 6] = [
            ("constant", Curve::constant(4.0, 1.0), vec![0, 250, 500, 750]),
            // Area of a ramp from 0 to 8 in 1 s is 4 t²: arrival n at sqrt(n) / 2.
            ("ramp up", Curve::ramp(0.0, 8.0, 1.0), vec![0, 500, 707, 866]),
            // Area of a ramp from 8 to 0 is 8 t − 4 t²: arrival n at 1 − sqrt(1 − n / 4).
            ("ramp down", Curve::ramp(8.0, 0.0, 1.0), vec![0, 133, 292, 500]),
            ("steps", Curve::steps(&[2.0, 4.0], 2.0), vec![0, 500, 1000, 1250, 1500, 1750]),
            ("spike", Curve::spike(SPIKE, 2.5), vec![0, 500, 1000, 1100, 1200, 1300, 1400, 1500, 2000]),
            ("nobody", Curve::constant(0.0, 5.0), vec![]),
        ];
        for (name, curve, expected) in table {
            assert_eq!(dues_ms(curve), expected, "{name}");
        }
    }

    #[test]
    fn a_silent_stretch_is_skipped() {
        assert_eq!(dues_ms(Curve::steps(&[1.0, 0.0, 2.0], 3.0)), vec![0, 2000, 2500]);
    }

    #[test]
    fn a_long_constant_curve_neither_loses_nor_invents_arrivals() {
        for rate in [1.0, 3.0, 7.0, 999.0, 33_333.0] {
            assert_eq!(dues_ms(Curve::constant(rate, 30.0)).len() as f64, rate * 30.0, "{rate}/s");
        }
    }

    #[test]
    fn workers_together_are_one_metronome() {
        let curve = Curve::ramp(100.0, 900.0, 3.0);
        let alone: Vec<u64> = Arrivals::new(curve.clone(), Pacing::Even, 0, 1, 1).collect();
        let mut together: Vec<u64> =
            (0..3).flat_map(|w| Arrivals::new(curve.clone(), Pacing::Even, w, 3, 1)).collect();
        together.sort_unstable();
        assert_eq!(alone, together);
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_their_law() {
        // 4 workers, 200 s at 50/s: counts per second must have mean and variance 50.
        let curve = Curve::constant(50.0, 200.0);
        let mut per_second = vec![0f64; 200];
        for worker in 0..4 {
            let arrivals = Arrivals::new(curve.clone(), Pacing::Poisson, worker, 4, 7);
            let dues: Vec<u64> = arrivals.collect();
            assert!(dues.is_sorted());
            dues.iter().for_each(|due_ns| per_second[(due_ns / 1_000_000_000) as usize] += 1.0);
        }
        let mean = per_second.iter().sum::<f64>() / 200.0;
        let variance = per_second.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 199.0;
        // Both have a standard error (0.5 and 5) far inside these bounds; the seed is fixed.
        assert!((48.0..52.0).contains(&mean), "mean {mean}");
        assert!((35.0..65.0).contains(&variance), "variance {variance}");
    }

    #[test]
    fn poisson_arrivals_follow_the_curve() {
        let curve = Curve::ramp(0.0, 2000.0, 10.0);
        let dues: Vec<u64> = Arrivals::new(curve, Pacing::Poisson, 0, 1, 3).collect();
        let first_half = dues.iter().filter(|due_ns| **due_ns < 5_000_000_000).count() as f64;
        let share = first_half / dues.len() as f64;
        assert!((0.23..0.27).contains(&share), "a quarter of the area lies in the first half: {share}");
    }

    #[test]
    fn the_same_seed_gives_the_same_crowd() {
        let crowd = |seed| Arrivals::new(Curve::constant(100.0, 5.0), Pacing::Poisson, 1, 2, seed).collect();
        let (first, again, other): (Vec<u64>, Vec<u64>, Vec<u64>) = (crowd(5), crowd(5), crowd(6));
        assert_eq!(first, again);
        assert_ne!(first, other);
    }
}
