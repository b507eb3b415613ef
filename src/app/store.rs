//! Which order store there is, and the threads that write to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{ServeError, start_error};
use crate::checkout::{Checkout, PaymentKey};
use crate::config::Settings;
use crate::domain::NodeId;
use crate::orders::postgres::{self, Follower, PgNews};
use crate::orders::{Fault, OrderWriter, StoreError, StoreReader, StoreWriter, WriterWatch, sqlite};

/// The order store of the configuration: the writing halves, one a thread, the reading half, and, if other nodes share
/// it, what they do.
type Parts = (Vec<Box<dyn StoreWriter>>, Arc<dyn StoreReader>, Option<PgNews>);

/// Opens PostgreSQL when its address is set, and the embedded store otherwise. Blocks.
pub(super) fn open(settings: &Settings, node: NodeId) -> Result<Parts, StoreError> {
    if settings.postgres.url.is_empty() {
        let (writer, reader) = sqlite::open(&settings.data_dir, &settings.sqlite)?;
        return Ok((vec![Box::new(writer)], Arc::new(reader), None));
    }
    let store = postgres::open(&settings.postgres, node, settings.store.writers)?;
    let boxed = store.writers.into_iter().map(|writer| Box::new(writer) as Box<dyn StoreWriter>);
    Ok((boxed.collect(), Arc::new(store.reader), Some(store.news)))
}

/// Keeps this node up with what other nodes do in a shared store, as long as the runtime lives.
pub(super) fn follow(control: &Runtime, mut follower: Follower, checkout: Checkout) {
    control.spawn(async move {
        let mut has_news = true;
        loop {
            let looked = tokio::task::spawn_blocking(move || {
                let left_behind = follower.look();
                (follower, left_behind)
            });
            let Ok((looked, left_behind)) = looked.await else { return };
            follower = looked;
            match left_behind {
                Ok(payments) => {
                    checkout
                        .adopt(payments.into_iter().map(|(order, attempt)| PaymentKey { order, attempt }));
                    has_news = true;
                }
                Err(error) => {
                    // Once an outage: the writers say when the store answers again.
                    if std::mem::take(&mut has_news) {
                        tracing::warn!(%error, "what other nodes do is not known at the moment");
                    }
                }
            }
            tokio::time::sleep(follower.pause()).await;
        }
    });
}

/// The writers, each on a thread of its own.
pub(super) struct WriterThreads {
    outcomes: mpsc::UnboundedReceiver<Result<(), StoreError>>,
    /// How the one ended that ended by itself.
    ended: Option<Result<(), StoreError>>,
}

impl WriterThreads {
    /// Starts a thread for each writer.
    pub fn start<W: WriterWatch + 'static>(
        writers: impl IntoIterator<Item = OrderWriter<W>>,
    ) -> Result<Self, ServeError> {
        let (ends, outcomes) = mpsc::unbounded_channel();
        for writer in writers {
            let ends = ends.clone();
            let thread = std::thread::Builder::new().name("writer".into()).spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| writer.run()));
                // Nobody listens any more when the engine has ended without waiting.
                let _ = ends.send(outcome.unwrap_or_else(|_| Err(panicked())));
            });
            thread.map_err(start_error("a writer thread"))?;
        }
        Ok(Self { outcomes, ended: None })
    }

    /// Waits until one of them ends by itself.
    pub async fn one_ended(&mut self) {
        if let Some(outcome) = self.outcomes.recv().await {
            self.ended = Some(outcome);
        }
    }

    /// How they ended: at once when one has failed by itself, otherwise when all have, as they were told to.
    pub fn join(mut self) -> Result<(), StoreError> {
        let mut outcome = self.ended.take().unwrap_or(Ok(()));
        while outcome.is_ok() {
            let Some(next) = self.outcomes.blocking_recv() else { break };
            outcome = next;
        }
        outcome
    }
}

fn panicked() -> StoreError {
    StoreError { kind: Fault::Fatal, message: "an order writer panicked; see the log above".into() }
}
