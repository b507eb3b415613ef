//! The board of live sales: what is on sale on this node, swapped whole when anything about a sale changes.
//!
//! How sales leave it: a deleted one at once, an archived one when its orders have moved. Whoever lends the stock hears of either
//! as of everything that happens to a sale ([`Board::stirred`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use hashbrown::{Equivalent, HashMap};

use super::archived_names::ArchivedNames;
use super::attention::Attention;
use super::departures::Departures;
use super::live_sale::LiveSale;
use crate::domain::{Sale, SaleId, SaleKey, Stops};

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

    fn remove(&mut self, id: SaleId) {
        let Some(gone) = self.by_id.remove(&id) else { return };
        self.with_room.remove(&id);
        // Its name may be another one's by now.
        if self.by_name.get(&gone.key).is_some_and(|named| named.id == gone.id) {
            self.by_name.remove(&gone.key);
        }
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

    /// How many of them are not archived.
    pub fn live(&self) -> usize {
        self.by_id.values().filter(|sale| !sale.is_archived).count()
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
    departures: Departures,
}

impl Board {
    /// Something happened to the sale: whoever looks after it is to look.
    #[inline]
    pub fn stir(&self, sale: &LiveSale) {
        self.attention.name(sale.id, &sale.state.named);
    }

    /// The sales that something happened to, new ones included; each once until it is taken up ([`SaleState::take_up`](crate::admission::SaleState::take_up)).
    pub fn stirred(&self) -> &flume::Receiver<SaleId> {
        self.attention.named()
    }

    /// Changes what is on the board: one swap. `change` may be called again, with what has come of others' changes.
    fn swap(&self, change: impl Fn(&mut Sales)) {
        self.sales.rcu(|sales| {
            let mut sales = Sales::clone(sales);
            change(&mut sales);
            sales
        });
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
        self.swap(|sales| sales.put(&sale));
        self.stir_by_id(sale.id);
    }

    /// Puts a sale on the board, unless one with its number is there: what that one has in stock and who bought of it
    /// stays as it is.
    pub fn publish_new(&self, sale: LiveSale) {
        self.swap(|sales| {
            if !sales.by_id.contains_key(&sale.id) {
                sales.put(&sale);
            }
        });
        self.stir_by_id(sale.id);
    }

    /// Replaces the terms of a sale that is on the board, unless it has those of a later version: changes may be heard of
    /// out of their order.
    pub fn change_terms(&self, changed: &Sale) {
        self.swap(|sales| {
            if let Some(live) = sales.by_id.get(&changed.id).filter(|live| live.version <= changed.version) {
                let live = live.with_terms(changed.terms.clone(), changed.version);
                sales.put(&live);
            }
        });
        self.stir_by_id(changed.id);
    }

    /// Puts many sales on the board at once: one swap.
    pub fn publish_all(&self, new: Vec<LiveSale>) {
        self.swap(|sales| new.iter().for_each(|sale| sales.put(sale)));
        new.iter().for_each(|sale| self.stir(sale));
    }

    /// Stops sales, or has them go on, at once: one swap. Older news than what is known changes nothing.
    pub fn set_stops(&self, stops: Stops) {
        let stops = Arc::new(stops);
        self.swap(|sales| {
            if stops.version > sales.stops.version {
                sales.stops = Arc::clone(&stops);
                for sale in sales.by_id.values().cloned().collect::<Vec<_>>() {
                    sales.put(&sale);
                }
            }
        });
    }

    /// A sale is archived, here or by another engine. If it is on the board, nothing of it is on sale any more; it stays until
    /// it is [removed](Self::remove_all).
    pub fn let_go(&self, archived: &Sale) {
        self.archived.note(&archived.key);
        self.swap(|sales| {
            if let Some(live) = sales.by_id(archived.id).filter(|live| !live.is_archived) {
                let live = live.with_terms(archived.terms.clone(), archived.version).leaving();
                sales.put(&live);
            }
        });
        self.stir_by_id(archived.id);
        self.departures.call();
    }

    /// The archived sales that are on the board.
    pub fn leaving(&self) -> Vec<SaleId> {
        self.sales().iter().filter(|sale| sale.is_archived).map(|sale| sale.id).collect()
    }

    /// Has whoever takes them off the board look again: a sale that was deleted leaves something behind, too.
    pub fn call_departures(&self) {
        self.departures.call();
    }

    /// Tells when there are more of them. For whoever takes them off the board.
    pub fn departures(&self) -> &flume::Receiver<()> {
        self.departures.called()
    }

    /// Takes sales off the board: one swap. Who has looked one up already goes on with it.
    pub fn remove_all(&self, ids: &[SaleId]) {
        let gone: Vec<Arc<LiveSale>> = {
            let sales = self.sales();
            ids.iter().filter_map(|id| sales.by_id(*id).cloned()).collect()
        };
        self.swap(|sales| ids.iter().for_each(|id| sales.remove(*id)));
        gone.iter().for_each(|sale| self.stir(sale));
    }

    /// The names of the sales that are archived.
    pub fn archived(&self) -> &ArchivedNames {
        &self.archived
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;
    use crate::domain::{Cents, Currency, EpochMs, SaleKey, SaleTerms};

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

    #[test]
    fn o9_an_archived_sale_stays_until_it_is_taken_off_and_nothing_of_it_is_on_sale() {
        let board = Board::default();
        board.publish(LiveSale::open(sale(1), 1));
        board.stirred().drain().for_each(drop);
        let archived = Sale { version: 5, archived_at: Some(EpochMs(9)), ..sale(1) };
        board.let_go(&archived);
        board.let_go(&archived);
        assert_eq!((board.leaving(), board.departures().drain().count()), (vec![SaleId(1)], 1));
        let live = Arc::clone(board.sales().by_id(SaleId(1)).unwrap());
        assert_eq!((live.version, live.remaining(), live.remaining_everywhere()), (5, 0, 5));
        assert!(!live.state.more_may_come() && board.archived().may_have("default", "c", "phone"));
        // Whatever comes late does not bring it back.
        board.publish_new(LiveSale::lent(sale(1), 1));
        board.change_terms(&archived);
        assert_eq!(board.leaving(), [SaleId(1)]);
        live.state.take_up();
        board.stirred().drain().for_each(drop);
        board.remove_all(&[SaleId(1)]);
        assert_eq!(
            board.stirred().drain().collect::<Vec<_>>(),
            [SaleId(1)],
            "who lends its stock hears that"
        );
        // One that is not on the board leaves its name.
        board.let_go(&Sale { key: SaleKey::new("default", "c", "book").unwrap(), ..sale(2) });
        assert!(board.archived().may_have("default", "c", "book") && board.sales().is_empty());
    }
}
