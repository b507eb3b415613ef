//! Everything a worker needs to know, fixed before the first request.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::scenario::Scenario;
use crate::wire::request::Target;

/// The plan of a run, shared by its workers.
#[derive(Debug)]
pub struct Plan {
    /// The scenario.
    pub scenario: Scenario,
    /// The engine's data-plane addresses; connections are dealt round robin.
    pub targets: Vec<Target>,
    /// `campaign/sku` of each campaign of the scenario.
    pub sales: Vec<String>,
    /// Headers of every request, whole lines.
    pub headers: Vec<String>,
    /// Where logs go.
    pub folder: PathBuf,
    /// The run's clock.
    pub clock: Clock,
    /// Asks the workers to come to an end.
    pub interrupt: Interrupt,
}

/// Nanoseconds since a common origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now.
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

/// Set once by a signal.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(pub std::sync::Arc<AtomicBool>);

impl Interrupt {
    /// Whether it has been asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Seconds as nanoseconds.
pub fn ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
