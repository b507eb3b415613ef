//! The reading half.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row;

use super::super::events::{Event, EventKind};
use super::super::graces::Grace;
use super::super::node_figures::{OwnFigures, ToldFigures};
use super::super::refund_record::RefundRecord;
use super::super::store::{
    Audit, CompleteOrders, OrderFilter, PoolFigures, Record, StartVisitor, StoreError, StoreReader,
};
use super::super::trail::{TrailEntry, TrailFilter};
use super::super::wanted_orders::WantedOrders;
use super::error::PgError;
use super::incarnation::NodeIncarnation;
use super::lease_store::node_of;
use super::low_watermark::LowWatermark;
use super::order_pages::search;
use super::pool::Pool;
use super::read_orders::{newest_order, orders_by_id};
use super::rows::{self, ORDER_COLUMNS, SALE_COLUMNS, damaged};
use super::session::Session;
use super::stock_audit::audit;
use super::{deadlines, instance_lock, node_figures, refunds, retirement, stops, trail};
use crate::domain::{EpochMs, NodeId, Order, OrderId, Sale, SaleId, SaleKey, Stops, StoreIdentity};

/// Blocks of events that are read at once.
const EVENT_BLOCKS_READ: i64 = 64;
/// Rows that are fetched at once while everything is read.
const ROWS_FETCHED: usize = 10_000;

/// Reads the store through a pool of connections.
#[derive(Debug)]
pub struct PgReader {
    pool: Arc<Pool>,
    node: NodeId,
    own: Arc<NodeIncarnation>,
    low_watermark: LowWatermark,
}

impl PgReader {
    /// For the engine that is `node`, in its `own` life.
    pub(super) fn new(pool: Arc<Pool>, node: NodeId, own: Arc<NodeIncarnation>) -> Self {
        let low_watermark = LowWatermark::new(node, pool.settings());
        Self { pool, node, own, low_watermark }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl StoreReader for PgReader {
    fn orders(&self, ids: &[OrderId]) -> Result<Vec<Option<Order>>, StoreError> {
        let numbers: Vec<i64> = ids.iter().map(|id| rows::column(id.number())).collect();
        let found = self.pool.run(async |session| orders_by_id(session, &numbers).await)?;
        let found: HashMap<OrderId, Order> =
            found.into_iter().map(|order| (order.placed.id, order)).collect();
        // A number that is asked for twice is answered twice.
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    fn held_orders(&self, sales: &[SaleId], buyer: &str) -> Result<Vec<(OrderId, SaleId)>, StoreError> {
        // By the key of the table: one look a sale, and no order is read.
        let select = "SELECT sale_id, unnest(orders) FROM buyers WHERE sale_id = ANY ($1) AND buyer = $2";
        let sales: Vec<i32> = sales.iter().map(|sale| rows::column(sale.0)).collect();
        self.pool.run(async |session| {
            let found = session.rows(select, &[&sales, &buyer]).await?;
            let held = found.iter().map(|row| {
                let (sale, order): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
                let order = u64::try_from(order).ok().and_then(OrderId::from_number);
                let sale = u32::try_from(sale).ok().map(SaleId);
                order.zip(sale).ok_or_else(|| damaged("a buyer without a number"))
            });
            held.collect()
        })
    }

    fn orders_after(
        &self,
        sale: Option<SaleId>,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let filter = OrderFilter { sale, ..OrderFilter::default() };
        let after: i64 = after.map_or(-1, |id| rows::column(id.number()));
        self.pool.run_long(async |session| {
            let last = rows::order_id(i64::MAX)?;
            search(session, &filter, after, last, limit).await.map(|(orders, _)| orders)
        })
    }

    fn complete_orders(
        &self,
        filter: &OrderFilter,
        after: Option<OrderId>,
        limit: usize,
        through: OrderId,
    ) -> Result<CompleteOrders, StoreError> {
        let after: i64 = after.map_or(-1, |id| rows::column(id.number()));
        self.pool.run_long(async |session| {
            self.low_watermark.give_up_the_silent(session).await?;
            session
                .snapshot(async |session| {
                    // The watermark and the orders are of one moment: a node that joins later numbers its orders above them.
                    let through = self
                        .low_watermark
                        .lowest(session)
                        .await?
                        .map_or(through, |lowest| lowest.min(through));
                    let newest = newest_order(session).await?;
                    let (orders, looked_through) = search(session, filter, after, through, limit).await?;
                    Ok(CompleteOrders { orders, looked_through, through, newest })
                })
                .await
        })
    }

    fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.pool.run_long(async |session| {
            // Who follows asks again and again, and mostly in vain: that needs no snapshot.
            let any = "SELECT 1 FROM event_blocks WHERE last_seq > $1 LIMIT 1";
            if session.row(any, &[&after]).await?.is_none() {
                return Ok(Vec::new());
            }
            session.snapshot(async |session| events_after(session, after, limit).await).await
        })
    }

    fn trail_after(&self, tenant: &str, after: u64, limit: usize) -> Result<Vec<TrailEntry>, StoreError> {
        let (after, limit) =
            (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        self.pool.run_long(async |session| trail::read(session, tenant, after, limit).await)
    }

    fn trail_page(&self, filter: &TrailFilter) -> Result<Vec<TrailEntry>, StoreError> {
        self.pool.run_long(async |session| trail::page(session, filter).await)
    }

    fn refunds(&self, order: OrderId) -> Result<Vec<RefundRecord>, StoreError> {
        let order: i64 = rows::column(order.number());
        self.pool.run(async |session| {
            let found = refunds::of_orders(session, &[order]).await?;
            Ok(found.into_iter().map(|(_, refund)| refund).collect())
        })
    }

    fn audit(&self, sale: SaleId) -> Result<Option<Audit>, StoreError> {
        let sale: i32 = rows::column(sale.0);
        self.pool.run_long(async |session| session.snapshot(async |session| audit(session, sale).await).await)
    }

    fn sale(&self, id: SaleId) -> Result<Option<Sale>, StoreError> {
        let select = format!("SELECT {SALE_COLUMNS} FROM sales WHERE sale_id = $1 AND retired < 2");
        let id: i32 = rows::column(id.0);
        self.pool
            .run(async |session| session.row(&select, &[&id]).await?.as_ref().map(rows::sale).transpose())
    }

    fn sales(&self) -> Result<Vec<Sale>, StoreError> {
        self.pool.run(async |session| sales(session, "retired = 0").await)
    }

    fn archived_orders_of(&self, wanted: &WantedOrders) -> Result<Vec<(OrderId, SaleId)>, StoreError> {
        self.pool.run(async |session| retirement::orders_of(session, wanted).await)
    }

    fn archived_sales(&self, tenant: &str) -> Result<Vec<Sale>, StoreError> {
        self.pool.run(async |session| retirement::sales(session, tenant).await)
    }

    fn moving_sales(&self) -> Result<Vec<SaleId>, StoreError> {
        self.pool.run(retirement::moving)
    }

    fn archived_sale(&self, key: &SaleKey) -> Result<Option<Sale>, StoreError> {
        self.pool.run(async |session| retirement::sale(session, key).await)
    }

    fn read_all(&self, visitor: &mut dyn StartVisitor) -> Result<(), StoreError> {
        let visit: &mut dyn FnMut(Record) = &mut |record| visitor.see(record);
        // Once: what was shown cannot be taken back.
        self.pool
            .run_once(async |session| session.snapshot(async |session| read_all(session, visit).await).await)
    }

    fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.pool.run(async |session| {
            let row = session.row("SELECT identity FROM store_identity", &[]).await?;
            let row = row.ok_or_else(|| damaged("no identity"))?;
            StoreIdentity::from_bytes(row.try_get(0)?).ok_or_else(|| damaged("no identity of 16 bytes"))
        })
    }

    fn stops(&self) -> Result<Stops, StoreError> {
        self.pool.run(stops::read)
    }

    fn graces(&self) -> Result<Vec<Grace>, StoreError> {
        self.pool.run(deadlines::graces)
    }

    fn last_alive(&self) -> Result<Option<EpochMs>, StoreError> {
        self.pool.run(deadlines::last_alive)
    }

    fn life(&self) -> Option<u64> {
        Some(self.own.number() as u64)
    }

    fn another_lives_since(&self, moment: EpochMs) -> Result<bool, StoreError> {
        self.pool.run(async |session| instance_lock::another_stands_since(session, self.node, moment).await)
    }

    fn exchange_figures(&self, own: Option<&OwnFigures>) -> Result<Vec<ToldFigures>, StoreError> {
        self.pool.run(async |session| node_figures::exchange(session, self.node, own).await)
    }

    fn calendar(&self) -> Result<Option<EpochMs>, StoreError> {
        let now = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        self.pool.run(async |session| {
            let row = session.row(now, &[]).await?.ok_or_else(|| damaged("no calendar"))?;
            Ok(Some(EpochMs(row.try_get(0)?)))
        })
    }

    fn pool_figures(&self) -> PoolFigures {
        self.pool.figures()
    }
}

async fn sales(session: &mut Session, which: &str) -> Result<Vec<Sale>, PgError> {
    let select = format!("SELECT {SALE_COLUMNS} FROM sales WHERE {which} ORDER BY sale_id");
    session.rows(&select, &[]).await?.iter().map(rows::sale).collect()
}

pub(super) async fn events_after(
    session: &mut Session,
    after: i64,
    limit: usize,
) -> Result<Vec<Event>, PgError> {
    let mut found: Vec<(u64, (EventKind, u32), EpochMs, OrderId)> = Vec::new();
    let mut last_read = after;
    loop {
        let blocks = session
            .rows(
                "SELECT last_seq, kind, at_ms, order_ids FROM event_blocks WHERE last_seq > $1 ORDER BY last_seq LIMIT $2",
                &[&last_read, &EVENT_BLOCKS_READ],
            )
            .await?;
        for block in &blocks {
            last_read = block.try_get(0)?;
            let kind = EventKind::from_block_code(block.try_get::<_, i16>(1)?.into());
            let kind = kind.ok_or_else(|| damaged("an unknown event kind"))?;
            let numbers: Vec<i64> = block.try_get(3)?;
            let first = last_read + 1 - numbers.len() as i64;
            for (seq, number) in (first..).zip(numbers).filter(|(seq, _)| *seq > after) {
                found.push((seq as u64, kind, EpochMs(block.try_get(2)?), rows::order_id(number)?));
            }
        }
        if found.len() >= limit || blocks.len() < EVENT_BLOCKS_READ as usize {
            break;
        }
    }
    found.truncate(limit);
    let mut ids: Vec<i64> = found.iter().map(|(.., id)| rows::column(id.number())).collect();
    ids.sort_unstable();
    ids.dedup();
    let orders: HashMap<OrderId, Order> =
        orders_by_id(session, &ids).await?.into_iter().map(|order| (order.placed.id, order)).collect();
    let refunded = found.iter().filter(|(_, (kind, _), ..)| *kind == EventKind::Refunded);
    let refunded: Vec<i64> = refunded.map(|(.., id)| rows::column(id.number())).collect();
    let refunds =
        if refunded.is_empty() { Vec::new() } else { refunds::of_orders(session, &refunded).await? };
    let refunds: HashMap<(OrderId, u32), RefundRecord> =
        refunds.into_iter().map(|(id, refund)| ((id, refund.number), refund)).collect();
    let events = found.into_iter().map(|(seq, (kind, number), block_at, id)| {
        let order = orders.get(&id).cloned().ok_or_else(|| damaged("an event without its order"))?;
        let at = if kind == EventKind::Created { order.placed.created_at } else { block_at };
        let refund = refunds.get(&(id, number)).filter(|_| kind == EventKind::Refunded).cloned();
        if kind == EventKind::Refunded && refund.is_none() {
            return Err(damaged("an event without its refund"));
        }
        Ok(Event { seq, kind, at, order, refund })
    });
    events.collect()
}

async fn read_all(session: &mut Session, visit: &mut dyn FnMut(Record)) -> Result<(), PgError> {
    let last_event = session.row("SELECT last_seq FROM event_log", &[]).await?;
    let last_event = last_event.ok_or_else(|| damaged("no event log"))?.try_get::<_, i64>(0)? as u64;
    visit(Record::LastEvent(last_event));
    let newest = session.row("SELECT max(order_id) FROM archived_orders", &[]).await?;
    let newest = newest.map_or(Ok(None), |row| row.try_get::<_, Option<i64>>(0))?;
    if let Some(newest) = newest {
        visit(Record::NewestElsewhere(rows::order_id(newest)?));
    }
    let names = "SELECT tenant, campaign, sku FROM sales WHERE retired = 1";
    for row in &session.rows(names, &[]).await? {
        let key = SaleKey::new(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        visit(Record::Archived(key.map_err(damaged)?));
    }
    // One whose orders have yet to move has its buyers in memory until they have.
    let wanted = "retired = 0 OR moved_through IS NOT NULL";
    sales(session, wanted).await?.into_iter().for_each(|sale| visit(Record::Sale(sale)));
    let refunding =
        format!("SELECT {ORDER_COLUMNS}, step_node FROM archived_orders WHERE status = 7 ORDER BY order_id");
    for row in &session.rows(&refunding, &[]).await? {
        visit(Record::Refunding(rows::order(row)?, Some(step_node(row)?)));
    }
    session
        .run(&format!(
            "DECLARE everything NO SCROLL CURSOR FOR SELECT {ORDER_COLUMNS}, step_node FROM orders ORDER BY order_id"
        ))
        .await?;
    let fetch = format!("FETCH {ROWS_FETCHED} FROM everything");
    loop {
        let fetched = session.rows(&fetch, &[]).await?;
        for row in &fetched {
            visit(Record::Order(rows::order(row)?, Some(step_node(row)?)));
        }
        if fetched.len() < ROWS_FETCHED {
            return session.run("CLOSE everything").await;
        }
    }
}

/// The node that took an order's last step, behind the order's own columns.
fn step_node(row: &Row) -> Result<NodeId, PgError> {
    node_of(row.try_get(rows::ORDER_COLUMNS_LEN)?)
}
