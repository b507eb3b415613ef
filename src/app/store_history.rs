//! Watches whether the order store is still the one that this engine has read, and has only gone on since. When it is not,
//! the engine starts over: what it has in memory (claims, stock, deadlines) is of a store that is no more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::ledger::Concerns;
use crate::ledger::redis::{RedisBooks, RedisFault, Remembered};
use crate::orders::postgres::{Durability, PgHistory};
use crate::orders::{Outdated, StoreError, StoreHistory, StoreMark};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often is looked whether the server keeps what it acknowledges: another one may have taken over.
const DURABILITY_EVERY: Duration = Duration::from_secs(10);
/// The concern that it does not.
const NOT_DURABLE: &str = "store-not-durable";
/// How long the ledger may go without a word from a store where nothing happens.
const TELL_AT_LEAST_EVERY: Duration = Duration::from_secs(20);

/// The store's history as this engine knows it.
pub(super) struct StoreWatch {
    history: Arc<PgHistory>,
    /// As it was last seen.
    seen: StoreHistory,
    /// What the ledger was last told, and when.
    told: Option<(StoreMark, Instant)>,
    /// Where it is said what an operator has to look after.
    concerns: Arc<Concerns>,
    /// When the server's settings were last looked at.
    durability_at: Instant,
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Redis(#[from] RedisFault),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreWatch {
    /// The store as it is now, before anything else is read of it. Blocks.
    ///
    /// # Errors
    /// What the database says.
    pub fn begin(history: PgHistory, concerns: Arc<Concerns>) -> Result<Self, StoreError> {
        let seen = history.read()?;
        let durability = history.durability()?;
        if durability.is_stricter_than_default() {
            tracing::info!(
                "synchronous_commit = off does not count for this engine: its connections commit with on"
            );
        }
        tell_durability(&concerns, &durability);
        Ok(Self { history: Arc::new(history), seen, told: None, concerns, durability_at: Instant::now() })
    }

    /// The store as it was last seen.
    pub fn seen(&self) -> StoreHistory {
        self.seen
    }

    /// Compares the store with what the ledger remembers of it, before anything is read or lent: one that went back begins
    /// a timeline, one whose names are taken takes its own.
    pub async fn compare(&mut self, books: &RedisBooks) {
        for _ in 0..3 {
            match self.look(Some(books)).await {
                // Nothing has been read yet: what is there now is what will be read.
                Ok(Some((_, now))) => self.seen = now,
                Ok(None) => return,
                // It is compared again when both answer.
                Err(cut) => {
                    tracing::debug!(%cut, "the order store is compared with what the ledger remembers later");
                    return;
                }
            }
        }
    }

    /// Looks until the store is another one than was read, and says so.
    pub async fn keep(mut self, books: Option<Arc<RedisBooks>>, outdated: watch::Sender<Option<Outdated>>) {
        loop {
            sleep(LOOK_EVERY).await;
            match self.look(books.as_deref()).await {
                Ok(Some((why, _))) => {
                    outdated.send_replace(Some(why));
                    std::future::pending::<()>().await;
                }
                Ok(None) => {}
                Err(cut) => tracing::debug!(%cut, "whether the order store has gone back is looked at later"),
            }
        }
    }

    /// One look. What has become of the store, if it is not the one that was read any more.
    async fn look(&mut self, books: Option<&RedisBooks>) -> Result<Option<(Outdated, StoreHistory)>, Cut> {
        let now = self.ask(PgHistory::read).await?;
        if let Some(found) = self.judge(now).await? {
            return Ok(Some(found));
        }
        self.seen = now;
        if self.durability_at.elapsed() >= DURABILITY_EVERY {
            self.durability_at = Instant::now();
            tell_durability(&self.concerns, &self.ask(PgHistory::durability).await?);
        }
        let Some(books) = books else { return Ok(None) };
        let is_told =
            |(mark, at): (StoreMark, Instant)| mark == now.mark && at.elapsed() < TELL_AT_LEAST_EVERY;
        if self.told.is_some_and(is_told) {
            return Ok(None);
        }
        match books.tell_store(&now).await? {
            Remembered::Ok => {
                self.told = Some((now.mark, Instant::now()));
                Ok(None)
            }
            Remembered::Further { timeline, mark } => {
                // Another node may have told of what has happened since this one read the store: it is read again.
                let again = self.ask(PgHistory::read).await?;
                self.seen = StoreHistory { timeline, mark, ..self.seen };
                self.judge(again).await
            }
            Remembered::NamesAreTaken => {
                tracing::warn!(
                    code = "ledger-names-taken",
                    "another order store sells from this Redis under the names of sales alone: from now on the keys of \
                     this store's ledger carry its identity"
                );
                self.ask(PgHistory::take_own_names).await?;
                let now = self.ask(PgHistory::read).await?;
                Ok(Some((Outdated::OtherNames, now)))
            }
        }
    }

    /// What has become of the store by `now`. One that has gone back without anybody's notice begins a timeline here.
    async fn judge(&self, now: StoreHistory) -> Result<Option<(Outdated, StoreHistory)>, Cut> {
        let Some(why) = self.seen.outdated_by(&now) else { return Ok(None) };
        if why != Outdated::WentBack {
            return Ok(Some((why, now)));
        }
        let StoreHistory { timeline, mark, .. } = self.seen;
        tracing::warn!(
            code = "order-store-went-back",
            was_timeline = timeline,
            was_last_event = mark.last_event,
            was_last_change = mark.last_change,
            last_event = now.mark.last_event,
            last_change = now.mark.last_change,
            "the order store has gone back in time (it was restored, or a standby took over that did not have everything): \
             all books are counted anew, and every node starts over with what is there"
        );
        let above = timeline.max(now.timeline);
        self.ask(move |history| history.begin_timeline(above)).await?;
        let now = self.ask(PgHistory::read).await?;
        Ok(Some((Outdated::OtherTimeline, now)))
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&PgHistory) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let history = Arc::clone(&self.history);
        let answer = tokio::task::spawn_blocking(move || question(&history)).await;
        answer.unwrap_or_else(|_| Err(StoreError::transient("the runtime ends")))
    }
}

fn tell_durability(concerns: &Concerns, durability: &Durability) {
    match durability.doubt() {
        Some(doubt) => concerns.hold(NOT_DURABLE, doubt),
        None => concerns.settle(NOT_DURABLE),
    }
}

/// In words, for the log.
pub(super) fn in_words(outdated: Outdated) -> &'static str {
    match outdated {
        Outdated::OtherStore => "postgres.url leads to another order store than before",
        Outdated::OtherTimeline | Outdated::WentBack => "the order store has gone back in time",
        Outdated::OtherNames => "the keys of the ledger have other names from now on",
    }
}
