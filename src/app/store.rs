//! Which order store there is, and the threads that write to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{ServeError, start_error};
use crate::checkout::{Checkout, PaymentKey};
use crate::config::Settings;
use crate::domain::NodeId;
use crate::orders::postgres::{self, Follower, PgNews, PgRegistry, Seat, Tenancy};
use crate::orders::{Fault, OrderWriter, StoreError, StoreReader, StoreWriter, WriterWatch, sqlite};

/// The order store of the configuration.
pub(super) struct OpenStore {
    /// The writing halves, one a thread.
    pub writers: Vec<Box<dyn StoreWriter>>,
    /// The reading half.
    pub reader: Arc<dyn StoreReader>,
    /// What a store of several nodes knows of them.
    pub registry: Option<PgRegistry>,
    /// The right to sell from it.
    pub seat: Option<Seat>,
    /// What other nodes do.
    pub news: Option<PgNews>,
}

/// Opens PostgreSQL when its address is set, and the embedded store otherwise. Blocks.
pub(super) fn open(control: &Runtime, settings: &Settings, node: NodeId) -> Result<OpenStore, StoreError> {
    if settings.postgres.url.is_empty() {
        let (writer, reader) = sqlite::open(&settings.data_dir, &settings.sqlite)?;
        let writers: Vec<Box<dyn StoreWriter>> = vec![Box::new(writer)];
        return Ok(OpenStore { writers, reader: Arc::new(reader), registry: None, seat: None, news: None });
    }
    let tenancy = if settings.is_shared() { Tenancy::Shared } else { Tenancy::Alone };
    // Before anything else: opening the store ends the life of whoever runs under this number.
    let seat = control.block_on(Seat::take(&settings.postgres, node, tenancy))?;
    let store = postgres::open(&settings.postgres, node, settings.store.writers)?;
    if tenancy == Tenancy::Alone {
        store.registry.end_all_epochs()?;
    }
    let boxed = store.writers.into_iter().map(|writer| Box::new(writer) as Box<dyn StoreWriter>);
    Ok(OpenStore {
        writers: boxed.collect(),
        reader: Arc::new(store.reader),
        registry: Some(store.registry),
        seat: Some(seat),
        news: Some(store.news),
    })
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
