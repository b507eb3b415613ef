//! The books of one sale: stock, audit and export must say the same.

use super::ledger::OrderState;
use super::{Check, SaleTerms};
use crate::admin::Audit;

/// Sums over the export of one sale.
#[derive(Debug, Default, Clone, Copy)]
pub struct Exported {
    /// Orders, whatever their state.
    pub orders: u64,
    /// Units of orders that hold stock.
    pub active_units: u64,
    /// Units of paid orders.
    pub paid_units: u64,
}

impl Exported {
    /// Counts an order.
    pub fn add(&mut self, state: OrderState, quantity: u32) {
        self.orders += 1;
        if state.is_active() {
            self.active_units += u64::from(quantity);
        }
        if state == OrderState::Paid {
            self.paid_units += u64::from(quantity);
        }
    }
}

/// The checks of one sale.
pub fn check(sale: &SaleTerms, audit: &Audit, exported: &Exported) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut expect = |name: &str, violations: u64, detail: String| {
        let detail = format!("{}: {detail}", sale.campaign);
        checks.push(Check { name: name.into(), passed: violations == 0, violations, detail });
    };
    let sold = exported.active_units.max(audit.sold);
    expect("no-oversell", sold.saturating_sub(sale.stock), format!("{sold} sold of {}", sale.stock));
    let accounted = audit.available + audit.leased + audit.sold;
    expect(
        "units-accounted-for",
        accounted.abs_diff(audit.total).max(u64::from(!audit.conserved)),
        format!(
            "{} available + {} leased + {} sold of {}, conserved: {}",
            audit.available, audit.leased, audit.sold, audit.total, audit.conserved
        ),
    );
    expect(
        "audit-agrees-with-orders",
        audit.sold.abs_diff(exported.active_units)
            + audit.paid.abs_diff(exported.paid_units)
            + audit.durable_orders.abs_diff(exported.orders)
            + audit.sold.abs_diff(audit.held + audit.paid)
            + audit.total.abs_diff(sale.stock),
        format!(
            "audit: {} sold, {} paid, {} orders; export: {} sold, {} paid, {} orders",
            audit.sold,
            audit.paid,
            audit.durable_orders,
            exported.active_units,
            exported.paid_units,
            exported.orders
        ),
    );
    expect("audit-buyers-within-limit", audit.buyers_over_limit, format!("limit {}", sale.per_buyer_limit));
    if sale.sold_out {
        let left = audit.available + audit.leased;
        expect("sold-out", left, format!("{left} units left after a crowd large enough"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit() -> Audit {
        Audit {
            total: 10,
            available: 4,
            leased: 1,
            held: 2,
            paid: 3,
            sold: 5,
            durable_orders: 6,
            buyers_over_limit: 0,
            conserved: true,
        }
    }

    fn failed(change: impl FnOnce(&mut Audit), exported: Exported, sold_out: bool) -> Vec<String> {
        let mut audit = audit();
        change(&mut audit);
        let sale = SaleTerms { campaign: "c".into(), stock: 10, per_buyer_limit: 1, sold_out };
        let checks = check(&sale, &audit, &exported);
        checks.into_iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    #[test]
    fn each_wrong_figure_is_found_by_its_check() {
        let right = Exported { orders: 6, active_units: 5, paid_units: 3 };
        assert!(failed(|_| {}, right, false).is_empty());
        assert_eq!(failed(|_| {}, right, true), ["sold-out"]);
        assert_eq!(failed(|a| a.conserved = false, right, false), ["units-accounted-for"]);
        assert_eq!(failed(|a| a.available = 3, right, false), ["units-accounted-for"]);
        assert_eq!(failed(|a| a.buyers_over_limit = 1, right, false), ["audit-buyers-within-limit"]);
        assert_eq!(failed(|a| a.durable_orders = 7, right, false), ["audit-agrees-with-orders"]);
        let oversold = Exported { orders: 6, active_units: 11, paid_units: 3 };
        assert_eq!(failed(|_| {}, oversold, false), ["no-oversell", "audit-agrees-with-orders"]);
    }
}
