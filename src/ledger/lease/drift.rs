//! Three books of one sale compared: the node's memory, the ledger's book, the order store. Pure functions; what they
//! find is shown as a metric, and repaired by the protocol's own movements, never overwritten.

use std::collections::BTreeSet;

use super::book::{Book, NodeAccount};
use super::errand::{Errand, Silent};
use super::rules::{Rule, Rules};
use crate::domain::{NodeId, SaleUnits, Share};

/// What this node has in memory of one sale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryView {
    /// Units on sale here.
    pub on_sale: u64,
    /// Units of orders on their way to the store.
    pub in_flight: u64,
    /// Units that it was lent and has not handed back, sold ones included.
    pub held: u64,
}

/// How far the three books are apart, in units. All zero means that every unit is where it should be. While orders are
/// on their way, `memory` and `unsettled` show them for a moment; what stays is drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Held by this node, less on sale, in flight and durable: units that memory has lost (or, negative, invented).
    pub memory: i64,
    /// Durable orders of all nodes that the ledger does not know of yet.
    pub unsettled: i64,
    /// Returned units that are not available again yet.
    pub unreturned: i64,
    /// Units that the store has on sale and the ledger does not, after a change of the stock.
    pub unresized: i64,
    /// Units sold above what was lent: it should not happen.
    pub above_lease: i64,
    /// Whether the ledger has no valid book.
    pub lost: bool,
}

impl Drift {
    /// Whether nothing is amiss.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Each kind with its name in metrics and in the admin API.
    pub fn kinds(&self) -> [(&'static str, i64); 6] {
        [
            ("memory", self.memory),
            ("unsettled", self.unsettled),
            ("unreturned", self.unreturned),
            ("unresized", self.unresized),
            ("above_lease", self.above_lease),
            ("lost", self.lost.into()),
        ]
    }
}

/// Compares the books of one sale as node `node` sees them.
pub fn compare(node: NodeId, memory: MemoryView, ledger: &Book, store: &SaleUnits) -> Drift {
    let in_memory = memory.on_sale + memory.in_flight + store.settled_by(node);
    Drift { memory: memory.held as i64 - in_memory as i64, ..compare_outside(ledger, store) }
}

/// Compares the ledger with the store, whatever the nodes have in memory.
pub fn compare_outside(ledger: &Book, store: &SaleUnits) -> Drift {
    let mut drift = Drift { lost: ledger.lost || ledger.epoch != store.epoch, ..Drift::default() };
    if drift.lost {
        return drift;
    }
    drift.unreturned = store.returned as i64 - ledger.returned as i64;
    drift.unresized = store.total as i64 - ledger.total as i64;
    for (node, durable) in &store.settled {
        let account = ledger.accounts.get(node).copied().unwrap_or_default();
        drift.unsettled += *durable as i64 - account.settled as i64;
        if !account.awaited {
            drift.above_lease += (*durable as i64 - account.held()).max(0);
        }
    }
    drift
}

/// Whether the books agree as node `me` sees them, with this drift, nothing is on its way and nobody has to say anything:
/// there is nothing to do about the sale until something happens to it.
pub fn agree(me: NodeId, memory: &MemoryView, drift: &Drift, ledger: &Book, store: &SaleUnits) -> bool {
    let awaits_nobody = ledger.accounts.values().all(|account| !account.awaited);
    let is_told = repairs(ledger, store).next().is_none();
    let lent_to_me = ledger.accounts.get(&me).map_or(0, NodeAccount::held);
    drift.is_none() && memory.in_flight == 0 && lent_to_me == memory.held as i64 && awaits_nobody && is_told
}

/// What tells the ledger what it does not know yet of what the store has.
pub fn repairs(ledger: &Book, store: &SaleUnits) -> impl Iterator<Item = Errand> + use<> {
    let is_valid = !compare_outside(ledger, store).lost;
    let returned = (is_valid && ledger.returned < store.returned).then_some(Errand::Return(store.returned));
    let resized = ledger.revision < store.revision;
    let resized = resized.then_some(Errand::ResizeKnown(store.total, store.revision));
    returned.into_iter().chain(resized)
}

/// What opens a book that is older than the store's epoch. Whoever ended that epoch is about to do it, unless he died.
pub fn left_behind(rules: Rules, ledger: &Book, store: &SaleUnits) -> Option<Errand> {
    let is_behind = !ledger.lost && ledger.epoch < store.epoch && rules.keep(Rule::OpensWhatWasLeft);
    is_behind.then(|| Errand::Reopen { seen: ledger.epoch, server: ledger.server.clone() })
}

/// The nodes other than `me` that are silent, and hold units by their share or have not said what they hold, or that the book
/// knows to hold what it does not know to be sold. What the store knows to be sold counts there, too: a node that was cut off
/// before it said so leaves a book in which more may come, for as long as it is away. None as long as the book is not the one
/// that the store speaks of.
pub fn silent_holders(
    rules: Rules,
    me: NodeId,
    ledger: &Book,
    store: &SaleUnits,
    mut is_silent: impl FnMut(NodeId, u64) -> bool,
) -> Vec<Silent> {
    if compare_outside(ledger, store).lost || !rules.keep(Rule::ReclaimsFromTheSilent) {
        return Vec::new();
    }
    let by_its_share = |node: NodeId| {
        let holds = |share: &&Share| share.granted > store.settled_by(node);
        store.share_of(node).filter(holds).filter(|_| rules.keep(Rule::ReleasesShares))
    };
    let in_the_book = |node: NodeId| {
        ledger.accounts.get(&node).is_some_and(|account| account.awaited || account.leased() > 0)
    };
    let shareholders = store.shares.iter().map(|share| share.node);
    let nodes: BTreeSet<NodeId> = ledger.accounts.keys().copied().chain(shareholders).collect();
    let holders =
        nodes.into_iter().filter(|node| *node != me && (in_the_book(*node) || by_its_share(*node).is_some()));
    holders
        .map(|node| {
            let known = ledger.accounts.get(&node).map_or(0, |account| account.incarnation);
            let incarnation = by_its_share(node).map_or(known, |share| known.max(share.life));
            Silent { node, incarnation, epoch: ledger.epoch }
        })
        .filter(|holder| is_silent(holder.node, holder.incarnation))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn share(number: u16, granted: u64) -> Share {
        Share { node: node(number), life: 3, granted }
    }

    fn sound() -> (MemoryView, Book, SaleUnits) {
        let account = |granted, handed_back, settled| NodeAccount {
            granted,
            handed_back,
            settled,
            ..NodeAccount::default()
        };
        let memory = MemoryView { on_sale: 2, in_flight: 1, held: 7 };
        let accounts = [(node(1), account(8, 1, 4)), (node(2), account(3, 0, 3))].into();
        let ledger = Book { epoch: 2, total: 20, revision: 1, returned: 1, accounts, ..Book::default() };
        let settled = vec![(node(1), 4), (node(2), 3)];
        let shares = vec![share(1, 4), share(2, 3)];
        let store = SaleUnits { epoch: 2, total: 20, revision: 1, sold: 6, returned: 1, settled, shares };
        (memory, ledger, store)
    }

    #[test]
    fn books_that_agree_show_no_drift() {
        let (memory, ledger, store) = sound();
        assert!(compare(node(1), memory, &ledger, &store).is_none());
        assert_eq!(ledger.available() + ledger.leased() + ledger.sold(), 20);
    }

    #[test]
    fn each_difference_is_named() {
        let (memory, ledger, store) = sound();
        let short = MemoryView { on_sale: 1, ..memory };
        assert_eq!(compare(node(1), short, &ledger, &store).memory, 1);
        let later = SaleUnits { settled: vec![(node(1), 4), (node(2), 5)], ..store.clone() };
        let drift = compare(node(1), memory, &ledger, &later);
        assert_eq!((drift.unsettled, drift.above_lease), (2, 2));
        let returned = SaleUnits { returned: 3, total: 25, ..store.clone() };
        let drift = compare(node(1), memory, &ledger, &returned);
        assert_eq!((drift.unreturned, drift.unresized), (2, 5));
        assert!(compare(node(1), memory, &Book { lost: true, ..ledger }, &store).lost);
    }

    #[test]
    fn a_ledger_that_is_behind_is_told_and_one_that_is_not_valid_is_not() {
        let (_, ledger, store) = sound();
        assert_eq!(repairs(&ledger, &store).next(), None);
        let later = SaleUnits { returned: 3, total: 25, revision: 2, ..store };
        let told: Vec<_> = repairs(&ledger, &later).collect();
        assert_eq!(told, [Errand::Return(3), Errand::ResizeKnown(25, 2)]);
        let told: Vec<_> = repairs(&Book { epoch: 1, ..ledger }, &later).collect();
        assert_eq!(told, [Errand::ResizeKnown(25, 2)], "which tells what is wrong with the book");
    }

    #[test]
    fn a_book_of_an_older_epoch_is_opened_anew() {
        let (_, ledger, store) = sound();
        assert_eq!(left_behind(Rules::sound(), &ledger, &store), None);
        let later = SaleUnits { epoch: 3, ..store };
        let server = ledger.server.clone();
        let errand = Some(Errand::Reopen { seen: 2, server });
        assert_eq!(left_behind(Rules::sound(), &ledger, &later), errand);
        let lost = Book { lost: true, ..ledger };
        assert_eq!(left_behind(Rules::sound(), &lost, &later), None, "the next call says so");
    }

    #[test]
    fn only_who_is_silent_and_holds_units_is_named() {
        let (_, mut ledger, store) = sound();
        let named = |ledger: &Book, silent: u16| {
            silent_holders(Rules::sound(), node(2), ledger, &store, |who, _| who == node(silent))
        };
        assert_eq!(named(&ledger, 1), [Silent { node: node(1), incarnation: 0, epoch: 2 }]);
        assert_eq!(named(&ledger, 2), [], "not itself");
        ledger.accounts.insert(node(1), NodeAccount { granted: 4, settled: 4, ..NodeAccount::default() });
        assert_eq!(named(&ledger, 1), [], "all that it was lent is known to be sold");
        ledger.accounts.insert(node(1), NodeAccount { granted: 4, settled: 3, ..NodeAccount::default() });
        assert_eq!(named(&ledger, 1).len(), 1, "sold as the store knows, but nobody would tell the ledger");
        ledger.accounts.insert(node(1), NodeAccount { awaited: true, ..NodeAccount::default() });
        assert_eq!(named(&ledger, 1).len(), 1, "it has not said what it holds");
        ledger.accounts.remove(&node(1));
        assert_eq!(named(&ledger, 1), [], "all of its share is sold");
        let shared = SaleUnits { shares: vec![share(1, 5)], ..store.clone() };
        let silent = silent_holders(Rules::sound(), node(2), &ledger, &shared, |who, _| who == node(1));
        assert_eq!(silent, [Silent { node: node(1), incarnation: 3, epoch: 2 }]);
        ledger.lost = true;
        assert_eq!(named(&ledger, 1), [], "nobody knows who holds what");
    }
}
