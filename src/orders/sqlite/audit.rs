//! The units of a sale, counted a page of orders at a time.
//!
//! One snapshot of the whole count would keep the log from being folded for as long as it takes. So each page is a snapshot
//! of its own. What the event log says has happened since the page before to orders that are counted already is added
//! first; the sale's row and the end of the event log are of the last page's snapshot, so that the sums are as of that one
//! moment. (Steps that tell no event move no units; purchases that were refused as oversold and became known late are not
//! in `durable_orders`.)

use std::collections::HashMap;

use ahash::RandomState;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::events::EventKind;
use super::super::store::{Audit, StoreError};
use super::connection::damaged;
use super::rows;
use crate::domain::{OrderStatus, SaleId, Units};

/// Orders counted in one snapshot: some milliseconds.
const ORDERS_A_PAGE: usize = 4_096;

/// What a page of the count comes to.
#[derive(Debug)]
pub(super) enum Counted {
    /// There are more orders.
    Page,
    /// That was all; `None` when there is no such sale.
    All(Option<Audit>),
}

/// What a refund that was made has done.
struct Refund {
    /// Units that went back on sale.
    restock: u64,
    /// Money that was given back.
    cents: u64,
    /// Whether nothing is left of what the order paid.
    is_last: bool,
}

/// A count that is under way.
#[derive(Debug)]
pub(super) struct SaleCount {
    sale: SaleId,
    audit: Audit,
    /// What the orders of each buyer hold, by a hash of the buyer's name: the names of all would be many times as much, and
    /// that two of a million share one is less likely than that the machine counts wrong.
    held_by: HashMap<u64, u64, RandomState>,
    hasher: RandomState,
    /// The last order that is counted; -1 before the first.
    counted_through: i64,
    /// The last event that the count includes; `None` before the first page.
    events_through: Option<u64>,
}

impl SaleCount {
    /// A count of this sale that has not begun.
    pub fn of(sale: SaleId) -> Self {
        Self {
            sale,
            audit: Audit::default(),
            held_by: HashMap::default(),
            hasher: RandomState::new(),
            counted_through: -1,
            events_through: None,
        }
    }

    /// Counts the next page.
    ///
    /// # Errors
    /// What the database says.
    pub fn page(&mut self, connection: &Connection) -> Result<Counted, StoreError> {
        let snapshot = connection.unchecked_transaction()?;
        self.follow_events(&snapshot)?;
        let mut orders = snapshot.prepare_cached(
            "SELECT order_id, status, quantity, restocked, amount_cents, refunded_cents, buyer FROM all_orders \
             WHERE sale_id = ?1 AND order_id > ?2 ORDER BY order_id LIMIT ?3",
        )?;
        let mut rows = orders.query(params![self.sale.0, self.counted_through, ORDERS_A_PAGE as i64])?;
        let mut counted = 0;
        while let Some(row) = rows.next()? {
            let status = rows::status(row, 1)?;
            let [quantity, restocked, amount, refunded] =
                [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
            self.audit.count(status, 1, quantity, restocked, amount, refunded);
            if status.holds_units() {
                let buyer = row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?;
                self.holds(buyer, quantity - restocked);
            }
            self.counted_through = row.get(0)?;
            counted += 1;
        }
        if counted == ORDERS_A_PAGE {
            return Ok(Counted::Page);
        }
        let mut of_sale =
            snapshot.prepare_cached("SELECT total, sold, per_buyer_limit FROM sales WHERE sale_id = ?")?;
        let of_sale = of_sale
            .query_row([self.sale.0], |row| {
                Ok((row.get::<_, Units>(0)?, row.get::<_, Units>(1)?, row.get::<_, u64>(2)?))
            })
            .optional()?;
        Ok(Counted::All(of_sale.map(|(total, sold_by_guard, limit)| Audit {
            total,
            sold_by_guard,
            buyers_over_limit: self.held_by.values().filter(|held| **held > limit).count() as u64,
            ..self.audit
        })))
    }

    /// Adds what has happened to orders that are counted already.
    fn follow_events(&mut self, snapshot: &Connection) -> Result<(), StoreError> {
        let last = "SELECT coalesce(max(last_seq), 0) FROM event_blocks";
        let now: u64 = snapshot.prepare_cached(last)?.query_row([], |row| row.get(0))?;
        let Some(before) = self.events_through.replace(now) else { return Ok(()) };
        let mut blocks = snapshot.prepare_cached(
            "SELECT kind, order_ids FROM event_blocks WHERE last_seq > ? ORDER BY last_seq",
        )?;
        let mut order = snapshot.prepare_cached(
            "SELECT quantity, buyer, restock, r.amount_cents, coalesce(r.refunded_cents = o.amount_cents, 0), o.amount_cents \
             FROM all_orders o LEFT JOIN refunds r ON r.order_id = o.order_id AND r.number = ?3 \
             WHERE o.order_id = ?1 AND sale_id = ?2",
        )?;
        let mut rows = blocks.query([before])?;
        while let Some(row) = rows.next()? {
            let (kind, refund) =
                EventKind::from_block_code(row.get(0)?).ok_or_else(|| damaged("an unknown event kind"))?;
            let ids = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?.as_chunks::<8>().0;
            for number in ids.iter().map(|bytes| i64::from_be_bytes(*bytes)) {
                if number > self.counted_through {
                    continue;
                }
                let of_sale = order.query_row(params![number, self.sale.0, refund], |row| {
                    let refund = Refund {
                        restock: row.get::<_, Option<u64>>(2)?.unwrap_or(0),
                        cents: row.get::<_, Option<u64>>(3)?.unwrap_or(0),
                        is_last: row.get(4)?,
                    };
                    Ok((row.get::<_, String>(1)?, row.get(0)?, row.get(5)?, refund))
                });
                if let Some((buyer, quantity, amount_cents, refund)) = of_sale.optional()? {
                    self.follow(kind, &buyer, quantity, amount_cents, &refund);
                }
            }
        }
        Ok(())
    }

    fn follow(&mut self, kind: EventKind, buyer: &str, quantity: u64, amount_cents: u64, refund: &Refund) {
        match kind {
            EventKind::Created => {
                self.audit.count(OrderStatus::PrePay, 1, quantity, 0, amount_cents, 0);
                self.holds(buyer, quantity);
            }
            EventKind::Paid => {
                self.audit.held -= quantity;
                self.audit.paid += quantity;
                self.audit.paid_cents += amount_cents;
            }
            EventKind::Cancelled | EventKind::Expired => {
                self.audit.held -= quantity;
                self.lets_go(buyer, quantity);
            }
            EventKind::Refunded => {
                self.audit.paid -= refund.restock;
                self.audit.refunded_cents += refund.cents;
                if refund.is_last {
                    self.audit.refunded += quantity;
                }
                self.lets_go(buyer, refund.restock);
            }
            EventKind::Extended => {}
        }
    }

    fn holds(&mut self, buyer: &str, units: u64) {
        *self.held_by.entry(self.hasher.hash_one(buyer)).or_default() += units;
    }

    fn lets_go(&mut self, buyer: &str, units: u64) {
        if let Some(held) = self.held_by.get_mut(&self.hasher.hash_one(buyer)) {
            *held -= units;
        }
    }
}
