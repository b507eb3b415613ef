//! Where the units of a sale are, counted in the store and in the ledger.

use super::lease::{Book, NodeAccount};
use crate::domain::SaleUnits;
use crate::orders::Audit;

/// How the ledger answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerState {
    /// There is no other ledger than this engine's memory.
    Embedded,
    /// It was read.
    Shared,
    /// Its book is being counted anew: who holds what is not known.
    Rebuilding,
    /// It does not answer: who holds what is not known.
    Unavailable,
}

impl LedgerState {
    /// The word in the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Shared => "shared",
            Self::Rebuilding => "rebuilding",
            Self::Unavailable => "unavailable",
        }
    }
}

/// All units of a sale: `available + leased + sold = total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockAudit {
    /// What the orders hold, counted in the store.
    pub orders: Audit,
    /// Units that nobody holds. Negative when more are lent than there are.
    pub available: i64,
    /// Units lent to nodes and not sold. While the ledger cannot be read: all that are not sold, for any of them may be.
    pub leased: i64,
    /// How the ledger answered.
    pub ledger: LedgerState,
    /// Whether nothing is oversold and the books agree, as far as they could be read.
    pub conserved: bool,
}

impl StockAudit {
    /// Of an engine that sells alone.
    pub fn embedded(orders: Audit) -> Self {
        Self {
            orders,
            available: orders.available() as i64,
            leased: 0,
            ledger: LedgerState::Embedded,
            conserved: orders.conserved(0),
        }
    }

    /// Of a sale that has ended where engines share the ledger: it lends nothing of it any more, and has no book.
    pub fn ended(orders: Audit) -> Self {
        Self { ledger: LedgerState::Shared, ..Self::embedded(orders) }
    }

    /// Of the store's counts, taken in one snapshot, and the ledger's book, read after them; `None` when it does not
    /// answer.
    pub fn shared(orders: Audit, store: &SaleUnits, book: Option<&Book>) -> Self {
        let unknown = |ledger| Self {
            orders,
            available: 0,
            leased: i64::from(orders.total) - orders.sold() as i64,
            ledger,
            conserved: orders.conserved(0),
        };
        let Some(book) = book else { return unknown(LedgerState::Unavailable) };
        let is_counted = book.accounts.values().all(|account| !account.awaited);
        if book.lost || book.epoch != store.epoch || !is_counted {
            return unknown(LedgerState::Rebuilding);
        }
        let lent_to_all: i64 = book.accounts.values().map(NodeAccount::held).sum();
        let settled: i64 = store.settled.iter().map(|(_, units)| *units as i64).sum();
        let lent = |node| book.accounts.get(node).map_or(0, NodeAccount::held);
        let within_leases = store.settled.iter().all(|(node, units)| lent(node) >= *units as i64);
        // With the store's total and returns: what the ledger has not heard of yet is nobody's all the same.
        let available = store.total as i64 + store.returned as i64 - lent_to_all;
        let leased = lent_to_all - settled;
        let adds_up = available + leased + orders.sold() as i64 == i64::from(orders.total);
        let conserved = orders.conserved(0) && within_leases && available >= 0 && adds_up;
        Self { orders, available, leased, ledger: LedgerState::Shared, conserved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NodeId;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn counted() -> (Audit, SaleUnits, Book) {
        let orders =
            Audit { total: 20, sold_by_guard: 6, held: 4, paid: 2, durable_orders: 7, ..Audit::default() };
        let settled = vec![(node(1), 4), (node(2), 3)];
        let store =
            SaleUnits { epoch: 2, total: 20, revision: 1, sold: 6, returned: 1, settled, shares: Vec::new() };
        let account = |granted, handed_back| NodeAccount { granted, handed_back, ..NodeAccount::default() };
        let accounts = [(node(1), account(8, 1)), (node(2), account(5, 0))].into();
        (orders, store, Book { epoch: 2, total: 20, accounts, ..Book::default() })
    }

    #[test]
    fn every_unit_is_somewhere() {
        let (orders, store, book) = counted();
        let audit = StockAudit::shared(orders, &store, Some(&book));
        assert_eq!((audit.available, audit.leased, audit.ledger), (9, 5, LedgerState::Shared));
        assert!(audit.conserved);
    }

    #[test]
    fn a_book_that_contradicts_the_store_is_no_conservation() {
        let (orders, store, book) = counted();
        let mut short = book.clone();
        short.accounts.insert(node(2), NodeAccount { granted: 2, ..NodeAccount::default() });
        assert!(!StockAudit::shared(orders, &store, Some(&short)).conserved, "sold above the lease");
        let mut over = book.clone();
        over.accounts.insert(node(3), NodeAccount { granted: 50, ..NodeAccount::default() });
        assert!(!StockAudit::shared(orders, &store, Some(&over)).conserved, "lent above the total");
        let wrong = SaleUnits { returned: 2, ..store };
        assert!(!StockAudit::shared(orders, &wrong, Some(&book)).conserved, "orders and counters differ");
    }

    #[test]
    fn what_cannot_be_read_is_said_and_not_guessed() {
        let (orders, store, book) = counted();
        for (book, state) in [
            (None, LedgerState::Unavailable),
            (Some(Book { lost: true, ..book.clone() }), LedgerState::Rebuilding),
            (Some(Book { epoch: 1, ..book }), LedgerState::Rebuilding),
        ] {
            let audit = StockAudit::shared(orders, &store, book.as_ref());
            assert_eq!((audit.available, audit.leased, audit.ledger), (0, 14, state));
            assert!(audit.conserved);
        }
    }
}
