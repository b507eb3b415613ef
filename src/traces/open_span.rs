//! A span that is not over yet.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::queue::{Entrance, Told};
use super::span::{Begun, Span, SpanKind, Value};
use crate::domain::SpanContext;

/// A span that ends when it is dropped.
#[derive(Debug)]
pub struct OpenSpan {
    queue: Entrance,
    begun: Begun,
    name: &'static str,
    kind: SpanKind,
    since: Instant,
    /// What it took before `since`.
    before: Duration,
    more: Mutex<More>,
}

#[derive(Debug, Default)]
struct More {
    attributes: Vec<(&'static str, Value)>,
    error: Option<Cow<'static, str>>,
}

impl OpenSpan {
    /// One that has begun `before` now, and is put into this queue in the end.
    pub(super) fn new(
        queue: Entrance,
        begun: Begun,
        name: &'static str,
        kind: SpanKind,
        before: Duration,
    ) -> Arc<Self> {
        Arc::new(Self { queue, begun, name, kind, since: Instant::now(), before, more: Mutex::default() })
    }

    /// A part of it that begins now.
    pub fn child(&self, name: &'static str, kind: SpanKind) -> Arc<Self> {
        let begun = Begun::below(Some(self.context()));
        Self::new(self.queue.clone(), begun, name, kind, Duration::ZERO)
    }

    /// Its names.
    pub fn context(&self) -> SpanContext {
        self.begun.context
    }

    /// Tells more of it.
    pub fn note(&self, key: &'static str, value: impl Into<Value>) {
        self.more.lock().attributes.push((key, value.into()));
    }

    /// It has failed, as far as is known.
    pub fn fail(&self, why: impl Into<Cow<'static, str>>) {
        self.more.lock().error = Some(why.into());
    }

    /// It has not failed after all.
    pub fn succeed(&self) {
        self.more.lock().error = None;
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        let More { attributes, error } = std::mem::take(self.more.get_mut());
        self.queue.put(Told::Span(Box::new(Span {
            begun: self.begun,
            name: self.name,
            kind: self.kind,
            ended: SystemTime::now(),
            took: self.before + self.since.elapsed(),
            attributes,
            links: Vec::new(),
            error,
        })));
    }
}
