//! The span that the running future is a part of, for whatever it calls.

use std::future::Future;
use std::sync::Arc;

use super::open_span::OpenSpan;
use crate::domain::SpanContext;

tokio::task_local! {
    static CURRENT: Option<Arc<OpenSpan>>;
}

/// Runs `work` as a part of the span, which stays open until then. What it spawns is no part of it. Any runtime can drive
/// it.
pub async fn within<F: Future>(span: Option<Arc<OpenSpan>>, work: F) -> F::Output {
    CURRENT.scope(span, work).await
}

/// The span that this is a part of, if any.
pub fn current() -> Option<Arc<OpenSpan>> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// Its names.
pub fn current_context() -> Option<SpanContext> {
    CURRENT.try_with(|span| span.as_ref().map(|span| span.context())).ok().flatten()
}
