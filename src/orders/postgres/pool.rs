//! Connections that are shared by all who ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::super::read_cancellation::ReadCancellation;
use super::super::store::{PoolFigures, StoreError};
use super::dialer::Dialer;
use super::error::PgError;
use super::session::{Session, Traffic};
use super::settings::PostgresSettings;

/// A bounded pool of sessions and the runtime that drives them.
#[derive(Debug)]
pub struct Pool {
    dialer: Arc<Dialer>,
    /// `None` only while the pool is dropped.
    runtime: Option<Runtime>,
    places: Semaphore,
    places_max: usize,
    /// One fewer than there are places: what takes long leaves one to what is short, such as this node's signs of life.
    long_places: Semaphore,
    idle: Mutex<Vec<Session>>,
    reused: AtomicU64,
    waited: AtomicU64,
    timed_out: AtomicU64,
}

impl Pool {
    /// A pool of at most `postgres.readers` connections. None is made yet.
    pub fn new(dialer: Arc<Dialer>) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|error| {
                let message = format!("the thread that reads from PostgreSQL cannot be started: {error}");
                StoreError::fatal(message).caused_by(error)
            })?;
        let places_max = (dialer.settings().readers as usize).max(2);
        Ok(Self {
            dialer,
            runtime: Some(runtime),
            places: Semaphore::new(places_max),
            places_max,
            long_places: Semaphore::new(places_max - 1),
            idle: Mutex::new(Vec::with_capacity(places_max)),
            reused: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
        })
    }

    /// The settings of the store.
    pub fn settings(&self) -> &PostgresSettings {
        self.dialer.settings()
    }

    /// Runs `work` on a connection of the pool. Blocks: not to be called on a thread that drives an async runtime.
    ///
    /// Work whose connection turns out to be dead is done once more on a new one: it must be such that doing it twice
    /// is doing it once.
    pub fn run<T>(
        &self,
        mut work: impl AsyncFnMut(&mut Session) -> Result<T, PgError>,
    ) -> Result<T, StoreError> {
        self.runtime().block_on(self.run_there(&mut work))
    }

    /// As [`Pool::run`], for work that may take seconds.
    pub fn run_long<T>(
        &self,
        mut work: impl AsyncFnMut(&mut Session) -> Result<T, PgError>,
    ) -> Result<T, StoreError> {
        self.runtime().block_on(async {
            let _long = self.place(&self.long_places).await?;
            self.run_there(&mut work).await
        })
    }

    async fn run_there<T>(
        &self,
        work: &mut impl AsyncFnMut(&mut Session) -> Result<T, PgError>,
    ) -> Result<T, StoreError> {
        let _place = self.place(&self.places).await?;
        let asker = ReadCancellation::current();
        let ready = std::iter::from_fn(|| self.idle.lock().pop()).find(Session::is_open);
        if let Some(mut session) = ready {
            self.reused.fetch_add(1, Ordering::Relaxed);
            match self.while_wanted(asker.clone(), &mut session, work).await {
                // The others that wait here lead to the same server: nobody shall find that out one by one.
                Err(error) if error.is_lost() => self.idle.lock().clear(),
                outcome => return self.put_back(session, outcome),
            }
        }
        let mut session = self.dialer.connect().await?;
        let outcome = self.while_wanted(asker, &mut session, work).await;
        self.put_back(session, outcome)
    }

    /// Does the work, and has the server stop it when the one who asked is gone.
    async fn while_wanted<T>(
        &self,
        asker: Option<ReadCancellation>,
        session: &mut Session,
        work: &mut impl AsyncFnMut(&mut Session) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        let Some(asker) = asker else { return work(session).await };
        let stop = session.stopper();
        tokio::select! {
            outcome = work(session) => outcome,
            () = asker.cancelled() => {
                // A request that does not arrive leaves the statement to the server's own limit.
                let _ = tokio::time::timeout(self.dialer.connect_wait(), stop.cancel_query(self.dialer.tls())).await;
                Err(PgError::Unwanted)
            }
        }
    }

    /// As [`Pool::run_long`], for work that cannot be done twice: on a new connection.
    pub fn run_once<T>(
        &self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, PgError>,
    ) -> Result<T, StoreError> {
        self.runtime().block_on(async {
            let _long = self.place(&self.long_places).await?;
            let _place = self.place(&self.places).await?;
            let mut session = self.dialer.connect().await?;
            let outcome = work(&mut session).await;
            self.put_back(session, outcome)
        })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime lives as long as the pool")
    }

    fn put_back<T>(&self, session: Session, outcome: Result<T, PgError>) -> Result<T, StoreError> {
        // A session whose work failed may be in the middle of something.
        if outcome.is_ok() && session.is_open() {
            let mut idle = self.idle.lock();
            if idle.len() < self.places_max {
                idle.push(session);
            }
        }
        Ok(outcome?)
    }

    async fn place<'a>(&self, places: &'a Semaphore) -> Result<SemaphorePermit<'a>, StoreError> {
        if let Ok(place) = places.try_acquire() {
            return Ok(place);
        }
        self.waited.fetch_add(1, Ordering::Relaxed);
        let wait_ms = self.dialer.settings().acquire_wait_ms;
        let wait = Duration::from_millis(wait_ms.into());
        if let Ok(Ok(place)) = tokio::time::timeout(wait, places.acquire()).await {
            return Ok(place);
        }
        self.timed_out.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::transient(format!(
            "all {} connections were in use for {wait_ms} ms; raise postgres.readers",
            self.places_max
        )))
    }

    /// What the pool has done and holds. Connections made, failed and broken are those of the whole store.
    pub fn figures(&self) -> PoolFigures {
        let Traffic { opened, failed, broken } = self.dialer.traffic();
        PoolFigures {
            capacity: self.places_max,
            opened: opened.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            broken: broken.load(Ordering::Relaxed),
            reused: self.reused.load(Ordering::Relaxed),
            waited: self.waited.load(Ordering::Relaxed),
            timed_out: self.timed_out.load(Ordering::Relaxed),
            in_use: self.places_max - self.places.available_permits(),
            idle: self.idle.lock().len(),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A runtime that is dropped on a thread of another one panics when it waits for its own threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
