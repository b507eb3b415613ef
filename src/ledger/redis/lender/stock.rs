//! Units come and go: leases ahead of need, hand-backs to those who have none, units that an operator takes off sale.

use tokio::time::Instant;

use super::super::movements::{Chunk, Movement, Reply, Verdict};
use super::super::store::LedgerStore;
use super::super::watch::LenderWatch;
use super::super::withholding::{Next, Withholding};
use super::account::Account;
use super::{Lender, Trouble};
use crate::admission::LiveSale;
use crate::domain::Units;

impl<S: LedgerStore, W: LenderWatch> Lender<S, W> {
    pub(super) async fn lease(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        let chunk = Chunk {
            divisor: self.settings.lease_divisor.max(1) * (self.pulse.others_alive() + 1),
            min: u64::from(sale.terms.per_buyer_limit).clamp(1, self.settings.lease_units_max),
            max: self.settings.lease_units_max,
        };
        // A node without buyers needs nothing: others keep what they have.
        let starves = sale.state.take_unmet_demand();
        let new = self.borrow(sale, account, chunk, starves).await?;
        account.asked_in_vain = starves && new == 0;
        put_on_sale(sale, new);
        if new > 0 {
            account.chunk = new;
        }
        Ok(())
    }

    /// Asks for units. Those that it returns are this node's, and off sale.
    async fn borrow(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
        chunk: Chunk,
        starves: bool,
    ) -> Result<u64, Trouble> {
        let movement = Movement::Lease { seen: account.holding.granted, chunk, starves };
        let from = account.holding.caller(self.node, self.incarnation);
        account.ask_at = self.later(self.settings.tail_pause_ms);
        let reply = self.books.run(&sale.key, from, &movement).await?;
        if !self.follow(sale, account, reply.clone()).await? {
            return Ok(0);
        }
        let new = account.holding.leased(&reply);
        if new > 0 {
            account.ask_at = Instant::now();
            self.watch.leased(new);
        }
        self.tell(sale, account, &reply);
        Ok(new)
    }

    /// Gathers the units that an operator wants to take off sale, and does with them what he decides.
    pub(super) async fn withhold(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        let Some(mut withholding) = account.withholding.take() else { return Ok(()) };
        let missing = withholding.missing();
        if missing > 0 {
            let found = sale.remaining().min(Units::try_from(missing).unwrap_or(Units::MAX));
            withholding.units += sale.state.stock().take(0, found).map_or(0, |units| u64::from(units.keep()));
        }
        match withholding.advance(Instant::now()) {
            Next::Keep => account.withholding = Some(withholding),
            Next::PutBack => put_on_sale(sale, withholding.units),
            Next::GiveUp => {
                // The total first: units that are handed back before it is lower could be lent out again.
                let resized = self.resize(sale, account).await;
                if matches!(resized, Ok(true)) {
                    account.holding.handed_back += withholding.units;
                    return self.confirm_hand_back(sale, account).await;
                }
                account.withholding = Some(withholding);
                return resized.map(drop);
            }
        }
        let missing = account.withholding.as_ref().map_or(0, Withholding::missing);
        if missing > 0 && account.ask_at <= Instant::now() {
            let chunk = Chunk { divisor: 1, min: missing, max: missing };
            let borrowed = self.borrow(sale, account, chunk, true).await?;
            if let Some(withholding) = &mut account.withholding {
                withholding.units += borrowed;
            }
        }
        Ok(())
    }

    /// Tells the ledger the total that the store has now. `true` when it knows.
    async fn resize(&mut self, sale: &LiveSale, account: &mut Account) -> Result<bool, Trouble> {
        let Some(view) = self.view(sale.id).await? else { return Ok(false) };
        let movement = Movement::Resize { total: view.total, revision: view.revision };
        let from = account.holding.caller(self.node, self.incarnation);
        let reply = self.books.run(&sale.key, from, &movement).await?;
        self.follow(sale, account, reply).await
    }

    pub(super) async fn confirm_hand_back(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
    ) -> Result<(), Trouble> {
        let handed_back = account.holding.handed_back;
        let from = account.holding.caller(self.node, self.incarnation);
        let reply = self.books.run(&sale.key, from, &Movement::HandBack { handed_back }).await?;
        if self.follow(sale, account, reply).await? {
            account.holding.confirmed_back = handed_back;
        }
        Ok(())
    }

    /// Nothing is available and somebody starves: half of what is on sale here goes back, at least one unit.
    pub(super) async fn share(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
        reply: &Reply,
    ) -> Result<(), Trouble> {
        let on_sale = sale.remaining();
        // Nodes that want more units than each of them has draw lots, until one of them has enough.
        let others_starve = reply.starving > u64::from(account.asked_in_vain);
        let gives = others_starve && (!account.asked_in_vain || rand::random());
        let short = reply.available < 0 || (reply.available == 0 && gives);
        if reply.verdict != Verdict::Ok || !short || on_sale == 0 {
            return Ok(());
        }
        // Off sale first, then said.
        if let Some(units) = sale.state.stock().take(0, on_sale.div_ceil(2)) {
            let units = u64::from(units.keep());
            account.holding.handed_back += units;
            self.watch.handed_back(units);
            self.confirm_hand_back(sale, account).await?;
        }
        Ok(())
    }
}

/// Puts units that are this node's on sale.
pub(super) fn put_on_sale(sale: &LiveSale, units: u64) {
    sale.state.stock().add_spread(Units::try_from(units).unwrap_or(Units::MAX));
}
