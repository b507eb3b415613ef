//! What all waiting rooms of a node share: the keys of passes, and the log that registrations leave by.
//!
//! # Protocol of the atomics
//!
//! `looked_at` is when all marks were last compared with the store. It chooses between two answers while nobody can tell who
//! is admitted, and publishes nothing; `refused` is only shown, and `elsewhere` only slows the release down. All relaxed, and the
//! real atomics in the model, too.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use super::load::Load;
use super::pass::PassKeys;
use super::recent_places::RecentPlaces;
use crate::domain::{Nanos, Registration, Rejection};

/// What waiting rooms go by on this node.
#[derive(Debug)]
pub struct RoomRules {
    /// The keys of passes.
    pub keys: PassKeys,
    /// Marks that were not compared with the store for so long decide nothing any more.
    pub stale: Nanos,
    /// How long a pass is good, from the start or from when its buyer joined, in milliseconds.
    pub pass_valid_ms: i64,
    /// People admitted a second at most, where the engine finds the rate out.
    pub most_per_s: u32,
    /// Registrations that may wait for the store, 32 bytes each while they do. Nobody gets a place beyond them: a place that is
    /// written nowhere is one that no check of the draw knows.
    pub queue_registrations_max: usize,
}

impl Default for RoomRules {
    fn default() -> Self {
        Self {
            keys: PassKeys::default(),
            stale: Nanos(10 * Nanos::SECOND.0),
            pass_valid_ms: 24 * 3600 * 1000,
            most_per_s: 10_000,
            queue_registrations_max: 1 << 16,
        }
    }
}

/// The waiting rooms of a node, as far as they are one.
#[derive(Debug)]
pub struct Rooms {
    rules: ArcSwap<RoomRules>,
    recent: OnceLock<RecentPlaces>,
    log: flume::Sender<Registration>,
    logged: flume::Receiver<Registration>,
    refused: AtomicU64,
    looked_at: AtomicU64,
    /// How full the fullest of the other nodes is, in thousandths.
    elsewhere: AtomicU32,
}

impl Default for Rooms {
    fn default() -> Self {
        let (log, logged) = flume::unbounded();
        let rules = ArcSwap::from_pointee(RoomRules::default());
        let (refused, looked_at, elsewhere) = Default::default();
        Self { rules, recent: OnceLock::new(), log, logged, refused, looked_at, elsewhere }
    }
}

impl Rooms {
    /// What is in force.
    pub fn rules(&self) -> Guard<Arc<RoomRules>> {
        self.rules.load()
    }

    /// Exchanges what is in force.
    pub fn set_rules(&self, rules: RoomRules) {
        self.rules.store(Arc::new(rules));
    }

    /// The registrations that are to be written down.
    pub fn registrations(&self) -> &flume::Receiver<Registration> {
        &self.logged
    }

    /// Buyers who were to come back for a place: the store did not keep up with registrations.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// All marks were compared with the store at this moment.
    pub fn set_looked_at(&self, now: Nanos) {
        self.looked_at.store(now.0, Relaxed);
    }

    /// The fullest of the other nodes that sell from the store is so full, as they said it last; empty where there are none.
    pub fn set_elsewhere(&self, load: &Load) {
        self.elsewhere.store(load.permille(), Relaxed);
    }

    /// How full the fullest of the other nodes is.
    pub fn elsewhere(&self) -> Load {
        Load::of_permille(self.elsewhere.load(Relaxed))
    }

    pub(super) fn recent(&self) -> &RecentPlaces {
        self.recent.get_or_init(RecentPlaces::default)
    }

    /// Whether one more registration may wait for the store. Who asks at the same moment may go beyond the bound together.
    pub(super) fn check_queue(&self) -> Result<(), Rejection> {
        if self.log.len() < self.rules().queue_registrations_max {
            return Ok(());
        }
        self.refused.fetch_add(1, Relaxed);
        Err(Rejection::Overloaded)
    }

    /// Has a registration written down.
    pub(super) fn log(&self, registration: Registration) {
        // Both ends are here.
        let _ = self.log.send(registration);
    }

    /// Whether anybody can tell here who is admitted.
    pub fn can_tell(&self, now: Nanos) -> bool {
        let rules = self.rules();
        !rules.keys.is_empty() && now.0.saturating_sub(self.looked_at.load(Relaxed)) <= rules.stale.0
    }
}
