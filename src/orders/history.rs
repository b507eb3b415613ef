//! Which store this is, and how far its history has come: what tells a store that went back in time, because it was
//! restored or a standby took over that did not have everything, from one that only went on.

use crate::domain::StoreIdentity;

/// A store at one moment of its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreHistory {
    /// Which store it is.
    pub identity: StoreIdentity,
    /// Grows by one whenever the store is found to have gone back: what was read of it before may not be so any more.
    pub timeline: u64,
    /// Whether the keys of its ledger carry its identity.
    pub own_names: bool,
    /// How far it has come.
    pub mark: StoreMark,
}

/// Numbers of a store that only grow, as long as it does not go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreMark {
    /// The number of the last event of an order.
    pub last_event: u64,
    /// The number of the last change of a sale.
    pub last_change: u64,
    /// How often the ledger's protocol has decided something here: lives begun and ended, epochs ended.
    pub decisions: u64,
}

impl StoreMark {
    /// Whether the store has lost something since it was at `known`.
    pub fn is_before(self, known: Self) -> bool {
        self.last_event < known.last_event
            || self.last_change < known.last_change
            || self.decisions < known.decisions
    }
}

/// Why what an engine has read of its store is not what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// Another store is there.
    OtherStore,
    /// The store has gone back, and somebody has found out.
    OtherTimeline,
    /// The store has gone back, and nobody has found out yet.
    WentBack,
    /// The keys of the ledger have other names.
    OtherNames,
}

impl StoreHistory {
    /// What has become, by `now`, of the store that was seen like this; `None` when it has only gone on.
    pub fn outdated_by(&self, now: &Self) -> Option<Outdated> {
        if now.identity != self.identity {
            Some(Outdated::OtherStore)
        } else if now.timeline > self.timeline {
            Some(Outdated::OtherTimeline)
        } else if now.timeline < self.timeline || now.mark.is_before(self.mark) {
            Some(Outdated::WentBack)
        } else if now.own_names != self.own_names {
            Some(Outdated::OtherNames)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n7_a_store_that_went_back_is_told_from_one_that_went_on() {
        let identity = |byte| StoreIdentity::from_bytes(&[byte; 16]).unwrap();
        let mark = |last_event, last_change| StoreMark { last_event, last_change, decisions: 3 };
        let seen = StoreHistory { identity: identity(1), timeline: 2, own_names: true, mark: mark(100, 7) };
        let now = |now: StoreHistory| seen.outdated_by(&now);
        assert_eq!(now(seen), None);
        assert_eq!(now(StoreHistory { mark: mark(101, 7), ..seen }), None);
        assert_eq!(now(StoreHistory { mark: mark(99, 8), ..seen }), Some(Outdated::WentBack));
        assert_eq!(now(StoreHistory { mark: mark(200, 6), ..seen }), Some(Outdated::WentBack));
        let fewer = StoreMark { decisions: 2, ..mark(200, 9) };
        assert_eq!(now(StoreHistory { mark: fewer, ..seen }), Some(Outdated::WentBack));
        assert_eq!(now(StoreHistory { timeline: 1, mark: mark(200, 9), ..seen }), Some(Outdated::WentBack));
        let begun = StoreHistory { timeline: 3, mark: mark(90, 6), ..seen };
        assert_eq!(now(begun), Some(Outdated::OtherTimeline));
        assert_eq!(now(StoreHistory { identity: identity(2), ..begun }), Some(Outdated::OtherStore));
        assert_eq!(now(StoreHistory { own_names: false, ..seen }), Some(Outdated::OtherNames));
    }
}
