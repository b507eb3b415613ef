//! The ledger of engines that sell one stock together: units come and go through the lender's clerk.

use std::time::Duration;

use super::redis::LenderDoor;
use super::{Awaited, Ledger, Withdrawal};
use crate::admission::{Board, LiveSale};
use crate::domain::{Sale, Units};

/// All stock is lent.
#[derive(Debug)]
pub struct SharedLedger {
    shards: usize,
    lender: LenderDoor,
    withdraw_max: Duration,
}

impl SharedLedger {
    /// A ledger whose sales keep their units in `shards` counters, and that waits at most `withdraw_max` for units that
    /// other nodes have to give up.
    pub fn new(shards: usize, lender: LenderDoor, withdraw_max: Duration) -> Self {
        Self { shards, lender, withdraw_max }
    }
}

impl Ledger for SharedLedger {
    /// Unless this node, which follows the others, has found it in the store already.
    fn open(&self, board: &Board, sale: Sale) {
        board.publish_new(LiveSale::lent(sale, self.shards));
    }

    fn withdraw<'a>(&'a self, sale: &'a LiveSale, units: Units) -> Awaited<'a, Option<Withdrawal>> {
        Box::pin(self.lender.withhold(sale.id, units.into(), self.withdraw_max))
    }

    /// The lender hears of the new total from the order writer, and reads it in the store.
    fn grow(&self, _: &LiveSale, _: Units) {}
}
