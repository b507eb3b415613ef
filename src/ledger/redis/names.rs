//! How the keys of one order store's ledger are called.

use crate::domain::{SaleKey, StoreIdentity};
use crate::orders::StoreHistory;

/// The names of a ledger's keys. They carry the identity of the order store, so that several stores can sell from one
/// Redis; but for a store that sold before this was so, and is found under the old names by the engines of that time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyNames {
    /// Whose they are, when they say so.
    store: Option<StoreIdentity>,
}

impl KeyNames {
    /// The names for this store.
    pub fn of(store: &StoreHistory) -> Self {
        Self { store: store.own_names.then_some(store.identity) }
    }

    /// The key of a sale's book. The braces keep a sale in one slot of a Cluster.
    pub fn book(&self, sale: &SaleKey) -> String {
        self.key(&format!("{{{}:{}:{}}}:book", sale.tenant(), sale.campaign(), sale.sku()))
    }

    /// The hash of all nodes' beats.
    pub fn beats(&self) -> String {
        self.key("{nodes}:beats")
    }

    /// The hash of the sales to which nodes call each other.
    pub fn calls(&self) -> String {
        self.key("{nodes}:calls")
    }

    fn key(&self, rest: &str) -> String {
        match self.store {
            None => format!("seckill:{rest}"),
            Some(store) => format!("seckill:{store}:{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::StoreMark;

    #[test]
    fn n15_two_stores_have_different_books_and_a_store_of_before_keeps_its_own() {
        let sale = SaleKey::new("default", "launch", "phone").unwrap();
        let store = |byte, own_names| StoreHistory {
            identity: StoreIdentity::from_bytes(&[byte; 16]).unwrap(),
            timeline: 1,
            own_names,
            mark: StoreMark::default(),
        };
        let book = |store| KeyNames::of(&store).book(&sale);
        assert_eq!(book(store(1, false)), "seckill:{default:launch:phone}:book");
        let own = "seckill:01010101010101010101010101010101:{default:launch:phone}:book";
        assert_eq!(book(store(1, true)), own);
        assert_ne!(book(store(2, true)), own);
        assert_eq!(KeyNames::default().beats(), "seckill:{nodes}:beats");
    }
}
