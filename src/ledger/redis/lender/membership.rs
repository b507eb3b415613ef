//! How a node belongs: it registers with each sale's book, announces what it holds to a new one, is fenced and begins again,
//! fences others by evidence, and leaves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::holding::{Outcome, Standing};
use super::super::movements::{Caller, Movement, Rebuild, Reply, Snapshot, Verdict};
use super::super::store::{LedgerStore, StoreView};
use super::super::watch::LenderWatch;
use super::account::Account;
use super::stock::put_on_sale;
use super::{Lender, Trouble};
use crate::admission::{Intake, LiveSale};

impl<S: LedgerStore, W: LenderWatch> Lender<S, W> {
    /// Joins the sale's book in this life: what a former life was lent and did not sell is this one's stock.
    pub(super) async fn register(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        account.ask_at = self.later(self.settings.tail_pause_ms);
        account.over_since = None;
        sale.state.set_more_may_come(true);
        let Some(view) = self.view(sale.id).await? else { return Ok(()) };
        let durable = view.settled_by(self.node);
        let from = Caller { node: self.node, incarnation: self.incarnation, epoch: view.epoch };
        let mut reply = self.books.run(&sale.key, from, &Movement::Register).await?;
        if reply.verdict == Verdict::Awaited {
            let movement = Movement::Announce { held: durable, durable };
            reply = self.books.run(&sale.key, from, &movement).await?;
        }
        match reply.verdict {
            Verdict::Ok => {
                let stock = account.holding.registered(view.epoch, durable, &reply);
                if std::mem::take(&mut account.surrender) {
                    account.holding.handed_back += stock;
                } else {
                    put_on_sale(sale, stock);
                }
                account.behind_since = None;
                account.ask_at = Instant::now();
                account.reconcile_at = Instant::now();
                account.last = Some(reply);
            }
            Verdict::OldIncarnation => self.rejoin = true,
            Verdict::Lost => self.rebuild(sale, view.epoch, &reply).await?,
            Verdict::Behind => self.be_patient(sale, account, &reply).await?,
            _ => {}
        }
        Ok(())
    }

    /// Does what an answer asks for beyond the movement itself. `true` when the movement was carried out.
    pub(super) async fn follow(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
        reply: Reply,
    ) -> Result<bool, Trouble> {
        let outcome = account.holding.outcome(&reply);
        account.last = Some(reply.clone());
        match outcome {
            Outcome::Done => account.behind_since = None,
            Outcome::Wait if reply.verdict == Verdict::Behind => {
                self.be_patient(sale, account, &reply).await?;
            }
            Outcome::Wait => {}
            Outcome::Announce { epoch } => self.announce(sale, account, epoch).await?,
            Outcome::Rejoin => self.rejoin = true,
            Outcome::Rebuild => self.rebuild(sale, account.holding.epoch, &reply).await?,
        }
        Ok(outcome == Outcome::Done)
    }

    /// Tells a newer book what this node holds. Until the answer is heard, nothing else is said or taken back.
    pub(super) async fn announce(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
        epoch: u64,
    ) -> Result<(), Trouble> {
        account.holding.standing = Standing::Announcing;
        let durable = self.view(sale.id).await?.map_or(0, |view| view.settled_by(self.node));
        let from = Caller { node: self.node, incarnation: self.incarnation, epoch };
        let movement = Movement::Announce { held: account.holding.held(), durable };
        let reply = self.books.run(&sale.key, from, &movement).await?;
        match reply.verdict {
            Verdict::Ok => account.holding.announced(epoch),
            Verdict::OldIncarnation | Verdict::Unregistered => self.rejoin = true,
            // Another book has begun since, or this one is lost: the next call in the old epoch says what to do.
            _ => account.holding.standing = Standing::Current,
        }
        account.last = Some(reply);
        Ok(())
    }

    /// Ends the epoch `seen` and opens the sale's book anew. Several nodes may do this together: one book comes of it.
    pub(super) async fn rebuild(&mut self, sale: &LiveSale, seen: u64, reply: &Reply) -> Result<(), Trouble> {
        if seen == 1 {
            tracing::info!(sale = %sale.key, "opening the sale's book in the ledger");
        } else {
            tracing::warn!(sale = %sale.key, epoch = seen, "the ledger has no valid book of the sale; opening a new one");
        }
        let id = sale.id;
        let Some(epoch) = self.ask(move |store| store.end_epoch(id, seen)).await? else { return Ok(()) };
        // After the epoch was raised: whoever could hold units of the old book is listed.
        let Some(view) = self.view(sale.id).await? else { return Ok(()) };
        let nodes = self.ask(|store| store.incarnations()).await?;
        let rebuild = Rebuild {
            epoch,
            life: reply.life.clone(),
            total: view.total,
            revision: view.revision,
            returned: view.returned,
            nodes,
        };
        self.books.rebuild(&sale.key, &rebuild).await?;
        self.watch.rebuilt(sale.id);
        Ok(())
    }

    /// The store's epoch is ahead of the book: who raised it is about to open the book, unless he died.
    pub(super) async fn be_patient(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
        reply: &Reply,
    ) -> Result<(), Trouble> {
        let since = *account.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= Duration::from_millis(self.settings.rebuild_patience_ms) {
            account.behind_since = None;
            self.rebuild(sale, reply.epoch, reply).await?;
        }
        Ok(())
    }

    pub(super) async fn beat(&mut self) -> Result<(), Trouble> {
        let beats = self.books.beat(self.node).await?;
        self.pulse.hear(beats.into_iter().filter(|(node, _)| *node != self.node));
        Ok(())
    }

    /// Fences nodes that are silent, and takes back what they did not sell. Silence is only the reason to ask: the
    /// store's word is the evidence.
    pub(super) async fn take_back_from_the_silent(
        &mut self,
        sale: &LiveSale,
        book: &Snapshot,
        view: &StoreView,
    ) -> Result<(), Trouble> {
        if book.lost || book.epoch != view.epoch {
            return Ok(());
        }
        let patience_ms = self.settings.silent_ms_max * (4 + self.pulse.alive_before(self.node)) / 4;
        for (&node, line) in &book.lines {
            let sold = view.settled_by(node) as i64;
            let holds = line.awaited || line.granted as i64 - line.handed_back as i64 > sold;
            if node == self.node || !holds {
                continue;
            }
            if self.pulse.silence(node) < Duration::from_millis(patience_ms) {
                continue;
            }
            tracing::warn!(node = node.number(), sale = %sale.key, "a silent node is fenced and its unsold units are taken back");
            let incarnation = self.ask(move |store| store.raise_incarnation(node)).await?;
            let Some(fenced) = self.view(sale.id).await? else { return Ok(()) };
            let from = Caller { node, incarnation, epoch: view.epoch };
            let movement = Movement::Reclaim { durable: fenced.settled_by(node) };
            let reply = self.books.run(&sale.key, from, &movement).await?;
            if reply.verdict == Verdict::Ok {
                self.watch.reclaimed(node);
            }
        }
        Ok(())
    }

    /// This life is over. Nothing of it may reach the store under the next one: the intake is stalled, the stock is
    /// dropped, and the next life begins only when no order is in flight any more.
    pub(super) async fn begin_again(&mut self) -> Result<(), Trouble> {
        let queue = self.admission.queue();
        queue.set_intake(Intake::Stalled);
        let sales: Vec<Arc<LiveSale>> = self.admission.board().sales().iter().cloned().collect();
        let drain = || {
            for sale in &sales {
                sale.state.set_more_may_come(true);
                sale.state.stock().drain();
            }
        };
        drain();
        if queue.depth() > 0 || sales.iter().any(|sale| sale.state.units_in_flight() > 0) {
            return Ok(());
        }
        // What was refused on its way out came back to the stock.
        drain();
        // Every notice of the old life has been written by now.
        self.hear();
        self.incarnation = self.ask(|store| store.begin_life()).await?;
        // What was shown to a follower of the orders while this node did not live lies below its next number.
        let newest = self.ask(|store| store.newest_order()).await?;
        self.admission.flight().settled_through(newest);
        tracing::warn!(incarnation = self.incarnation, "this node registers anew");
        for account in self.accounts.values_mut() {
            *account = Account { surrender: account.surrender, ..Account::new(Instant::now()) };
        }
        self.rejoin = false;
        self.watch.rejoined();
        self.admission.queue().set_intake(Intake::Open);
        Ok(())
    }

    /// Hands everything back. What fails here is taken back by the others in their own time.
    pub(super) async fn leave(mut self) {
        self.hear();
        let sales: Vec<Arc<LiveSale>> = self.admission.board().sales().iter().cloned().collect();
        for sale in sales {
            let Some(mut account) = self.accounts.remove(&sale.id) else { continue };
            if let Err(trouble) = self.close(&sale, &mut account).await {
                self.watch.troubled(&trouble.to_string());
            }
        }
        match self.books.leave(self.node).await {
            Ok(()) => tracing::info!("unsold units were handed back; this node has left the others"),
            Err(fault) => {
                tracing::warn!(%fault, "the other nodes take this one's units back when it stays silent")
            }
        }
    }

    async fn close(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        let unsold = u64::from(sale.state.stock().drain()) + account.withheld();
        account.withholding = None;
        if self.rejoin || account.holding.standing != Standing::Current {
            return Ok(());
        }
        account.holding.handed_back += unsold;
        self.watch.handed_back(unsold);
        self.confirm_hand_back(sale, account).await?;
        let Some(view) = self.view(sale.id).await? else { return Ok(()) };
        let from = account.holding.caller(self.node, self.incarnation);
        self.books.run(&sale.key, from, &Movement::Settle { durable: view.settled_by(self.node) }).await?;
        Ok(())
    }
}
