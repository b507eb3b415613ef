//! A sale's units as its orders hold them.

use crate::domain::{OrderStatus, Units};

/// A sale's units as the store counts them in one snapshot: `total` and `sold` as the guard keeps them, the rest added
/// up from the orders themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// All units ever put on sale.
    pub total: Units,
    /// Sold units, as the guard counts them.
    pub sold_by_guard: Units,
    /// Units of orders that are pre_pay or paying.
    pub held: u64,
    /// Units of orders that were paid, but for those that a refund put back on sale.
    pub paid: u64,
    /// Units of orders whose money was given back, all of it, whether or not they are back on sale.
    pub refunded: u64,
    /// Money of orders that were paid, what was given back included.
    pub paid_cents: u64,
    /// Money that was given back, in whole or in part.
    pub refunded_cents: u64,
    /// Orders of any status.
    pub durable_orders: u64,
    /// Buyers whose orders hold more units than one buyer may.
    pub buyers_over_limit: u64,
}

impl Audit {
    /// Counts orders of one status, with the sums of their units, of those that are back on sale, of their amounts, and of
    /// what was given back.
    pub(super) fn count(
        &mut self,
        status: OrderStatus,
        orders: u64,
        units: u64,
        restocked: u64,
        amount_cents: u64,
        refunded_cents: u64,
    ) {
        self.durable_orders += orders;
        self.refunded_cents += refunded_cents;
        match status {
            OrderStatus::PrePay | OrderStatus::Paying => self.held += units,
            OrderStatus::Paid | OrderStatus::Refunding | OrderStatus::Refunded => {
                self.paid += units - restocked.min(units);
                self.paid_cents += amount_cents;
            }
            OrderStatus::Pending | OrderStatus::Cancelled | OrderStatus::Expired | OrderStatus::Rejected => {}
        }
        if status == OrderStatus::Refunded {
            self.refunded += units;
        }
    }

    /// What was taken and not given back, in minor units of the sale's currency.
    pub fn revenue_cents(&self) -> u64 {
        self.paid_cents.saturating_sub(self.refunded_cents)
    }

    /// Units of orders that are held or paid.
    pub fn sold(&self) -> u64 {
        self.held + self.paid
    }

    /// Units that no order holds, by the guard's count.
    pub fn available(&self) -> u64 {
        u64::from(self.total.saturating_sub(self.sold_by_guard))
    }

    /// Whether the guard's count and the orders agree, nothing is oversold, and `leased` units (with other nodes) leave
    /// the sum right.
    pub fn conserved(&self, leased: u64) -> bool {
        self.sold_by_guard <= self.total
            && (self.available() - leased.min(self.available())) + leased + self.sold()
                == u64::from(self.total)
    }
}
