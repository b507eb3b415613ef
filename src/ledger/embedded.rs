//! The ledger of an engine that sells alone: all stock is its own, in its memory.

use std::sync::Arc;

use super::{Awaited, Ledger, LedgerFault, StockAudit, ThreeBooks, Withdrawal};
use crate::admission::{Board, LiveSale, TakenUnits};
use crate::domain::{Sale, SaleUnits, Units};
use crate::orders::{OrderDesk, StoreError};

/// All stock is this engine's.
#[derive(Debug)]
pub struct EmbeddedLedger {
    orders: OrderDesk,
    shards: usize,
}

impl EmbeddedLedger {
    /// A ledger whose sales keep their units in `shards` counters.
    pub fn new(orders: OrderDesk, shards: usize) -> Self {
        Self { orders, shards }
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

    fn audit<'a>(&'a self, sale: &'a LiveSale) -> Awaited<'a, Result<Option<StockAudit>, StoreError>> {
        Box::pin(async { Ok(self.orders.audit(sale.id).await?.map(StockAudit::embedded)) })
    }

    fn books<'a>(&'a self, sale: &'a LiveSale) -> Awaited<'a, Result<Option<ThreeBooks>, StoreError>> {
        Box::pin(async {
            // Memory first: what becomes durable meanwhile shows in two places, never as missing.
            let (on_sale, in_flight) = (u64::from(sale.remaining()), sale.state.units_in_flight());
            let Some(audit) = self.orders.audit(sale.id).await? else { return Ok(None) };
            let store = SaleUnits { total: audit.total.into(), sold: audit.sold(), ..SaleUnits::default() };
            Ok(Some(ThreeBooks::embedded(on_sale, in_flight, store)))
        })
    }

    fn answers(&self) -> Awaited<'_, Option<Result<(), LedgerFault>>> {
        Box::pin(std::future::ready(None))
    }

    fn commands(&self) -> Option<u64> {
        None
    }

    fn concerns(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
