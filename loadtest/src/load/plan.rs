//! Everything a worker needs to know, fixed before the first request.
//!
//! Protocol of the atomics: each is a single value that only grows or is set once, nothing else depends on it, and a
//! worker that sees it a moment late goes on for that moment. Relaxed throughout.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::scenario::Scenario;
use crate::wire::buyer::BuyerIdentity;
use crate::wire::request::Target;

/// The plan of a run, shared by its workers.
#[derive(Debug)]
pub struct Plan {
    /// The scenario.
    pub scenario: Scenario,
    /// Id of the run.
    pub run_id: String,
    /// The engine's data-plane addresses, each by itself; connections are dealt round robin.
    pub targets: Vec<Target>,
    /// `campaign/sku` of each campaign of the scenario.
    pub sales: Vec<String>,
    /// Headers of every request, whole lines.
    pub headers: Vec<String>,
    /// How buyers say who they are.
    pub identity: BuyerIdentity,
    /// Where logs go.
    pub folder: PathBuf,
    /// The run's clock.
    pub clock: Clock,
    /// Asks the workers to come to an end.
    pub interrupt: Interrupt,
    /// Whether the engine still answers.
    pub signs: LifeSigns,
}

/// Whether the engine still answers, as all workers see it together.
#[derive(Debug, Default)]
pub struct LifeSigns {
    answered_ns: AtomicU64,
    gone: AtomicBool,
}

impl LifeSigns {
    /// There was an answer at this time of the run's clock.
    pub fn answered(&self, at_ns: u64) {
        self.answered_ns.fetch_max(at_ns, Ordering::Relaxed);
    }

    /// The time of the last answer; zero before the first one.
    pub fn last_answer_ns(&self) -> u64 {
        self.answered_ns.load(Ordering::Relaxed)
    }

    /// The engine is taken to be gone for good.
    pub fn give_up(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
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
    /// Asks for it.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has been asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Seconds as nanoseconds.
pub fn ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
