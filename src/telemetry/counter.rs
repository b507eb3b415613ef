//! Numbers that any thread may change: one that only grows, one that goes up and down.
//!
//! # Protocol of the atomics
//!
//! They publish nothing: relaxed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam::utils::CachePadded;

/// A number that goes up and down, such as open connections.
#[derive(Debug, Default)]
pub struct Gauge(CachePadded<AtomicU64>);

impl Gauge {
    /// One more, until the guard is dropped.
    pub fn enter(&self) -> GaugeGuard<'_> {
        self.raise();
        GaugeGuard(self)
    }

    /// One more, for an owner that cannot hold a guard and lowers it itself.
    pub fn raise(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn lower(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts one in its [`Gauge`] while it lives.
#[derive(Debug)]
pub struct GaugeGuard<'a>(&'a Gauge);

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.lower();
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(CachePadded<AtomicU64>);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `more` more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
