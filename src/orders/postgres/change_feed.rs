//! What the other nodes do, as the store tells it.

use std::sync::Arc;

use tokio_postgres::Row;

use super::super::events::Event;
use super::super::store::StoreError;
use super::applied_watermark::AppliedWatermark;
use super::error::PgError;
use super::failure_detector::Heartbeat;
use super::lease_store::{end_silent_life, node_of};
use super::pool::Pool;
use super::reader::events_after;
use super::retirement::DELETED;
use super::rows::{self, SALE_COLUMNS, SALE_COLUMNS_LEN, column, damaged};
use super::settings::PostgresSettings;
use super::stops;
use crate::domain::{EpochMs, NodeId, OrderId, OrderStatus, Sale, SaleId, Stops};

/// The ends of the two logs: whoever is behind one of them has something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnds {
    /// The number of the last event of an order.
    pub last_event: u64,
    /// The first and the last stamp of the events that have no number yet, if there are any.
    pub unplaced: Option<(i64, i64)>,
    /// The number of the last change of a sale, or of what is stopped.
    pub last_change: u64,
    /// The highest number of a durable order.
    pub newest_order: Option<OrderId>,
}

/// An order that waits for its payment, or for the end of one or of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// The order.
    pub id: OrderId,
    /// Until when it may be paid.
    pub pay_before: EpochMs,
    /// The number of the payment whose end, or whose refund's end, it waits for.
    pub payment: Option<u32>,
    /// The node that looks after a refund of it.
    pub refunded_by: Option<NodeId>,
}

/// What became of a sale, at whichever node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedSale {
    /// It was made, or its terms were changed: as it is now.
    Live(Sale),
    /// It was archived.
    Archived(Sale),
    /// It was deleted, by the change of this number.
    Deleted(SaleId, u64),
}

impl ChangedSale {
    /// The number of the last change.
    pub fn change(&self) -> u64 {
        match self {
            Self::Live(sale) | Self::Archived(sale) => sale.version,
            Self::Deleted(_, change) => *change,
        }
    }
}

/// Reads what other nodes do, and tells them that this one lives. All methods block.
#[derive(Debug)]
pub struct PgChangeFeed {
    pool: Arc<Pool>,
    node: NodeId,
    watermark: Arc<AppliedWatermark>,
}

impl PgChangeFeed {
    pub(super) fn new(pool: Arc<Pool>, node: NodeId, watermark: Arc<AppliedWatermark>) -> Self {
        Self { pool, node, watermark }
    }

    /// Where to say how far memory has followed.
    pub(super) fn watermark(&self) -> &AppliedWatermark {
        &self.watermark
    }

    /// This node.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn settings(&self) -> &PostgresSettings {
        self.pool.settings()
    }

    /// Where the logs end.
    pub(super) fn log_ends(&self) -> Result<LogEnds, StoreError> {
        let select = "SELECT last_seq, (SELECT last_change FROM sale_log), (SELECT max(order_id) FROM all_orders), \
                      (SELECT min(stamp) FROM unplaced_events WHERE stamp > placed_through), \
                      (SELECT max(stamp) FROM unplaced_events WHERE stamp > placed_through) FROM event_log";
        self.pool.run(async |session| {
            let row = session.row(select, &[]).await?.ok_or_else(|| damaged("no logs"))?;
            let end = |place| Ok::<_, PgError>(row.try_get::<_, i64>(place)? as u64);
            let newest_order = row.try_get::<_, Option<i64>>(2)?.map(rows::order_id).transpose()?;
            let (first, last): (Option<i64>, Option<i64>) = (row.try_get(3)?, row.try_get(4)?);
            Ok(LogEnds { last_event: end(0)?, unplaced: first.zip(last), last_change: end(1)?, newest_order })
        })
    }

    /// Says how far this node's order numbers are complete, unless its life was ended or it has left.
    pub(super) fn complete_through(&self, through: OrderId) -> Result<(), StoreError> {
        let (node, through): (i16, i64) = (column(self.node.number()), column(through.number()));
        let say = "UPDATE nodes SET settled_through = $2 WHERE node = $1 AND settled_through IS NOT NULL";
        self.pool.run(async |session| session.rows(say, &[&node, &through]).await.map(drop))
    }

    /// Events above `after`, in order, at most `limit`.
    pub(super) fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.pool.run(async |session| {
            session.snapshot(async |session| events_after(session, after, limit).await).await
        })
    }

    /// Live sales that were made or changed after the change numbered `after`, and sales that ended after `ended_after`, as they
    /// are now, in the order of their last changes.
    pub(super) fn sales_changed_after(
        &self,
        after: u64,
        ended_after: u64,
    ) -> Result<Vec<ChangedSale>, StoreError> {
        let [after, ended_after] = [after, ended_after].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let select = format!(
            "SELECT {SALE_COLUMNS}, retired FROM sales WHERE change > $1 AND (retired = 0 OR change > $2) ORDER BY change"
        );
        self.pool.run(async |session| {
            let changed = session.rows(&select, &[&after, &ended_after]).await?;
            changed.iter().map(changed_sale).collect()
        })
    }

    /// What is stopped at once.
    pub(super) fn stops(&self) -> Result<Stops, StoreError> {
        self.pool.run(stops::read)
    }

    /// Gives a sign of life, and answers with those of all nodes that ever lived.
    pub(super) fn heartbeat(&self) -> Result<Vec<Heartbeat>, StoreError> {
        let node: i16 = column(self.node.number());
        self.pool.run(async |session| {
            let beat = "UPDATE nodes SET beats = beats + 1 WHERE node = $1 RETURNING beats";
            // Who is not heard itself judges nobody.
            session.row(beat, &[&node]).await?.ok_or_else(|| damaged("this node is not in it"))?;
            let heartbeats = session
                .rows(
                    "SELECT node, incarnation, beats, \
                     (SELECT coalesce(sum(last_batch), 0)::bigint FROM writers w WHERE w.node = n.node) \
                     FROM nodes n ORDER BY node",
                    &[],
                )
                .await?;
            let heartbeat = |row: &Row| {
                Ok(Heartbeat {
                    node: node_of(row.try_get(0)?)?,
                    life: row.try_get(1)?,
                    beats: row.try_get(2)?,
                    batches: row.try_get(3)?,
                })
            };
            heartbeats.iter().map(heartbeat).collect()
        })
    }

    /// Ends the life of a silent node: nothing that it still has under way is committed from then on. `false`: it has given a sign
    /// of life since, and lives.
    pub(super) fn end_life(&self, silent: &Heartbeat) -> Result<bool, StoreError> {
        let node: i16 = column(silent.node.number());
        // Ended by somebody else, or by an attempt whose answer was lost; or it has left.
        let is_over = "SELECT 1 FROM nodes WHERE node = $1 AND beats = $2 AND settled_through IS NULL";
        self.pool.run(async |session| {
            session
                .transaction(async |session| {
                    Ok(end_silent_life(session, node, silent.life, silent.beats).await?
                        || session.row(is_over, &[&node, &silent.beats]).await?.is_some())
                })
                .await
        })
    }

    /// The open orders whose last step one of these nodes took; of archived sales those whose refund is under way. Reads all orders
    /// that are not archived: seconds for tens of millions.
    pub(super) fn open_orders_of(&self, nodes: &[NodeId]) -> Result<Vec<OpenOrder>, StoreError> {
        let nodes: Vec<i16> = nodes.iter().map(|node| column(node.number())).collect();
        let open = [OrderStatus::PrePay, OrderStatus::Paying, OrderStatus::Refunding];
        let open = open.map(|status| i16::from(status.code()));
        let select = "SELECT order_id, pay_before_ms, status, payment_attempt, step_node FROM orders \
                      WHERE step_node = ANY ($1) AND status = ANY ($2) UNION ALL \
                      SELECT order_id, pay_before_ms, status, payment_attempt, step_node FROM archived_orders \
                      WHERE step_node = ANY ($1) AND status = 7";
        self.pool.run_long(async |session| {
            let found = session.rows(select, &[&nodes, &open.as_slice()]).await?;
            let order = |row: &Row| {
                let status = rows::status(row.try_get(2)?)?;
                let (payment, node) = (rows::whole(row.try_get(3)?)?, node_of(row.try_get(4)?)?);
                Ok(OpenOrder {
                    id: rows::order_id(row.try_get(0)?)?,
                    pay_before: EpochMs(row.try_get(1)?),
                    payment: (status != OrderStatus::PrePay).then_some(payment),
                    refunded_by: (status == OrderStatus::Refunding).then_some(node),
                })
            };
            found.iter().map(order).collect()
        })
    }
}

fn changed_sale(row: &Row) -> Result<ChangedSale, PgError> {
    let retired: i16 = row.try_get(SALE_COLUMNS_LEN)?;
    if retired == DELETED {
        let (sale, change): (i32, i64) = (row.try_get(0)?, row.try_get(16)?);
        return Ok(ChangedSale::Deleted(SaleId(rows::whole(sale)?), change as u64));
    }
    let sale = rows::sale(row)?;
    Ok(if sale.archived_at.is_some() { ChangedSale::Archived(sale) } else { ChangedSale::Live(sale) })
}
