//! A sale and purchases of it, for the tests of the store's parts.

use super::super::store::{Batch, StoreWriter};
use super::SqliteWriter;
use crate::domain::{
    BuyerId, Cents, Currency, EpochMs, NewOrder, OrderId, SaleId, SaleKey, SaleTerms, Units,
};

/// Makes a sale of so many units, all of which one buyer may have.
pub(super) fn make_sale(writer: &mut SqliteWriter, total: Units) -> SaleId {
    let terms = SaleTerms {
        title: String::new(),
        price: Cents(5),
        currency: Currency::USD,
        per_buyer_limit: 1_000_000,
        starts_at: EpochMs(0),
        ends_at: EpochMs(1),
        pay_within_s: 1,
        rate: None,
        paused: false,
        paused_until: None,
        room: None,
    };
    let key = SaleKey::new("default", "c", "s").unwrap();
    writer.create_sale(&key, &terms, total, None).unwrap().unwrap().id
}

/// So many purchases of one buyer, of one unit each, numbered from `from`.
pub(super) fn purchases(sale: SaleId, from: u64, count: u64) -> Batch {
    let order = |number| NewOrder {
        id: OrderId::from_number(number).unwrap(),
        sale,
        buyer: BuyerId::new("ann").unwrap(),
        quantity: 1,
        amount: Cents(5),
        created_at: EpochMs(10),
        pay_before: EpochMs(20),
        idempotency_key: None,
    };
    Batch { placed: (from..from + count).map(order).collect(), ..Batch::default() }
}
