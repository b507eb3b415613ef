//! The sale desk: where the operator makes and changes sales.
//!
//! Memory never has more units on sale than the store allows: stock that grows is durable before it is on sale, stock
//! that shrinks is off sale before that is durable.

use std::sync::Arc;

use super::Ledger;
use crate::admission::Admission;
use crate::domain::{FieldError, Sale, SaleKey, SaleLimits, SaleTerms, Units};
use crate::orders::{OrderDesk, SaleChange, StoreError};

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
    #[error("there are {0} sales already; raise ledger.sales_max")]
    TooMany(usize),
    /// The stock cannot fall that far: these units are sold, held or just being bought.
    #[error("{0} units are sold, held or just being bought; the stock cannot be lower")]
    StockInUse(Units),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes and changes sales.
#[derive(Debug)]
pub struct SaleDesk {
    admission: Arc<Admission>,
    orders: OrderDesk,
    ledger: Arc<dyn Ledger>,
    sales_max: usize,
    limits: SaleLimits,
    /// One change at a time; the lock is held across the store's answer, on the control plane only.
    changing: tokio::sync::Mutex<()>,
}

impl SaleDesk {
    /// A desk for at most `sales_max` sales, whose stock `ledger` holds.
    pub fn new(
        admission: Arc<Admission>,
        orders: OrderDesk,
        ledger: Arc<dyn Ledger>,
        sales_max: usize,
        limits: SaleLimits,
    ) -> Self {
        Self { admission, orders, ledger, sales_max, limits, changing: tokio::sync::Mutex::new(()) }
    }

    /// Who holds the stock.
    pub fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    /// Makes a sale and puts its stock on sale.
    ///
    /// # Errors
    /// [`SaleError`]; nothing has changed then.
    pub async fn create(&self, new: NewSale) -> Result<Sale, SaleError> {
        new.terms.check(new.stock, &self.limits).map_err(SaleError::Field)?;
        let _alone = self.changing.lock().await;
        let sales = self.admission.board().sales().len();
        if sales >= self.sales_max {
            return Err(SaleError::TooMany(sales));
        }
        let created = self.orders.create_sale(new.key, new.terms, new.stock).await?;
        let sale = created.ok_or(SaleError::Exists)?;
        self.ledger.open(self.admission.board(), sale.clone());
        Ok(sale)
    }

    /// Changes a sale, which may be running: `change` edits a copy of the terms in force and of the total.
    ///
    /// Drive it to its end: dropped half-way, units that were to be withdrawn are on sale in memory although the store
    /// no longer counts them, and the next order above the total costs a counting anew.
    ///
    /// # Errors
    /// [`SaleError`]; nothing has changed then.
    pub async fn change(
        &self,
        key: &SaleKey,
        change: impl FnOnce(&mut SaleTerms, &mut Units) -> Result<(), FieldError> + Send,
    ) -> Result<Sale, SaleError> {
        let _alone = self.changing.lock().await;
        let live = self
            .admission
            .board()
            .sales()
            .by_name(key.tenant(), key.campaign(), key.sku())
            .cloned()
            .ok_or(SaleError::Unknown)?;
        let audit = self.orders.audit(live.id).await?.ok_or(SaleError::Unknown)?;
        // Not the terms on the board: another node may have changed them since this one looked.
        let stored = self.orders.sales().await?.into_iter().find(|sale| sale.id == live.id);
        let in_force = stored.ok_or(SaleError::Unknown)?.terms;
        let (mut terms, mut total) = (in_force.clone(), audit.total);
        change(&mut terms, &mut total).map_err(SaleError::Field)?;
        terms.check(total, &self.limits).map_err(SaleError::Field)?;
        if terms.per_buyer_limit < in_force.per_buyer_limit && audit.sold() > 0 {
            return Err(SaleError::Field(FieldError {
                field: "per_buyer_limit",
                problem: "may only be raised once units are sold: buyers rely on what they were allowed"
                    .into(),
            }));
        }

        let withdrawal = match audit.total.saturating_sub(total) {
            0 => None,
            units => {
                let withdrawn = self.ledger.withdraw(&live, units).await;
                let unsold = Units::try_from(live.remaining_everywhere()).unwrap_or(Units::MAX);
                Some(withdrawn.ok_or(SaleError::StockInUse(audit.total.saturating_sub(unsold)))?)
            }
        };
        let changed = self.orders.change_sale(SaleChange { sale: live.id, terms, total }).await?;
        let sale = changed.ok_or(SaleError::StockInUse(audit.sold_by_guard))?;
        if let Some(withdrawal) = withdrawal {
            withdrawal.give_up();
        }
        self.ledger.grow(&live, total.saturating_sub(audit.total));
        self.admission.board().change_terms(live.id, &sale.terms);
        Ok(sale)
    }
}
