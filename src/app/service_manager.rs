//! What the engine tells the service manager that started it, if one did and listens (systemd, `Type=notify`): that it sells,
//! that it reads its configuration again, that it stops, and, where there is a watchdog, that it lives.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::supervisor::Supervisor;

/// Buyers are served.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("sells")]);
}

/// The configuration is read again; [`ready`] follows, whatever came of it.
pub(super) fn reloading() {
    let states = NotifyState::monotonic_usec_now().map(|now| vec![NotifyState::Reloading, now]);
    tell(&states.unwrap_or_else(|_| vec![NotifyState::Reloading]));
}

/// The engine stops, and needs up to `stop_max` for it.
pub(super) fn stopping(stop_max: Duration) {
    let micros = u32::try_from(stop_max.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("finishes what is in flight"),
        NotifyState::ExtendTimeoutUsec(micros),
    ]);
}

/// Shows the watchdog, if there is one, that the control threads live: twice in its time, from the start on.
pub(super) fn keep_watchdog(supervisor: &Supervisor) {
    let Some(time) = sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) else { return };
    supervisor.task("watchdog", async move {
        let mut ticks = interval(time / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            tell(&[NotifyState::Watchdog]);
        }
    });
}

/// A manager that does not hear is no reason to do anything else.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
