//! What a start rebuilds from the store: stock, claims, payment deadlines, unfinished payments. Nothing is seeded anew.

use std::collections::HashMap;

use super::deadlines::Deadlines;
use super::sqlite::SqliteReader;
use super::store::{Fault, StoreError};
use crate::admission::LiveSale;
use crate::domain::{Order, OrderId, OrderStatus, SaleId};

/// The engine's memory as the store implies it.
#[derive(Debug)]
pub struct Recovered {
    /// All sales, with their unsold units on sale and their buyers' claims in place.
    pub sales: Vec<LiveSale>,
    /// The highest order number ever stored.
    pub newest: Option<OrderId>,
    /// Orders whose payment was under way: only the gateway knows how it ended.
    pub unfinished: Vec<Order>,
    /// How many orders there are.
    pub orders: u64,
}

impl Recovered {
    /// Reads the store in one pass. `deadlines` is given every order that waits for its payment.
    ///
    /// # Errors
    /// What the database says, and a fatal error when a sale's count of sold units is not the sum of its orders.
    pub fn read(store: &SqliteReader, shards: usize, deadlines: &Deadlines) -> Result<Self, StoreError> {
        let sales = store.sales()?;
        let sold_by_guard: Vec<_> = sales.iter().map(|sale| u64::from(sale.sold)).collect();
        let live: Vec<_> = sales.into_iter().map(|sale| LiveSale::open(sale, shards)).collect();
        let place_of: HashMap<SaleId, usize, ahash::RandomState> =
            live.iter().enumerate().map(|(place, sale)| (sale.id, place)).collect();
        let mut sold_by_orders = vec![0; live.len()];
        let mut recovered = Self { sales: Vec::new(), newest: None, unfinished: Vec::new(), orders: 0 };
        let mut waiting = Vec::new();

        store.each_order(|order| {
            recovered.newest = Some(order.placed.id);
            recovered.orders += 1;
            let Some(&place) = place_of.get(&order.placed.sale) else { return };
            if order.status.holds_units() {
                sold_by_orders[place] += u64::from(order.placed.quantity);
            }
            if order.status != OrderStatus::Rejected {
                live[place].state.claims().restore(&order);
            }
            match order.status {
                OrderStatus::PrePay => waiting.push((order.placed.pay_before, order.placed.id)),
                OrderStatus::Paying => recovered.unfinished.push(order),
                _ => {}
            }
        })?;

        for (place, sale) in live.iter().enumerate() {
            if sold_by_guard[place] != sold_by_orders[place] {
                return Err(StoreError {
                    kind: Fault::Fatal,
                    message: format!(
                        "the order store is damaged: sale {} says {} units sold, its orders hold {}; restore a backup",
                        sale.key, sold_by_guard[place], sold_by_orders[place]
                    ),
                });
            }
        }
        deadlines.enter_all(waiting);
        recovered.sales = live;
        Ok(recovered)
    }
}
