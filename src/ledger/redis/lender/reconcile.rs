//! The books are compared, the ledger is moved towards the store, and the buyers are told how the sale stands.

use tokio::time::Instant;

use super::super::super::books::{LedgerBook, ThreeBooks};
use super::super::movements::{Movement, Reply, Snapshot, Verdict};
use super::super::reconcile::{Drift, MemoryView, compare};
use super::super::store::{LedgerStore, StoreView};
use super::super::watch::LenderWatch;
use super::account::Account;
use super::{Lender, Trouble};
use crate::admission::LiveSale;

/// A sale where nothing happens is compared ever more rarely, down to one comparison in as many rounds.
const QUIET_ROUNDS_MAX: u32 = 10;

impl<S: LedgerStore, W: LenderWatch> Lender<S, W> {
    /// Moves the ledger towards the store, shares what is left with those who have nothing, and shows the drift.
    pub(super) async fn reconcile(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        // Read first: what becomes durable meanwhile shows as a unit in two places, never as one that is missing.
        let on_sale = u64::from(sale.remaining()) + account.withheld();
        let memory = MemoryView::new(&account.holding, on_sale, sale.state.units_in_flight());
        let Some(view) = self.view(sale.id).await? else { return Ok(()) };
        let book = self.books.snapshot(&sale.key).await?;
        let drift = compare(self.node, memory, &book, &view);
        self.watch.compared(sale.id, &drift);
        for onlooker in account.onlookers.drain(..) {
            // Who does not wait any more sees it next time.
            let _ = onlooker.send(ThreeBooks {
                memory: Some(memory),
                ledger: LedgerBook::Read(book.clone()),
                store: view.clone(),
                drift: Some(drift),
            });
        }
        // A node that has units must hear soon when others want them.
        let is_quiet = on_sale == 0
            && account.seen.as_ref().is_some_and(|(store, ledger)| *store == view && *ledger == book);
        account.quiet = if is_quiet { (account.quiet + 1).min(QUIET_ROUNDS_MAX - 1) } else { 0 };
        account.seen = Some((view.clone(), book.clone()));
        for movement in self.repairs(&view, &book, &drift) {
            let from = account.holding.caller(self.node, self.incarnation);
            let reply = self.books.run(&sale.key, from, &movement).await?;
            if !self.follow(sale, account, reply).await? {
                return Ok(());
            }
        }
        self.settle(sale, account, view.settled_by(self.node)).await?;
        self.take_back_from_the_silent(sale, &book, &view).await
    }

    /// Tells what this node sold, hears how the sale stands, and acts on it.
    pub(super) async fn settle(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
        durable: u64,
    ) -> Result<(), Trouble> {
        let from = account.holding.caller(self.node, self.incarnation);
        let reply = self.books.run(&sale.key, from, &Movement::Settle { durable }).await?;
        if !self.follow(sale, account, reply.clone()).await? {
            return Ok(());
        }
        self.share(sale, account, &reply).await?;
        self.tell(sale, account, &reply);
        if reply.available > 0 {
            account.ask_at = Instant::now();
        }
        Ok(())
    }

    /// What the ledger does not know yet of what the store has.
    fn repairs(&self, view: &StoreView, book: &Snapshot, drift: &Drift) -> Vec<Movement> {
        let mut movements = Vec::new();
        if drift.unreturned > 0 {
            tracing::debug!(
                units = drift.unreturned,
                "units of cancelled and expired orders go back on sale"
            );
            movements.push(Movement::Return { returned: view.returned });
        }
        if book.revision < view.revision {
            movements.push(Movement::Resize { total: view.total, revision: view.revision });
        }
        self.watch.repaired(movements.len() as u64);
        movements
    }

    /// Takes in how the sale stands. It is over when nothing is available and nobody holds a unit that is not sold.
    pub(super) fn tell(&self, sale: &LiveSale, account: &mut Account, reply: &Reply) {
        if reply.verdict != Verdict::Ok {
            return;
        }
        let unsold_here = reply.granted as i64 - reply.handed_back as i64 - reply.settled as i64;
        let elsewhere = reply.available + reply.leased - unsold_here;
        sale.state.set_units_elsewhere(u64::try_from(elsewhere).unwrap_or(0));
        if reply.available > 0 || reply.leased > 0 || reply.awaited > 0 {
            account.over_since = None;
            sale.state.set_more_may_come(true);
        } else if sale.state.more_may_come() {
            account.over_since.get_or_insert_with(Instant::now);
            self.conclude(sale, account);
        }
    }

    /// Tells the buyers that a sale is over, once this node knows every order that was durable when it was: who holds one
    /// hears of it here too, and not "sold out".
    pub(super) fn conclude(&self, sale: &LiveSale, account: &mut Account) {
        if account.over_since.is_some_and(|since| self.store.has_followed(since.into_std())) {
            account.over_since = None;
            sale.state.set_more_may_come(false);
            // Whoever comes from now on is refused for good, and wakes the clerk again.
            sale.state.take_unmet_demand();
        }
    }
}
