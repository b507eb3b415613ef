//! The sale desk: where the operator makes and changes sales.
//!
//! Memory never has more units on sale than the store allows: stock that grows is durable before it is on sale, stock
//! that shrinks is off sale before that is durable.

use std::sync::Arc;

use super::{Ledger, Withdrawal};
use crate::admission::{Admission, LiveSale};
use crate::domain::{EpochMs, FieldError, Sale, SaleEdit, SaleKey, SaleLimits, SaleTerms, Stops, Units};
use crate::orders::{ChangeReceipt, OrderDesk, SaleAct, SaleChange, StopChange, StoreError};

/// A sale to be made.
#[derive(Clone, Debug)]
pub struct NewSale {
    /// Its name.
    pub key: SaleKey,
    /// Its terms.
    pub terms: SaleTerms,
    /// Its stock.
    pub stock: Units,
}

/// Why a sale was not made or changed. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum SaleError {
    /// A field breaks its rule.
    #[error("{} {}", .0.field, .0.problem)]
    Field(FieldError),
    /// The tenant has a sale of that name.
    #[error("a sale of that name exists")]
    Exists,
    /// There is no such sale.
    #[error("there is no such sale")]
    Unknown,
    /// The table of sales is full.
    #[error("there are {0} sales already; archive those that are over, or raise ledger.sales_max")]
    TooMany(usize),
    /// The stock cannot fall that far: these units are sold, held or just being bought.
    #[error("{0} units are sold, held or just being bought; the stock cannot be lower")]
    StockInUse(Units),
    /// The sale has changed since the version that the change was made from. As it is now.
    #[error("the sale was changed meanwhile")]
    ChangedMeanwhile(Box<Sale>),
    /// The sale is not over: it sells until this moment.
    #[error("the sale is not over; end it first")]
    NotOver(EpochMs),
    /// These units are of orders that wait to be paid, are being paid, or are on their way to the store.
    #[error("orders over {0} units are not final yet: they wait to be paid, or are being paid")]
    OrdersOpen(u64),
    /// The sale has durable orders.
    #[error("the sale has orders; only one without any can be deleted: archive it")]
    HasOrders,
    /// The sale is archived: nothing of it changes any more.
    #[error("the sale is archived")]
    Archived,
    /// An engine of a version before sells from the same order store, and would go on with the sale.
    #[error(
        "an engine of a version before runs on the same order store, and does not know sales that end while several \
         engines sell; try again when all are upgraded"
    )]
    OlderEngines,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes and changes sales.
#[derive(Debug)]
pub struct SaleDesk {
    pub(super) admission: Arc<Admission>,
    pub(super) orders: OrderDesk,
    ledger: Arc<dyn Ledger>,
    sales_max: usize,
    limits: SaleLimits,
    /// One new sale at a time, so that the limit is kept. Held across the store's answer, on the control plane only.
    making: tokio::sync::Mutex<()>,
    /// One lowering of a stock at a time: two would take each other's units. Nothing else waits for it.
    shrinking: tokio::sync::Mutex<()>,
}

/// How often a lower stock is worked out anew because another change of it came first.
const SHRINK_TRIES_MAX: usize = 8;

impl SaleDesk {
    /// A desk for at most `sales_max` sales, whose stock `ledger` holds.
    pub fn new(
        admission: Arc<Admission>,
        orders: OrderDesk,
        ledger: Arc<dyn Ledger>,
        sales_max: usize,
        limits: SaleLimits,
    ) -> Self {
        let (making, shrinking) = Default::default();
        Self { admission, orders, ledger, sales_max, limits, making, shrinking }
    }

    /// Who holds the stock.
    pub fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    /// Whether the sale could be made, as far as that can be known before.
    ///
    /// # Errors
    /// [`SaleError`].
    pub fn check_new(&self, new: &NewSale) -> Result<(), SaleError> {
        let NewSale { key, terms, stock } = new;
        key.check_new().map_err(SaleError::Field)?;
        terms.check_new_title().map_err(SaleError::Field)?;
        terms.check(*stock, &self.limits).map_err(SaleError::Field)?;
        terms.check_new_round().map_err(SaleError::Field)?;
        let board = self.admission.board().sales();
        let is_taken = board.by_name(key.tenant(), key.campaign(), key.sku()).is_some();
        if is_taken { Err(SaleError::Exists) } else { Ok(()) }
    }

    /// Makes a sale and puts its stock on sale. The trail tells it where it is an operator's `act`.
    ///
    /// # Errors
    /// [`SaleError`]; nothing has changed then.
    pub async fn create(&self, new: NewSale, act: Option<SaleAct>) -> Result<Sale, SaleError> {
        self.check_new(&new)?;
        let _alone = self.making.lock().await;
        let sales = self.admission.board().sales().live();
        if sales >= self.sales_max {
            return Err(SaleError::TooMany(sales));
        }
        let created = self.orders.create_sale(new.key, new.terms, new.stock, act).await?;
        let sale = created.ok_or(SaleError::Exists)?;
        self.ledger.open(self.admission.board(), sale.clone());
        Ok(sale)
    }

    /// Changes a sale, which may be running; where `if_version` names versions, only one of these. The store merges the
    /// change with what is in force, so that changes made at once, here or at other nodes, are all kept. Only a lower stock
    /// waits for other changes.
    ///
    /// Drive it to its end: dropped half-way, units that were to be withdrawn are on sale in memory although the store
    /// no longer counts them, and the next order above the total costs a counting anew.
    ///
    /// # Errors
    /// [`SaleError`]; nothing has changed then.
    pub async fn change(
        &self,
        key: &SaleKey,
        edit: SaleEdit,
        if_version: Option<Vec<u64>>,
        act: Option<SaleAct>,
    ) -> Result<Sale, SaleError> {
        let live = self.live(key).ok_or(SaleError::Unknown)?;
        let mut change =
            SaleChange { sale: live.id, edit, limits: self.limits, if_version, withdrawn: 0, act };
        match self.orders.change_sale(change.clone()).await? {
            ChangeReceipt::Withdraw { .. } => {}
            receipt => return self.take_over(&live, receipt),
        }
        let _alone = self.shrinking.lock().await;
        for _ in 0..SHRINK_TRIES_MAX {
            let (withdrawal, receipt) = self.shrink(&live, &mut change).await?;
            if let ChangeReceipt::Withdraw { .. } = receipt {
                continue;
            }
            let sale = self.take_over(&live, receipt)?;
            if let Some(withdrawal) = withdrawal {
                withdrawal.give_up();
            }
            return Ok(sale);
        }
        Err(SaleError::Store(StoreError::transient(
            "the stock was changed again and again meanwhile; try again",
        )))
    }

    /// The sale of this name that is on the board.
    pub(super) fn live(&self, key: &SaleKey) -> Option<Arc<LiveSale>> {
        self.admission.board().sales().by_name(key.tenant(), key.campaign(), key.sku()).cloned()
    }

    /// Stops sales, or has them go on, all at once, and answers with all that is stopped then. Who holds an order can pay it
    /// all the same.
    ///
    /// # Errors
    /// The store did not take it; nothing has changed then.
    pub async fn change_stops(&self, change: StopChange) -> Result<Stops, SaleError> {
        let stops = self.orders.change_stops(change).await?;
        self.admission.board().set_stops(stops.clone());
        Ok(stops)
    }

    /// Tries a change that may lower the stock: finds out by how much, takes so many units off sale, and offers it again.
    /// When the total has moved in between, they go back on sale.
    async fn shrink(
        &self,
        live: &LiveSale,
        change: &mut SaleChange,
    ) -> Result<(Option<Withdrawal>, ChangeReceipt), SaleError> {
        change.withdrawn = 0;
        let (units, total) = match self.orders.change_sale(change.clone()).await? {
            ChangeReceipt::Withdraw { units, total } => (units, total),
            receipt => return Ok((None, receipt)),
        };
        let Some(withdrawal) = self.ledger.withdraw(live, units).await else {
            let unsold = Units::try_from(live.remaining_everywhere()).unwrap_or(Units::MAX);
            return Err(SaleError::StockInUse(total.saturating_sub(unsold)));
        };
        change.withdrawn = units;
        let receipt = self.orders.change_sale(change.clone()).await?;
        Ok((Some(withdrawal), receipt))
    }

    /// Takes a change that is durable over into memory, or says why there is none.
    fn take_over(&self, live: &LiveSale, receipt: ChangeReceipt) -> Result<Sale, SaleError> {
        match receipt {
            ChangeReceipt::Changed { sale, total_before } => {
                self.ledger.grow(live, sale.total.saturating_sub(total_before));
                self.admission.board().change_terms(&sale);
                Ok(sale)
            }
            ChangeReceipt::NotCurrent(sale) => Err(SaleError::ChangedMeanwhile(Box::new(sale))),
            ChangeReceipt::BelowSold(sold) => Err(SaleError::StockInUse(sold)),
            ChangeReceipt::Withdraw { units, total } => {
                Err(SaleError::StockInUse(total.saturating_sub(units)))
            }
            ChangeReceipt::Invalid(error) => Err(SaleError::Field(error)),
            ChangeReceipt::Archived => Err(SaleError::Archived),
            ChangeReceipt::Unknown => Err(SaleError::Unknown),
        }
    }
}
