//! Reads that go over many rows of the store (exports, audits, the counts that the console shows), on threads that give way:
//! where processors are scarce, buyers come first.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

use crate::orders::StoreError;

/// How much less the threads are worth to the scheduler than others, in steps of `nice`: about a tenth of the time of a processor that
/// others want, too, and all of one that nobody wants.
const GIVES_WAY: i32 = 10;
/// What gives way to everything.
const NICENESS_MAX: i32 = 19;

/// The threads that give way. Reads that still run when it is dropped have nobody who waits for them.
#[derive(Debug)]
pub struct BulkReads {
    /// Until it is dropped.
    runtime: Option<Runtime>,
}

impl BulkReads {
    /// Starts them.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> io::Result<Self> {
        // Said as it is to be: a thread begins with what the one had that started it.
        let niceness = (getpriority_process(None)? + GIVES_WAY).min(NICENESS_MAX);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("bulk")
            .on_thread_start(move || give_way(niceness))
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// The runtime that they are of.
    pub(super) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("it is there until it is dropped").handle()
    }

    /// Does `work` there, and what it asks the blocking pool for as well. It ends with this future. It must not wait for what others
    /// wait for, too (a connection of all): whoever opens that has it driven there.
    ///
    /// # Errors
    /// The engine stops (transient).
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut works = JoinSet::new();
        works.spawn_on(work, self.handle());
        works.join_next().await.expect("it was begun").map_err(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => StoreError::cut_short(),
        })
    }
}

impl Drop for BulkReads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Of the calling thread: that is what Linux has a priority of.
fn give_way(niceness: i32) {
    if let Err(error) = setpriority_process(None, niceness) {
        tracing::debug!(%error, "bulk reads do not give way to buyers");
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::spawn_blocking;

    use super::*;

    fn niceness() -> i32 {
        getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn what_goes_over_many_rows_gives_way_on_its_threads_alone() {
        let usual = niceness();
        let reads = BulkReads::start().unwrap();
        let theirs =
            reads.run(async { [niceness(), spawn_blocking(niceness).await.unwrap()] }).await.unwrap();
        assert_eq!(theirs, [(usual + GIVES_WAY).min(NICENESS_MAX); 2]);
        assert_eq!(niceness(), usual);
    }

    #[tokio::test]
    async fn what_is_done_there_ends_with_who_asked_for_it() {
        let reads = BulkReads::start().unwrap();
        let (held, gone) = tokio::sync::oneshot::channel::<()>();
        let endless = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        let waited = tokio::time::timeout(std::time::Duration::ZERO, reads.run(endless)).await;
        assert!(waited.is_err());
        assert!(gone.await.is_err(), "it was dropped");
    }
}
