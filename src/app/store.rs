//! Which order store there is, and the threads that write to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{ServeError, start_error};
use crate::config::Settings;
use crate::domain::NodeId;
use crate::orders::postgres::{PgRegistry, Seat, Tenancy};
use crate::orders::{
    Fault, Follower, OrderWriter, StoreError, StoreReader, StoreWriter, WriterWatch, postgres, sqlite,
};

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
}

/// Opens PostgreSQL when its address is set, and the embedded store otherwise. Blocks.
pub(super) fn open(control: &Runtime, settings: &Settings, node: NodeId) -> Result<OpenStore, StoreError> {
    if settings.postgres.url.is_empty() {
        let (writer, reader) = sqlite::open(&settings.data_dir, &settings.sqlite)?;
        let writers: Vec<Box<dyn StoreWriter>> = vec![Box::new(writer)];
        return Ok(OpenStore { writers, reader: Arc::new(reader), registry: None, seat: None });
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
    })
}

/// How often this node looks for what other nodes did.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// Keeps this node's memory up with what other nodes do in a shared store, as long as the runtime lives.
pub(super) fn follow(control: &Runtime, mut follower: Follower) {
    control.spawn(async move {
        loop {
            let looked = tokio::task::spawn_blocking(move || {
                // Page after page, until nothing is new.
                let outcome = loop {
                    match follower.catch_up() {
                        Ok(0) => break Ok(()),
                        Ok(_) => {}
                        Err(error) => break Err(error),
                    }
                };
                (follower, outcome)
            });
            let Ok((looked, outcome)) = looked.await else { return };
            follower = looked;
            if let Err(error) = outcome {
                tracing::debug!(%error, "what other nodes do is not known at the moment");
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
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
