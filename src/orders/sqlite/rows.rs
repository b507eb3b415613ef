//! How sales and orders stand in rows.

use rusqlite::Row;
use rusqlite::types::Type;

use crate::domain::{
    BeaconSource, BeaconTerms, BuyerId, Cents, Currency, EpochMs, IdempotencyKey, NewOrder, Order, OrderId,
    OrderStatus, PaymentDirection, PaymentJournal, PaymentKeyForm, Rate, Refunds, RoomFailure, RoomMode,
    RoomSeed, RoomTerms, Sale, SaleId, SaleKey, SaleTerms,
};

/// The columns that [`order`] reads, in its order.
pub const ORDER_COLUMNS: &str = "order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, \
     idempotency_key, paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, \
     payment_direction, payment_why, refunds, refund_cents, refund_restock, refunded_cents, restocked";

/// The first of them: what [`order`] reads of an order that [nobody has tried to pay](NOT_TRIED). A start reads millions of these,
/// and each column of a row costs it time.
pub const NOT_TRIED_COLUMNS: &str = "order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, \
     idempotency_key, paid_at_ms, payment_attempt";

/// Holds for orders that nobody has tried to pay.
pub const NOT_TRIED: &str = "(status = 1 AND payment_attempt = 0)";

/// The columns that [`sale`] reads, in its order.
pub const SALE_COLUMNS: &str = "sale_id, tenant, campaign, sku, title, price_cents, currency, per_buyer_limit, starts_at_ms, \
     ends_at_ms, pay_within_s, rate_per_s, burst, paused, total, sold, change, paused_until_ms, retired_at_ms, \
     room_mode, room_opens_at_ms, room_rate_per_s, room_grace_s, room_holds, room_seed, room_beacon, \
     room_beacon_round, room_beacon_wait_s";

/// Reads an order from [`ORDER_COLUMNS`].
pub fn order(row: &Row<'_>) -> rusqlite::Result<Order> {
    let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
    let key = row.get_ref(8)?.as_str_or_null()?.map(IdempotencyKey::new).transpose();
    let placed = NewOrder {
        id: order_id(row, 0)?,
        sale: SaleId(row.get(1)?),
        buyer: BuyerId::new(text(2)?).map_err(|error| damaged(2, error))?,
        quantity: row.get(3)?,
        amount: Cents(row.get(4)?),
        created_at: EpochMs(row.get(6)?),
        pay_before: EpochMs(row.get(7)?),
        idempotency_key: key.map_err(|error| damaged(8, error))?,
    };
    let status = status(row, 5)?;
    // There is nothing in the rest of its row.
    if status == OrderStatus::PrePay && row.get::<_, u32>(10)? == 0 {
        return Ok(Order { status, ..Order::persisted(placed) });
    }
    Ok(Order {
        placed,
        status,
        paid_at: row.get::<_, Option<i64>>(9)?.map(EpochMs),
        payment_attempt: row.get(10)?,
        payment_method: row.get(11)?,
        payment: journal(row)?,
        refunds: Refunds {
            begun: row.get(16)?,
            amount: Cents(row.get(17)?),
            restock: row.get(18)?,
            refunded: Cents(row.get(19)?),
            restocked: row.get(20)?,
        },
    })
}

fn journal(row: &Row<'_>) -> rusqlite::Result<PaymentJournal> {
    let key_form = PaymentKeyForm::from_code(row.get(13)?);
    let direction = PaymentDirection::from_code(row.get(14)?, row.get_ref(15)?.as_str_or_null()?);
    Ok(PaymentJournal {
        gateway: row.get(12)?,
        key_form: key_form.ok_or_else(|| damaged(13, "no form of a payment's key"))?,
        direction: direction.ok_or_else(|| damaged(14, "no direction of a payment"))?,
    })
}

/// Reads a sale from [`SALE_COLUMNS`].
pub fn sale(row: &Row<'_>) -> rusqlite::Result<Sale> {
    let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
    let rate = match (row.get::<_, Option<u32>>(11)?, row.get::<_, Option<u32>>(12)?) {
        (Some(per_s), Some(burst)) => Some(Rate { per_s, burst }),
        _ => None,
    };
    Ok(Sale {
        id: SaleId(row.get(0)?),
        key: SaleKey::new(text(1)?, text(2)?, text(3)?).map_err(|error| damaged(1, error))?,
        terms: SaleTerms {
            title: row.get(4)?,
            price: Cents(row.get(5)?),
            currency: Currency::parse(text(6)?).ok_or_else(|| damaged(6, "no currency"))?,
            per_buyer_limit: row.get(7)?,
            starts_at: EpochMs(row.get(8)?),
            ends_at: EpochMs(row.get(9)?),
            pay_within_s: row.get(10)?,
            rate,
            paused: row.get(13)?,
            paused_until: row.get::<_, Option<i64>>(17)?.map(EpochMs),
            room: room(row)?,
        },
        total: row.get(14)?,
        sold: row.get(15)?,
        version: row.get(16)?,
        archived_at: row.get::<_, Option<i64>>(18)?.map(EpochMs),
    })
}

fn room(row: &Row<'_>) -> rusqlite::Result<Option<RoomTerms>> {
    let Some(mode) = row.get::<_, Option<u8>>(19)? else { return Ok(None) };
    Ok(Some(RoomTerms {
        mode: RoomMode::from_code(mode).ok_or_else(|| damaged(19, "no mode of a waiting room"))?,
        opens_at: row.get::<_, Option<i64>>(20)?.map(EpochMs),
        rate_per_s: row.get(21)?,
        grace_s: row.get(22)?,
        on_failure: if row.get(23)? { RoomFailure::Hold } else { RoomFailure::Open },
        seed: RoomSeed(row.get(24)?),
        beacon: beacon(row)?,
    }))
}

fn beacon(row: &Row<'_>) -> rusqlite::Result<Option<BeaconTerms>> {
    let Some(source) = row.get::<_, Option<u8>>(25)? else { return Ok(None) };
    let source = BeaconSource::from_code(source).ok_or_else(|| damaged(25, "no source of a beacon"))?;
    Ok(Some(BeaconTerms { source, round: row.get(26)?, wait_s: row.get(27)? }))
}

/// Reads a sale's name from tenant, campaign and SKU.
pub fn sale_key(row: &Row<'_>) -> rusqlite::Result<SaleKey> {
    let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
    SaleKey::new(text(0)?, text(1)?, text(2)?).map_err(|error| damaged(0, error))
}

/// Reads an order number.
pub fn order_id(row: &Row<'_>, index: usize) -> rusqlite::Result<OrderId> {
    OrderId::from_number(row.get(index)?).ok_or_else(|| damaged(index, "no order number"))
}

/// Reads an order status.
pub fn status(row: &Row<'_>, index: usize) -> rusqlite::Result<OrderStatus> {
    OrderStatus::from_code(row.get(index)?).ok_or_else(|| damaged(index, "no order status"))
}

fn damaged(index: usize, problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, problem.into())
}
