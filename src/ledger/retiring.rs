//! The end of sales at the sale desk: archived, deleted, or archived by themselves some time after they are over.
//!
//! A sale that is archived stays on the board until its orders have moved: whoever looks for his orders meanwhile finds them
//! by their claims, and whoever clicks hears that the sale has ended. Of several engines one decides, in the store; the others
//! hear of it as of every change of a sale, and each of them goes on with whatever is left to do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::random;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::desk::{SaleDesk, SaleError};
use crate::admission::LiveSale;
use crate::domain::{EpochMs, Sale, SaleId, SaleKey};
use crate::orders::{Act, ActKind, Actor, Ending, Retirement, RetirementReceipt};

/// How often an archiving is decided anew because the sale was sold of, paid or given up meanwhile.
const TRIES_MAX: usize = 8;
/// Orders that move in one transaction: some milliseconds, in which nobody else's order is committed.
const ORDERS_A_MOVE: usize = 256;
/// Rows of waiting rooms that are forgotten in one transaction.
const ROWS_A_FORGETTING: usize = 2_048;
/// What is left to everybody else between two moves.
const MOVE_PAUSE: Duration = Duration::from_millis(2);
/// How long to wait when the store takes no move.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How often is looked for sales that are to be archived by themselves.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a sale that could not be archived by itself is left alone.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

impl SaleDesk {
    /// Archives a sale that is over and has nothing open.
    ///
    /// Drive it to its end: dropped half-way, it is done or not.
    ///
    /// # Errors
    /// [`SaleError`]; nothing has changed then.
    pub async fn archive(
        &self,
        key: &SaleKey,
        if_version: Option<Vec<u64>>,
        act: Act,
    ) -> Result<Sale, SaleError> {
        let live = self.on_board(key).await?;
        for _ in 0..TRIES_MAX {
            let stored = self.orders.sale(live.id).await?.ok_or(SaleError::Unknown)?;
            if stored.archived_at.is_some() {
                return Err(SaleError::Archived);
            }
            let ends_at = stored.terms.ends_at;
            if ends_at > act.at {
                return Err(SaleError::NotOver(ends_at));
            }
            let in_flight = live.state.units_in_flight();
            let audit = self.orders.audit(live.id).await?.ok_or(SaleError::Unknown)?;
            if in_flight + audit.held > 0 {
                return Err(SaleError::OrdersOpen(in_flight + audit.held));
            }
            let Ok(paid) = u32::try_from(audit.paid) else { return Err(SaleError::Unknown) };
            let ending = Ending::Archive { paid };
            let (if_version, act) = (if_version.clone(), act.clone());
            let retirement = Retirement { sale: live.id, ending, if_version, act };
            match self.orders.retire_sale(retirement).await? {
                RetirementReceipt::Moved => {}
                receipt => {
                    let sale = retired(receipt)?;
                    self.admission.board().let_go(&sale);
                    tracing::info!(sale = %sale.key, sold = sale.sold, "a sale was archived");
                    return Ok(sale);
                }
            }
        }
        Err(SaleError::OrdersOpen(live.state.units_in_flight()))
    }

    /// Deletes a sale that has no durable orders. Who is buying of it at this moment hears 503: the store refuses the order.
    ///
    /// Drive it to its end: dropped half-way, the sale may be on the board although it is no more.
    ///
    /// # Errors
    /// [`SaleError`]; nothing has changed then.
    pub async fn delete(
        &self,
        key: &SaleKey,
        if_version: Option<Vec<u64>>,
        act: Act,
    ) -> Result<Sale, SaleError> {
        let live = self.on_board(key).await?;
        let retirement = Retirement { sale: live.id, ending: Ending::Delete, if_version, act };
        let sale = retired(self.orders.retire_sale(retirement).await?)?;
        self.admission.board().remove_all(&[live.id]);
        self.admission.board().call_departures();
        tracing::info!(sale = %sale.key, "a sale was deleted");
        Ok(sale)
    }

    /// Moves the orders of archived sales, whoever archived them, takes sales whose orders have moved off the board, and
    /// archives those that have been over for `archive_after`. For ever.
    pub async fn keep_archiving(self: Arc<Self>, archive_after: Option<Duration>) {
        let mut tried = HashMap::<SaleId, Instant>::new();
        let board = self.admission.board();
        loop {
            self.move_orders().await;
            self.forget_rooms().await;
            let have_all_left = self.take_off_the_board().await;
            if let Some(archive_after) = archive_after {
                self.archive_what_is_due(archive_after, &mut tried).await;
            }
            let pause = match archive_after {
                _ if !have_all_left => STORE_PAUSE,
                Some(_) => LOOK_EVERY,
                None => Duration::MAX,
            };
            // Nobody looks on if the board is gone.
            let _ = timeout(pause, board.departures().recv_async()).await;
        }
    }

    /// Says whether no archived sale is on the board any more. Another engine may be moving the orders of one; whoever
    /// comes first after it goes on.
    async fn take_off_the_board(&self) -> bool {
        let board = self.admission.board();
        let leaving = board.leaving();
        if leaving.is_empty() {
            return true;
        }
        // Read after it was known that they leave: those that are not in it have moved.
        let moving: HashSet<SaleId> = match self.orders.moving_sales().await {
            Ok(moving) => moving.into_iter().collect(),
            Err(error) => {
                tracing::debug!(%error, "archived sales leave the board later");
                return false;
            }
        };
        let gone: Vec<SaleId> = leaving.iter().filter(|sale| !moving.contains(sale)).copied().collect();
        board.remove_all(&gone);
        gone.len() == leaving.len()
    }

    async fn move_orders(&self) {
        loop {
            match self.orders.move_archived(ORDERS_A_MOVE).await {
                Ok(0) => return,
                Ok(_) => sleep(MOVE_PAUSE).await,
                Err(error) => {
                    tracing::debug!(%error, "orders of archived sales are moved later");
                    sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    /// Forgets who registered at sales that were deleted, a few rows at a time.
    async fn forget_rooms(&self) {
        loop {
            match self.orders.forget_rooms(ROWS_A_FORGETTING).await {
                Ok(0) => return,
                Ok(_) => sleep(MOVE_PAUSE).await,
                Err(error) => {
                    tracing::debug!(%error, "waiting rooms of deleted sales are forgotten later");
                    sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    async fn archive_what_is_due(&self, after: Duration, tried: &mut HashMap<SaleId, Instant>) {
        let now = self.orders.clock().calendar();
        tried.retain(|_, at| at.elapsed() < TRY_AGAIN_AFTER);
        let before = now.plus_ms(-i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        let sales = self.admission.board().sales().iter().cloned().collect::<Vec<Arc<LiveSale>>>();
        for sale in sales {
            if sale.is_archived || sale.terms.ends_at > before || tried.contains_key(&sale.id) {
                continue;
            }
            tried.insert(sale.id, Instant::now());
            let act = by_policy(&sale.key, now, after);
            if let Err(error) = self.archive(&sale.key, None, act).await {
                tracing::debug!(sale = %sale.key, %error, "a sale that is over is archived later");
            }
        }
    }

    /// The sale of this name that is on the board.
    async fn on_board(&self, key: &SaleKey) -> Result<Arc<LiveSale>, SaleError> {
        let live = self.live(key);
        match live {
            Some(live) => Ok(live),
            None if self.orders.archived_sale(key).await?.is_some() => Err(SaleError::Archived),
            None => Err(SaleError::Unknown),
        }
    }
}

/// What the configuration asks for, as the trail tells it.
fn by_policy(key: &SaleKey, at: EpochMs, after: Duration) -> Act {
    let text = str::to_owned;
    Act {
        id: random(),
        at,
        actor: Actor {
            who: text("engine"),
            role: text("policy"),
            address: String::new(),
            request_id: String::new(),
        },
        tenant: Some(key.tenant().into()),
        kind: ActKind::CampaignArchived,
        object: format!("{}/{}", key.campaign(), key.sku()),
        from: Value::Null,
        to: Value::Null,
        reason: Some(format!("over for {} s (ledger.archive_after_s)", after.as_secs())),
    }
}

fn retired(receipt: RetirementReceipt) -> Result<Sale, SaleError> {
    Err(match receipt {
        RetirementReceipt::Done(sale) => return Ok(sale),
        RetirementReceipt::NotCurrent(sale) => SaleError::ChangedMeanwhile(Box::new(sale)),
        RetirementReceipt::NotOver(ends_at) => SaleError::NotOver(ends_at),
        RetirementReceipt::Moved => SaleError::OrdersOpen(0),
        RetirementReceipt::RefundsOpen(units) => SaleError::OrdersOpen(units),
        RetirementReceipt::HasOrders => SaleError::HasOrders,
        RetirementReceipt::Archived => SaleError::Archived,
        RetirementReceipt::Unknown => SaleError::Unknown,
        RetirementReceipt::OlderEngines => SaleError::OlderEngines,
    })
}
