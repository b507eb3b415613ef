//! Where spans that are over wait to be sent.
//!
//! # Protocol of the atomics
//!
//! `waiting` counts the spans in the queue; it is raised by compare-and-swap below the limit only, before a span is put in,
//! so the limit holds at every moment. It publishes nothing (the channel does): relaxed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::span::Span;
use crate::domain::SpanContext;
use crate::telemetry::Telemetry;

/// A transaction of the order store, with what it wrote.
#[derive(Clone, Debug)]
pub struct CommitSpan {
    /// Orders that were placed.
    pub orders: usize,
    /// Steps of orders.
    pub steps: usize,
    /// When it ended.
    pub ended: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The spans that waited for it.
    pub members: Vec<SpanContext>,
}

/// What waits to be sent.
#[derive(Debug)]
pub(super) enum Told {
    /// A span.
    Span(Box<Span>),
    /// Made into spans by whoever sends them: a writer has more to do.
    Commit(CommitSpan),
}

impl Told {
    /// The spans that it comes to.
    fn spans(&self) -> usize {
        match self {
            Self::Span(_) => 1,
            Self::Commit(commit) => commit.members.len() + 1,
        }
    }
}

/// The entrance, cheap to clone. Never blocks.
#[derive(Clone)]
pub(super) struct Entrance {
    told: flume::Sender<Told>,
    level: Arc<Level>,
    telemetry: Arc<Telemetry>,
    spans_max: usize,
}

/// The exit.
#[derive(Debug)]
pub(super) struct Exit {
    told: flume::Receiver<Told>,
    level: Arc<Level>,
}

#[derive(Debug, Default)]
struct Level {
    waiting: AtomicUsize,
    /// Told when half of the queue is taken.
    is_half_full: Notify,
}

/// A queue of at most so many spans; what finds no room is counted there.
pub(super) fn bounded(spans_max: usize, telemetry: &Arc<Telemetry>) -> (Entrance, Exit) {
    // The channel itself is unbounded: what is put in comes to more than one span now and then.
    let (entrance, exit) = flume::unbounded();
    let level = Arc::new(Level::default());
    let telemetry = Arc::clone(telemetry);
    let entrance = Entrance { told: entrance, level: Arc::clone(&level), telemetry, spans_max };
    (entrance, Exit { told: exit, level })
}

impl Entrance {
    /// Puts it in, or drops it when there is no room.
    pub fn put(&self, told: Told) {
        let (spans, max) = (told.spans(), self.spans_max);
        let room = |waiting: usize| Some(waiting + spans).filter(|waiting| *waiting <= max);
        match self.level.waiting.fetch_update(Relaxed, Relaxed, room) {
            Err(_full) => self.telemetry.traces.dropped.add(spans as u64),
            Ok(before) => {
                // Without an exit the engine stops: what is told now is lost, as it would be a moment later.
                let _ = self.told.send(told);
                // Once, and not for each: whoever ends spans is not to wake others all the time.
                if before < max / 2 && before + spans >= max / 2 {
                    self.level.is_half_full.notify_one();
                }
            }
        }
    }
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrance").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Exit {
    /// The next, if any waits.
    pub fn take(&self) -> Option<Told> {
        let told = self.told.try_recv().ok()?;
        self.level.waiting.fetch_sub(told.spans(), Relaxed);
        Some(told)
    }

    /// Waits until half of the queue is taken.
    pub async fn is_half_full(&self) {
        self.level.is_half_full.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_as_a_whole_and_counted() {
        let telemetry = Arc::new(Telemetry::new(1));
        let (entrance, exit) = bounded(4, &telemetry);
        let put = |members: usize| {
            let member = SpanContext { trace_id: 1, span_id: 1, is_sampled: true };
            let (ended, took) = (SystemTime::UNIX_EPOCH, Duration::ZERO);
            let members = vec![member; members];
            entrance.put(Told::Commit(CommitSpan { orders: 0, steps: 0, ended, took, members }));
        };
        put(1);
        exit.is_half_full().await;
        put(2);
        assert_eq!(telemetry.traces.dropped.value(), 3);
        put(1);
        put(0);
        assert_eq!(telemetry.traces.dropped.value(), 4);
        assert_eq!([exit.take(), exit.take()].map(|told| told.map(|told| told.spans())), [Some(2); 2]);
        assert!(exit.take().is_none());
        put(3);
        assert_eq!(telemetry.traces.dropped.value(), 4);
    }
}
