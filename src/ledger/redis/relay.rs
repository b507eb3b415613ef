//! Order events to a Redis Stream: in order, each at least once (a consumer that keeps the entry ids sees each once).
//!
//! The stream's end is the position, read and moved by one script. So a relay that dies loses nothing and repeats nothing,
//! several relays do not disturb each other, and a Redis that lost or rolled back data is sent the missing events again.
//!
//! The last event of the stream must be an event of the order store: one that the store has not, or has otherwise, was
//! sent before the store went back in time. Then the stream is deleted, loudly, and filled anew.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::super::concerns::Concerns;
use super::books::RedisBooks;
use super::fault::RedisFault;
use super::stream::StreamEnd;
use crate::domain::{FieldError, StoreIdentity};
use crate::orders::{Envelope, StoreError, StoreHistory};
use crate::settings::within;

/// A store that has told the ledger of itself within this time sends events, or is about to: its stream is left to it.
const OTHER_LIVES_MS: u64 = 60_000;

/// How long a relay that has sent everything rests while nobody tells it of an event. Then it looks whether the stream is
/// still what it was.
const REST_MAX: Duration = Duration::from_secs(1);

/// The concern that the stream is another store's.
const STREAM_TAKEN: &str = "stream-of-another-store";

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
    /// How long the relay waits between two calls, unless a full batch is there to send, in ms. It rests for a second, or for
    /// so long, while this node has seen no new event.
    pub idle_ms: u64,
    /// What each event is wrapped in. Entries that are there already stay as they are.
    pub envelope: Envelope,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            stream: "seckill:events".into(),
            stream_events_max: 100_000,
            batch_events_max: 500,
            idle_ms: 200,
            envelope: Envelope::Plain,
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
    /// Its JSON, the entry's field `event`. `None` while this node does not know its sale yet: it waits, and so do the later
    /// ones.
    pub json: Option<String>,
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
    /// The stream has the events of another store, which sells.
    #[error("the stream has the events of another order store, which sells")]
    OtherStore,
}

/// What a relay works with.
#[derive(Clone, Debug)]
pub struct RelayParts {
    /// The Redis that has the stream.
    pub books: Arc<RedisBooks>,
    /// How it is relayed.
    pub settings: RelaySettings,
    /// The order store that has the events.
    pub store: StoreHistory,
    /// Where it is said that nothing can be relayed.
    pub concerns: Arc<Concerns>,
    /// Where it is told what the number of the last event in the stream is; `None` until it was looked up, while that
    /// cannot be done, and while another relay is elected.
    pub sent: watch::Sender<Option<u64>>,
}

/// Reads events from the store and appends them to the stream.
pub struct EventRelay<R> {
    parts: RelayParts,
    /// Events above a number, oldest first, at most so many.
    read: R,
    /// The stream's end; `None` until it was looked up.
    end: Option<StreamEnd>,
}

impl<R, F> EventRelay<R>
where
    R: Fn(u64, usize) -> F + Send,
    F: Future<Output = Result<Vec<RelayedEvent>, StoreError>> + Send,
{
    /// A relay of the events that `read` returns for a number and a limit.
    pub fn new(parts: RelayParts, read: R) -> Self {
        Self { parts, read, end: None }
    }

    /// Relays while `elected` says so: one relay is enough, several do the same work. `newest` is the number of the last event
    /// that this node has seen in the store. Ends with the sender of either word.
    pub async fn run(mut self, mut elected: watch::Receiver<bool>, mut newest: watch::Receiver<u64>) {
        let idle = Duration::from_millis(self.parts.settings.idle_ms.max(1));
        loop {
            if !*elected.borrow() {
                // What another relay sends meanwhile is not seen here.
                self.parts.sent.send_replace(None);
            }
            if elected.wait_for(|is_elected| *is_elected).await.is_err() {
                return;
            }
            newest.mark_unchanged();
            match self.step().await {
                // One call a pause, unless there is more: while a crowd buys, each commit would be a call of its own.
                Ok(sent) if sent >= self.parts.settings.batch_events_max => {}
                Ok(0) => {
                    if let Ok(Err(_)) = timeout(REST_MAX.max(idle), newest.changed()).await {
                        return;
                    }
                }
                Ok(_) => sleep(idle).await,
                Err(error) => {
                    tracing::debug!(%error, "events wait for their relay");
                    self.parts.sent.send_replace(None);
                    sleep(idle).await;
                }
            }
        }
    }

    /// Relays one batch. Returns how many events it were.
    ///
    /// # Errors
    /// [`RelayError`]; the stream's end is looked up again then.
    pub async fn step(&mut self) -> Result<usize, RelayError> {
        let mut end = match self.end.take() {
            Some(end) => end,
            None => self.look_up().await?,
        };
        let limit = self.parts.settings.batch_events_max;
        // With the one before: the last that is in the stream.
        let mut events = (self.read)(end.last.saturating_sub(1), limit + 1).await?;
        if has_gone_back(&end, &events) {
            self.clear(&end, "the order store has gone back: it does not have the last event of the stream")
                .await?;
            end = self.look_up().await?;
            events = (self.read)(end.last.saturating_sub(1), limit + 1).await?;
        }
        let new = events.iter().filter(|event| event.seq > end.last).take(limit);
        let known: Vec<(u64, &str)> =
            new.map_while(|event| Some((event.seq, event.json.as_deref()?))).collect();
        // Also without events: a stream that was lost meanwhile says so.
        let end = self.append(end.last, &known).await?;
        if self.other_store(&end).is_some() {
            // It was faster where the stream was empty, or has taken it over: told as when the stream is first looked at.
            self.parts.sent.send_replace(None);
            self.end = Some(self.look_up().await?);
            // There may be a backlog.
            return Ok(limit);
        }
        self.parts.sent.send_replace(Some(end.last));
        self.end = Some(end);
        Ok(known.len())
    }

    /// The stream's end, if the stream is this store's.
    async fn look_up(&self) -> Result<StreamEnd, RelayError> {
        let RelayParts { books, settings, store, concerns, .. } = &self.parts;
        let end = self.append(0, &[]).await?;
        let Some(other) = self.other_store(&end) else {
            concerns.settle(STREAM_TAKEN);
            return Ok(end);
        };
        let seen_ms = match StoreIdentity::parse(other) {
            Some(identity) => books.store_seen_ms(store, identity).await?,
            None => None,
        };
        if seen_ms.is_some_and(|ms| ms < OTHER_LIVES_MS) {
            let said = format!(
                "events are not sent: the stream {} has those of another order store ({other}), which sells from this Redis \
                 too; set relay.stream to a name of its own here, or there and delete this stream",
                settings.stream
            );
            concerns.hold(STREAM_TAKEN, said);
            return Err(RelayError::OtherStore);
        }
        self.clear(&end, "the stream has the events of another order store, which sells no more").await?;
        concerns.settle(STREAM_TAKEN);
        Ok(self.append(0, &[]).await?)
    }

    /// The store whose events a stream has, if it is not this one.
    fn other_store<'a>(&self, end: &'a StreamEnd) -> Option<&'a str> {
        end.store.as_deref().filter(|other| **other != self.parts.store.identity.to_string())
    }

    async fn clear(&self, end: &StreamEnd, why: &str) -> Result<(), RelayError> {
        let RelayParts { books, settings, store, .. } = &self.parts;
        if books.clear_stream(&settings.stream, end.last).await? {
            tracing::warn!(
                code = "stream-cleared",
                stream = settings.stream,
                last = end.last,
                store = %store.identity,
                "{why}; the stream was deleted with its consumer groups, and is filled anew from the order store"
            );
        }
        Ok(())
    }

    async fn append(&self, after: u64, events: &[(u64, &str)]) -> Result<StreamEnd, RedisFault> {
        let RelayParts { books, settings, store, .. } = &self.parts;
        let events = events.iter().copied();
        books.append(&settings.stream, after, settings.stream_events_max, store.identity, events).await
    }
}

/// Whether the last event of the stream is not what the store has under its number, given the `events` from that number on.
fn has_gone_back(end: &StreamEnd, events: &[RelayedEvent]) -> bool {
    if end.last == 0 {
        return false;
    }
    match events.first() {
        None => true,
        Some(first) if first.seq == end.last => {
            let (there, here) = (end.event.as_deref().map(what), first.json.as_deref().map(what));
            there.zip(here).is_some_and(|(there, here)| there != here)
        }
        // The store does not keep it any more.
        Some(_) => false,
    }
}

/// What tells an event from every other, apart from its number and its envelope.
fn what(json: &str) -> [Option<Value>; 2] {
    let told: Value = serde_json::from_str(json).unwrap_or_default();
    let event = told.get("data").unwrap_or(&told);
    ["type", "order_id"].map(|member| event.get(member).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_same_in_any_envelope() {
        let plain = r#"{"seq":7,"type":"order.paid","order_id":"42","at":"2030-01-31T12:00:00.000Z"}"#;
        let wrapped = format!(r#"{{"specversion":"1.0","id":"evt_1","type":"order.paid","data":{plain}}}"#);
        assert_eq!(what(plain), what(&wrapped));
        assert!(what(plain).iter().all(Option::is_some));
        assert_ne!(what(plain), what(&plain.replace("42", "43")));
    }
}
