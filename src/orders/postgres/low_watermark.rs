//! How far the order numbers of the other nodes are complete, as they say it in the store.
//!
//! A node that dies says nothing any more, and who follows the orders would wait for it for ever. So a node that has given
//! no sign of life for `postgres.silent_ms_max`, while somebody waited and gave signs himself, is given up: the life that
//! was found silent is ended, and only then, when nothing of it can become durable any more, its numbers are not waited for.
//! One that was wrongly given up notices at its next batch and begins a new life, as after every fence.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::PgError;
use super::lease_store::end_silent_life;
use super::rows::{self, column};
use super::session::Session;
use super::settings::PostgresSettings;
use crate::domain::{NodeId, OrderId};

/// What a node that is behind last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sign {
    node: i16,
    incarnation: i64,
    beats: i64,
}

/// When a sign was new.
#[derive(Clone, Copy, Debug)]
struct Heard {
    sign: Sign,
    at: Instant,
    /// This node's own beats by then.
    own_beats: i64,
}

/// The lowest number up to which a node is complete, and what a reader remembers of the nodes that hold it down.
#[derive(Debug)]
pub struct LowWatermark {
    node: i16,
    silent_after: Duration,
    /// So many beats of this node itself must have been taken meanwhile: in a store that is frozen everybody is silent.
    own_beats_min: i64,
    /// The last sign of each node that is behind.
    heard: Mutex<HashMap<i16, Heard>>,
}

impl LowWatermark {
    /// As `node` sees the others.
    pub fn new(node: NodeId, settings: &PostgresSettings) -> Self {
        Self {
            node: column(node.number()),
            silent_after: Duration::from_millis(settings.silent_ms_max.into()),
            own_beats_min: i64::from(settings.silent_ms_max / settings.beat_ms.max(1) / 2).max(1),
            heard: Mutex::default(),
        }
    }

    /// The number up to which the numbers of all other nodes are complete. `None` when there is nobody to wait for.
    pub async fn lowest(&self, session: &mut Session) -> Result<Option<OrderId>, PgError> {
        let row =
            session.row("SELECT min(settled_through) FROM nodes WHERE node <> $1", &[&self.node]).await?;
        row.map_or(Ok(None), |row| row.try_get::<_, Option<i64>>(0))?.map(rows::order_id).transpose()
    }

    /// Ends the lives of the nodes that hold the others up and have been silent for so long.
    pub async fn give_up_the_silent(&self, session: &mut Session) -> Result<(), PgError> {
        let behind = session
            .rows(
                "SELECT node, incarnation, beats, coalesce((SELECT beats FROM nodes WHERE node = $1), 0) FROM nodes \
                 WHERE node <> $1 AND settled_through < (SELECT max(order_id) FROM all_orders)",
                &[&self.node],
            )
            .await?;
        let own_beats = behind.first().map_or(Ok(0), |row| row.try_get(3))?;
        let sign = |row: &tokio_postgres::Row| {
            Ok(Sign { node: row.try_get(0)?, incarnation: row.try_get(1)?, beats: row.try_get(2)? })
        };
        let behind = behind.iter().map(sign).collect::<Result<Vec<_>, PgError>>()?;
        for Sign { node, incarnation, beats } in self.silent(&behind, own_beats, Instant::now()) {
            let ended = session
                .transaction(async |session| end_silent_life(session, node, incarnation, beats).await)
                .await;
            match ended {
                Ok(true) => {
                    tracing::warn!(node, "a silent node was given up: who follows the orders waited for it");
                }
                Ok(false) => {}
                // It is in the middle of a batch, or was given up by somebody else: the next reading looks again.
                Err(PgError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Those among the nodes `behind` whose sign has been the same for too long, while this one gave its own.
    fn silent(&self, behind: &[Sign], own_beats: i64, now: Instant) -> Vec<Sign> {
        let mut heard = self.heard.lock();
        heard.retain(|known, _| behind.iter().any(|sign| sign.node == *known));
        let mut silent = Vec::new();
        for &sign in behind {
            let new = Heard { sign, at: now, own_beats };
            let last = heard.entry(sign.node).or_insert(new);
            let has_spoken = own_beats - last.own_beats >= self.own_beats_min;
            if last.sign != sign {
                *last = new;
            } else if now.duration_since(last.at) > self.silent_after && has_spoken {
                silent.push(sign);
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(node: i16, incarnation: i64, beats: i64) -> Sign {
        Sign { node, incarnation, beats }
    }

    fn watermark() -> LowWatermark {
        let settings =
            PostgresSettings { silent_ms_max: 10_000, beat_ms: 1_000, ..PostgresSettings::default() };
        LowWatermark::new(NodeId::new(1).unwrap(), &settings)
    }

    #[test]
    fn only_who_stays_behind_without_a_sign_is_silent() {
        let watermark = watermark();
        let start = Instant::now();
        let silent = |behind: &[Sign], s| watermark.silent(behind, s, start + Duration::from_secs(s as u64));
        assert_eq!(silent(&[sign(2, 1, 5), sign(3, 1, 5)], 0), []);
        assert_eq!(silent(&[sign(2, 1, 6), sign(3, 1, 5)], 8), []);
        assert_eq!(silent(&[sign(2, 1, 6), sign(3, 1, 5)], 11), [sign(3, 1, 5)]);
        assert_eq!(silent(&[sign(3, 1, 5)], 12), [sign(3, 1, 5)], "until it has been given up");
        assert_eq!(silent(&[sign(3, 2, 5)], 13), [], "another life is not the one that was silent");
        assert_eq!(silent(&[sign(2, 1, 6)], 19), [], "who was not behind in between begins anew");
    }

    #[test]
    fn n1_who_gave_no_sign_itself_gives_nobody_up() {
        let watermark = watermark();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let behind = [sign(2, 1, 5)];
        assert_eq!(watermark.silent(&behind, 100, at(0)), []);
        assert_eq!(watermark.silent(&behind, 101, at(60)), [], "the store was frozen for a minute");
        assert_eq!(watermark.silent(&behind, 105, at(64)), behind);
    }
}
