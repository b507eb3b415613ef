//! Order events to a Redis Stream: in order, each at least once (a consumer that keeps the entry ids sees each once).
//!
//! The stream's end is the position, read and moved by one script. So a relay that dies loses nothing and repeats nothing,
//! several relays do not disturb each other, and a Redis that lost or rolled back data is sent the missing events again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

use super::books::RedisBooks;
use super::fault::RedisFault;
use crate::domain::FieldError;
use crate::orders::StoreError;
use crate::settings::within;

/// `[relay]`: the stream of order events.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct RelaySettings {
    /// The stream's key.
    pub stream: String,
    /// About how many events the stream keeps; older ones are dropped.
    pub stream_events_max: u64,
    /// Events of one call at most.
    pub batch_events_max: usize,
    /// How long the relay waits between two calls, unless a full batch is there to send, in ms.
    pub idle_ms: u64,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            stream: "seckill:events".into(),
            stream_events_max: 100_000,
            batch_events_max: 500,
            idle_ms: 200,
        }
    }
}

impl RelaySettings {
    /// Checks the range of each value.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        if self.stream.is_empty() {
            return Err(FieldError {
                field: "stream",
                problem: "is empty; set it to the stream's key".into(),
            });
        }
        within("stream_events_max", self.stream_events_max, 1..=1_000_000_000)?;
        within("batch_events_max", self.batch_events_max, 1..=10_000)?;
        within("idle_ms", self.idle_ms, 1..=60_000)
    }
}

/// An event as it goes into the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayedEvent {
    /// Its number in the store; the entry's id is `{seq}-0`.
    pub seq: u64,
    /// Its JSON, the entry's field `event`.
    pub json: String,
}

/// Why a step of the relay came to nothing. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Redis does not answer.
    #[error(transparent)]
    Redis(#[from] RedisFault),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads events from the store and appends them to the stream.
pub struct EventRelay<R> {
    books: Arc<RedisBooks>,
    settings: RelaySettings,
    /// Events above a number, oldest first, at most so many.
    read: R,
    /// The stream's last number; `None` until it was looked up.
    position: Option<u64>,
}

impl<R, F> EventRelay<R>
where
    R: Fn(u64, usize) -> F + Send,
    F: Future<Output = Result<Vec<RelayedEvent>, StoreError>> + Send,
{
    /// A relay of the events that `read` returns for a number and a limit.
    pub fn new(books: Arc<RedisBooks>, settings: RelaySettings, read: R) -> Self {
        Self { books, settings, read, position: None }
    }

    /// Relays while `elected` says so: one relay is enough, several do the same work. Ends with the sender of the word.
    pub async fn run(mut self, mut elected: watch::Receiver<bool>) {
        let idle = Duration::from_millis(self.settings.idle_ms.max(1));
        while elected.wait_for(|is_elected| *is_elected).await.is_ok() {
            match self.step().await {
                // One call a pause, unless there is more: while a crowd buys, each commit would be a call of its own.
                Ok(read) if read >= self.settings.batch_events_max => {}
                Ok(_) => sleep(idle).await,
                Err(error) => {
                    tracing::debug!(%error, "events wait for their relay");
                    sleep(idle).await;
                }
            }
        }
    }

    /// Relays one batch. Returns how many events were read.
    ///
    /// # Errors
    /// [`RelayError`]; the position is looked up again then.
    pub async fn step(&mut self) -> Result<usize, RelayError> {
        let after = match self.position.take() {
            Some(position) => position,
            None => self.append(0, &[]).await?,
        };
        let events = (self.read)(after, self.settings.batch_events_max).await?;
        // Also without events: a stream that was lost meanwhile says so.
        self.position = Some(self.append(after, &events).await?);
        Ok(events.len())
    }

    async fn append(&self, after: u64, events: &[RelayedEvent]) -> Result<u64, RedisFault> {
        let entries = events.iter().map(|event| (event.seq, event.json.as_str()));
        self.books.append(&self.settings.stream, after, self.settings.stream_events_max, entries).await
    }
}
