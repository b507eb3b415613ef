//! For how long an endpoint has taken nothing: as long as it was tried.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::EpochMs;
use crate::orders::WebhookHealth;

/// Since when nothing was delivered although it was tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failing {
    /// By the calendar, moved by the time in which nobody tried.
    pub since: EpochMs,
    /// For how long before this courier began to count.
    before: Duration,
    counted_from: Instant,
}

impl Failing {
    /// A first try has failed.
    pub fn begun(calendar: EpochMs, now: Instant) -> Self {
        Self { since: calendar, before: Duration::ZERO, counted_from: now }
    }

    /// What a courier goes on with that finds the endpoint so. From the last try until now nobody may have tried: an engine
    /// that was off for days says nothing about the endpoint.
    pub fn found(health: &WebhookHealth, calendar: EpochMs, now: Instant) -> Option<Self> {
        let since = health.failing_since?;
        let tried_until = health.last_failure.as_ref().map_or(since, |(at, _)| *at);
        let tried_ms = tried_until.ms_since(since).max(0);
        let before = Duration::from_millis(tried_ms.unsigned_abs());
        Some(Self { since: calendar.plus_ms(-tried_ms), before, counted_from: now })
    }

    /// How long that is.
    pub fn lasts(&self) -> Duration {
        self.before + self.counted_from.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;
    const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_tried_does_not_count_however_often_that_is_so() {
        let begun_at = EpochMs(DAY_MS);
        let failing = Failing::begun(begun_at, Instant::now());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(failing.lasts(), Duration::from_secs(60));
        // Tried for a minute in each life, and between two of them the engine is off for a day.
        let mut health = WebhookHealth { failing_since: Some(failing.since), ..Default::default() };
        let mut calendar = begun_at.plus_ms(MINUTE_MS);
        for life in 2..10 {
            health.last_failure = Some((calendar, "HTTP status 503".into()));
            calendar = calendar.plus_ms(DAY_MS);
            let found = Failing::found(&health, calendar, Instant::now()).unwrap();
            tokio::time::advance(Duration::from_secs(60)).await;
            calendar = calendar.plus_ms(MINUTE_MS);
            assert_eq!(found.lasts(), Duration::from_secs(60 * life));
            assert_eq!(calendar.ms_since(found.since), MINUTE_MS * life as i64);
            health.failing_since = Some(found.since);
        }
    }

    #[tokio::test]
    async fn an_endpoint_that_takes_what_it_is_told_does_not_fail() {
        let (health, now) = (WebhookHealth::default(), Instant::now());
        assert!(Failing::found(&health, EpochMs(DAY_MS), now).is_none());
        // Whatever the calendar did.
        let ahead = Some((EpochMs(5), "away".into()));
        let health = WebhookHealth { failing_since: Some(EpochMs(9)), last_failure: ahead, ..health };
        let found = Failing::found(&health, EpochMs(7), now).unwrap();
        assert_eq!(found.since, EpochMs(7));
    }
}
