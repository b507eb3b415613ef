//! How far the order numbers of the other nodes are complete, as they say it in the store.
//!
//! A node that dies says nothing any more, and who follows the orders would wait for it for ever. So a node that has given
//! no sign of life for `postgres.silent_ms_max`, while somebody waited, is given up: its life is ended, and only then, when
//! nothing of it can become durable any more, its numbers are not waited for. One that was wrongly given up notices at its
//! next batch and begins a new life, as after every fence.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::PgError;
use super::lease_store::FENCE;
use super::rows::{self, column};
use super::session::Session;
use crate::domain::{NodeId, OrderId};

/// The lowest number up to which a node is complete, and what a reader remembers of the nodes that hold it down.
#[derive(Debug)]
pub struct LowWatermark {
    node: i16,
    silent_after: Duration,
    /// The last sign of each node that is behind, and when it was new.
    heard: Mutex<HashMap<i16, (i64, Instant)>>,
}

impl LowWatermark {
    /// As `node` sees the others.
    pub fn new(node: NodeId, silent_after: Duration) -> Self {
        Self { node: column(node.number()), silent_after, heard: Mutex::default() }
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
                "SELECT node, beats FROM nodes \
                 WHERE node <> $1 AND settled_through < (SELECT max(order_id) FROM orders)",
                &[&self.node],
            )
            .await?;
        let behind = behind.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let behind = behind.collect::<Result<Vec<(i16, i64)>, PgError>>()?;
        for (node, beats) in self.silent(&behind, Instant::now()) {
            session.run("BEGIN").await?;
            let ended = async {
                session.rows(FENCE, &[&i32::from(node)]).await?;
                let end = "UPDATE nodes SET incarnation = incarnation + 1, settled_through = NULL \
                           WHERE node = $1 AND beats = $2 RETURNING incarnation";
                session.row(end, &[&node, &beats]).await
            };
            match ended.await {
                Ok(row) => {
                    session.run("COMMIT").await?;
                    if row.is_some() {
                        tracing::warn!(
                            node,
                            "a silent node was given up: who follows the orders waited for it"
                        );
                    }
                }
                // It is in the middle of a batch, or was given up by somebody else: the next reading looks again.
                Err(PgError::Refused(_)) => session.run("ROLLBACK").await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Those among the nodes `behind` whose sign has been the same for too long.
    fn silent(&self, behind: &[(i16, i64)], now: Instant) -> Vec<(i16, i64)> {
        let mut heard = self.heard.lock();
        heard.retain(|known, _| behind.iter().any(|(node, _)| node == known));
        let mut silent = Vec::new();
        for &(node, beats) in behind {
            let last = heard.entry(node).or_insert((beats, now));
            if last.0 != beats {
                *last = (beats, now);
            } else if now.duration_since(last.1) > self.silent_after {
                silent.push((node, beats));
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_stays_behind_without_a_sign_is_silent() {
        let watermark = LowWatermark::new(NodeId::new(1).unwrap(), Duration::from_secs(10));
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(watermark.silent(&[(2, 5), (3, 5)], at(0)), []);
        assert_eq!(watermark.silent(&[(2, 6), (3, 5)], at(8)), []);
        assert_eq!(watermark.silent(&[(2, 6), (3, 5)], at(11)), [(3, 5)]);
        assert_eq!(watermark.silent(&[(3, 5)], at(12)), [(3, 5)], "until it has been given up");
        assert_eq!(watermark.silent(&[(2, 6)], at(19)), [], "who was not behind in between begins anew");
    }
}
