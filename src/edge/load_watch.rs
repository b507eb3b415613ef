//! Looks at how long requests wait for their serving thread, and how busy that is: a hundred times a second, or ten times
//! where nobody waits, and not at all where nobody is connected.

use std::time::Duration;

use super::connection_timeout::ConnectionTimeouts;
use super::settings::EdgeSettings;
use super::shedding::{OverloadSettings, Shedding};
use crate::clock::Clock;
use crate::domain::Nanos;
use crate::telemetry::{EdgeLoad, Telemetry, thread_times};

/// Looks within one interval.
const LOOKS: u32 = 10;
/// Between two lines that say the same.
const QUIET: Nanos = Nanos(10 * Nanos::SECOND.0);

/// One thread's watch.
pub(super) struct LoadWatch {
    settings: OverloadSettings,
    clock: Clock,
    home: usize,
}

impl LoadWatch {
    pub fn new(settings: &EdgeSettings, clock: Clock, home: usize) -> Self {
        Self { settings: settings.overload.clone(), clock, home }
    }

    /// Watches the thread that polls this and serves these connections, for as long as it is polled.
    pub async fn watch(&self, telemetry: &Telemetry, connections: &ConnectionTimeouts) {
        let load = &telemetry.edge_load;
        let mut shedding = Shedding::new(&self.settings, self.clock.stopwatch());
        let mut said = Said::default();
        let interval = Duration::from_millis(self.settings.interval_ms);
        let mut looks = 0;
        // Looks in a row that found nobody waiting. A thread that has nothing to do is not to be woken for it.
        let mut calm_looks = 0;
        loop {
            let rests = calm_looks >= LOOKS;
            if rests {
                connections.any().await;
            }
            tokio::time::sleep(if rests { interval } else { interval / LOOKS }).await;
            let began = self.clock.stopwatch();
            // Woken again behind everything that is ready: so long waits who becomes ready now.
            tokio::task::yield_now().await;
            let now = self.clock.stopwatch();
            let wait = Nanos(now.0.saturating_sub(began.0));
            load.waited(self.home, wait);
            let is_calm = shedding.is_calm(wait);
            calm_looks = if is_calm { calm_looks.saturating_add(1) } else { 0 };
            if rests && !is_calm {
                // One look says nothing of the time since the last one: whether a queue stands is seen from now on.
                shedding.begin_anew(now);
            }
            if let Some(level) = shedding.note(wait, now) {
                load.set_level(self.home, level);
                said.level(self.home, level, wait, now);
            }
            looks += 1;
            if looks % LOOKS == 0
                && let Some((busy, starved)) = thread_times()
            {
                load.ran(self.home, busy, starved);
            }
        }
    }
}

/// What the log has been told.
#[derive(Default)]
struct Said {
    is_overloaded: bool,
    at: Option<Nanos>,
}

impl Said {
    fn level(&mut self, thread: usize, level: u32, wait: Nanos, now: Nanos) {
        let is_fresh = self.at.is_none_or(|at| now.0.saturating_sub(at.0) >= QUIET.0);
        let wait_ms = wait.0 / 1_000_000;
        match level {
            0 if self.is_overloaded => {
                self.is_overloaded = false;
                tracing::info!(
                    code = "edge-overload-over",
                    thread,
                    "nothing is refused for others' sake any more"
                );
            }
            1.. if !self.is_overloaded && is_fresh => {
                (self.is_overloaded, self.at) = (true, Some(now));
                let steps = EdgeLoad::LEVEL_MAX;
                tracing::warn!(
                    code = "edge-overloaded",
                    thread,
                    wait_ms,
                    level,
                    steps,
                    "requests wait for this thread: look-ups, payments and operators' reads are refused in steps, so that \
                     purchases go on"
                );
            }
            _ => {}
        }
    }
}
