//! The connections of the `may` front end that are open: how many there may be, and when each is cut.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::socket::{Shutdown, shutdown};
use parking_lot::Mutex;

use super::settings::EdgeSettings;
use crate::clock::Clock;
use crate::telemetry::Telemetry;

/// The moment at which a connection that is being answered is cut.
const NEVER: u64 = u64::MAX;

/// The open sockets, by descriptor.
#[derive(Debug)]
pub struct Connections {
    clock: Clock,
    idle_ms: u64,
    connections_max: usize,
    telemetry: Arc<Telemetry>,
    /// Every answer ends its connection. Alone, so relaxed.
    leaving: AtomicBool,
    draining: AtomicBool,
    /// For each socket the moment, in milliseconds of the stopwatch, at which it is cut.
    open: Mutex<HashMap<RawFd, Arc<AtomicU64>>>,
}

impl Connections {
    /// None yet.
    pub fn new(settings: &EdgeSettings, clock: Clock, telemetry: Arc<Telemetry>) -> Self {
        Self {
            clock,
            idle_ms: settings.idle_timeout_ms,
            connections_max: settings.connections_max,
            telemetry,
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            open: Mutex::default(),
        }
    }

    /// From now on every answer ends its connection.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// From now on no connection is accepted either.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether no connection is accepted any more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn now_ms(&self) -> u64 {
        self.clock.stopwatch().ceil_ms()
    }

    /// A place for a connection, unless there are too many.
    pub fn enter(self: &Arc<Self>, socket: RawFd) -> Option<Place> {
        let cut_at = Arc::new(AtomicU64::new(self.now_ms() + self.idle_ms));
        let mut open = self.open.lock();
        if open.len() >= self.connections_max {
            self.telemetry.edge_connections_refused.increment();
            return None;
        }
        open.insert(socket, Arc::clone(&cut_at));
        self.telemetry.edge_connections.raise();
        Some(Place { connections: Arc::clone(self), socket, cut_at })
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// Ends this direction of all of them, and says how many they are.
    pub fn end_all(&self, how: Shutdown) -> usize {
        let open = self.open.lock();
        open.keys().for_each(|&socket| end(socket, how));
        open.len()
    }

    /// Cuts those whose time is over.
    pub fn cut_overdue(&self) {
        let now = self.now_ms();
        let open = self.open.lock();
        let overdue = open.iter().filter(|(_, cut_at)| cut_at.load(Ordering::Relaxed) <= now);
        overdue.for_each(|(&socket, _)| end(socket, Shutdown::Both));
    }
}

/// Ends one or both directions. The coroutine that waits for the socket wakes and finds the end.
fn end(socket: RawFd, how: Shutdown) {
    // It fails when the other side has ended both already: that is what was wanted.
    let _ = shutdown(socket, how);
}

/// A connection's place among the open ones. It must be dropped before the socket is closed: a descriptor in the table
/// is never another socket's.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    socket: RawFd,
    cut_at: Arc<AtomicU64>,
}

impl Place {
    /// The connection is cut unless it gets on within this time.
    pub fn cut_in(&self, ms: u64) {
        self.cut_at.store(self.connections.now_ms().saturating_add(ms), Ordering::Relaxed);
    }

    /// The connection is not cut before the next word.
    pub fn never_cut(&self) {
        self.cut_at.store(NEVER, Ordering::Relaxed);
    }

    /// Whether the next answer is the last one.
    pub fn is_ending(&self) -> bool {
        let Connections { leaving, draining, .. } = &*self.connections;
        leaving.load(Ordering::Relaxed) || draining.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.socket);
        self.connections.telemetry.edge_connections.lower();
    }
}
