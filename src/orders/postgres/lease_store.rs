//! The leasing half of the store: lives of nodes, epochs of sales, units settled and returned.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::watch;
use tokio_postgres::Row;

use super::super::store::{Audit, LeaseStore, LeftBook, StoreError, WantedShare};
use super::applied_watermark::AppliedWatermark;
use super::error::PgError;
use super::history::COUNT_DECISION;
use super::incarnation::NodeIncarnation;
use super::pool::Pool;
use super::read_orders::newest_order;
use super::rows::{self, damaged};
use super::session::Session;
use super::{retirement, stock_audit};
use crate::domain::{KnownNode, NodeId, OrderId, SaleId, SaleUnits, Share};

/// Waits for the batches of the node's present life, and keeps new ones waiting until the transaction ends.
const FENCE: &str = "SELECT pg_advisory_xact_lock(1936024428, $1)";

/// Ends the life of a node that was found silent, within a transaction. `false`: it has given another sign since, or that life was
/// over.
pub(super) async fn end_silent_life(
    session: &mut Session,
    node: i16,
    life: i64,
    beats: i64,
) -> Result<bool, PgError> {
    session.rows(FENCE, &[&i32::from(node)]).await?;
    let end = "UPDATE nodes SET incarnation = incarnation + 1, settled_through = NULL \
               WHERE node = $1 AND incarnation = $2 AND beats = $3 AND settled_through IS NOT NULL \
               RETURNING incarnation";
    let has_ended = session.row(end, &[&node, &life, &beats]).await?.is_some();
    if has_ended {
        session.run(COUNT_DECISION).await?;
    }
    Ok(has_ended)
}

/// The store's leasing half ([`LeaseStore`]).
#[derive(Debug)]
pub struct PgLeaseStore {
    pool: Arc<Pool>,
    own: Arc<NodeIncarnation>,
    watermark: Arc<AppliedWatermark>,
    /// Which store it is, since the first life.
    identity: OnceLock<Vec<u8>>,
}

impl PgLeaseStore {
    pub(super) fn new(pool: Arc<Pool>, node: NodeId) -> Result<Self, StoreError> {
        let registry = Self::lifeless(pool, node);
        registry.begin_life(0)?;
        Ok(registry)
    }

    /// For who only looks: nothing lives, so nothing can be written.
    pub(super) fn lifeless(pool: Arc<Pool>, node: NodeId) -> Self {
        let own = Arc::new(NodeIncarnation::none(node));
        Self { pool, own, watermark: Arc::default(), identity: OnceLock::new() }
    }

    pub(super) fn watermark(&self) -> &Arc<AppliedWatermark> {
        &self.watermark
    }

    /// The number of the last event that this node's follower has seen in the store, again whenever it changes.
    pub fn last_event(&self) -> watch::Receiver<u64> {
        self.watermark.last_event()
    }

    pub(super) fn own(&self) -> &Arc<NodeIncarnation> {
        &self.own
    }

    /// This engine's own incarnation.
    pub fn incarnation(&self) -> u64 {
        self.own.number() as u64
    }

    /// Ends the epochs of all sales: whoever is lent their stock later counts it anew. Of an engine that sells alone, which
    /// tells no ledger what it sells.
    ///
    /// # Errors
    /// What the database says.
    pub fn end_all_epochs(&self) -> Result<(), StoreError> {
        let node: i16 = self.own.node();
        self.pool.run(async |session| {
            session.run("UPDATE sales SET epoch = epoch + 1 WHERE retired = 0").await?;
            // Nobody else has the lock: the numbers of no other node are waited for.
            session.rows("UPDATE nodes SET settled_through = NULL WHERE node <> $1", &[&node]).await?;
            Ok(())
        })
    }

    /// No life begins in a store that this engine has not read: its sales and orders are others.
    fn refuse_another_store(&self) -> Result<(), StoreError> {
        let identity = self.pool.run(async |session| {
            let row = session.row("SELECT identity FROM store_identity", &[]).await?;
            Ok(row.ok_or_else(|| damaged("a store without identity"))?.try_get::<_, Vec<u8>>(0)?)
        })?;
        if *self.identity.get_or_init(|| identity.clone()) != identity {
            return Err(StoreError::fatal(
                "postgres.url leads to another order store than this engine has read",
            ));
        }
        Ok(())
    }

    /// Ends or begins a life of the node, as `change` says, when no batch of its present one is under way.
    fn fence(
        &self,
        node: i16,
        change: &str,
        parameters: &[super::session::Parameter<'_>],
    ) -> Result<Option<u64>, StoreError> {
        self.pool.run(async |session| {
            session.run("BEGIN").await?;
            session.rows(FENCE, &[&i32::from(node)]).await?;
            let changed = session.row(change, parameters).await?;
            session.run(COUNT_DECISION).await?;
            session.run("COMMIT").await?;
            Ok(changed.map(|row| row.try_get::<_, i64>(0)).transpose()?.map(|life| life as u64))
        })
    }
}

impl LeaseStore for PgLeaseStore {
    fn begin_life(&self, known: u64) -> Result<u64, StoreError> {
        self.refuse_another_store()?;
        let (node, known): (i16, i64) = (self.own.node(), rows::column(known));
        // What is durable by now is below every number of the life that begins: see `newest_order`.
        let incarnation = self.fence(
            node,
            "INSERT INTO nodes AS n (node, incarnation, settled_through, knows_refunds, knows_retirement) \
             VALUES ($1, $2::bigint + 1, (SELECT coalesce(max(order_id), 0) FROM all_orders), true, true) \
             ON CONFLICT (node) DO UPDATE SET incarnation = greatest(n.incarnation, $2) + 1, \
             settled_through = excluded.settled_through, beats = n.beats + 1, knows_refunds = true, \
             knows_retirement = true RETURNING incarnation",
            &[&node, &known],
        )?;
        let incarnation = incarnation.ok_or_else(|| damaged("a life that does not begin"))?;
        self.own.begin(rows::column(incarnation));
        Ok(incarnation)
    }

    fn end_life(&self, node: NodeId, life: u64) -> Result<Option<u64>, StoreError> {
        let (node, life): (i16, i64) = (rows::column(node.number()), rows::column(life));
        self.fence(
            node,
            "INSERT INTO nodes AS n (node, incarnation) VALUES ($1, $2::bigint + 1) \
             ON CONFLICT (node) DO UPDATE SET incarnation = $2 + 1, settled_through = NULL \
             WHERE n.incarnation <= $2 RETURNING incarnation",
            &[&node, &life],
        )
    }

    fn newest_order(&self) -> Result<Option<OrderId>, StoreError> {
        self.pool.run(newest_order)
    }

    fn incarnations(&self) -> Result<Vec<KnownNode>, StoreError> {
        // Whose life was ended, and who has left, completes no more order numbers.
        let select = "SELECT node, incarnation, settled_through IS NOT NULL FROM nodes ORDER BY node";
        self.pool.run(async |session| {
            let known = |row: &Row| {
                let (node, incarnation) = (node_of(row.try_get(0)?)?, row.try_get::<_, i64>(1)? as u64);
                Ok(KnownNode { node, incarnation, may_live: row.try_get(2)? })
            };
            session.rows(select, &[]).await?.iter().map(known).collect()
        })
    }

    fn end_epoch(&self, sale: SaleId, seen: u64) -> Result<Option<u64>, StoreError> {
        let (sale, seen): (i32, i64) = (rows::column(sale.0), rows::column(seen));
        self.pool.run(async |session| {
            let raised = session
                .row(
                    &format!(
                        "WITH counted AS ({COUNT_DECISION}) \
                         UPDATE sales SET epoch = greatest(epoch, $2::bigint) + 1 WHERE sale_id = $1 AND retired = 0 \
                         RETURNING epoch"
                    ),
                    &[&sale, &seen],
                )
                .await?;
            Ok(raised.map(|row| row.try_get::<_, i64>(0)).transpose()?.map(|epoch| epoch as u64))
        })
    }

    fn set_share(&self, wanted: WantedShare) -> Result<Option<u64>, StoreError> {
        Ok(self.set_shares(&[wanted])?.pop().flatten())
    }

    fn set_shares(&self, wanted: &[WantedShare]) -> Result<Vec<Option<u64>>, StoreError> {
        // Sales are locked in one order by all who lock several.
        let mut places: Vec<usize> = (0..wanted.len()).collect();
        places.sort_unstable_by_key(|&place| wanted[place].sale.0);
        let sales: Vec<i32> = places.iter().map(|&place| rows::column(wanted[place].sale.0)).collect();
        let numbers = |of: fn(&WantedShare) -> u64| -> Vec<i64> {
            places.iter().map(|&place| rows::column(of(&wanted[place]))).collect()
        };
        let (lives, turns, units) =
            (numbers(|wanted| wanted.life), numbers(|wanted| wanted.turn), numbers(|wanted| wanted.units));
        let node: i16 = self.own.node();
        let set = "SELECT set_share(w.sale, $1, w.life, w.turn, w.units) \
                   FROM unnest($2::integer[], $3::bigint[], $4::bigint[], $5::bigint[]) AS w (sale, life, turn, units)";
        self.pool.run(async |session| {
            let rows = session.rows(set, &[&node, &sales, &lives, &turns, &units]).await?;
            let mut shares = vec![None; wanted.len()];
            for (&place, row) in places.iter().zip(&rows) {
                shares[place] = row.try_get::<_, Option<i64>>(0)?.map(|units| units as u64);
            }
            Ok(shares)
        })
    }

    fn release_share(&self, sale: SaleId, node: NodeId, life: u64) -> Result<(), StoreError> {
        let (sale, node): (i32, i16) = (rows::column(sale.0), rows::column(node.number()));
        let life: i64 = rows::column(life);
        self.pool.run(async |session| {
            session.row("SELECT release_share($1, $2, $3)", &[&sale, &node, &life]).await?;
            Ok(())
        })
    }

    fn units(&self, sale: SaleId) -> Result<Option<SaleUnits>, StoreError> {
        Ok(self.units_of(&[sale])?.pop().flatten())
    }

    fn units_of(&self, sales: &[SaleId]) -> Result<Vec<Option<SaleUnits>>, StoreError> {
        let ids: Vec<i32> = sales.iter().map(|sale| rows::column(sale.0)).collect();
        let select = format!("{UNITS} AND s.retired = 0 GROUP BY s.sale_id");
        self.pool.run(async |session| {
            let rows = session.rows(&select, &[&ids]).await?;
            let mut found = HashMap::with_capacity(rows.len());
            for row in &rows {
                found.insert(row.try_get::<_, i32>(0)?, units_in(row)?);
            }
            Ok(ids.iter().map(|id| found.remove(id)).collect())
        })
    }

    fn audit(&self, sale: SaleId) -> Result<Option<(Audit, SaleUnits)>, StoreError> {
        self.pool.run_long(async |session| {
            session
                .snapshot(async |session| {
                    let audit = stock_audit::audit(session, rows::column(sale.0)).await?;
                    Ok(audit.zip(units(session, sale).await?))
                })
                .await
        })
    }

    fn left_books(&self, ended: &[SaleId], max: usize) -> Result<Vec<LeftBook>, StoreError> {
        self.pool.run(async |session| retirement::left_books(session, ended, max).await)
    }

    fn books_forgotten(&self, sales: &[SaleId]) -> Result<(), StoreError> {
        self.pool.run(async |session| retirement::books_forgotten(session, sales).await)
    }

    fn followed_until(&self) -> Option<Instant> {
        self.watermark.reached()
    }
}

/// One statement, one snapshot.
const UNITS: &str = "SELECT s.sale_id, s.epoch, s.total, s.revision, \
                     coalesce(array_agg(h.node ORDER BY h.node) FILTER (WHERE h.node IS NOT NULL), '{}'), \
                     coalesce(array_agg(h.sold ORDER BY h.node) FILTER (WHERE h.node IS NOT NULL), '{}'), \
                     coalesce(array_agg(h.granted ORDER BY h.node) FILTER (WHERE h.node IS NOT NULL), '{}'), \
                     coalesce(array_agg(h.life ORDER BY h.node) FILTER (WHERE h.node IS NOT NULL), '{}'), \
                     coalesce(sum(h.returned), 0)::bigint \
                     FROM sales s LEFT JOIN shares h USING (sale_id) WHERE s.sale_id = ANY ($1)";

/// Of a sale that has ended, too.
async fn units(session: &mut Session, sale: SaleId) -> Result<Option<SaleUnits>, PgError> {
    let ids: Vec<i32> = vec![rows::column(sale.0)];
    let row = session.row(&format!("{UNITS} GROUP BY s.sale_id"), &[&ids]).await?;
    row.as_ref().map(units_in).transpose()
}

fn units_in(row: &Row) -> Result<SaleUnits, PgError> {
    let nodes: Vec<i16> = row.try_get(4)?;
    let nodes = nodes.into_iter().map(node_of).collect::<Result<Vec<_>, PgError>>()?;
    let numbers = |place| -> Result<Vec<u64>, PgError> {
        let numbers: Vec<i64> = row.try_get(place)?;
        Ok(numbers.into_iter().map(|number| number as u64).collect())
    };
    let settled: Vec<(NodeId, u64)> = nodes.iter().copied().zip(numbers(5)?).collect();
    let shares = nodes.into_iter().zip(numbers(6)?).zip(numbers(7)?);
    let returned = row.try_get::<_, i64>(8)? as u64;
    Ok(SaleUnits {
        epoch: row.try_get::<_, i64>(1)? as u64,
        total: u64::from(rows::whole(row.try_get(2)?)?),
        revision: row.try_get::<_, i64>(3)? as u64,
        sold: settled.iter().map(|(_, units)| units).sum::<u64>().saturating_sub(returned),
        returned,
        settled,
        shares: shares.map(|((node, granted), life)| Share { node, life, granted }).collect(),
    })
}

/// A node from its column.
pub(super) fn node_of(number: i16) -> Result<NodeId, PgError> {
    u16::try_from(number).ok().and_then(NodeId::new).ok_or_else(|| damaged("no node"))
}
