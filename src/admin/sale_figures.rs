//! The figures of sales for `/metrics`: what buyers meet with on this node, and where the units and the money are.

use std::collections::BTreeMap;

use super::control_plane::ControlPlane;
use super::sale_series::{OTHERS, ToldSales, labels_of};
use crate::admission::LiveSale;
use crate::orders::Audit;
use crate::telemetry::{Exposition, Kind};

/// A figure that is counted in the store: its name, what it is, and its value.
type Figure = (&'static str, &'static str, fn(&Audit) -> u64);

const COUNTED: [Figure; 4] = [
    (
        "seckill_sale_stock_units",
        "Units ever put on sale, of the whole sale; like all that is counted in the store, the same on every node.",
        |audit| audit.total.into(),
    ),
    ("seckill_sale_held_units", "Units of orders that wait for their payment, of the whole sale.", |audit| {
        audit.held
    }),
    (
        "seckill_sale_paid_units",
        "Units of orders that were paid, but for those back on sale, of the whole sale.",
        |audit| audit.paid,
    ),
    (
        "seckill_sale_refunded_units",
        "Units of orders whose money is back in full, of the whole sale.",
        |audit| audit.refunded,
    ),
];

impl ControlPlane {
    /// The sales that a page tells of.
    pub(super) fn told_sales(&self) -> ToldSales {
        let board = self.admission.board().sales();
        self.sale_series.told(&board, self.settings.metrics_sales_max, self.now())
    }

    /// The figures of sales.
    pub(super) fn expose_sales(&self, page: &mut Exposition, told: &ToldSales) {
        const REMAINING: &str = "seckill_sale_remaining_units";
        told.gauge(page, REMAINING, "Units on sale on this node.", |sale| Some(sale.remaining().into()));
        const REQUESTS: &str = "seckill_sale_requests_total";
        let help = "Purchases that were decided on this node, by what became of them: all are arrivals, those but won and \
                    replayed refusals.";
        page.family(REQUESTS, Kind::Counter, help);
        let own = told.own.iter().map(|sale| (labels_of(&sale.key), sale.state.tally().counts()));
        let others = (!told.others.is_empty() || told.counts_of_others.arrivals() > 0)
            .then_some((OTHERS, told.counts_of_others));
        for ([tenant, campaign, sku], counts) in own.chain(others) {
            for (code, count) in counts.by_code() {
                page.sample(REQUESTS, &[tenant, campaign, sku, ("outcome", code)], count as f64);
            }
        }
        for (name, help, value) in COUNTED {
            told.gauge(page, name, help, |sale| Some(value(&self.counted(sale)?) as f64));
        }
        self.expose_revenue(page, told);
        const AGE: &str = "seckill_sale_counted_age_seconds";
        let help = "How long ago the units and the money of this sale were counted.";
        page.family(AGE, Kind::Gauge, help);
        for sale in &told.own {
            if let Some(counted) = self.sale_counts.of(sale.id) {
                page.sample(AGE, &labels_of(&sale.key), counted.at.elapsed().as_secs_f64());
            }
        }
    }

    /// The money, by currency.
    fn expose_revenue(&self, page: &mut Exposition, told: &ToldSales) {
        const REVENUE: &str = "seckill_sale_revenue_minor_units";
        let help = "Money of paid orders less what was given back, of the whole sale, in the currency's minor units as ISO \
                    4217 has them.";
        page.family(REVENUE, Kind::Gauge, help);
        let revenue = |sale: &LiveSale| Some(self.counted(sale)?.revenue_cents() as f64);
        for sale in &told.own {
            if let Some(cents) = revenue(sale) {
                let [tenant, campaign, sku] = labels_of(&sale.key);
                page.sample(
                    REVENUE,
                    &[tenant, campaign, sku, ("currency", sale.terms.currency.as_str())],
                    cents,
                );
            }
        }
        let mut of_others: BTreeMap<String, Option<f64>> = BTreeMap::new();
        for sale in &told.others {
            let sum = of_others.entry(sale.terms.currency.to_string()).or_insert(Some(0.0));
            *sum = sum.zip(revenue(sale)).map(|(sum, cents)| sum + cents);
        }
        for (currency, sum) in of_others {
            let [tenant, campaign, sku] = OTHERS;
            if let Some(cents) = sum {
                page.sample(REVENUE, &[tenant, campaign, sku, ("currency", &currency)], cents);
            }
        }
    }

    fn counted(&self, sale: &LiveSale) -> Option<Audit> {
        self.sale_counts.of(sale.id).map(|counted| counted.audit)
    }
}
