//! Keeps the engine's calendar: compares it with the one that counts, tells when that one steps, and takes it over once
//! it has settled, so that nobody who waits to pay loses time by it.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::desk::OrderDesk;
use super::store::StoreError;
use crate::clock::{Clock, ClockSettings, Finding, Sighting};
use crate::domain::EpochMs;

/// Guards the clock of `desk`, for ever. The calendar that counts is the store's, looked at every `store_look`, where
/// several nodes may share the store; otherwise it is the system's, looked at every `tick_ms`. Neither is looked at more often
/// than every `tick_ms`.
///
/// While the two differ, sales that have not opened yet open only when both say so, and whoever asks
/// [`Clock::is_agreed`] hears no. A calendar that has stepped and then runs evenly for `settle_ms` is taken over.
pub async fn guard_calendar(desk: OrderDesk, settings: ClockSettings, store_look: Option<Duration>) {
    let clock = desk.clock().clone();
    let mut calendar = clock.guarded(&settings);
    let tick = Duration::from_millis(settings.tick_ms);
    // Where the store's calendar counts the system's is only told of: nobody is woken for that alone.
    let mut ticks = interval(store_look.map_or(tick, |look| look.max(tick)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut system = SystemCalendar { settings: &settings, clock: &clock, told_off_ms: 0 };
    loop {
        ticks.tick().await;
        let seen = match store_look {
            None => Some(system_sighting(&clock)),
            Some(_) => {
                system.compare();
                store_sighting(&desk).await
            }
        };
        let Some(seen) = seen else { continue };
        let source = if store_look.is_some() { "the database's calendar" } else { "the system's calendar" };
        match calendar.see(seen) {
            Finding::Agrees | Finding::IsOff => {}
            Finding::Stepped { off_ms } => {
                clock.count_step();
                tracing::warn!(
                    off_ms,
                    settle_ms = settings.settle_ms,
                    "{source} has stepped: the engine goes on by its stopwatch, nothing expires, and sales open only when \
                     both calendars say so; set the clock right, or leave it as it is for clock.settle_ms and it is taken"
                );
            }
            Finding::Returned => tracing::warn!("{source} agrees with the engine's again"),
            Finding::Settled { off_ms } => {
                if let Err(error) = desk.move_calendar(off_ms).await {
                    tracing::warn!(
                        %error,
                        sqlstate = error.sqlstate.as_deref(),
                        "{source} cannot be taken yet: deadlines could not be moved with it"
                    );
                } else {
                    calendar.take(seen);
                    tracing::warn!(
                        off_ms,
                        "{source} is taken: deadlines were moved so that nobody loses time"
                    );
                }
            }
        }
        desk.hold_openings(calendar.opens_until(seen.at));
        clock.follow(&calendar);
        if store_look.is_none() {
            clock.show_system_off(calendar.off_ms());
        }
    }
}

fn system_sighting(clock: &Clock) -> Sighting {
    Sighting { calendar: Clock::system_calendar(), at: clock.stopwatch(), blur_ms: 0 }
}

/// What the store's calendar says, in the middle of the time it took to ask. `None` when it does not answer.
async fn store_sighting(desk: &OrderDesk) -> Option<Sighting> {
    let asked_at = desk.clock().stopwatch();
    let calendar: Result<Option<EpochMs>, StoreError> = desk.store_calendar().await;
    let took = desk.clock().stopwatch().0 - asked_at.0;
    let at = crate::domain::Nanos(asked_at.0 + took / 2);
    Some(Sighting { calendar: calendar.ok().flatten()?, at, blur_ms: took.div_ceil(2_000_000) })
}

/// The system's calendar where another one counts: it is only told of.
struct SystemCalendar<'a> {
    settings: &'a ClockSettings,
    clock: &'a Clock,
    told_off_ms: i64,
}

impl SystemCalendar<'_> {
    fn compare(&mut self) {
        let off_ms = Clock::system_calendar().ms_since(self.clock.calendar());
        self.clock.show_system_off(off_ms);
        if off_ms.abs_diff(self.told_off_ms) <= self.settings.step_ms_max {
            return;
        }
        self.told_off_ms = off_ms;
        self.clock.count_step();
        if off_ms.unsigned_abs() <= self.settings.step_ms_max {
            tracing::info!(off_ms, "this machine's calendar agrees with the database's again");
        } else {
            tracing::warn!(off_ms, "this machine's calendar is not the database's; the database's counts");
        }
    }
}
