//! The right of this engine to sell from the database: locks that PostgreSQL holds for it while it lives, and lets go
//! when its connection ends.
//!
//! They prevent mistakes early, with words. What makes mistakes harmless is elsewhere: the incarnation of a node, and
//! the guards of a batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::super::store::StoreError;
use super::dialer::Dialer;
use super::error::PgError;
use super::event_sequencer::EventSequencer;
use super::session::Session;
use super::settings::PostgresSettings;
use crate::domain::{EpochMs, NodeId};

/// Locks of the first kind: the whole database. Shared by engines that share a ledger, held alone by one that does not.
const DATABASE_LOCK: i32 = 1_936_024_429;
/// Locks of the second kind: a node's number.
const NODE_LOCK: i32 = 1_936_024_430;
/// The lock of the one engine that relays the events.
const RELAY_LOCK: i32 = 1_936_024_431;

/// The lock of the one engine that gives events their numbers. Engines that know neither this lock nor the work hold
/// that of the relay, perhaps.
const SEQUENCER_LOCK: i32 = 1_936_024_432;

/// How often the lock is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a lock that is taken is asked for again.
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// A server that lost its client without a word must notice soon, or the next life of the node waits for it.
const NOTICE_A_DEAD_CLIENT: &str =
    "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3";
/// A client that hangs, or that whoever stands between answers for, must be noticed, too: nobody numbers or relays events
/// while it has the locks. It asks at each look. PostgreSQL knows this limit since version 14.
const NOTICE_A_HUNG_CLIENT: &str =
    "SELECT set_config(name, $1, false) FROM pg_settings WHERE name = 'idle_session_timeout'";
/// So many looks may fail to come, at the least.
const LOOKS_MISSED: u32 = 5;

/// Whether an engine has its database to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusivity {
    /// With nobody: all stock is its own.
    Alone,
    /// With others that are lent their stock by the same ledger.
    Shared,
}

impl Exclusivity {
    /// How far a batch may sell, as the server's functions take it.
    pub(super) const fn lending(self) -> i16 {
        match self {
            Self::Shared => 0,
            Self::Alone => 2,
        }
    }
}

/// The locks in PostgreSQL by which this engine may sell from its database.
#[derive(Debug)]
pub struct InstanceLock {
    dialer: Arc<Dialer>,
    node: NodeId,
    exclusivity: Exclusivity,
    patience: Duration,
    /// How long the session that holds the locks may say nothing.
    silent_max: Duration,
    session: Option<Session>,
    relays: watch::Sender<bool>,
    /// Of the one engine that gives events their numbers, on the session that holds the lock.
    sequencer: Option<EventSequencer>,
}

impl InstanceLock {
    /// Takes the lock of `node`, waiting up to `postgres.seat_wait_ms` for a former life of it to be noticed dead. Call
    /// it on the runtime that will keep it, before the store is opened.
    ///
    /// # Errors
    /// The database does not answer, or another engine sits there (fatal): the message says what to set.
    pub async fn take(
        settings: &PostgresSettings,
        node: NodeId,
        exclusivity: Exclusivity,
    ) -> Result<Self, StoreError> {
        let mut lock = Self {
            dialer: Arc::new(Dialer::new(settings, node)?),
            node,
            exclusivity,
            patience: Duration::from_millis(settings.seat_wait_ms.into()),
            silent_max: Duration::from_millis(settings.silent_ms_max.into()).max(LOOKS_MISSED * LOOK_EVERY),
            session: None,
            relays: watch::Sender::new(false),
            sequencer: None,
        };
        let session = refuse_a_pooler(&lock.dialer).await?;
        lock.acquire_on(session).await?;
        Ok(lock)
    }

    /// Whether the connection that holds the locks stands.
    pub fn is_held(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_open)
    }

    /// Whether this engine is the one that relays the events.
    pub fn relays(&self) -> watch::Receiver<bool> {
        self.relays.subscribe()
    }

    /// Keeps the lock, also over a restart of the server; numbers events while this engine is the one that does. Ends only
    /// when another engine has the lock.
    pub async fn keep(mut self) -> StoreError {
        let mut look_at = Instant::now();
        loop {
            if look_at <= Instant::now() {
                look_at = Instant::now() + LOOK_EVERY;
                match self.look().await {
                    Ok(()) => {}
                    Err(error) if error.is_transient() => {
                        tracing::debug!(
                            %error,
                            sqlstate = error.sqlstate.as_deref(),
                            "the lock at the database is looked for again"
                        );
                    }
                    Err(error) => return error,
                }
            }
            let pause = self.place_events().await;
            tokio::time::sleep(pause.min(look_at.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// How long to wait until the next time.
    async fn place_events(&mut self) -> Duration {
        let (Some(session), Some(sequencer)) = (&mut self.session, &mut self.sequencer) else {
            return LOOK_EVERY;
        };
        match sequencer.place(session).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::debug!(?error, "the lock at the database is looked for again");
                self.release();
                LOOK_EVERY
            }
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let Some(session) = self.session.as_mut().filter(|session| session.is_open()) else {
            return self.acquire().await;
        };
        let (relays, sequences) = (*self.relays.borrow(), self.sequencer.is_some());
        let looked = async {
            // Whoever has the database alone needs no lock for either.
            if self.exclusivity == Exclusivity::Alone {
                return session.run("SELECT 1").await.map(|()| (false, true));
            }
            let is_idle = relays && sequences;
            if is_idle {
                session.run("SELECT 1").await?;
            }
            let take = async |session: &mut Session, holds: bool, kind| match holds {
                true => Ok(true),
                false => lock(session, "pg_try_advisory_lock", kind, 0).await,
            };
            let relays = take(session, relays, RELAY_LOCK).await?;
            Ok::<_, PgError>((relays, take(session, sequences, SEQUENCER_LOCK).await?))
        };
        match looked.await {
            Ok((relays, sequences)) => {
                self.relays.send_if_modified(|was| std::mem::replace(was, relays) != relays);
                self.sequencer = sequences.then(|| self.sequencer.take().unwrap_or_default());
                Ok(())
            }
            Err(error) => {
                self.release();
                Err(error.into())
            }
        }
    }

    fn release(&mut self) {
        self.session = None;
        self.sequencer = None;
        self.relays.send_replace(false);
    }

    async fn acquire(&mut self) -> Result<(), StoreError> {
        self.release();
        let session = self.dialer.connect().await?;
        self.acquire_on(session).await
    }

    async fn acquire_on(&mut self, mut session: Session) -> Result<(), StoreError> {
        let give_up_at = Instant::now() + self.patience;
        session.run(NOTICE_A_DEAD_CLIENT).await?;
        // Nobody waits for what an engine does that has the database alone.
        if self.exclusivity == Exclusivity::Shared {
            let silent_ms_max = self.silent_max.as_millis().to_string();
            session.row(NOTICE_A_HUNG_CLIENT, &[&silent_ms_max]).await?;
        }
        loop {
            let Some(taken) = self.first_taken(&mut session).await? else {
                self.session = Some(session);
                return Ok(());
            };
            if Instant::now() >= give_up_at {
                let holder = holder_of(&mut session, taken).await?;
                return Err(StoreError::fatal(self.refusal(taken, &holder)));
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// Takes the locks; or names the first that another engine holds, and holds none itself.
    async fn first_taken(&self, session: &mut Session) -> Result<Option<Place>, PgError> {
        let node = i32::from(self.node.number());
        let wanted: &[(&str, Place)] = match self.exclusivity {
            Exclusivity::Alone => &[("pg_try_advisory_lock", (DATABASE_LOCK, 0))],
            Exclusivity::Shared => &[
                ("pg_try_advisory_lock_shared", (DATABASE_LOCK, 0)),
                ("pg_try_advisory_lock", (NODE_LOCK, node)),
            ],
        };
        for &(function, place) in wanted {
            if !lock(session, function, place.0, place.1).await? {
                session.run("SELECT pg_advisory_unlock_all()").await?;
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn refusal(&self, (kind, _): Place, holder: &str) -> String {
        match (kind, self.exclusivity) {
            (NODE_LOCK, _) => format!(
                "another engine runs as node {} on this database ({holder}); give each engine a node.id (--node-id) of \
                 its own, or stop that one",
                self.node.number()
            ),
            (_, Exclusivity::Alone) => format!(
                "another engine sells from this database ({holder}); without redis.url only one engine may: set \
                 redis.url (--redis-url), the same for all engines, and a node.id for each, or stop the other one"
            ),
            (_, Exclusivity::Shared) => format!(
                "an engine without redis.url sells from this database alone ({holder}); stop it, or start it with the \
                 same redis.url (--redis-url)"
            ),
        }
    }
}

/// Whether the lock of another node is held by a session that began by then. Behind a pooler a session may be older than the
/// engine that has it.
pub(super) async fn another_stands_since(
    session: &mut Session,
    node: NodeId,
    moment: EpochMs,
) -> Result<bool, PgError> {
    let stands = "SELECT EXISTS ( \
                  SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                  WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 \
                  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                  AND l.classid::bigint = $1 AND l.objid::bigint <> $2 \
                  AND floor(extract(epoch FROM a.backend_start) * 1000)::bigint <= $3)";
    let (kind, own) = (i64::from(NODE_LOCK), i64::from(node.number()));
    let row = session.row(stands, &[&kind, &own, &moment.0]).await?;
    row.map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

/// What to say to a pooler that shares sessions.
const POOLED: &str = "PostgreSQL: postgres.url leads to a connection pooler that shares server sessions between clients \
                      (PgBouncer with pool_mode = transaction or statement); an engine needs sessions of its own: set \
                      pool_mode = session for its database, or let postgres.url lead to PostgreSQL itself";

/// SQLSTATEs of statements that were prepared in another session, or by another client in this one.
const STRANGERS: [&str; 2] = ["26000", "42P05"];

/// A pooler in transaction mode hands one server session to many clients: locks, settings and prepared statements of
/// this engine would be other clients' too. It gives itself away when two of our sessions meet in one of the
/// server's, or one of ours wanders between two. Whichever it lends next, the longest or the shortest idle: one of the
/// looks finds it.
///
/// Answers with one of the two sessions.
pub(super) async fn refuse_a_pooler(dialer: &Dialer) -> Result<Session, StoreError> {
    // One after the other: a pooler that is given time lends the second what the first has let go.
    let (mut ours, mut other) = (dialer.connect().await?, dialer.connect().await?);
    match is_pooled(&mut ours, &mut other).await {
        Ok(false) => Ok(ours),
        Err(error) if !STRANGERS.iter().any(|code| error.has_code(code)) => Err(error.into()),
        Ok(true) | Err(_) => Err(StoreError::fatal(POOLED)),
    }
}

async fn is_pooled(ours: &mut Session, other: &mut Session) -> Result<bool, PgError> {
    let at_first = backend(ours).await?;
    if backend(other).await? == at_first {
        return Ok(true);
    }
    // While the other one keeps a session busy, ours must still be where it was; and so afterwards.
    other.run("BEGIN").await?;
    let meets = backend(other).await? == at_first;
    let meanwhile = backend(ours).await?;
    other.run("COMMIT").await?;
    let afterwards = backend(ours).await?;
    Ok(meets || meanwhile != at_first || afterwards != at_first)
}

/// The server process behind a session, at this moment.
async fn backend(session: &mut Session) -> Result<i32, PgError> {
    let row = session.row("SELECT pg_backend_pid()", &[]).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
}

/// Kind and number of a lock.
type Place = (i32, i32);

async fn lock(session: &mut Session, function: &str, kind: i32, number: i32) -> Result<bool, PgError> {
    let row = session.row(&format!("SELECT {function}($1, $2)"), &[&kind, &number]).await?;
    Ok(row.map_or(Ok(false), |row| row.try_get(0))?)
}

/// Who holds a lock, in words.
async fn holder_of(session: &mut Session, (kind, number): Place) -> Result<String, PgError> {
    let select = "SELECT a.application_name || ' at ' || coalesce(host(a.client_addr), 'this host') || ', since ' || \
                  to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
                  FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                  WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.pid <> pg_backend_pid() \
                  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                  AND l.classid::bigint = $1 AND l.objid::bigint = $2 ORDER BY a.backend_start LIMIT 1";
    let row = session.row(select, &[&i64::from(kind), &i64::from(number)]).await?;
    let named: Option<String> = row.map_or(Ok(None), |row| row.try_get(0))?;
    Ok(named.unwrap_or_else(|| "it has just ended".into()))
}
