//! Which order store there is, and the threads that write to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::store_history::StoreWatch;
use crate::admission::LiveSale;
use crate::checkout::{AttemptId, Checkout};
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::{EpochMs, NodeId};
use crate::exit::Failure;
use crate::ledger::Concerns;
use crate::orders::postgres::{self, Exclusivity, Follower, InstanceLock, PgChangeFeed, PgLeaseStore};
use crate::orders::sqlite::{self, Checkpointer};
use crate::orders::{
    DeadlineStep, Deadlines, Grace, LogWatch, NOTICED_MS_MIN, OrderWriter, StoreError, StoreReader,
    StoreWriter,
};
use crate::supervisor::{Cause, Ended, Part, Supervisor};

/// The order store of the configuration.
pub(super) struct OpenStore {
    /// The writing halves, one a thread.
    pub writers: Vec<Box<dyn StoreWriter>>,
    /// The reading half.
    pub reader: Arc<dyn StoreReader>,
    /// Who folds the log of an embedded store beside its writer.
    pub checkpointer: Option<Checkpointer>,
    /// What a store of several nodes knows of them.
    pub lease_store: Option<PgLeaseStore>,
    /// What other nodes do.
    pub feed: Option<PgChangeFeed>,
    /// Whether it is the store that was read.
    pub history: Option<StoreWatch>,
}

/// Opens PostgreSQL when its address is set, and the embedded store otherwise. `lock` is the right to sell from PostgreSQL:
/// it is kept when the rest does not come about, for the next try. Blocks.
pub(super) fn open(
    control: &Handle,
    settings: &Settings,
    node: NodeId,
    concerns: &Arc<Concerns>,
    log_watch: Arc<dyn LogWatch>,
    lock: &mut Option<InstanceLock>,
) -> Result<OpenStore, StoreError> {
    if settings.postgres.url.is_empty() {
        let (mut writer, reader) = sqlite::open(&settings.data_dir, &settings.sqlite)?;
        let checkpointer = Some(writer.checkpointer(log_watch)?);
        let writers: Vec<Box<dyn StoreWriter>> = vec![Box::new(writer)];
        return Ok(OpenStore {
            writers,
            reader: Arc::new(reader),
            checkpointer,
            lease_store: None,
            feed: None,
            history: None,
        });
    }
    let exclusivity = if settings.is_shared() { Exclusivity::Shared } else { Exclusivity::Alone };
    // Before anything else: opening the store ends the life of whoever runs under this number.
    if !lock.as_ref().is_some_and(InstanceLock::is_held) {
        *lock = Some(control.block_on(InstanceLock::take(&settings.postgres, node, exclusivity))?);
    }
    let store = postgres::open(&settings.postgres, node, settings.store.writers, exclusivity)?;
    if exclusivity == Exclusivity::Alone {
        store.lease_store.end_all_epochs()?;
    }
    let boxed = store.writers.into_iter().map(|writer| Box::new(writer) as Box<dyn StoreWriter>);
    Ok(OpenStore {
        writers: boxed.collect(),
        reader: Arc::new(store.reader),
        checkpointer: None,
        lease_store: Some(store.lease_store),
        feed: Some(store.feed),
        history: Some(StoreWatch::begin(store.history, Arc::clone(concerns))?),
    })
}

/// How often the store's calendar is read at a start: what took least to ask is believed, for it is the least wrong.
const CALENDAR_READS: usize = 3;

/// What the store's calendar says now. `None` for a store that has none but this machine's.
pub(super) fn calendar(reader: &dyn StoreReader) -> Result<Option<EpochMs>, StoreError> {
    let mut quickest: Option<(Duration, Instant, EpochMs)> = None;
    for _ in 0..CALENDAR_READS {
        let asked_at = Instant::now();
        let Some(calendar) = reader.calendar()? else { return Ok(None) };
        let took = asked_at.elapsed();
        if quickest.is_none_or(|(least, ..)| took < least) {
            quickest = Some((took, asked_at + took / 2, calendar));
        }
    }
    let now = |(_, at, calendar): (_, Instant, EpochMs)| calendar.plus_ms(at.elapsed().as_millis() as i64);
    Ok(quickest.map(now))
}

/// What has moved deadlines so far.
pub(super) fn read_graces(reader: &dyn StoreReader, deadlines: &Deadlines) -> Result<(), StoreError> {
    deadlines.take_granted(|| reader.graces(), false)
}

/// Shows the marks of the waiting rooms before anybody is served: who was admitted before the start still is.
pub(super) fn show_rooms(reader: &dyn StoreReader, sales: &[LiveSale]) -> Result<(), StoreError> {
    let with_room: Vec<_> = sales.iter().filter(|sale| sale.terms.waiting_room().is_some()).collect();
    let ids: Vec<_> = with_room.iter().map(|sale| sale.id).collect();
    let marks: HashMap<_, _> = reader.room_marks(&ids)?.into_iter().collect();
    for sale in with_room {
        if let (Some(terms), Some(marks)) = (sale.terms.waiting_room(), marks.get(&sale.id)) {
            sale.state.room().show(marks, terms);
        }
    }
    Ok(())
}

/// So many signs of life in a row may be missing from an engine that lives.
const SIGNS_MISSED_MAX: u64 = 2;

/// Has the time in which no engine lived move the deadlines of orders that wait, and forgets what moves none any more.
/// An engine that lives says so every `alive_ms`: beside one, what is missing since its last sign is no outage.
pub(super) fn count_downtime(
    writers: &mut [Box<dyn StoreWriter>],
    reader: &dyn StoreReader,
    clock: &Clock,
    deadlines: &Deadlines,
    oldest_open: Option<EpochMs>,
    alive_ms: u64,
) -> Result<(), StoreError> {
    let Some(writer) = writers.first_mut() else { return Ok(()) };
    let now = clock.calendar();
    if let Some(last_alive) = reader.last_alive()? {
        let down_ms = now.ms_since(last_alive);
        if down_ms < 0 {
            clock.count_step();
            tracing::warn!(
                behind_ms = -down_ms,
                "the calendar is behind the last life's: whoever waits to pay has so much more time; set the clock right"
            );
        } else if down_ms >= NOTICED_MS_MIN
            && oldest_open.is_some()
            && !(down_ms.unsigned_abs() <= alive_ms * SIGNS_MISSED_MAX
                && reader.another_lives_since(last_alive)?)
        {
            tracing::info!(down_ms, "deadlines move by the time in which no engine lived");
            writer.move_deadlines(
                &DeadlineStep::Grant(Grace::outage(last_alive, now, "no engine lived")),
                None,
            )?;
        }
    }
    writer.move_deadlines(&DeadlineStep::Forget(oldest_open.unwrap_or(now)), None)?;
    writer.move_deadlines(&DeadlineStep::Alive(now), None)?;
    deadlines.take_granted(|| reader.graces(), true)
}

/// Keeps this node up with what other nodes do in a shared store, as long as the runtime lives.
pub(super) fn follow(supervisor: &Supervisor, mut follower: Follower, checkout: Checkout) {
    supervisor.task("follower", async move {
        let mut is_up_to_date = true;
        loop {
            let looked = tokio::task::spawn_blocking(move || {
                let left_behind = follower.look();
                (follower, left_behind)
            });
            let (looked, left_behind) = looked.await.map_err(|error| format!("a look broke off: {error}"))?;
            follower = looked;
            match left_behind {
                Ok(payments) => {
                    checkout.adopt(payments.into_iter().map(|(order, attempt)| AttemptId { order, attempt }));
                    is_up_to_date = true;
                }
                Err(error) => {
                    // Once an outage: the writers say when the store answers again.
                    if std::mem::take(&mut is_up_to_date) {
                        tracing::warn!(
                            %error,
                            sqlstate = error.sqlstate.as_deref(),
                            "what other nodes do is not known at the moment"
                        );
                    }
                }
            }
            tokio::time::sleep(follower.pause()).await;
        }
    });
}

/// Has the log of an embedded store folded beside its writer, until that one has closed the store.
pub(super) fn start_checkpointer(
    supervisor: &Supervisor,
    checkpointer: Option<Checkpointer>,
) -> Result<(), Failure> {
    let Some(checkpointer) = checkpointer else { return Ok(()) };
    let work = || checkpointer.run().map_err(|error| format!("the order store failed: {error}"));
    supervisor.helper("checkpointer", work).map_err(Failure::at_start("the checkpointer"))
}

/// The writers, each on a thread of its own.
pub(super) struct WriterThreads(Vec<Part>);

impl WriterThreads {
    /// Starts a thread for each writer.
    pub fn start(supervisor: &Supervisor, writers: Vec<OrderWriter>) -> Result<Self, Failure> {
        let threads = writers.into_iter().map(|writer| {
            supervisor
                .thread("writer", || writer.run().map_err(|error| format!("the order store failed: {error}")))
        });
        let threads: Result<_, _> = threads.collect();
        Ok(Self(threads.map_err(Failure::at_start("a writer thread"))?))
    }

    /// Why one of them has ended by itself, if one has.
    pub fn failure(&self) -> Option<Failure> {
        self.0.iter().find_map(|thread| Some(Ended { part: "writer".into(), cause: thread.end()? }.into()))
    }

    /// Waits until all have ended, as they were told to; at once when one fails.
    pub async fn ended(mut self) -> Result<(), Failure> {
        for thread in &mut self.0 {
            match thread.ended().await {
                Cause::Returned => {}
                cause => return Err(Ended { part: "writer".into(), cause }.into()),
            }
        }
        Ok(())
    }
}
