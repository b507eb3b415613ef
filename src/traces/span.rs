//! A span: something that took its time, and what there is to tell of it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::domain::{OrderId, SpanContext};

/// A span that has begun: its own names, and the span that it is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its names.
    pub context: SpanContext,
    /// The span around it, in the same trace.
    pub parent: Option<u64>,
}

impl Begun {
    /// A part of `parent`; without one the first span of a new trace.
    pub(super) fn below(parent: Option<SpanContext>) -> Self {
        let span_id = rand::random::<u64>().max(1);
        match parent {
            Some(parent) => Self { context: SpanContext { span_id, ..parent }, parent: Some(parent.span_id) },
            None => {
                let trace_id = rand::random::<u128>().max(1);
                Self { context: SpanContext { trace_id, span_id, is_sampled: true }, parent: None }
            }
        }
    }
}

/// What a span is to the other side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Nobody is called.
    Internal,
    /// Somebody called.
    Server,
    /// Somebody is called.
    Client,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Text(Cow::Borrowed(word))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<OrderId> for Value {
    fn from(order: OrderId) -> Self {
        order.to_string().into()
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// A span that is over.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its names, and what it is a part of.
    pub begun: Begun,
    /// What it was: a name that many spans have.
    pub name: &'static str,
    /// What it was to others.
    pub kind: SpanKind,
    /// When it ended.
    pub ended: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What there is to tell.
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans that it has to do with and is no part of.
    pub links: Vec<SpanContext>,
    /// Why it failed, if it did.
    pub error: Option<Cow<'static, str>>,
}
