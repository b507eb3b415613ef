//! The page of figures in the protocol buffers that Prometheus asks for where it is to keep native histograms
//! (`io.prometheus.client.MetricFamily`, each behind its length). Fields have the numbers of that definition; those that
//! the engine does not tell are left out.

use prost::Message;

use super::exposition::{Distribution, Exposition, Family, Kind, Sample, SampleValue};
use super::native_histogram::SCHEMA;

/// The `Content-Type` of the format.
pub const PROTOBUF_CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Values up to this count as zero in a native histogram; that it is there tells that the histogram is one.
const ZERO_THRESHOLD: f64 = 1e-12;

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

/// A gauge and a counter look the same.
#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

impl Exposition {
    /// The page in protocol buffers. Families without a sample are left out.
    pub fn into_protobuf(self) -> Vec<u8> {
        let told = self.families.into_iter().filter(|family| !family.samples.is_empty());
        told.flat_map(|family| MetricFamily::from(family).encode_length_delimited_to_vec()).collect()
    }
}

impl From<Family> for MetricFamily {
    fn from(Family { name, kind, help, samples }: Family) -> Self {
        let metric = samples.into_iter().map(|sample| Metric::of(kind, sample)).collect();
        let kind = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        Self { name: Some(name), help: Some(help), kind: Some(kind.into()), metric }
    }
}

impl Metric {
    fn of(kind: Kind, Sample { labels, value }: Sample) -> Self {
        let label = labels
            .into_iter()
            .map(|(name, value)| LabelPair { name: Some(name), value: Some(value) })
            .collect();
        let mut metric = Self { label, ..Self::default() };
        match value {
            SampleValue::Histogram(distribution) => metric.histogram = Some((*distribution).into()),
            SampleValue::Number(value) if kind == Kind::Counter => {
                metric.counter = Some(Number { value: Some(value) });
            }
            SampleValue::Number(value) => metric.gauge = Some(Number { value: Some(value) }),
        }
        metric
    }
}

impl From<Distribution> for Histogram {
    fn from(Distribution { count, sum, buckets, native }: Distribution) -> Self {
        let bucket = buckets
            .into_iter()
            .map(|(bound, below)| Bucket { cumulative_count: Some(below), upper_bound: Some(bound) });
        let span = |(offset, length)| BucketSpan { offset: Some(offset), length: Some(length) };
        Self {
            sample_count: Some(count),
            sample_sum: Some(sum),
            bucket: bucket.collect(),
            schema: Some(SCHEMA),
            zero_threshold: Some(ZERO_THRESHOLD),
            zero_count: Some(native.zeros),
            positive_span: native.spans().into_iter().map(span).collect(),
            positive_delta: native.deltas(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::{AtomicHistogram, HistogramSnapshot, Layout};
    use super::*;

    #[test]
    fn families_are_read_back_as_they_were_told() {
        let histogram = AtomicHistogram::new(Layout::LATENCY);
        [1_000_000, 1_000_000, 80_000_000].into_iter().for_each(|nanos| histogram.record(nanos));
        let mut snapshot = HistogramSnapshot::empty(Layout::LATENCY);
        histogram.add_to(&mut snapshot);
        let mut page = Exposition::default();
        page.family("a_total", Kind::Counter, "A.");
        page.sample("a_total", &[("x", "y")], 3.0);
        page.family("empty", Kind::Gauge, "Nothing.");
        page.family("took_seconds", Kind::Histogram, "How long.");
        page.latencies("took_seconds", &[], &snapshot);

        let bytes = page.into_protobuf();
        let mut left = bytes.as_slice();
        let mut families = Vec::new();
        while !left.is_empty() {
            families.push(MetricFamily::decode_length_delimited(&mut left).unwrap());
        }
        let names: Vec<_> = families.iter().map(|family| family.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["a_total", "took_seconds"]);
        assert_eq!(families[0].metric[0].counter, Some(Number { value: Some(3.0) }));
        let told = families[1].metric[0].histogram.as_ref().unwrap();
        assert_eq!(
            (told.sample_count, told.schema, told.positive_delta.as_slice()),
            (Some(3), Some(5), &[2, -1][..])
        );
        let below = |ms: f64| {
            told.bucket.iter().find(|bucket| bucket.upper_bound == Some(ms / 1e3)).unwrap().cumulative_count
        };
        assert_eq!((below(0.75), below(1.5), below(100.0)), (Some(0), Some(2), Some(3)));
    }
}
