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
    /// Units of orders that were paid, but for those that refunds put back on sale.
    pub paid_units: u64,
    /// Orders whose units went back on sale.
    pub returned_orders: u64,
}

impl Exported {
    /// Counts an order.
    pub fn add(&mut self, state: OrderState, quantity: u32) {
        self.orders += 1;
        if state.is_active() {
            self.active_units += u64::from(quantity);
        } else {
            self.returned_orders += 1;
        }
        if state.was_paid() {
            self.paid_units += u64::from(quantity);
        }
    }
}

/// The checks of one sale.
pub fn check(sale: &SaleTerms, audit: &Audit, exported: &Exported) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut expect = |name: &str, violations: u64, detail: String| {
        let detail = format!("{}: {detail}", sale.campaign);
        checks.push(Check { name: name.into(), passed: violations == 0, judged: true, violations, detail });
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
        checks.push(sold_out(sale, audit, exported));
    }
    checks
}

/// Whether all units are gone, where the demand that was answered reached the stock and nothing came back on sale.
fn sold_out(sale: &SaleTerms, audit: &Audit, exported: &Exported) -> Check {
    let left = audit.available + audit.leased;
    let (wanted, stock) = (sale.demand_units, sale.stock);
    let asked = format!("{}: answered buyers asked for {wanted} of {stock} units", sale.campaign);
    let (judged, said) = if left == 0 {
        (true, "none is left".into())
    } else if wanted < stock {
        (false, format!("not judged, too few came; {left} left"))
    } else if exported.returned_orders > 0 {
        (false, format!("not judged, orders gave units back; {left} left"))
    } else {
        (true, format!("{left} left"))
    };
    let violations = if judged { left } else { 0 };
    let (passed, detail) = (violations == 0, format!("{asked}: {said}"));
    Check { name: "sold-out".into(), passed, judged, violations, detail }
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

    /// The names of the failed checks of a sale that must be sold out if `demand` says how many units were asked for.
    fn failed(change: impl FnOnce(&mut Audit), exported: Exported, demand: Option<u64>) -> Vec<String> {
        let (sold_out, demand_units) = (demand.is_some(), demand.unwrap_or_default());
        let mut audit = audit();
        change(&mut audit);
        let sale = SaleTerms {
            campaign: "c".into(),
            stock: 10,
            per_buyer_limit: 1,
            sold_out,
            demand_units,
            has_queue: false,
        };
        let checks = check(&sale, &audit, &exported);
        checks.into_iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    #[test]
    fn each_wrong_figure_is_found_by_its_check() {
        let right = Exported { orders: 6, active_units: 5, paid_units: 3, returned_orders: 0 };
        assert!(failed(|_| {}, right, None).is_empty());
        assert_eq!(failed(|_| {}, right, Some(10)), ["sold-out"]);
        assert!(failed(|_| {}, right, Some(9)).is_empty(), "too few came");
        let returned = Exported { returned_orders: 1, ..right };
        assert!(
            failed(|_| {}, returned, Some(10)).is_empty(),
            "a unit came back, perhaps after the last buyer"
        );
        assert_eq!(failed(|a| a.conserved = false, right, None), ["units-accounted-for"]);
        assert_eq!(failed(|a| a.available = 3, right, None), ["units-accounted-for"]);
        assert_eq!(failed(|a| a.buyers_over_limit = 1, right, None), ["audit-buyers-within-limit"]);
        assert_eq!(failed(|a| a.durable_orders = 7, right, None), ["audit-agrees-with-orders"]);
        let oversold = Exported { active_units: 11, ..right };
        assert_eq!(failed(|_| {}, oversold, None), ["no-oversell", "audit-agrees-with-orders"]);
    }
}
