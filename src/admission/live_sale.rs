//! A sale as it is on the board: its terms, its units and its buyers.
//!
//! # Protocol of the atomics
//!
//! `in_flight` counts units for those who watch a sale; it decides nothing and publishes nothing: relaxed.
//! `more_may_come` only chooses between two refusals of a buyer who gets nothing either way, and `elsewhere` is only
//! shown: relaxed. `unmet_demand` and `units_came_back` are hints to the lease agent: relaxed, and written only when they
//! change, for a crowd is refused on all cores; that it hears of them at all is `attention`'s to see to.

use std::sync::Arc;

use super::attention::Named;
use super::bucket::TokenBucket;
use super::claims::Claims;
use super::stock::Stock;
use super::sync::{AtomicBool, AtomicU64, Ordering};
use super::tally::Tally;
use super::waiting_room::WaitingRoom;
use crate::domain::{
    BuyerId, EpochMs, IdempotencyKey, NewOrder, Offer, Order, OrderId, OrderStatus, Sale, SaleId, SaleKey,
    SaleTerms, Units,
};

/// What a sale keeps while its terms change: its units and its buyers.
#[derive(Debug)]
pub struct SaleState {
    stock: Stock,
    claims: Claims,
    in_flight: AtomicU64,
    more_may_come: AtomicBool,
    /// Unsold units that this node does not have, as the lease agent last heard.
    elsewhere: AtomicU64,
    /// Whether a buyer was refused for want of units since the lease agent last looked.
    unmet_demand: AtomicBool,
    /// Whether units came back to the sale since the lease agent last looked.
    units_came_back: AtomicBool,
    pub(super) named: Named,
    tally: Tally,
    room: WaitingRoom,
}

impl SaleState {
    /// A sale with `units` on sale, spread over `shards` counters.
    pub fn new(shards: usize, units: Units) -> Self {
        Self::of_total(shards, units, units)
    }

    /// The same, of a sale that has `total` units, sold ones and those elsewhere included.
    fn of_total(shards: usize, units: Units, total: Units) -> Self {
        Self {
            stock: Stock::new(shards, units),
            claims: Claims::sized_for(total),
            in_flight: AtomicU64::new(0),
            more_may_come: AtomicBool::new(false),
            elsewhere: AtomicU64::new(0),
            unmet_demand: AtomicBool::new(false),
            units_came_back: AtomicBool::new(false),
            named: Named::not_yet(),
            tally: Tally::new(shards),
            room: WaitingRoom::default(),
        }
    }

    /// Where buyers wait, if the terms have them wait.
    pub fn room(&self) -> &WaitingRoom {
        &self.room
    }

    /// What became of the purchases.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The units on sale.
    pub fn stock(&self) -> &Stock {
        &self.stock
    }

    /// Who holds what.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Units of orders on their way to the store.
    pub fn units_in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether units that this node does not have may still come to it: an empty stock is not the end of the sale then.
    pub fn more_may_come(&self) -> bool {
        self.more_may_come.load(Ordering::Relaxed)
    }

    /// Says whether units may still come. Only who lends the stock knows.
    pub fn set_more_may_come(&self, more: bool) {
        self.more_may_come.store(more, Ordering::Relaxed);
    }

    /// Says how many unsold units other nodes and the ledger have. Only who lends the stock knows.
    pub fn set_units_elsewhere(&self, units: u64) {
        self.elsewhere.store(units, Ordering::Relaxed);
    }

    /// Whether a buyer was refused for want of units since [`SaleState::take_unmet_demand`].
    pub fn has_unmet_demand(&self) -> bool {
        self.unmet_demand.load(Ordering::Relaxed)
    }

    /// The same, and begins anew.
    pub fn take_unmet_demand(&self) -> bool {
        self.unmet_demand.swap(false, Ordering::Relaxed)
    }

    /// Units of the sale came back, here or at another node: it is not over. Stir it, too ([`Board::stir`](crate::admission::Board::stir)).
    pub fn note_units_came_back(&self) {
        self.units_came_back.store(true, Ordering::Relaxed);
    }

    /// Whether units came back since this was last asked.
    pub fn take_units_came_back(&self) -> bool {
        self.units_came_back.load(Ordering::Relaxed) && self.units_came_back.swap(false, Ordering::Relaxed)
    }

    /// Before a look: what happens after this is named by [`Board::stirred`](crate::admission::Board::stirred) once more.
    pub fn take_up(&self) {
        self.named.take_up();
    }

    /// Says whether that is news.
    pub(super) fn note_unmet_demand(&self) -> bool {
        let is_news = !self.has_unmet_demand();
        if is_news {
            self.unmet_demand.store(true, Ordering::Relaxed);
        }
        is_news
    }

    pub(super) fn enter_flight(&self, quantity: Units) {
        self.in_flight.fetch_add(u64::from(quantity), Ordering::Relaxed);
    }

    pub(super) fn leave_flight(&self, quantity: Units) {
        self.in_flight.fetch_sub(u64::from(quantity), Ordering::Relaxed);
    }
}

/// A sale on the board: terms that are replaced, state that stays.
#[derive(Clone, Debug)]
pub struct LiveSale {
    /// The store's number.
    pub id: SaleId,
    /// The name buyers use.
    pub key: SaleKey,
    /// The terms in force.
    pub terms: SaleTerms,
    /// The sale's own admission rate, if it has one.
    pub bucket: Option<Arc<TokenBucket>>,
    /// Units and buyers.
    pub state: Arc<SaleState>,
    /// Which version of the sale the terms are of ([`Sale::version`]); 0 before the store has been asked.
    pub version: u64,
    /// Whether it is stopped together with others. [`Board`](crate::admission::Board) says so of every sale that is put on it.
    pub is_stopped: bool,
    /// Whether it is archived: it is on the board only until its orders have moved, so that they are found by their buyers'
    /// claims.
    pub is_archived: bool,
}

impl LiveSale {
    /// A sale that begins with these terms and this state.
    pub fn new(id: SaleId, key: SaleKey, terms: SaleTerms, state: Arc<SaleState>) -> Self {
        let bucket = terms.rate.map(|rate| Arc::new(TokenBucket::new(rate)));
        Self { id, key, terms, bucket, state, version: 0, is_stopped: false, is_archived: false }
    }

    /// A sale of the order store with all its unsold units on sale, in `shards` counters, and nobody's claim.
    pub fn open(sale: Sale, shards: usize) -> Self {
        let unsold = sale.total.saturating_sub(sale.sold);
        let state = Arc::new(SaleState::of_total(shards, unsold, sale.total));
        Self { version: sale.version, ..Self::new(sale.id, sale.key, sale.terms, state) }
    }

    /// A sale whose units are lent by somebody else: none is on sale, and more may come.
    pub fn lent(sale: Sale, shards: usize) -> Self {
        let state = Arc::new(SaleState::of_total(shards, 0, sale.total));
        state.set_more_may_come(true);
        Self { version: sale.version, ..Self::new(sale.id, sale.key, sale.terms, state) }
    }

    /// A sale that is not on this node's board, for whoever shows it or its orders: nothing of it is to be had, and it has
    /// nobody's claim.
    pub fn off_board(sale: Sale) -> Self {
        let state = Arc::new(SaleState::new(1, 0));
        state.set_units_elsewhere(sale.total.saturating_sub(sale.sold).into());
        let (version, is_archived) = (sale.version, sale.archived_at.is_some());
        Self { version, is_archived, ..Self::new(sale.id, sale.key, sale.terms, state) }
    }

    /// The same sale under other terms. Its token bucket goes on unless the rate changes.
    pub fn with_terms(&self, terms: SaleTerms, version: u64) -> Self {
        let changed = Self::new(self.id, self.key.clone(), terms, Arc::clone(&self.state));
        let mut changed = Self { version, is_archived: self.is_archived, ..changed };
        if changed.terms.rate == self.terms.rate {
            changed.bucket.clone_from(&self.bucket);
        }
        changed
    }

    /// The same sale once it is archived: nothing of it is on sale any more, and nothing will be.
    #[must_use]
    pub fn leaving(self) -> Self {
        self.state.set_units_elsewhere(self.remaining_everywhere());
        self.state.stock.drain();
        self.state.set_more_may_come(false);
        Self { is_archived: true, ..self }
    }

    /// What an order that is admitted now says: the price and the deadline are those of this moment.
    pub fn offer(&self, quantity: Units, now: EpochMs) -> Offer {
        Offer {
            quantity,
            amount: self.terms.price.times(quantity),
            created_at: now,
            pay_before: now.plus_ms(i64::from(self.terms.pay_within_s) * 1000),
        }
    }

    /// The order that an admitted purchase becomes.
    pub fn new_order(
        &self,
        id: OrderId,
        buyer: BuyerId,
        offer: Offer,
        idempotency_key: Option<IdempotencyKey>,
    ) -> NewOrder {
        let Offer { quantity, amount, created_at, pay_before } = offer;
        NewOrder { id, sale: self.id, buyer, quantity, amount, created_at, pay_before, idempotency_key }
    }

    /// The buyer's order that is admitted and not yet durable, as it will be.
    pub fn pending_order(&self, buyer: &str, id: OrderId) -> Option<Order> {
        let offer = self.state.claims.offer_in_flight(buyer, id)?;
        let placed = self.new_order(id, BuyerId::new(buyer).ok()?, offer, None);
        Some(Order { status: OrderStatus::Pending, ..Order::persisted(placed) })
    }

    /// Units on sale on this node.
    pub fn remaining(&self) -> Units {
        self.state.stock.remaining()
    }

    /// Unsold units of the whole sale: this node's as they are now, those elsewhere as the lease agent last heard.
    pub fn remaining_everywhere(&self) -> u64 {
        u64::from(self.remaining()) + self.state.elsewhere.load(Ordering::Relaxed)
    }

    /// Whether nothing is on sale and nothing will be unless somebody gives units back.
    pub fn is_sold_out(&self) -> bool {
        self.remaining_everywhere() == 0 && !self.state.more_may_come()
    }

    /// The same sale with nothing on sale: its units are lent to this node, and none has been yet.
    #[must_use]
    pub fn without_stock(self) -> Self {
        self.state.stock.drain();
        self.state.set_more_may_come(true);
        self
    }
}
