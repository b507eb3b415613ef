//! Where the engine is between its start and its end, as `app` says it and the probes read it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Where the engine is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Lifecycle {
    /// The edge does not listen yet.
    Starting,
    /// Buyers are served.
    Running,
    /// Stopping: what is in flight is finished, nothing new is taken.
    Draining,
}

/// What a start is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StartPhase {
    /// The order store is being opened: its lock, its tables.
    OpeningStore,
    /// Stock, claims and deadlines are rebuilt from the orders.
    ReadingOrders,
    /// Writers, payments and the edge are being started.
    OpeningEdge,
}

impl StartPhase {
    const ALL: [Self; 3] = [Self::OpeningStore, Self::ReadingOrders, Self::OpeningEdge];

    const fn word(self) -> &'static str {
        match self {
            Self::OpeningStore => "opening-store",
            Self::ReadingOrders => "reading-orders",
            Self::OpeningEdge => "opening-edge",
        }
    }
}

/// The lifecycle as `app` sets it and the probes read it. Words of their own that publish nothing else: relaxed.
#[derive(Debug)]
pub struct Readiness {
    lifecycle: AtomicU8,
    phase: AtomicU8,
    orders_read: AtomicU64,
    /// What the order store says that does not let the start through.
    waits_for_store: Mutex<Option<String>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            lifecycle: AtomicU8::new(Lifecycle::Starting as u8),
            phase: AtomicU8::new(StartPhase::OpeningStore as u8),
            orders_read: AtomicU64::new(0),
            waits_for_store: Mutex::new(None),
        }
    }
}

impl Readiness {
    /// Moves on.
    pub fn set(&self, lifecycle: Lifecycle) {
        self.lifecycle.store(lifecycle as u8, Relaxed);
    }

    /// Moves on within the start.
    pub fn enter(&self, phase: StartPhase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Counts the orders that the start has read.
    pub fn orders_read(&self) -> &AtomicU64 {
        &self.orders_read
    }

    /// The start waits for the order store, which said this; or does not any more.
    pub fn wait_for_store(&self, said: Option<&str>) {
        *self.waits_for_store.lock() = said.map(str::to_owned);
    }

    /// What the order store said that the start waits for.
    pub(super) fn waits_for_store(&self) -> Option<String> {
        self.waits_for_store.lock().clone()
    }

    /// Where the engine is.
    pub fn lifecycle(&self) -> Lifecycle {
        match self.lifecycle.load(Relaxed) {
            0 => Lifecycle::Starting,
            1 => Lifecycle::Running,
            _ => Lifecycle::Draining,
        }
    }

    /// How far the start is.
    pub(super) fn progress(&self) -> Value {
        let phase = StartPhase::ALL[usize::from(self.phase.load(Relaxed))];
        json!({ "phase": phase.word(), "orders_read": self.orders_read.load(Relaxed) })
    }
}
