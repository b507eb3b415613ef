//! The memory of a process over time, and whether it grows.

use std::fmt::Write;
use std::time::Duration;

use testbed::memory::Memory;

use crate::Failure;

const BYTES_PER_MIB: f64 = 1_048_576.0;
/// A rise that nobody could tell from noise.
const NOISE_MIB: f64 = 4.0;
/// The same, as a share of the memory that there is.
const NOISE_SHARE: f64 = 0.02;

/// The memory of a process at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Since the beginning.
    pub at: Duration,
    /// What is its own: heap, stacks.
    pub anonymous_mib: f64,
    /// Everything, files that are mapped among it.
    pub resident_mib: f64,
}

/// Reads it.
pub fn sample(pid: u32, at: Duration) -> Result<Sample, Failure> {
    let Memory { anonymous_bytes, resident_bytes } = Memory::of(pid)?;
    let mib = |bytes: u64| bytes as f64 / BYTES_PER_MIB;
    Ok(Sample { at, anonymous_mib: mib(anonymous_bytes), resident_mib: mib(resident_bytes) })
}

/// All of them, as a table for other programs.
pub fn csv(samples: &[Sample]) -> String {
    let mut csv = "seconds,anonymous_mib,resident_mib\n".to_owned();
    for Sample { at, anonymous_mib, resident_mib } in samples {
        // Writing to a string cannot fail.
        let _ = writeln!(csv, "{:.1},{anonymous_mib:.2},{resident_mib:.2}", at.as_secs_f64());
    }
    csv
}

/// What the line does once the engine has warmed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The line at the beginning of what is judged.
    pub first_mib: f64,
    /// And at its end.
    pub last_mib: f64,
    /// How much it rises in between.
    pub rise_mib: f64,
    /// How much it may.
    pub allowed_mib: f64,
    /// When what is judged begins and ends.
    pub judged: [Duration; 2],
}

impl Verdict {
    /// Judges what comes after the first fifth. `None` where that is nothing.
    pub fn on(samples: &[Sample]) -> Option<Self> {
        let judged = &samples[samples.len() / 5..];
        let (first, last) = (judged.first()?, judged.last().filter(|_| judged.len() > 1)?);
        let slope = slope(judged)?;
        let middle = |sample: &Sample| sample.anonymous_mib - slope * sample.at.as_secs_f64();
        let base = median(judged.iter().map(middle).collect())?;
        let line = |at: Duration| base + slope * at.as_secs_f64();
        let (first_mib, last_mib) = (line(first.at), line(last.at));
        let allowed_mib = (first_mib * NOISE_SHARE).max(NOISE_MIB);
        let (rise_mib, judged) = (last_mib - first_mib, [first.at, last.at]);
        Some(Self { first_mib, last_mib, rise_mib, allowed_mib, judged })
    }

    /// Whether it does not rise.
    pub fn is_flat(&self) -> bool {
        self.rise_mib <= self.allowed_mib
    }
}

/// MiB a second: the middle of the slopes between any two samples (Theil-Sen), which a few outliers do not move.
fn slope(samples: &[Sample]) -> Option<f64> {
    let pairs = samples.iter().enumerate().flat_map(|(place, first)| {
        let later = samples[place + 1..].iter();
        later.map(move |last| (last.anonymous_mib - first.anonymous_mib) / (last.at - first.at).as_secs_f64())
    });
    median(pairs.filter(|slope| slope.is_finite()).collect())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(mib: impl Fn(f64) -> f64) -> Vec<Sample> {
        let sample = |n: u64| {
            let mib = mib(n as f64);
            Sample { at: Duration::from_secs(n * 10), anonymous_mib: mib, resident_mib: mib + 9.0 }
        };
        (0..360).map(sample).collect()
    }

    #[test]
    fn a_line_that_rises_is_told_from_noise_and_from_a_warm_start() {
        let is_flat = |mib: &dyn Fn(f64) -> f64| Verdict::on(&samples(mib)).unwrap().is_flat();
        assert!(is_flat(&|_| 80.0));
        assert!(is_flat(&|n| 80.0 + (n % 7.0)), "noise");
        assert!(is_flat(&|n| if n < 60.0 { n } else { 60.0 }), "a warm start");
        assert!(is_flat(&|n| if (n as u64).is_multiple_of(50) { 300.0 } else { 80.0 }), "outliers");
        assert!(is_flat(&|n| 90.0 - n / 10.0));
        assert!(!is_flat(&|n| 80.0 + n / 40.0 + (n % 7.0)), "9 MiB an hour");
        let verdict = Verdict::on(&samples(|n| 80.0 + n / 10.0)).unwrap();
        assert!((verdict.rise_mib - 28.7).abs() < 0.01, "{verdict:?}");
        assert_eq!(Verdict::on(&samples(|_| 1.0)[..1]), None);
    }
}
