//! What a start rebuilds from the store: stock, claims, payment deadlines, unfinished payments. Nothing is seeded anew.
//!
//! The orders may come on several threads at once. Each counts its own ([`Counted`]), and what they have come to is added up
//! when a thread has no more; only the buyers' claims are shared while it reads, which is what they are made for, and whose
//! orders stand by their numbers whichever comes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::deadlines::Deadlines;
use super::graces::Graces;
use super::store::{OrderVisitor, Record, StartVisitor, StoreError, StoreReader};
use crate::admission::LiveSale;
use crate::domain::{EpochMs, NodeId, Order, OrderId, OrderStatus, SaleId, SaleKey, Stops};

/// Orders of one thread that are told of at once: the threads do not meet over each.
const TOLD_AT_ONCE: u64 = 1_024;

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
    /// and that is this node's to look after: the one whose last step this node took. `read` is 0, and says how many orders
    /// have come, about until all have; it orders nothing: relaxed.
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
        let stops = store.stops()?;
        let mut rebuilding = Rebuilding {
            shards,
            recovered: Self { stops, ..Self::default() },
            sold_by_guard: Vec::new(),
            newest_elsewhere: None,
            known: Known {
                node,
                graces: deadlines.graces(),
                read,
                sales: Vec::new(),
                places: HashMap::default(),
            },
            counted: Mutex::default(),
        };
        store.read_all(&mut rebuilding)?;
        let (recovered, waiting) = rebuilding.done()?;
        read.store(recovered.orders, Relaxed);
        deadlines.enter_all(waiting);
        Ok(recovered)
    }
}

/// What is being rebuilt.
struct Rebuilding<'a> {
    shards: usize,
    /// All but what the orders say, and the sales.
    recovered: Recovered,
    /// Sold units as the sales themselves count them, by their places.
    sold_by_guard: Vec<u64>,
    newest_elsewhere: Option<OrderId>,
    known: Known<'a>,
    /// What the orders of all threads that have ended have come to, or all where one thread reads.
    counted: Mutex<Counted>,
}

/// What is known when the orders come.
struct Known<'a> {
    node: NodeId,
    graces: Arc<Graces>,
    read: &'a AtomicU64,
    sales: Vec<LiveSale>,
    /// Where each of them stands.
    places: HashMap<SaleId, usize, ahash::RandomState>,
}

/// What orders have come to.
#[derive(Debug, Default)]
struct Counted {
    newest: Option<OrderId>,
    orders: u64,
    oldest_open: Option<EpochMs>,
    paying_at: BTreeMap<Option<String>, u64>,
    /// Those that are this node's to look after.
    unfinished: Vec<Order>,
    /// Those that are this node's to look after.
    waiting: Vec<(EpochMs, OrderId)>,
    /// Units that they hold, by the places of their sales.
    sold: Vec<u64>,
}

impl StartVisitor for Rebuilding<'_> {
    fn see(&mut self, record: Record) {
        let recovered = &mut self.recovered;
        let counted = self.counted.get_mut();
        match record {
            Record::LastEvent(seq) => recovered.last_event = seq,
            Record::NewestElsewhere(order) => self.newest_elsewhere = Some(order),
            Record::Archived(key) => recovered.archived.push(key),
            Record::Sale(sale) => {
                recovered.last_change = recovered.last_change.max(sale.version);
                self.known.places.insert(sale.id, self.known.sales.len());
                self.sold_by_guard.push(u64::from(sale.sold));
                counted.sold.push(0);
                let is_archived = sale.archived_at.is_some();
                recovered.leaving.extend(is_archived.then_some(sale.id));
                let live = LiveSale::open(sale, self.shards);
                self.known.sales.push(if is_archived { live.leaving() } else { live });
            }
            Record::Refunding(order, last_step_by) => {
                *recovered.paying_at.entry(order.payment.gateway.clone()).or_default() += 1;
                if self.known.is_own(last_step_by) {
                    recovered.unfinished.push(order);
                }
            }
            Record::Order(order, last_step_by) => counted.count(&self.known, order, last_step_by),
        }
    }

    fn beside(&self) -> Box<dyn OrderVisitor + '_> {
        let counted = Counted { sold: vec![0; self.known.sales.len()], ..Counted::default() };
        Box::new(Beside { known: &self.known, counted, all: &self.counted })
    }
}

/// One of several threads.
struct Beside<'a> {
    known: &'a Known<'a>,
    counted: Counted,
    all: &'a Mutex<Counted>,
}

impl OrderVisitor for Beside<'_> {
    fn see(&mut self, order: Order, last_step_by: Option<NodeId>) {
        self.counted.count(self.known, order, last_step_by);
    }

    fn done(self: Box<Self>) {
        let Self { counted, all, .. } = *self;
        all.lock().add(counted);
    }
}

impl Known<'_> {
    /// Whether this node looks after an order whose last step that one took.
    fn is_own(&self, last_step_by: Option<NodeId>) -> bool {
        last_step_by.is_none_or(|by| by == self.node)
    }
}

impl Counted {
    fn count(&mut self, known: &Known<'_>, order: Order, last_step_by: Option<NodeId>) {
        self.newest = self.newest.max(Some(order.placed.id));
        self.orders += 1;
        if self.orders.is_multiple_of(TOLD_AT_ONCE) {
            known.read.fetch_add(TOLD_AT_ONCE, Relaxed);
        }
        let Some(&place) = known.places.get(&order.placed.sale) else { return };
        self.sold[place] += u64::from(order.units_held());
        if order.status != OrderStatus::Rejected {
            known.sales[place].state.claims().restore(&order);
        }
        if matches!(order.status, OrderStatus::Paying | OrderStatus::Refunding) {
            *self.paying_at.entry(order.payment.gateway.clone()).or_default() += 1;
        }
        if matches!(order.status, OrderStatus::PrePay | OrderStatus::Paying) {
            self.oldest_open = oldest([self.oldest_open, Some(order.placed.created_at)]);
        }
        if !known.is_own(last_step_by) {
            return;
        }
        match order.status {
            OrderStatus::PrePay => {
                self.waiting.push((known.graces.pay_before_at_last(&order.placed), order.placed.id))
            }
            OrderStatus::Paying | OrderStatus::Refunding => self.unfinished.push(order),
            _ => {}
        }
    }

    fn add(&mut self, mut other: Self) {
        self.newest = self.newest.max(other.newest);
        self.orders += other.orders;
        self.oldest_open = oldest([self.oldest_open, other.oldest_open]);
        for (gateway, payments) in other.paying_at {
            *self.paying_at.entry(gateway).or_default() += payments;
        }
        self.unfinished.extend(other.unfinished);
        // What is longer stays where it is.
        if self.waiting.len() < other.waiting.len() {
            std::mem::swap(&mut self.waiting, &mut other.waiting);
        }
        self.waiting.append(&mut other.waiting);
        for (sold, more) in self.sold.iter_mut().zip(other.sold) {
            *sold += more;
        }
    }
}

fn oldest(moments: [Option<EpochMs>; 2]) -> Option<EpochMs> {
    moments.into_iter().flatten().min()
}

impl Rebuilding<'_> {
    /// All of it, and when which orders run out of time.
    ///
    /// # Errors
    /// A sale's count of sold units is not the sum of its orders.
    fn done(self) -> Result<(Recovered, Vec<(EpochMs, OrderId)>), StoreError> {
        let Self { mut recovered, sold_by_guard, newest_elsewhere, known, counted, .. } = self;
        let mut counted = counted.into_inner();
        for (place, sale) in known.sales.iter().enumerate() {
            // Of one that leaves only those are read that have not moved.
            if sold_by_guard[place] != counted.sold[place] && !recovered.leaving.contains(&sale.id) {
                return Err(StoreError::fatal(format!(
                    "the order store is damaged: sale {} says {} units sold, its orders hold {}; restore a backup",
                    sale.key, sold_by_guard[place], counted.sold[place]
                )));
            }
        }
        counted.unfinished.sort_unstable_by_key(|order| order.placed.id);
        recovered.unfinished.append(&mut counted.unfinished);
        for (gateway, payments) in counted.paying_at {
            *recovered.paying_at.entry(gateway).or_default() += payments;
        }
        recovered.sales = known.sales;
        recovered.newest = counted.newest.max(newest_elsewhere);
        recovered.orders = counted.orders;
        recovered.oldest_open = counted.oldest_open;
        Ok((recovered, counted.waiting))
    }
}
