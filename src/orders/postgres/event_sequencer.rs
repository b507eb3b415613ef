//! The numbers of events.
//!
//! A batch that numbered its events itself would hold the counter until its commit, and the batches of all nodes would
//! wait for each other. So events are written without a number, and one engine gives those that are visible their places
//! in the common order, again and again. Nothing depends on which one it is: two that do it wait for each other, and where
//! one dies the next goes on.
//!
//! It looks instead of being told: a `NOTIFY` is queued under a lock that the server holds until the commit.

use std::time::Duration;

use super::error::PgError;
use super::session::Session;

/// Rows that the function places at once, at most.
const ROWS_MAX: i32 = 1_000;
/// How long an event waits for the next look, while some come.
const PLACE_EVERY: Duration = Duration::from_millis(40);
/// And while none come.
const LOOK_EVERY: Duration = Duration::from_millis(80);

/// The one engine that numbers events, as far as this session goes.
#[derive(Debug, Default)]
pub struct EventSequencer {
    /// Whether it was said that events wait.
    is_held_up: bool,
}

impl EventSequencer {
    /// Gives the events that are there their numbers. Answers with how long to wait until the next time.
    ///
    /// # Errors
    /// The session is lost. What the server refuses is logged, once, and tried again.
    pub async fn place(&mut self, session: &mut Session) -> Result<Duration, PgError> {
        let placed = match session.row("SELECT place_events()", &[]).await {
            Ok(row) => row.map_or(Ok(0), |row| row.try_get::<_, i32>(0))?,
            Err(error) if error.is_lost() => return Err(error),
            Err(refused) => {
                if !std::mem::replace(&mut self.is_held_up, true) {
                    let error = super::super::store::StoreError::from(refused);
                    tracing::warn!(
                        %error,
                        sqlstate = error.sqlstate.as_deref(),
                        "events wait for their numbers: feeds and other nodes do not see them yet"
                    );
                }
                return Ok(LOOK_EVERY);
            }
        };
        if std::mem::take(&mut self.is_held_up) {
            tracing::info!("events have their numbers again");
        }
        Ok(match placed {
            0 => LOOK_EVERY,
            ROWS_MAX.. => Duration::ZERO,
            _ => PLACE_EVERY,
        })
    }
}
