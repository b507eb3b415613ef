//! Notes when nobody could pay: while the gateway is left alone, and while the store takes no steps. Deadlines move by
//! it, durably, and those who wait are told.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::service::Checkout;
use super::settings::WhenAway;
use crate::admission::Intake;
use crate::domain::EpochMs;
use crate::orders::{Grace, NOTICED_MS_MIN, OrderDesk, StoreError};

/// How often it is looked whether paying is possible, in ms.
const LOOK_MS: u64 = 100;
/// An outage that follows another one so soon is the same one, in ms: a gateway that is probed is not back.
const PAUSE_MS_MAX: i64 = 10_000;
/// Orders of one event row: telling many of them is many small steps between those of others.
const TOLD_AT_ONCE: usize = 512;

/// Watches, for ever. Writes down that the engine lives every `checkout.expiry.alive_ms`: what is missing at the next
/// start was an outage.
///
/// May be dropped at any moment: what was not written down then counts as time in which the engine did not live.
pub async fn note_outages(checkout: Checkout) {
    let desk = &checkout.0.coordinator.desk;
    let alive = Duration::from_millis(checkout.0.coordinator.settings.expiry.alive_ms);
    let mut ticks = interval(Duration::from_millis(LOOK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::default();
    let mut write_at = Instant::now();
    loop {
        ticks.tick().await;
        let now = desk.clock().calendar();
        let is_possible = checkout.paying_is_possible();
        let change = watch.look(is_possible, now);
        if let Change::Began { since } = change {
            tracing::warn!("nobody can pay now: deadlines move until that is over");
            desk.deadlines().set_ongoing(Some(since));
        }
        let is_open = checkout.0.coordinator.admission.queue().intake() == Intake::Open;
        let is_time = is_open && Instant::now() >= write_at;
        if is_time || change == Change::Over {
            write_at = Instant::now() + alive;
            // What fails is tried again: until then the outage goes on, and nothing expires.
            if let Err(error) = write_down(desk, &mut watch, now, change == Change::Over).await {
                tracing::debug!(
                    %error,
                    sqlstate = error.sqlstate.as_deref(),
                    "deadlines cannot be moved now; it is tried again"
                );
            }
        }
        if is_open && let Err(error) = desk.tell_moved(TOLD_AT_ONCE).await {
            tracing::debug!(
                %error,
                sqlstate = error.sqlstate.as_deref(),
                "some orders cannot be told now of their moved deadlines; it is tried again"
            );
        }
    }
}

async fn write_down(
    desk: &OrderDesk,
    watch: &mut Watch,
    now: EpochMs,
    is_over: bool,
) -> Result<(), StoreError> {
    if let Some(outage) = watch.outage(now) {
        desk.grant(outage.clone(), None).await?;
        if is_over {
            // Those who wait now may have been told of a shorter one.
            desk.deadlines().tell_of(&outage);
        }
    } else {
        desk.take_grants().await?;
    }
    if is_over {
        let since = watch.since.map_or(0, |since| now.ms_since(since));
        watch.ended(now);
        desk.deadlines().set_ongoing(None);
        tracing::info!(outage_ms = since, "paying is possible again");
    }
    desk.mark_alive().await
}

impl Checkout {
    /// Whether a buyer who wants to pay would not be turned away at once.
    fn paying_is_possible(&self) -> bool {
        let coordinator = &self.0.coordinator;
        let needs_risk = coordinator.settings.risk.when_away == WhenAway::Refuse;
        self.0.gate.wait().is_none()
            && !(needs_risk && coordinator.risk.gate().wait().is_some())
            && coordinator.admission.queue().intake() == Intake::Open
    }
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    /// An outage began, or goes on after a pause, and counts since then.
    Began {
        since: EpochMs,
    },
    /// It is over.
    Over,
}

/// The outage under way, and the last one.
#[derive(Debug, Default)]
struct Watch {
    since: Option<EpochMs>,
    last: Option<(EpochMs, EpochMs)>,
}

impl Watch {
    fn look(&mut self, is_possible: bool, now: EpochMs) -> Change {
        match (is_possible, self.since) {
            (false, None) => {
                let goes_on = self.last.filter(|(_, until)| now.ms_since(*until) <= PAUSE_MS_MAX);
                let since = goes_on.map_or(now, |(from, _)| from);
                self.since = Some(since);
                Change::Began { since }
            }
            (true, Some(_)) => Change::Over,
            _ => Change::None,
        }
    }

    /// The outage under way, if it is long enough to count.
    fn outage(&self, now: EpochMs) -> Option<Grace> {
        let since = self.since.filter(|since| now.ms_since(*since) >= NOTICED_MS_MIN)?;
        Some(Grace::outage(since, now, "nobody could pay"))
    }

    fn ended(&mut self, now: EpochMs) {
        self.last = self.outage(now).and_then(|outage| Some((outage.from, outage.until?)));
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m4_an_outage_is_one_although_the_gateway_is_probed_on_the_way() {
        let mut watch = Watch::default();
        let at = EpochMs;
        assert_eq!(watch.look(true, at(0)), Change::None);
        assert_eq!(watch.look(false, at(1_000)), Change::Began { since: at(1_000) });
        assert_eq!(watch.look(false, at(5_000)), Change::None);
        assert_eq!(watch.look(true, at(6_000)), Change::Over);
        assert_eq!(watch.outage(at(6_000)).unwrap().until, Some(at(6_000)));
        watch.ended(at(6_000));
        assert_eq!(watch.look(false, at(15_000)), Change::Began { since: at(1_000) });
        watch.ended(at(16_000));
        assert_eq!(watch.look(false, at(26_001)), Change::Began { since: at(26_001) });
    }

    #[test]
    fn what_is_over_at_once_moves_nothing() {
        let mut watch = Watch::default();
        watch.look(false, EpochMs(1_000));
        assert_eq!(watch.outage(EpochMs(1_999)), None);
    }
}
