//! What a start rebuilds from the store: stock, claims, payment deadlines, unfinished payments. Nothing is seeded anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::deadlines::Deadlines;
use super::store::{Record, StoreError, StoreReader};
use crate::admission::LiveSale;
use crate::domain::{EpochMs, NodeId, Order, OrderId, OrderStatus, SaleId, SaleKey, Stops};

/// Everything that was granted counts.
const LATEST: EpochMs = EpochMs(i64::MAX);

/// The engine's memory as the store implies it.
#[derive(Debug, Default)]
pub struct Recovered {
    /// All live sales, with their unsold units on sale and their buyers' claims in place; and, with nothing on sale, those
    /// that are [`leaving`](Self::leaving).
    pub sales: Vec<LiveSale>,
    /// Archived sales whose orders have yet to move, whichever engine archived them: until they have, their buyers' orders are
    /// found by their claims.
    pub leaving: Vec<SaleId>,
    /// The names of the archived sales.
    pub archived: Vec<SaleKey>,
    /// The highest order number ever stored.
    pub newest: Option<OrderId>,
    /// Orders whose payment or refund was under way: only the gateway knows how it ended.
    pub unfinished: Vec<Order>,
    /// How many payments and refunds are under way at which gateway, by the name in their journals, whichever node looks after them.
    pub paying_at: BTreeMap<Option<String>, u64>,
    /// How many orders there are.
    pub orders: u64,
    /// When the oldest order that waits for its payment, or for the end of one, was made.
    pub oldest_open: Option<EpochMs>,
    /// The number of the last event that all this includes.
    pub last_event: u64,
    /// The number of the last change of a sale that all this includes.
    pub last_change: u64,
    /// What is stopped at once.
    pub stops: Stops,
}

impl Recovered {
    /// Reads the store in one pass, as the memory of `node`. `deadlines` is given every order that waits for its payment
    /// and that is this node's to look after: the one whose last step this node took. `read` counts the orders as they
    /// come; it orders nothing: relaxed.
    ///
    /// # Errors
    /// What the database says, and a fatal error when a sale's count of sold units is not the sum of its orders.
    pub fn read(
        store: &dyn StoreReader,
        node: NodeId,
        shards: usize,
        deadlines: &Deadlines,
        read: &AtomicU64,
    ) -> Result<Self, StoreError> {
        let mut recovered = Self { stops: store.stops()?, ..Self::default() };
        let mut place_of = HashMap::<SaleId, usize, ahash::RandomState>::default();
        let mut sold_by_guard = Vec::new();
        let mut sold_by_orders = Vec::new();
        let mut waiting = Vec::new();
        let graces = deadlines.graces();
        let mut newest_elsewhere = None;

        store.read_all(&mut |record| match record {
            Record::LastEvent(seq) => recovered.last_event = seq,
            Record::NewestElsewhere(order) => newest_elsewhere = Some(order),
            Record::Archived(key) => recovered.archived.push(key),
            Record::Sale(sale) => {
                recovered.last_change = recovered.last_change.max(sale.version);
                place_of.insert(sale.id, recovered.sales.len());
                sold_by_guard.push(u64::from(sale.sold));
                sold_by_orders.push(0);
                let is_archived = sale.archived_at.is_some();
                recovered.leaving.extend(is_archived.then_some(sale.id));
                let live = LiveSale::open(sale, shards);
                recovered.sales.push(if is_archived { live.leaving() } else { live });
            }
            Record::Refunding(order, last_step_by) => {
                *recovered.paying_at.entry(order.payment.gateway.clone()).or_default() += 1;
                if last_step_by.is_none_or(|by| by == node) {
                    recovered.unfinished.push(order);
                }
            }
            Record::Order(order, last_step_by) => {
                recovered.newest = Some(order.placed.id);
                recovered.orders += 1;
                read.fetch_add(1, Relaxed);
                let Some(&place) = place_of.get(&order.placed.sale) else { return };
                sold_by_orders[place] += u64::from(order.units_held());
                if order.status != OrderStatus::Rejected {
                    recovered.sales[place].state.claims().restore(&order);
                }
                if matches!(order.status, OrderStatus::Paying | OrderStatus::Refunding) {
                    *recovered.paying_at.entry(order.payment.gateway.clone()).or_default() += 1;
                }
                if matches!(order.status, OrderStatus::PrePay | OrderStatus::Paying) {
                    let made = order.placed.created_at;
                    recovered.oldest_open =
                        Some(recovered.oldest_open.map_or(made, |oldest| oldest.min(made)));
                }
                if last_step_by.is_some_and(|by| by != node) {
                    return;
                }
                match order.status {
                    OrderStatus::PrePay => {
                        waiting.push((graces.pay_before(&order.placed, LATEST), order.placed.id))
                    }
                    OrderStatus::Paying | OrderStatus::Refunding => recovered.unfinished.push(order),
                    _ => {}
                }
            }
        })?;

        recovered.newest = recovered.newest.max(newest_elsewhere);
        for (place, sale) in recovered.sales.iter().enumerate() {
            // Of one that leaves only those are read that have not moved.
            if sold_by_guard[place] != sold_by_orders[place] && !recovered.leaving.contains(&sale.id) {
                return Err(StoreError::fatal(format!(
                    "the order store is damaged: sale {} says {} units sold, its orders hold {}; restore a backup",
                    sale.key, sold_by_guard[place], sold_by_orders[place]
                )));
            }
        }
        deadlines.enter_all(waiting);
        Ok(recovered)
    }
}
