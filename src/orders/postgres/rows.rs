//! How sales and orders stand in rows.

use tokio_postgres::Row;

use super::error::PgError;
use crate::domain::{
    BeaconSource, BeaconTerms, BuyerId, Cents, Currency, EpochMs, IdempotencyKey, NewOrder, Order, OrderId,
    OrderStatus, PaymentDirection, PaymentJournal, PaymentKeyForm, Rate, Refunds, RoomFailure, RoomMode,
    RoomSeed, RoomTerms, Sale, SaleId, SaleKey, SaleTerms,
};

/// The columns that [`order`] reads, in its order.
pub const ORDER_COLUMNS: &str = "order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, \
     idempotency_key, paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, \
     payment_direction, payment_why, payment_journal_of, refunds, refund_cents, refund_restock, refunded_cents, restocked";

/// How many columns [`ORDER_COLUMNS`] names.
pub const ORDER_COLUMNS_LEN: usize = 22;

/// The columns that [`sale`] reads, in its order.
pub const SALE_COLUMNS: &str = "sale_id, tenant, campaign, sku, title, price_cents, currency, per_buyer_limit, starts_at_ms, \
     ends_at_ms, pay_within_s, rate_per_s, burst, paused, total, \
     (SELECT coalesce(sum(h.sold - h.returned), 0)::integer FROM shares h WHERE h.sale_id = sales.sale_id), \
     change, paused_until_ms, retired_at_ms, room_mode, room_opens_at_ms, room_rate_per_s, room_grace_s, room_holds, room_seed, \
     room_beacon, room_beacon_round, room_beacon_wait_s";

/// How many columns [`SALE_COLUMNS`] names.
pub const SALE_COLUMNS_LEN: usize = 28;

/// Reads an order from [`ORDER_COLUMNS`].
pub fn order(row: &Row) -> Result<Order, PgError> {
    let key = row.try_get::<_, Option<&str>>(8)?.map(IdempotencyKey::new).transpose();
    Ok(Order {
        placed: NewOrder {
            id: order_id(row.try_get(0)?)?,
            sale: SaleId(whole(row.try_get(1)?)?),
            buyer: BuyerId::new(row.try_get(2)?).map_err(damaged)?,
            quantity: whole(row.try_get(3)?)?,
            amount: cents(row.try_get(4)?)?,
            created_at: EpochMs(row.try_get(6)?),
            pay_before: EpochMs(row.try_get(7)?),
            idempotency_key: key.map_err(damaged)?,
        },
        status: status(row.try_get(5)?)?,
        paid_at: row.try_get::<_, Option<i64>>(9)?.map(EpochMs),
        payment_attempt: whole(row.try_get(10)?)?,
        payment_method: row.try_get(11)?,
        payment: journal(row)?,
        refunds: Refunds {
            begun: whole(row.try_get(17)?)?,
            amount: cents(row.try_get(18)?)?,
            restock: whole(row.try_get(19)?)?,
            refunded: cents(row.try_get(20)?)?,
            restocked: whole(row.try_get(21)?)?,
        },
    })
}

/// The journal of the latest attempt. One that speaks of another attempt is none: an engine that did not know the
/// journal has begun the latest.
fn journal(row: &Row) -> Result<PaymentJournal, PgError> {
    if row.try_get::<_, i32>(10)? != row.try_get::<_, i32>(16)? {
        return Ok(PaymentJournal::default());
    }
    let code = |index| Ok::<_, PgError>(u8::try_from(row.try_get::<_, i16>(index)?).ok());
    let key_form = code(13)?.and_then(PaymentKeyForm::from_code);
    let why: Option<&str> = row.try_get(15)?;
    let direction = code(14)?.and_then(|code| PaymentDirection::from_code(code, why));
    Ok(PaymentJournal {
        gateway: row.try_get(12)?,
        key_form: key_form.ok_or_else(|| damaged("no form of a payment's key"))?,
        direction: direction.ok_or_else(|| damaged("no direction of a payment"))?,
    })
}

/// Reads a sale from [`SALE_COLUMNS`].
pub fn sale(row: &Row) -> Result<Sale, PgError> {
    let rate = match (row.try_get::<_, Option<i32>>(11)?, row.try_get::<_, Option<i32>>(12)?) {
        (Some(per_s), Some(burst)) => Some(Rate { per_s: whole(per_s)?, burst: whole(burst)? }),
        _ => None,
    };
    Ok(Sale {
        id: SaleId(whole(row.try_get(0)?)?),
        key: SaleKey::new(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?).map_err(damaged)?,
        terms: SaleTerms {
            title: row.try_get(4)?,
            price: cents(row.try_get(5)?)?,
            currency: Currency::parse(row.try_get(6)?).ok_or_else(|| damaged("no currency"))?,
            per_buyer_limit: whole(row.try_get(7)?)?,
            starts_at: EpochMs(row.try_get(8)?),
            ends_at: EpochMs(row.try_get(9)?),
            pay_within_s: whole(row.try_get(10)?)?,
            rate,
            paused: row.try_get(13)?,
            paused_until: row.try_get::<_, Option<i64>>(17)?.map(EpochMs),
            room: room(row)?,
        },
        total: whole(row.try_get(14)?)?,
        sold: whole(row.try_get(15)?)?,
        version: u64::try_from(row.try_get::<_, i64>(16)?).map_err(damaged)?,
        archived_at: row.try_get::<_, Option<i64>>(18)?.map(EpochMs),
    })
}

fn room(row: &Row) -> Result<Option<RoomTerms>, PgError> {
    let Some(mode) = row.try_get::<_, Option<i16>>(19)? else { return Ok(None) };
    let mode = u8::try_from(mode).ok().and_then(RoomMode::from_code);
    let seed: &[u8] = row.try_get(24)?;
    Ok(Some(RoomTerms {
        mode: mode.ok_or_else(|| damaged("no mode of a waiting room"))?,
        opens_at: row.try_get::<_, Option<i64>>(20)?.map(EpochMs),
        rate_per_s: row.try_get::<_, Option<i32>>(21)?.map(whole).transpose()?,
        grace_s: whole(row.try_get(22)?)?,
        on_failure: if row.try_get(23)? { RoomFailure::Hold } else { RoomFailure::Open },
        seed: RoomSeed(seed.try_into().map_err(|_| damaged("no seed of 16 bytes"))?),
        beacon: beacon(row)?,
    }))
}

fn beacon(row: &Row) -> Result<Option<BeaconTerms>, PgError> {
    let Some(source) = row.try_get::<_, Option<i16>>(25)? else { return Ok(None) };
    let source = u8::try_from(source).ok().and_then(BeaconSource::from_code);
    Ok(Some(BeaconTerms {
        source: source.ok_or_else(|| damaged("no source of a beacon"))?,
        round: u64::try_from(row.try_get::<_, i64>(26)?).map_err(damaged)?,
        wait_s: whole(row.try_get(27)?)?,
    }))
}

/// An order number from its column.
pub fn order_id(number: i64) -> Result<OrderId, PgError> {
    u64::try_from(number).ok().and_then(OrderId::from_number).ok_or_else(|| damaged("no order number"))
}

/// An order status from its column.
pub fn status(code: i16) -> Result<OrderStatus, PgError> {
    u8::try_from(code).ok().and_then(OrderStatus::from_code).ok_or_else(|| damaged("no order status"))
}

/// An amount from its column.
pub fn cents(number: i64) -> Result<Cents, PgError> {
    Ok(Cents(u64::try_from(number).map_err(damaged)?))
}

/// A count from its column.
pub fn whole(number: i32) -> Result<u32, PgError> {
    u32::try_from(number).map_err(damaged)
}

/// A number for its column. All counts and order numbers fit: [`SaleLimits`](crate::domain::SaleLimits) and the 63 bits
/// of an order number see to it.
pub fn column<N, C: TryFrom<N>>(number: N) -> C
where
    C::Error: std::fmt::Debug,
{
    C::try_from(number).expect("the domain's limits fit the columns")
}

/// Text for its column: PostgreSQL keeps every character but one.
pub fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Says that a row is not one of ours.
pub fn damaged(what: impl std::fmt::Display) -> PgError {
    PgError::Damaged(what.to_string().into())
}
