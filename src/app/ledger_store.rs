//! The order store in PostgreSQL as the fence of the shared ledger.

use std::time::Instant;

use crate::domain::{NodeId, OrderId, SaleId};
use crate::ledger::redis::{LedgerStore, StoreView};
use crate::orders::postgres::{LedgerView, PgRegistry};
use crate::orders::{Audit, StoreError};

impl LedgerStore for PgRegistry {
    fn begin_life(&self) -> Result<u64, StoreError> {
        self.begin_life()
    }

    fn newest_order(&self) -> Result<Option<OrderId>, StoreError> {
        self.newest_order()
    }

    fn raise_incarnation(&self, node: NodeId) -> Result<u64, StoreError> {
        self.raise_incarnation(node)
    }

    fn incarnations(&self) -> Result<Vec<(NodeId, u64)>, StoreError> {
        self.incarnations()
    }

    fn end_epoch(&self, sale: SaleId, seen: u64) -> Result<Option<u64>, StoreError> {
        self.end_epoch(sale, seen)
    }

    fn view(&self, sale: SaleId) -> Result<Option<StoreView>, StoreError> {
        Ok(self.ledger_view(sale)?.map(StoreView::from))
    }

    fn has_followed(&self, moment: Instant) -> bool {
        self.has_followed(moment)
    }

    fn audit(&self, sale: SaleId) -> Result<Option<(Audit, StoreView)>, StoreError> {
        let audited = self.audit(sale)?;
        Ok(audited.map(|(audit, view)| (audit, view.into())))
    }
}

impl From<LedgerView> for StoreView {
    fn from(view: LedgerView) -> Self {
        Self {
            epoch: view.epoch,
            total: view.total.into(),
            revision: view.revision,
            sold: view.sold.into(),
            returned: view.returned,
            settled: view.settled,
        }
    }
}
