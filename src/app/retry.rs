//! What a start does when a server does not let it through: it tries again, until it is through or told to stop. Only what
//! no time mends ends it.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::admin::Readiness;
use crate::exit::Failure;
use crate::orders::StoreError;
use crate::telemetry::Telemetry;

/// The pause after the first try; after each later one it is twice as long, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Does the steps of a start that may have to be tried again.
pub(super) struct Retry<'a> {
    pub control: &'a Handle,
    pub readiness: &'a Readiness,
    pub telemetry: &'a Telemetry,
    /// Turns true when the engine is told to stop.
    pub abandoned: &'a watch::Receiver<bool>,
}

impl Retry<'_> {
    /// Does `step`, which is about `what`, until it is done: each try begins from the beginning. `None` when the start is
    /// abandoned. Blocks.
    ///
    /// # Errors
    /// What an operator has to change.
    pub fn until_done<T>(
        &self,
        what: &str,
        mut step: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<Option<T>, Failure> {
        let began = Instant::now();
        let mut pause = PAUSE_MIN;
        let mut told = String::new();
        loop {
            let error = match step() {
                Ok(done) => {
                    if !told.is_empty() {
                        self.readiness.wait_for_store(None);
                        let after_ms = began.elapsed().as_millis() as u64;
                        tracing::info!(code = "start-goes-on", after_ms, "{what}: the start goes on");
                    }
                    return Ok((!*self.abandoned.borrow()).then_some(done));
                }
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(Failure::at_start(what)(error)),
            };
            self.telemetry.start_retries.increment();
            if told != error.message {
                self.readiness.wait_for_store(Some(&error.message));
                tracing::warn!(
                    code = "start-waits",
                    %error,
                    sqlstate = error.sqlstate.as_deref(),
                    "{what}: the start waits, and tries again"
                );
                told = error.message;
            }
            let mut abandoned = self.abandoned.clone();
            let stopped = async { timeout(pause, abandoned.wait_for(|is_told| *is_told)).await.is_ok() };
            if self.control.block_on(stopped) {
                return Ok(None);
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
