//! Which sales have series of their own on `/metrics`: a page must not grow with the number of campaigns. All others are told
//! as one sum.
//!
//! Counters only grow, also that of the sum, whoever comes into it and leaves it: what a sale was counted before it came does
//! not count there, and what was counted while it was there stays.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::admission::{LiveSale, Sales, TallyCounts};
use crate::domain::{EpochMs, SaleId, SaleKey};
use crate::telemetry::{Exposition, Kind};

/// The labels of all other sales together: no name of a sale has parentheses.
pub(super) const OTHERS: [(&str, &str); 3] =
    [("tenant", "(others)"), ("campaign", "(others)"), ("sku", "(others)")];

/// The labels of a sale.
pub(super) fn labels_of(key: &SaleKey) -> [(&'static str, &str); 3] {
    [("tenant", key.tenant()), ("campaign", key.campaign()), ("sku", key.sku())]
}

/// What is remembered from one page to the next.
#[derive(Debug, Default)]
pub(super) struct SaleSeries(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    /// The sales without series of their own.
    summed: HashMap<SaleId, Summed>,
    /// Those that have them.
    own: Vec<SaleId>,
    /// What was counted of sales while they were in the sum, and they are not any more.
    gone: TallyCounts,
}

/// A sale in the sum.
#[derive(Clone, Copy, Debug, Default)]
struct Summed {
    /// What it had been counted when it came.
    before: TallyCounts,
    /// What it was counted when it was last looked at.
    seen: TallyCounts,
}

/// The sales of one page.
#[derive(Debug)]
pub(super) struct ToldSales {
    /// Those with series of their own, by number.
    pub own: Vec<Arc<LiveSale>>,
    /// All others.
    pub others: Vec<Arc<LiveSale>>,
    /// What the others' purchases came to, since this node's start.
    pub counts_of_others: TallyCounts,
}

impl SaleSeries {
    /// Gives at most `max` of the sales their places, and keeps those that have one, unless they are over and others wait.
    pub fn told(&self, board: &Sales, max: usize, now: EpochMs) -> ToldSales {
        let mut sales: Vec<_> = board.iter().filter(|sale| !sale.is_archived).cloned().collect();
        let mut places = self.0.lock();
        sales.sort_by_cached_key(|sale| {
            let (is_over, has_place) = (sale.terms.ends_at <= now, places.own.contains(&sale.id));
            (sale.key.is_load_test(), is_over, !has_place, sale.terms.starts_at, sale.id.0)
        });
        let others = sales.split_off(max.min(sales.len()));
        sales.sort_by_key(|sale| sale.id.0);
        let counts_of_others = places.take(&sales, &others);
        ToldSales { own: sales, others, counts_of_others }
    }
}

impl Places {
    fn take(&mut self, own: &[Arc<LiveSale>], others: &[Arc<LiveSale>]) -> TallyCounts {
        let had_place = std::mem::replace(&mut self.own, own.iter().map(|sale| sale.id).collect());
        let mut before = std::mem::take(&mut self.summed);
        for sale in others {
            let seen = sale.state.tally().counts();
            let summed = match before.remove(&sale.id) {
                Some(summed) => Summed { seen, ..summed },
                None if had_place.contains(&sale.id) => Summed { before: seen, seen },
                None => Summed { before: TallyCounts::default(), seen },
            };
            self.summed.insert(sale.id, summed);
        }
        for (id, left) in before {
            // One that has a place from now on is still there to be read; of one that is gone the last look counts.
            let seen = own.iter().find(|sale| sale.id == id).map(|sale| sale.state.tally().counts());
            self.gone = self.gone.plus(&seen.unwrap_or(left.seen).since(&left.before));
        }
        self.summed.values().fold(self.gone, |sum, summed| sum.plus(&summed.seen.since(&summed.before)))
    }
}

impl ToldSales {
    /// One gauge a sale, and the others' sum where each of them has a value.
    pub fn gauge(
        &self,
        page: &mut Exposition,
        name: &str,
        help: &str,
        value: impl Fn(&LiveSale) -> Option<f64>,
    ) {
        page.family(name, Kind::Gauge, help);
        for sale in &self.own {
            if let Some(value) = value(sale) {
                page.sample(name, &labels_of(&sale.key), value);
            }
        }
        let of_others: Option<f64> = self.others.iter().map(|sale| value(sale)).sum();
        if let Some(sum) = of_others.filter(|_| !self.others.is_empty()) {
            page.sample(name, &OTHERS, sum);
        }
    }
}
