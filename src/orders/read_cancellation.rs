//! Whether anybody waits for a reading of the store.
//!
//! A reading that blocks runs on a thread of its own and would go on to its end when the one who asked is gone. Inside
//! [`ReadCancellation::limited`] it holds its place until it has really ended, and is told to end when the asker is gone.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::store::StoreError;

tokio::task_local! {
    static CANCELLATION: ReadCancellation;
}

/// The asker, as the reading sees him.
#[derive(Clone, Debug)]
pub struct ReadCancellation {
    /// Closed by the asker's end.
    asker: watch::Receiver<()>,
    /// The place that the reading takes, given back when the last reading of the asker has ended.
    _place: Arc<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
    /// The runtime whose blocking pool reads.
    threads: Handle,
}

impl ReadCancellation {
    /// Waits for one of the `places` and does `work`, whose readings of the store hold the place, and are interrupted when
    /// this future is dropped.
    ///
    /// # Panics
    /// The semaphore is closed, which nobody does.
    pub async fn limited<T>(places: &Arc<Semaphore>, work: impl Future<Output = T>) -> T {
        Self::limited_on(&Handle::current(), places, None, work).await
    }

    /// The same, with the readings on the blocking pool of this runtime, and `turn` held as long as the place.
    ///
    /// # Panics
    /// As above.
    pub async fn limited_on<T>(
        threads: &Handle,
        places: &Arc<Semaphore>,
        turn: Option<OwnedSemaphorePermit>,
        work: impl Future<Output = T>,
    ) -> T {
        let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        let (_waiting, asker) = watch::channel(());
        let scope = Self { asker, _place: Arc::new((place, turn)), threads: threads.clone() };
        CANCELLATION.scope(scope, work).await
    }

    /// Runs a reading where it may block, in the name of the present asker.
    ///
    /// # Errors
    /// What the reading says, or that it was cut short by the shutdown.
    pub async fn read<T: Send + 'static>(
        query: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let asker = Self::current();
        let threads = asker.as_ref().map_or_else(Handle::current, |asker| asker.threads.clone());
        let reading = threads.spawn_blocking(move || match asker {
            Some(asker) => CANCELLATION.sync_scope(asker, query),
            None => query(),
        });
        reading.await.unwrap_or_else(|_| Err(StoreError::cut_short()))
    }

    /// The asker of the present task or reading. `None` where a reading goes to its end whoever is gone.
    pub fn current() -> Option<Self> {
        CANCELLATION.try_with(Self::clone).ok()
    }

    /// Whether the asker still waits.
    pub fn is_wanted(&self) -> bool {
        self.asker.has_changed().is_ok()
    }

    /// Ends when the asker is gone.
    pub async fn cancelled(mut self) {
        while self.asker.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn d4_a_reading_keeps_its_place_to_its_end_and_hears_that_its_asker_is_gone() {
        let places = Arc::new(Semaphore::new(1));
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let asking = tokio::spawn({
            let places = Arc::clone(&places);
            async move {
                let reading = ReadCancellation::read(move || {
                    let wanted = ReadCancellation::current().expect("somebody asks");
                    begun.send(wanted.is_wanted()).unwrap();
                    may_go_on.recv().unwrap();
                    begun.send(wanted.is_wanted()).unwrap();
                    Ok(())
                });
                ReadCancellation::limited(&places, reading).await
            }
        });
        let heard = |has_begun: mpsc::Receiver<bool>| {
            tokio::task::spawn_blocking(move || {
                let heard = has_begun.recv_timeout(Duration::from_secs(60)).unwrap();
                (has_begun, heard)
            })
        };
        let (has_begun, was_wanted) = heard(has_begun).await.unwrap();
        assert!(was_wanted);
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        assert_eq!(places.available_permits(), 0, "the reading still runs");
        go_on.send(()).unwrap();
        let (_, is_wanted) = heard(has_begun).await.unwrap();
        assert!(!is_wanted);
        drop(tokio::time::timeout(Duration::from_secs(60), places.acquire()).await.expect("it has ended"));
    }
}
