//! Who watches the live feed, and what they share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::live_snapshot::Snapshot;

/// A page without a script is asked for again within this time.
const LOOK_LASTS: Duration = Duration::from_secs(10);

/// What all viewers share.
#[derive(Debug)]
pub(super) struct Live {
    viewers: Arc<Semaphore>,
    viewers_max: usize,
    newest: watch::Sender<Option<Arc<Snapshot>>>,
    /// Whether the task that makes snapshots runs.
    is_sampled: Mutex<bool>,
    /// When somebody last asked for a page that is made of one.
    looked_at: Mutex<Option<Instant>>,
}

impl Live {
    /// Nobody watches.
    pub fn new(viewers_max: usize) -> Self {
        let (newest, _) = watch::channel(None);
        Self {
            viewers: Arc::new(Semaphore::new(viewers_max)),
            viewers_max,
            newest,
            is_sampled: Mutex::default(),
            looked_at: Mutex::default(),
        }
    }

    /// A viewer's place, if there is one.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.viewers).try_acquire_owned().ok()
    }

    /// Viewers at once.
    pub fn viewers_max(&self) -> usize {
        self.viewers_max
    }

    /// The snapshots from now on, and whether the caller has to start the task that makes them.
    pub fn watch(&self) -> (watch::Receiver<Option<Arc<Snapshot>>>, bool) {
        let mut is_sampled = self.is_sampled.lock();
        // Under the lock: the task ends under it as well, and only when nobody watches.
        let snapshots = self.newest.subscribe();
        (snapshots, !std::mem::replace(&mut *is_sampled, true))
    }

    /// Somebody asks for a page that is made of a snapshot.
    pub fn look(&self) {
        *self.looked_at.lock() = Some(Instant::now());
    }

    /// A new snapshot; `None` when the last one is not what is new any more.
    pub fn show(&self, snapshot: Option<Snapshot>) {
        self.newest.send_replace(snapshot.map(Arc::new));
    }

    /// Whether anybody looks at the engine.
    pub fn is_watched(&self) -> bool {
        let was_looked_at = self.looked_at.lock().is_some_and(|at| at.elapsed() < LOOK_LASTS);
        self.newest.receiver_count() > 0 || was_looked_at
    }

    /// Whether the task has nobody left to make snapshots for. It has ended then.
    pub fn ends(&self) -> bool {
        let mut is_sampled = self.is_sampled.lock();
        *is_sampled = self.is_watched();
        !*is_sampled
    }
}
