//! The board of live sales: what is on sale on this node, swapped whole when anything about a sale changes.
//!
//! # Protocol of the atomics
//!
//! `in_flight` counts units for those who watch a sale; it decides nothing and publishes nothing: relaxed.
//! `more_may_come` only chooses between two refusals of a buyer who gets nothing either way, and `elsewhere` is only
//! shown: relaxed. `unmet_demand` and `units_came_back` are hints to the lease agent: relaxed, and written only when they
//! change, for a crowd is refused on all cores; that it hears of them at all is `attention`'s to see to.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use hashbrown::{Equivalent, HashMap};

use super::archived_names::ArchivedNames;
use super::attention::{Attention, Named};
use super::bucket::TokenBucket;
use super::claims::Claims;
use super::stock::Stock;
use super::sync::{AtomicBool, AtomicU64, Ordering};
use super::tally::Tally;
use super::waiting_room::WaitingRoom;
use crate::domain::{
    BuyerId, EpochMs, IdempotencyKey, NewOrder, Offer, Order, OrderId, OrderStatus, Sale, SaleId, SaleKey,
    SaleTerms, Stops, Units,
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
    named: Named,
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

    /// Units of the sale came back, here or at another node: it is not over. Stir it, too ([`Board::stir`]).
    pub fn note_units_came_back(&self) {
        self.units_came_back.store(true, Ordering::Relaxed);
    }

    /// Whether units came back since this was last asked.
    pub fn take_units_came_back(&self) -> bool {
        self.units_came_back.load(Ordering::Relaxed) && self.units_came_back.swap(false, Ordering::Relaxed)
    }

    /// Before a look: what happens after this is named by [`Board::stirred`] once more.
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
    /// Whether it is stopped together with others. [`Board`] says so of every sale that is put on it.
    pub is_stopped: bool,
}

impl LiveSale {
    /// A sale that begins with these terms and this state.
    pub fn new(id: SaleId, key: SaleKey, terms: SaleTerms, state: Arc<SaleState>) -> Self {
        let bucket = terms.rate.map(|rate| Arc::new(TokenBucket::new(rate)));
        Self { id, key, terms, bucket, state, version: 0, is_stopped: false }
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
        Self { version: sale.version, ..Self::new(sale.id, sale.key, sale.terms, state) }
    }

    /// The same sale under other terms. Its token bucket goes on unless the rate changes.
    pub fn with_terms(&self, terms: SaleTerms, version: u64) -> Self {
        let changed = Self::new(self.id, self.key.clone(), terms, Arc::clone(&self.state));
        let mut changed = Self { version, ..changed };
        if changed.terms.rate == self.terms.rate {
            changed.bucket.clone_from(&self.bucket);
        }
        changed
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

/// A sale's name, borrowed from a request. Hashes like [`SaleKey`]: the same parts in the same order.
#[derive(Hash)]
struct SaleName<'a> {
    tenant: &'a str,
    campaign: &'a str,
    sku: &'a str,
}

impl Equivalent<SaleKey> for SaleName<'_> {
    fn equivalent(&self, key: &SaleKey) -> bool {
        self.sku == key.sku() && self.campaign == key.campaign() && self.tenant == key.tenant()
    }
}

/// All live sales at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sales {
    by_name: HashMap<SaleKey, Arc<LiveSale>, ahash::RandomState>,
    by_id: HashMap<SaleId, Arc<LiveSale>, ahash::RandomState>,
    with_room: BTreeSet<SaleId>,
    stops: Arc<Stops>,
}

impl Sales {
    /// The sale with this name, if this tenant has one.
    #[inline]
    pub fn by_name(&self, tenant: &str, campaign: &str, sku: &str) -> Option<&Arc<LiveSale>> {
        self.by_name.get(&SaleName { tenant, campaign, sku })
    }

    /// The sale with this number.
    pub fn by_id(&self, id: SaleId) -> Option<&Arc<LiveSale>> {
        self.by_id.get(&id)
    }

    /// What is stopped at once.
    pub fn stops(&self) -> &Stops {
        &self.stops
    }

    fn put(&mut self, sale: &LiveSale) {
        let is_stopped = self.stops.concern(sale.key.tenant());
        let sale = Arc::new(LiveSale { is_stopped, ..sale.clone() });
        if sale.terms.waiting_room().is_some() {
            self.with_room.insert(sale.id);
        } else {
            self.with_room.remove(&sale.id);
        }
        self.by_name.insert(sale.key.clone(), Arc::clone(&sale));
        self.by_id.insert(sale.id, sale);
    }

    /// The sales whose buyers wait.
    pub fn with_room(&self) -> impl Iterator<Item = &Arc<LiveSale>> {
        self.with_room.iter().filter_map(|id| self.by_id(*id))
    }

    /// All sales, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LiveSale>> {
        self.by_id.values()
    }

    /// How many sales there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is no sale.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// The board that readers see without waiting and writers swap.
#[derive(Debug, Default)]
pub struct Board {
    sales: ArcSwap<Sales>,
    attention: Attention,
    archived: ArchivedNames,
}

impl Board {
    /// Something happened to the sale: whoever looks after it is to look.
    #[inline]
    pub fn stir(&self, sale: &LiveSale) {
        self.attention.name(sale.id, &sale.state.named);
    }

    /// The sales that something happened to, new ones included; each once until it is taken up ([`SaleState::take_up`]).
    pub fn stirred(&self) -> &flume::Receiver<SaleId> {
        self.attention.named()
    }

    fn stir_by_id(&self, sale: SaleId) {
        if let Some(sale) = self.sales().by_id(sale) {
            self.stir(sale);
        }
    }

    /// The sales of this moment. Hold it for one decision, not across a wait.
    #[inline]
    pub fn sales(&self) -> Guard<Arc<Sales>> {
        self.sales.load()
    }

    /// Puts a sale on the board, or replaces the one with its number.
    pub fn publish(&self, sale: LiveSale) {
        self.sales.rcu(|sales| {
            let mut sales = Sales::clone(sales);
            sales.put(&sale);
            sales
        });
        self.stir_by_id(sale.id);
    }

    /// Puts a sale on the board, unless one with its number is there: what that one has in stock and who bought of it
    /// stays as it is.
    pub fn publish_new(&self, sale: LiveSale) {
        self.sales.rcu(|sales| {
            let mut sales = Sales::clone(sales);
            if !sales.by_id.contains_key(&sale.id) {
                sales.put(&sale);
            }
            sales
        });
        self.stir_by_id(sale.id);
    }

    /// Replaces the terms of a sale that is on the board, unless it has those of a later version: changes may be heard of
    /// out of their order.
    pub fn change_terms(&self, changed: &Sale) {
        self.sales.rcu(|sales| {
            let mut sales = Sales::clone(sales);
            if let Some(live) = sales.by_id.get(&changed.id).filter(|live| live.version <= changed.version) {
                let live = live.with_terms(changed.terms.clone(), changed.version);
                sales.put(&live);
            }
            sales
        });
        self.stir_by_id(changed.id);
    }

    /// Takes sales off the board: one swap. Who has looked one up already goes on with it.
    pub fn remove_all(&self, ids: &[SaleId]) {
        self.sales.rcu(|sales| {
            let mut sales = Sales::clone(sales);
            for id in ids {
                let Some(gone) = sales.by_id.remove(id) else { continue };
                sales.with_room.remove(id);
                // Its name may be another one's by now.
                if sales.by_name.get(&gone.key).is_some_and(|named| named.id == gone.id) {
                    sales.by_name.remove(&gone.key);
                }
            }
            sales
        });
    }

    /// The names of the sales that are archived.
    pub fn archived(&self) -> &ArchivedNames {
        &self.archived
    }

    /// Puts many sales on the board at once: one swap.
    pub fn publish_all(&self, new: Vec<LiveSale>) {
        self.sales.rcu(|sales| {
            let mut sales = Sales::clone(sales);
            new.iter().for_each(|sale| sales.put(sale));
            sales
        });
        new.iter().for_each(|sale| self.stir(sale));
    }

    /// Stops sales, or has them go on, at once: one swap. Older news than what is known changes nothing.
    pub fn set_stops(&self, stops: Stops) {
        let stops = Arc::new(stops);
        self.sales.rcu(|sales| {
            let mut sales = Sales::clone(sales);
            if stops.version > sales.stops.version {
                sales.stops = Arc::clone(&stops);
                for sale in sales.by_id.values().cloned().collect::<Vec<_>>() {
                    sales.put(&sale);
                }
            }
            sales
        });
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;
    use crate::domain::{Cents, Currency};

    fn sale(id: u32) -> Sale {
        let terms = SaleTerms {
            title: String::new(),
            price: Cents(5),
            currency: Currency::USD,
            per_buyer_limit: 1,
            starts_at: EpochMs(0),
            ends_at: EpochMs(1),
            pay_within_s: 1,
            rate: None,
            paused: false,
            paused_until: None,
            room: None,
        };
        let key = SaleKey::new("default", "c", "phone").unwrap();
        Sale { id: SaleId(id), key, terms, total: 9, sold: 4, version: 1, archived_at: None }
    }

    #[test]
    fn o5_who_leaves_does_not_take_the_name_of_who_came_after() {
        let board = Board::default();
        board.publish(LiveSale::open(sale(1), 1));
        // It was deleted in the store, and its name is another one's before it has left.
        board.publish(LiveSale::open(sale(2), 1));
        board.remove_all(&[SaleId(1), SaleId(7)]);
        let sales = board.sales();
        assert_eq!(sales.len(), 1);
        assert_eq!(sales.by_name("default", "c", "phone").map(|sale| sale.id), Some(SaleId(2)));
        board.remove_all(&[SaleId(2)]);
        assert!(board.sales().by_name("default", "c", "phone").is_none() && board.sales().is_empty());
    }

    #[test]
    fn o5_a_sale_that_is_not_on_the_board_shows_what_is_left_and_has_nothing() {
        let off = LiveSale::off_board(sale(1));
        assert_eq!((off.remaining(), off.remaining_everywhere()), (0, 5));
    }
}
