//! Where spans begin, and where those are put that are over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::exporter::Exporter;
use super::open_span::OpenSpan;
use super::queue::{CommitSpan, Entrance, Told, bounded};
use super::settings::TraceSettings;
use super::span::{Begun, Span, SpanKind};
use crate::domain::SpanContext;
use crate::telemetry::Telemetry;

/// Begins spans and takes those that are over. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct Tracer {
    queue: Entrance,
    flushes: mpsc::UnboundedSender<oneshot::Sender<()>>,
    refusals_one_in: u32,
    heeds_callers: bool,
}

impl Tracer {
    /// A tracer of checked settings, and what sends its spans; `None` where they name no collector. `node` is this engine's
    /// number.
    ///
    /// # Errors
    /// No HTTP client can be made of the settings.
    pub fn new(
        settings: &TraceSettings,
        node: u16,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Option<(Self, Exporter)>, String> {
        let (queue, exit) = bounded(settings.queue_spans_max, telemetry);
        let (flushes, asked) = mpsc::unbounded_channel();
        let exporter = Exporter::new(settings, node, exit, asked, Arc::clone(telemetry))?;
        let &TraceSettings { refusals_one_in, heeds_callers, .. } = settings;
        Ok(exporter.map(|exporter| (Self { queue, flushes, refusals_one_in, heeds_callers }, exporter)))
    }

    /// Begins the span of a request with this `traceparent`, as it was sent. `None` when its caller does not want it
    /// recorded.
    pub fn begin(&self, traceparent: Option<&[u8]>) -> Option<Begun> {
        let parent = traceparent.and_then(SpanContext::parse);
        let is_wanted = parent.is_none_or(|parent| parent.is_sampled || !self.heeds_callers);
        let parent = parent.map(|parent| SpanContext { is_sampled: true, ..parent });
        is_wanted.then(|| Begun::below(parent))
    }

    /// One refusal of so many is recorded; 0: none.
    pub fn refusals_one_in(&self) -> u32 {
        self.refusals_one_in
    }

    /// A span that goes on until it is dropped and has begun `before` now.
    pub fn open(&self, begun: Begun, name: &'static str, kind: SpanKind, before: Duration) -> Arc<OpenSpan> {
        OpenSpan::new(self.queue.clone(), begun, name, kind, before)
    }

    /// Takes a span that is over, or drops it when too many wait.
    pub fn end(&self, span: Span) {
        self.queue.put(Told::Span(Box::new(span)));
    }

    /// Takes a transaction for which some spans have waited.
    pub fn committed(&self, commit: CommitSpan) {
        self.queue.put(Told::Commit(commit));
    }

    /// Waits until what was told so far is sent or given up.
    pub async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.flushes.send(done).is_ok() {
            // It is gone when the exporter is.
            let _ = is_done.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(heeds_callers: bool) -> Tracer {
        let endpoint = "http://127.0.0.1:9".into();
        let settings = TraceSettings { endpoint, heeds_callers, ..TraceSettings::default() };
        Tracer::new(&settings, 0, &Arc::new(Telemetry::new(1))).unwrap().unwrap().0
    }

    #[test]
    fn a_span_goes_on_in_its_callers_trace_unless_the_caller_does_not_want_it() {
        let sent = |flags: &str| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let begun = tracer(true).begin(Some(sent("01").as_bytes())).unwrap();
        assert_eq!(begun.context.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(begun.parent, Some(0xb7ad_6b71_6920_3331));
        assert_ne!(begun.context.span_id, 0xb7ad_6b71_6920_3331);
        assert_eq!(tracer(true).begin(Some(sent("00").as_bytes())), None);
        let begun = tracer(false).begin(Some(sent("00").as_bytes())).unwrap();
        assert!(begun.context.is_sampled && begun.parent.is_some());
        for unusable in [None, Some(&b"nonsense"[..])] {
            let begun = tracer(true).begin(unusable).unwrap();
            assert!(begun.context.is_sampled && begun.parent.is_none());
        }
    }
}
