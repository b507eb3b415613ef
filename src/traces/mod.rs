//! Spans of what buyers win and pay, handed to a collector over OTLP. Off unless the settings name one.
//!
//! Whoever serves a buyer never waits for any of it: a span that is over is put into a bounded queue, or dropped and
//! counted ([`Tracer`]), and one task sends what is in there ([`Exporter`]). A refusal that is not sampled is asked for
//! nothing but a random number. The caller's span is continued from `traceparent`, and what is called on the way gets
//! one of its own ([`current`]). TRACES.md beside this file tells which spans there are.

mod current;
mod exporter;
mod open_span;
mod otlp;
mod queue;
mod settings;
mod span;
mod tracer;

pub use current::{current, current_context, within};
pub use exporter::Exporter;
pub use open_span::OpenSpan;
pub use queue::CommitSpan;
pub use settings::TraceSettings;
pub use span::{Begun, Span, SpanKind, Value};
pub use tracer::Tracer;
