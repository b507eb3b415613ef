//! The ledger of an engine that sells alone: all stock is its own, in its memory.

use std::sync::Arc;

use super::{Awaited, Ledger, Withdrawal};
use crate::admission::{Board, LiveSale, TakenUnits};
use crate::domain::{Sale, Units};

/// All stock is this engine's.
#[derive(Debug)]
pub struct EmbeddedLedger {
    shards: usize,
}

impl EmbeddedLedger {
    /// A ledger whose sales keep their units in `shards` counters.
    pub fn new(shards: usize) -> Self {
        Self { shards }
    }
}

impl Ledger for EmbeddedLedger {
    fn open(&self, board: &Board, sale: Sale) {
        board.publish(LiveSale::open(sale, self.shards));
    }

    fn withdraw<'a>(&'a self, sale: &'a LiveSale, units: Units) -> Awaited<'a, Option<Withdrawal>> {
        let taken = sale.state.stock().take(0, units).map(TakenUnits::keep);
        let state = Arc::clone(&sale.state);
        let withdrawal = taken.map(|units| {
            Withdrawal::new(move |given_up| {
                if !given_up {
                    state.stock().add_spread(units);
                }
            })
        });
        Box::pin(std::future::ready(withdrawal))
    }

    fn grow(&self, sale: &LiveSale, units: Units) {
        sale.state.stock().add_spread(units);
    }
}
