//! The reading half: connections that see the last commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use rusqlite::{Connection, OptionalExtension};

use super::super::events::{Event, EventKind};
use super::super::graces::Grace;
use super::super::log_watch::LogFigures;
use super::super::read_cancellation::ReadCancellation;
use super::super::refund_record::RefundRecord;
use super::super::store::{
    Audit, CompleteOrders, OrderFilter, PoolFigures, StartVisitor, StoreError, StoreReader,
};
use super::super::trail::{TrailEntry, TrailFilter};
use super::super::wanted_orders::WantedOrders;
use super::audit::{Counted, SaleCount};
use super::connection::damaged;
use super::log::Log;
use super::order_pages::OrderSearch;
use super::rows::{self, ORDER_COLUMNS, SALE_COLUMNS};
use super::settings::SqliteSettings;
use super::{deadlines, everything, refunds, retirement, stops, trail};
use crate::domain::{EpochMs, Order, OrderId, OrderStatus, Sale, SaleId, SaleKey, Stops, StoreIdentity};

/// Steps of SQLite's machine between two looks whether anybody waits for the answer: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

/// Reads the store. Every call takes a connection of the pool, or opens one more for itself when all are in use.
#[derive(Debug)]
pub struct SqliteReader {
    idle: ArrayQueue<Connection>,
    opened: AtomicU64,
    failed: AtomicU64,
    reused: AtomicU64,
    /// Last: it holds what is closed after the connections.
    log: Arc<Log>,
}

impl SqliteReader {
    pub(super) fn new(log: Arc<Log>, settings: &SqliteSettings) -> Self {
        Self {
            idle: ArrayQueue::new(settings.readers.max(1) as usize),
            opened: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            log,
        }
    }

    /// The log that is read through.
    #[cfg(test)]
    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn connection(&self) -> Result<Connection, StoreError> {
        if let Some(ready) = self.idle.pop() {
            self.reused.fetch_add(1, Ordering::Relaxed);
            return Ok(ready);
        }
        let opened = self.log.connect_reader();
        let count = if opened.is_ok() { &self.opened } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        opened
    }

    /// The connection is in no transaction any more.
    fn give_back(&self, connection: Connection) {
        // More than the pool holds are closed again.
        let _ = self.idle.push(connection);
    }

    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection()?;
        let wanted = ReadCancellation::current();
        if let Some(wanted) = wanted.clone() {
            connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || !wanted.is_wanted()))?;
        }
        let under_way = self.log.reads.begin();
        let answer = query(&connection);
        drop(under_way);
        if wanted.is_some() {
            connection.progress_handler(0, None::<fn() -> bool>)?;
        }
        self.give_back(connection);
        answer
    }

    fn search<'a>(&self, mut search: OrderSearch<'a>) -> Result<OrderSearch<'a>, StoreError> {
        while self.read(|connection| search.piece(connection))? {}
        Ok(search)
    }
}

impl StoreReader for SqliteReader {
    fn orders(&self, ids: &[OrderId]) -> Result<Vec<Option<Order>>, StoreError> {
        let select = format!("SELECT {ORDER_COLUMNS} FROM orders WHERE order_id = ?");
        self.read(|connection| {
            // One read transaction: the lock of the log is taken once for all of them.
            let snapshot = connection.unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached(&select)?;
            let mut find = |id: &OrderId| match statement.query_row([id.number()], rows::order).optional()? {
                None => retirement::order(&snapshot, *id),
                found => Ok(found),
            };
            ids.iter().map(&mut find).collect()
        })
    }

    fn orders_after(
        &self,
        sale: Option<SaleId>,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let filter = OrderFilter { sale, ..OrderFilter::default() };
        Ok(self.search(OrderSearch::new(&filter, after, None, limit))?.found)
    }

    fn complete_orders(
        &self,
        filter: &OrderFilter,
        after: Option<OrderId>,
        limit: usize,
        through: OrderId,
    ) -> Result<CompleteOrders, StoreError> {
        let newest = self.read(|connection| {
            let live = "SELECT max(order_id) FROM orders";
            let live: Option<u64> = connection.prepare_cached(live)?.query_row([], |row| row.get(0))?;
            Ok(live.and_then(OrderId::from_number).max(retirement::newest_archived(connection)?))
        })?;
        let search = self.search(OrderSearch::new(filter, after, Some(through), limit))?;
        let looked_through = search.looked_through(through);
        Ok(CompleteOrders { orders: search.found, looked_through, through, newest })
    }

    fn events_after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(|connection| {
            // One read transaction: the blocks and the orders they name are of one moment.
            let snapshot = connection.unchecked_transaction()?;
            let mut blocks = snapshot.prepare_cached(
                "SELECT last_seq, kind, at_ms, order_ids FROM event_blocks WHERE last_seq > ? ORDER BY last_seq",
            )?;
            let mut orders =
                snapshot.prepare_cached(&format!("SELECT {ORDER_COLUMNS} FROM all_orders WHERE order_id = ?"))?;
            let mut events = Vec::new();
            let mut rows = blocks.query([i64::try_from(after).unwrap_or(i64::MAX)])?;
            while let Some(row) = rows.next()? {
                let last_seq: u64 = row.get(0)?;
                let (kind, number) =
                    EventKind::from_block_code(row.get(1)?).ok_or_else(|| damaged("an unknown event kind"))?;
                let (numbers, _) = row
                    .get_ref(3)?
                    .as_blob()
                    .map_err(|_| damaged("an event block without orders"))?
                    .as_chunks::<8>();
                let first_seq = last_seq + 1 - numbers.len() as u64;
                for (seq, order_number) in (first_seq..).zip(numbers).filter(|(seq, _)| *seq > after) {
                    if events.len() == limit {
                        return Ok(events);
                    }
                    let order = orders.query_row([i64::from_be_bytes(*order_number)], rows::order)?;
                    let at = match kind {
                        EventKind::Created => order.placed.created_at,
                        _ => EpochMs(row.get(2)?),
                    };
                    let refund = if kind == EventKind::Refunded {
                        let all = refunds::of_order(&snapshot, order.placed.id)?;
                        let made = all.into_iter().find(|refund| refund.number == number);
                        Some(made.ok_or_else(|| damaged("an event without its refund"))?)
                    } else {
                        None
                    };
                    events.push(Event { seq, kind, at, order, refund });
                }
            }
            Ok(events)
        })
    }

    fn trail_after(&self, tenant: &str, after: u64, limit: usize) -> Result<Vec<TrailEntry>, StoreError> {
        self.read(|connection| trail::read(connection, tenant, after, limit))
    }

    fn audit(&self, sale: SaleId) -> Result<Option<Audit>, StoreError> {
        let mut count = SaleCount::of(sale);
        loop {
            if let Counted::All(audit) = self.read(|connection| count.page(connection))? {
                return Ok(audit);
            }
        }
    }

    fn trail_page(&self, filter: &TrailFilter) -> Result<Vec<TrailEntry>, StoreError> {
        self.read(|connection| trail::page(connection, filter))
    }

    fn refunds(&self, order: OrderId) -> Result<Vec<RefundRecord>, StoreError> {
        self.read(|connection| refunds::of_order(connection, order))
    }

    fn sale(&self, id: SaleId) -> Result<Option<Sale>, StoreError> {
        let select = format!("SELECT {SALE_COLUMNS} FROM sales WHERE sale_id = ? AND retired < 2");
        self.read(|connection| {
            Ok(connection.prepare_cached(&select)?.query_row([id.0], rows::sale).optional()?)
        })
    }

    fn sales(&self) -> Result<Vec<Sale>, StoreError> {
        let select = format!("SELECT {SALE_COLUMNS} FROM sales WHERE retired = 0 ORDER BY sale_id");
        self.read(|connection| {
            Ok(connection.prepare_cached(&select)?.query_map([], rows::sale)?.collect::<Result<_, _>>()?)
        })
    }

    fn archived_orders_of(&self, wanted: &WantedOrders) -> Result<Vec<(OrderId, SaleId)>, StoreError> {
        self.read(|connection| retirement::orders_of(connection, wanted))
    }

    fn archived_sales(&self, tenant: &str) -> Result<Vec<Sale>, StoreError> {
        self.read(|connection| retirement::sales(connection, tenant))
    }

    fn moving_sales(&self) -> Result<Vec<SaleId>, StoreError> {
        self.read(retirement::moving)
    }

    fn archived_sale(&self, key: &SaleKey) -> Result<Option<Sale>, StoreError> {
        self.read(|connection| retirement::sale(connection, key))
    }

    fn stops(&self) -> Result<Stops, StoreError> {
        self.read(stops::read)
    }

    fn graces(&self) -> Result<Vec<Grace>, StoreError> {
        self.read(deadlines::graces)
    }

    fn last_alive(&self) -> Result<Option<EpochMs>, StoreError> {
        self.read(deadlines::last_alive)
    }

    fn read_all(&self, visitor: &mut dyn StartVisitor) -> Result<(), StoreError> {
        let _under_way = self.log.reads.begin();
        let used = everything::read(|| self.connection(), visitor)?;
        used.into_iter().for_each(|connection| self.give_back(connection));
        Ok(())
    }

    fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.read(|connection| {
            let select = "SELECT identity FROM store_identity";
            let bytes: Vec<u8> = connection.query_row(select, [], |row| row.get(0))?;
            StoreIdentity::from_bytes(&bytes).ok_or_else(|| damaged("no identity of 16 bytes"))
        })
    }

    /// Nobody waits here: who finds no connection makes one. A file does not break off.
    fn pool_figures(&self) -> PoolFigures {
        PoolFigures {
            capacity: self.idle.capacity(),
            in_use: self.log.reads.count(),
            idle: self.idle.len(),
            opened: self.opened.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            reused: self.reused.load(Ordering::Relaxed),
            ..PoolFigures::default()
        }
    }

    fn log_figures(&self) -> Option<LogFigures> {
        Some(self.log.figures())
    }
}

/// The codes of the statuses whose orders hold units, as a list.
pub(super) fn holding() -> String {
    let holding = OrderStatus::ALL.iter().filter(|status| status.holds_units());
    holding.map(|status| status.code().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::super::open;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "multi_thread")]
    async fn d4_a_query_that_nobody_waits_for_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (_writer, reader) = open(folder.path(), &SqliteSettings::default()).unwrap();
        let (reader, places) = (Arc::new(reader), Arc::new(Semaphore::new(1)));
        // Without end: it is interrupted, or this test is.
        let endless =
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let asking = tokio::spawn({
            let (reader, places) = (Arc::clone(&reader), Arc::clone(&places));
            let count =
                move || reader.read(|all| Ok(all.query_row(endless, [], |row| row.get::<_, u64>(0))?));
            async move { ReadCancellation::limited(&places, ReadCancellation::read(count)).await }
        });
        while reader.log.reads.count() == 0 {
            tokio::task::yield_now().await;
        }
        asking.abort();
        let place = tokio::time::timeout(PATIENCE, places.acquire()).await;
        assert!(place.is_ok_and(|place| place.is_ok()), "the query has ended");
        assert_eq!(reader.sales().unwrap(), [], "and its connection is as before");
    }
}
