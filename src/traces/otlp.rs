//! Spans as OTLP has them.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind as OtlpKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, SpanFlags, Status};
use prost::Message;

use super::queue::CommitSpan;
use super::span::{Begun, Span, SpanKind, Value};
use crate::domain::SpanContext;

/// Links of one span; those that a larger batch has beyond them are counted only.
const LINKS_MAX: usize = 128;
/// The flag of a span that is recorded.
const SAMPLED: u32 = 1;

/// Who tells the spans.
#[derive(Clone, Debug)]
pub(super) struct Teller(Resource);

impl Teller {
    /// The engine number `node`.
    pub fn new(service_name: &str, node: u16) -> Self {
        let attributes = vec![
            attribute("service.name", service_name.to_owned().into()),
            attribute("service.version", env!("CARGO_PKG_VERSION").into()),
            attribute("service.instance.id", node.to_string().into()),
        ];
        Self(Resource { attributes, ..Resource::default() })
    }

    /// A request to a collector.
    pub fn request(&self, spans: Vec<OtlpSpan>) -> Vec<u8> {
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource = Some(self.0.clone());
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }
}

/// How many spans of a request the collector did not take, and why, as its answer says.
pub(super) fn refused(answer: &[u8]) -> Option<(u64, String)> {
    let told = ExportTraceServiceResponse::decode(answer).ok()?.partial_success?;
    let spans = u64::try_from(told.rejected_spans).unwrap_or(0);
    (spans > 0).then_some((spans, told.error_message))
}

/// A span.
pub(super) fn span(span: Span) -> OtlpSpan {
    let Span { begun: Begun { context, parent }, name, kind, ended, took, attributes, links, error } = span;
    let dropped_links_count = links.len().saturating_sub(LINKS_MAX) as u32;
    let is_remote = parent.is_some() && kind == SpanKind::Server;
    let remote = if is_remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    let links = links.into_iter().take(LINKS_MAX).map(|to| Link {
        trace_id: trace_id(to),
        span_id: span_id(to.span_id),
        flags: SAMPLED,
        ..Link::default()
    });
    OtlpSpan {
        trace_id: trace_id(context),
        span_id: span_id(context.span_id),
        parent_span_id: parent.map(span_id).unwrap_or_default(),
        flags: SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32 | remote,
        name: name.into(),
        kind: match kind {
            SpanKind::Internal => OtlpKind::Internal,
            SpanKind::Server => OtlpKind::Server,
            SpanKind::Client => OtlpKind::Client,
        } as i32,
        start_time_unix_nano: unix_nanos(ended.checked_sub(took).unwrap_or(UNIX_EPOCH)),
        end_time_unix_nano: unix_nanos(ended),
        attributes: attributes.into_iter().map(|(key, value)| attribute(key, value)).collect(),
        links: links.collect(),
        dropped_links_count,
        status: error.map(|error| Status { message: error.into_owned(), code: StatusCode::Error as i32 }),
        ..OtlpSpan::default()
    }
}

/// A transaction: a span of its own, linked to all that waited for it, and in the trace of each of those a part that leads
/// there.
pub(super) fn commit(commit: CommitSpan) -> impl Iterator<Item = OtlpSpan> {
    let CommitSpan { orders, steps, ended, took, members } = commit;
    let of = move |begun, name, attributes, links| {
        let kind = SpanKind::Internal;
        span(Span { begun, name, kind, ended, took, attributes, links, error: None })
    };
    let size: [(&str, Value); 2] =
        [("seckill.batch.orders", orders.into()), ("seckill.batch.steps", steps.into())];
    let batch = Begun::below(None);
    let whole = of(batch, "commit batch", size.to_vec(), members.clone());
    let parts = members
        .into_iter()
        .map(move |member| of(Begun::below(Some(member)), "commit", size.to_vec(), vec![batch.context]));
    std::iter::once(whole).chain(parts)
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => OtlpValue::StringValue(text.into_owned()),
        Value::Number(number) => OtlpValue::IntValue(number),
    };
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn trace_id(context: SpanContext) -> Vec<u8> {
    context.trace_id.to_be_bytes().to_vec()
}

fn span_id(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_batch_is_linked_with_whatever_waited_for_it_both_ways() {
        let members: Vec<_> = (0..LINKS_MAX as u64 + 2).map(|_| Begun::below(None).context).collect();
        let (ended, took) = (UNIX_EPOCH + Duration::from_secs(9), Duration::from_secs(2));
        let spans: Vec<_> =
            commit(CommitSpan { orders: 7, steps: 1, ended, took, members: members.clone() }).collect();
        let (batch, parts) = spans.split_first().unwrap();
        assert_eq!((batch.links.len(), batch.dropped_links_count), (LINKS_MAX, 2));
        assert_eq!((batch.start_time_unix_nano, batch.end_time_unix_nano), (7_000_000_000, 9_000_000_000));
        assert!(batch.parent_span_id.is_empty());
        assert_eq!(parts.len(), members.len());
        for (part, member) in parts.iter().zip(members) {
            assert_eq!(part.trace_id, trace_id(member));
            assert_eq!(part.parent_span_id, span_id(member.span_id));
            assert_eq!(part.links[0].span_id, batch.span_id);
        }
    }
}
