//! A page of figures for Prometheus, under construction, and its text format, version 0.0.4.

use std::fmt::Write;

use super::histogram::HistogramSnapshot;
use super::native_histogram::NativeBuckets;

/// The `Content-Type` of the text format.
pub const TEXT_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const NANOS_PER_SECOND: f64 = 1e9;

/// Upper bounds of the latency buckets in nanoseconds, from 10 µs to 10 s: six to a power of ten. The usual objectives of a
/// P99 (1, 5, 10, 50, 100 and 300 ms) are among them, so that "how many requests kept it" is read and not interpolated.
const LATENCY_BOUNDS: [u64; 37] = latency_bounds();

/// Upper bounds of the batch size buckets.
const SIZE_BOUNDS: [u64; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];

const fn latency_bounds() -> [u64; 37] {
    const STEPS: [u64; 6] = [10, 15, 20, 30, 50, 75];
    let mut bounds = [0; 37];
    let (mut place, mut scale) = (0, 1_000);
    while place < bounds.len() {
        bounds[place] = STEPS[place % STEPS.len()] * scale;
        place += 1;
        if place % STEPS.len() == 0 {
            scale *= 10;
        }
    }
    bounds
}

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

/// A page under construction: families of samples. Each family is written as a whole, heading first.
#[derive(Debug, Default)]
pub struct Exposition {
    pub(super) families: Vec<Family>,
}

/// Samples of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub name: String,
    pub kind: Kind,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// One value with its labels.
#[derive(Debug)]
pub(super) struct Sample {
    pub labels: Vec<(String, String)>,
    pub value: SampleValue,
}

#[derive(Debug)]
pub(super) enum SampleValue {
    Number(f64),
    Histogram(Box<Distribution>),
}

/// A histogram, by fixed bounds and by the buckets of native histograms.
#[derive(Debug)]
pub(super) struct Distribution {
    pub count: u64,
    pub sum: f64,
    /// Upper bounds, growing, each with the number of values that are not above it.
    pub buckets: Vec<(f64, u64)>,
    pub native: NativeBuckets,
}

impl Exposition {
    /// Starts the family `name`.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (name, help) = (name.to_owned(), help.to_owned());
        self.families.push(Family { name, kind, help, samples: Vec::new() });
    }

    /// One sample of the family that was started last, whose name is `name`.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, labels, SampleValue::Number(value));
    }

    /// A histogram of nanoseconds in the family that was started last, told in seconds.
    pub fn latencies(&mut self, name: &str, labels: &[(&str, &str)], snapshot: &HistogramSnapshot) {
        let distribution = Distribution::of(snapshot, &LATENCY_BOUNDS, NANOS_PER_SECOND);
        self.add(name, labels, SampleValue::Histogram(Box::new(distribution)));
    }

    /// A histogram of numbers of things in the family that was started last.
    pub fn sizes(&mut self, name: &str, labels: &[(&str, &str)], snapshot: &HistogramSnapshot) {
        let distribution = Distribution::of(snapshot, &SIZE_BOUNDS, 1.0);
        self.add(name, labels, SampleValue::Histogram(Box::new(distribution)));
    }

    fn add(&mut self, name: &str, labels: &[(&str, &str)], value: SampleValue) {
        let labels = labels.iter().map(|&(label, text)| (label.to_owned(), text.to_owned())).collect();
        if let Some(family) = self.families.last_mut() {
            debug_assert_eq!(family.name, name, "a sample belongs to the family that was started last");
            family.samples.push(Sample { labels, value });
        }
    }

    /// The page in the text format.
    pub fn into_text(self) -> String {
        let mut text = String::new();
        for family in &self.families {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let (name, help) = (&family.name, family.help.replace('\\', "\\\\").replace('\n', "\\n"));
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for Sample { labels, value } in &family.samples {
                match value {
                    SampleValue::Number(value) => line(&mut text, name, "", labels, None, *value),
                    SampleValue::Histogram(distribution) => distribution.write(&mut text, name, labels),
                }
            }
        }
        text
    }
}

impl Distribution {
    /// A snapshot whose values are divided by `unit`, with these upper bounds (undivided, growing).
    ///
    /// A value is counted under a bound when all values that the histogram cannot tell from it are: near a bound the
    /// count may be low by the histogram's resolution of one in a thousand, never high.
    fn of(snapshot: &HistogramSnapshot, bounds: &[u64], unit: f64) -> Self {
        let mut recorded = snapshot.histogram.iter_recorded().peekable();
        let mut below = 0;
        let buckets = bounds.iter().map(|&bound| {
            while let Some(step) = recorded.next_if(|step| step.value_iterated_to() <= bound) {
                below += step.count_since_last_iteration();
            }
            (bound as f64 / unit, below)
        });
        Self {
            buckets: buckets.collect(),
            count: snapshot.count(),
            sum: snapshot.sum as f64 / unit,
            native: NativeBuckets::of(snapshot, unit),
        }
    }

    fn write(&self, text: &mut String, name: &str, labels: &[(String, String)]) {
        for (bound, below) in &self.buckets {
            line(text, name, "_bucket", labels, Some(&bound.to_string()), *below as f64);
        }
        line(text, name, "_bucket", labels, Some("+Inf"), self.count as f64);
        line(text, name, "_sum", labels, None, self.sum);
        line(text, name, "_count", labels, None, self.count as f64);
    }
}

/// One line of the text format; `bound` is the label `le` behind the others.
fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(String, String)],
    bound: Option<&str>,
    value: f64,
) {
    let _ = write!(text, "{name}{suffix}");
    let labels = labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
    let mut sign = '{';
    for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{sign}{label}=\"{value}\"");
        sign = ',';
    }
    if sign == ',' {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_and_help_are_escaped() {
        let mut page = Exposition::default();
        page.family("x", Kind::Gauge, "one\ntwo \\ three");
        page.sample("x", &[("a", "quote \" slash \\ line\n")], 1.5);
        assert_eq!(
            page.into_text(),
            "# HELP x one\\ntwo \\\\ three\n# TYPE x gauge\nx{a=\"quote \\\" slash \\\\ line\\n\"} 1.5\n"
        );
    }

    #[test]
    fn the_objectives_are_bucket_bounds() {
        for objective_ms in [1, 5, 10, 50, 100, 300] {
            assert!(LATENCY_BOUNDS.contains(&(objective_ms * 1_000_000)));
        }
        assert!(LATENCY_BOUNDS.is_sorted() && LATENCY_BOUNDS[36] == 10_000_000_000);
    }
}
