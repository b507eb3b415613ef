//! The payments and refunds without an outcome, by when their gateway is asked next. A refund stands here as the payment that
//! it gives back.
//!
//! The units of such an order stay with it. An entry of the queue is a hint, like a deadline: the store says what the
//! order is when its turn comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::gateway::AttemptId;
use super::payment_outcome::Doubt;
use super::remote_call::backoff;
use super::service_settings::ProcessingSettings;
use super::settings::RecoverySettings;

/// The payments to ask about, soonest first: 40 bytes each.
#[derive(Debug)]
pub(super) struct RecoveryQueue {
    due: Mutex<BinaryHeap<Reverse<(Instant, AttemptId, u32)>>>,
    added: Notify,
    settings: RecoverySettings,
    processing: ProcessingSettings,
}

impl RecoveryQueue {
    pub(super) fn new(settings: RecoverySettings, processing: ProcessingSettings) -> Arc<Self> {
        Arc::new(Self { due: Mutex::default(), added: Notify::new(), settings, processing })
    }

    /// Enters payments that an earlier life of the engine, or another node, left unfinished, to be asked about at once.
    pub(super) fn adopt(&self, payments: impl IntoIterator<Item = AttemptId>) {
        let now = Instant::now();
        self.due.lock().extend(payments.into_iter().map(|payment| Reverse((now, payment, 0))));
        self.added.notify_one();
    }

    /// Stands by while an order is being paid: the payment is entered unless it is said to be resolved.
    pub(super) fn watch(self: &Arc<Self>, payment: AttemptId) -> Unresolved {
        self.unresolved(payment, 0)
    }

    fn unresolved(self: &Arc<Self>, payment: AttemptId, failures: u32) -> Unresolved {
        Unresolved { payment, failures, is_resolved: false, is_processing: false, queue: Arc::clone(self) }
    }

    /// Whether more outcomes are unknown than the settings allow.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.settings.queue_max
    }

    pub(super) fn len(&self) -> usize {
        self.due.lock().len()
    }

    /// How many may be asked about at the same time.
    pub(super) fn concurrency_max(&self) -> usize {
        self.settings.concurrency_max
    }

    /// The next payment whose turn has come.
    pub(super) async fn next(self: &Arc<Self>) -> Unresolved {
        loop {
            let added = self.added.notified();
            let soonest = {
                let mut due = self.due.lock();
                let soonest = due.peek().map(|Reverse((at, ..))| *at);
                if soonest.is_some_and(|at| at <= Instant::now())
                    && let Some(Reverse((_, payment, failures))) = due.pop()
                {
                    return self.unresolved(payment, failures);
                }
                soonest
            };
            match soonest {
                Some(at) => tokio::select! { () = sleep_until(at) => {}, () = added => {} },
                None => added.await,
            }
        }
    }
}

/// A payment that may end without an outcome: back in the queue when dropped, unless it was resolved.
#[derive(Debug)]
pub(super) struct Unresolved {
    pub(super) payment: AttemptId,
    failures: u32,
    is_resolved: bool,
    is_processing: bool,
    queue: Arc<RecoveryQueue>,
}

impl Unresolved {
    /// Nothing is left to ask.
    pub(super) fn resolved(mut self) {
        self.is_resolved = true;
    }

    /// Takes note of what is still in doubt now, if anything is.
    pub(super) fn conclude(mut self, doubt: Option<Doubt>) {
        self.is_resolved = doubt.is_none();
        self.is_processing = doubt == Some(Doubt::Processing);
    }
}

impl Drop for Unresolved {
    fn drop(&mut self) {
        if self.is_resolved {
            return;
        }
        let failures = self.failures.saturating_add(1);
        let (first_ms, ms_max) = if self.is_processing {
            (self.queue.processing.poll_ms, self.queue.processing.poll_ms_max)
        } else {
            (self.queue.settings.backoff_ms, self.queue.settings.backoff_ms_max)
        };
        let at = Instant::now() + backoff(first_ms, ms_max, failures);
        self.queue.due.lock().push(Reverse((at, self.payment, failures)));
        self.queue.added.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NodeId, OrderId};
    use std::time::Duration;
    use tokio::time::timeout;

    fn payment(serial: u64) -> AttemptId {
        AttemptId { order: OrderId::from_tick(serial, NodeId::new(0).unwrap()), attempt: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_comes_back_later_and_later_until_it_is_resolved() {
        let settings =
            RecoverySettings { backoff_ms: 100, backoff_ms_max: 400, ..RecoverySettings::default() };
        let queue = RecoveryQueue::new(settings, ProcessingSettings::default());
        queue.adopt([payment(1)]);
        let mut unresolved = queue.next().await;
        for ms_max in [100, 200, 400, 400] {
            drop(unresolved);
            assert_eq!(queue.len(), 1);
            let dropped_at = Instant::now();
            unresolved = queue.next().await;
            // The clock is paused: virtual time is exact, to the timer's millisecond.
            let waited = dropped_at.elapsed().as_millis();
            assert!((ms_max / 2..=ms_max + 1).contains(&waited), "{waited} ms of {ms_max}");
        }
        unresolved.resolved();
        assert_eq!(queue.len(), 0);
        assert!(timeout(Duration::from_secs(3600), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_an_order_that_comes_sooner() {
        let queue = RecoveryQueue::new(RecoverySettings::default(), ProcessingSettings::default());
        drop(queue.watch(payment(1)));
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.next().await.payment }
        });
        tokio::task::yield_now().await;
        queue.adopt([payment(2)]);
        assert_eq!(waiting.await.unwrap(), payment(2));
    }
}
