//! The ledger of engines that sell one stock together: units come and go through the lease agent.

use std::sync::Arc;
use std::time::Duration;

use super::super::redis::{RedisBooks, RedisFault};
use super::super::{Awaited, Concerns, Ledger, LedgerBook, LedgerFault, StockAudit, ThreeBooks, Withdrawal};
use super::LeaseHandle;
use crate::admission::{Board, LiveSale};
use crate::domain::{Sale, Units};
use crate::orders::{LeaseStore, ReadCancellation, StoreError};

/// How often an audit reads again: between its two reads units may have come back and gone out once more.
const AUDIT_READS_MAX: usize = 3;
/// How long the agent may take to compare the books of a sale.
const COMPARE_MAX: Duration = Duration::from_secs(2);

/// All stock is lent.
#[derive(Debug)]
pub struct SharedLedger {
    books: Arc<RedisBooks>,
    store: Arc<dyn LeaseStore>,
    agent: LeaseHandle,
    concerns: Arc<Concerns>,
    shards: usize,
    withdraw_max: Duration,
}

impl SharedLedger {
    /// A ledger whose sales keep their units in `shards` counters, and that waits at most `withdraw_max` for units that
    /// other nodes have to give up.
    pub fn new(
        books: Arc<RedisBooks>,
        store: Arc<dyn LeaseStore>,
        agent: LeaseHandle,
        concerns: Arc<Concerns>,
        shards: usize,
        withdraw_max: Duration,
    ) -> Self {
        Self { books, store, agent, concerns, shards, withdraw_max }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn LeaseStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        ReadCancellation::read(move || question(&*store)).await
    }
}

impl Ledger for SharedLedger {
    /// Unless this node, which follows the others, has found it in the store already.
    fn open(&self, board: &Board, sale: Sale) {
        board.publish_new(LiveSale::lent(sale, self.shards));
    }

    fn withdraw<'a>(&'a self, sale: &'a LiveSale, units: Units) -> Awaited<'a, Option<Withdrawal>> {
        Box::pin(self.agent.withdraw(sale.id, units.into(), self.withdraw_max))
    }

    /// The agent hears of the new total from the order writer, and reads it in the store.
    fn grow(&self, _: &LiveSale, _: Units) {}

    fn audit<'a>(&'a self, sale: &'a LiveSale) -> Awaited<'a, Result<Option<StockAudit>, StoreError>> {
        Box::pin(async {
            let id = sale.id;
            let mut reads = 0;
            loop {
                let Some((orders, store)) = self.ask(move |store| store.audit(id)).await? else {
                    return Ok(None);
                };
                if sale.is_archived {
                    return Ok(Some(StockAudit::ended(orders)));
                }
                let book = self.books.read(&sale.key).await.ok();
                let audit = StockAudit::shared(orders, &store, book.as_ref());
                reads += 1;
                if audit.conserved || reads == AUDIT_READS_MAX {
                    return Ok(Some(audit));
                }
            }
        })
    }

    fn books<'a>(&'a self, sale: &'a LiveSale) -> Awaited<'a, Result<Option<ThreeBooks>, StoreError>> {
        Box::pin(async {
            if let Some(books) = self.agent.compare(sale.id, COMPARE_MAX).await {
                return Ok(Some(books));
            }
            // The agent waits for somebody: what can be read without it is shown.
            let id = sale.id;
            let store = self.ask(move |store| store.units(id)).await?;
            let ledger = self.books.read(&sale.key).await.map_or(LedgerBook::Unavailable, LedgerBook::Read);
            Ok(store.map(|store| ThreeBooks { memory: None, ledger, store, drift: None }))
        })
    }

    fn answers(&self) -> Awaited<'_, Option<Result<(), LedgerFault>>> {
        Box::pin(async {
            let tried = self.books.link().trial().await;
            if let Ok(eviction) = &tried {
                eviction.tell(&self.concerns);
            }
            Some(tried.map(drop).map_err(|fault| match fault {
                RedisFault::Away(_) => LedgerFault::Away(fault.to_string()),
                _ => LedgerFault::Refused(fault.to_string()),
            }))
        })
    }

    fn commands(&self) -> Option<u64> {
        Some(self.books.link().commands())
    }

    fn concerns(&self) -> Vec<(&'static str, String)> {
        self.concerns.all()
    }
}
