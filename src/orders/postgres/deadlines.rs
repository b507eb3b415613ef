//! What moves deadlines, in rows.

use tokio_postgres::Row;

use super::super::events::EventKind;
use super::super::graces::Grace;
use super::super::store::{Batch, DeadlineStep, DeadlineStepped};
use super::super::trail::Act;
use super::super::transition::Applied;
use super::error::PgError;
use super::read_orders::orders_by_id;
use super::rows::{column, damaged, text, whole};
use super::session::Session;
use super::trail;
use crate::domain::{EpochMs, Order, OrderId, OrderStatus, SaleId};

/// The columns that [`grace`] reads, in its order.
const GRACE_COLUMNS: &str = "sale_id, from_ms, until_ms, by_ms, reason";
/// How many columns [`GRACE_COLUMNS`] names.
const GRACE_COLUMNS_LEN: usize = 5;

const ALIVE: &str = "INSERT INTO alive AS a (at_ms) VALUES ($1) \
                     ON CONFLICT (only_row) DO UPDATE SET at_ms = greatest(a.at_ms, excluded.at_ms)";
const GRANT: &str = "INSERT INTO graces AS g (sale_id, from_ms, is_gift, until_ms, by_ms, reason) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (sale_id, from_ms, is_gift) \
                     DO UPDATE SET until_ms = greatest(g.until_ms, excluded.until_ms)";
/// A gift is known by its moment: it is given the next one that is free.
const GIVE: &str = "INSERT INTO graces (sale_id, from_ms, is_gift, by_ms, reason) \
                    SELECT $1, min(m.at), true, $3, $4 FROM ( \
                      SELECT $2::bigint AS at \
                      UNION ALL SELECT from_ms + 1 FROM graces WHERE sale_id = $1 AND is_gift AND from_ms >= $2 \
                    ) AS m WHERE NOT EXISTS ( \
                      SELECT FROM graces g WHERE g.sale_id = $1 AND g.is_gift AND g.from_ms = m.at \
                    ) ON CONFLICT DO NOTHING RETURNING from_ms";
const FORGET: &str = "DELETE FROM graces WHERE coalesce(until_ms, from_ms) < $1";
/// One statement, so that the row and its event are of one transaction.
const EXTEND: &str = "WITH moved AS ( \
                        UPDATE orders SET pay_before_ms = greatest(pay_before_ms, $2) \
                        WHERE order_id = $1 AND status = ANY ($3) RETURNING order_id \
                      ) \
                      INSERT INTO unplaced_events (kind, at_ms, order_ids) \
                      SELECT $4, $5, ARRAY[order_id] FROM moved RETURNING stamp";
const TELL: &str = "INSERT INTO unplaced_events (kind, at_ms, order_ids) VALUES ($2, $3, $1)";

/// Carries a step out. Where it does something and is an operator's act, the trail tells it.
pub(super) async fn step(
    session: &mut Session,
    step: &DeadlineStep,
    act: Option<&Act>,
) -> Result<DeadlineStepped, PgError> {
    let Some(act) = act else { return alone(session, step).await };
    session
        .transaction(async |session| {
            let stepped = match step {
                DeadlineStep::Grant(gift) if gift.until.is_none() => {
                    // Two of one moment are two, and one whose answer was lost is one.
                    if !trail::has_told(session, act.id).await? {
                        give(session, gift).await?;
                    }
                    DeadlineStepped::Done
                }
                _ => alone(session, step).await?,
            };
            if stepped.is_done() {
                trail::append(session, act).await?;
            }
            Ok(stepped)
        })
        .await
}

async fn give(session: &mut Session, gift: &Grace) -> Result<(), PgError> {
    let sale = sale_column(gift.sale);
    // Another node may be given the same moment: then the next look finds it taken.
    while session.rows(GIVE, &[&sale, &gift.from.0, &gift.by_ms, &text(&gift.reason)]).await?.is_empty() {}
    Ok(())
}

/// The sale that a grace is about, as a column.
fn sale_column(sale: Option<SaleId>) -> i32 {
    sale.map_or(0, |sale| column(sale.0))
}

async fn alone(session: &mut Session, step: &DeadlineStep) -> Result<DeadlineStepped, PgError> {
    let kind = i16::from(EventKind::Extended.code());
    match step {
        DeadlineStep::Alive(at) => session.rows(ALIVE, &[&at.0]).await?,
        DeadlineStep::Grant(Grace { sale, from, until, by_ms, reason }) => {
            let (sale, is_gift, until) = (sale_column(*sale), until.is_none(), until.map(|at| at.0));
            session.rows(GRANT, &[&sale, &from.0, &is_gift, &until, by_ms, &text(reason)]).await?
        }
        DeadlineStep::Forget(before) => session.rows(FORGET, &[&before.0]).await?,
        DeadlineStep::Tell { orders, at } => {
            let orders: Vec<i64> = orders.iter().map(|order| column(order.number())).collect();
            session.rows(TELL, &[&orders, &kind, &at.0]).await?
        }
        DeadlineStep::Extend { order, pay_before, at } => {
            let open = [OrderStatus::PrePay, OrderStatus::Paying].map(|status| i16::from(status.code()));
            let number: i64 = column(order.number());
            let moved =
                session.rows(EXTEND, &[&number, &pay_before.0, &open.as_slice(), &kind, &at.0]).await?;
            let extended = extended(session, *order, !moved.is_empty()).await?;
            return Ok(DeadlineStepped::Order(Box::new(extended)));
        }
    };
    Ok(DeadlineStepped::Done)
}

async fn extended(session: &mut Session, order: OrderId, is_moved: bool) -> Result<Applied, PgError> {
    let found = orders_by_id(session, &[column(order.number())]).await?.pop();
    Ok(match found {
        None => Applied::UnknownOrder,
        Some(order) if is_moved => Applied::Done(order),
        Some(order) => Applied::Refused(order),
    })
}

/// All graces.
pub(super) async fn graces(session: &mut Session) -> Result<Vec<Grace>, PgError> {
    let select = format!("SELECT {GRACE_COLUMNS} FROM graces");
    session.rows(&select, &[]).await?.iter().map(grace).collect()
}

/// The graces that may move the deadline of an order that the batch places, or of one that was `read` for it; and the number of the
/// last change of all graces: `commit_batch` lets no order expire by others than there are.
pub(super) async fn granted(
    session: &mut Session,
    batch: &Batch,
    read: &[Order],
) -> Result<(Vec<Grace>, i64), PgError> {
    let placed = batch.placed.iter().map(|order| order.created_at);
    let oldest = read.iter().map(|order| order.placed.created_at).chain(placed).min();
    let oldest = oldest.unwrap_or(EpochMs(i64::MAX));
    // One statement, one snapshot; one row also where nothing is granted.
    let select = format!(
        "SELECT {GRACE_COLUMNS}, last_change FROM grace_log LEFT JOIN graces ON coalesce(until_ms, from_ms) >= $1"
    );
    let rows = session.rows(&select, &[&oldest.0]).await?;
    let last_change =
        rows.first().ok_or_else(|| damaged("no count of graces"))?.try_get(GRACE_COLUMNS_LEN)?;
    let mut granted = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.try_get::<_, Option<i32>>(0)?.is_some() {
            granted.push(grace(row)?);
        }
    }
    Ok((granted, last_change))
}

/// Reads a grace from [`GRACE_COLUMNS`].
fn grace(row: &Row) -> Result<Grace, PgError> {
    let sale = whole(row.try_get(0)?)?;
    Ok(Grace {
        sale: (sale > 0).then_some(SaleId(sale)),
        from: EpochMs(row.try_get(1)?),
        until: row.try_get::<_, Option<i64>>(2)?.map(EpochMs),
        by_ms: row.try_get(3)?,
        reason: row.try_get(4)?,
    })
}

/// When an engine is last known to have lived.
pub(super) async fn last_alive(session: &mut Session) -> Result<Option<EpochMs>, PgError> {
    let row = session.row("SELECT max(at_ms) FROM alive", &[]).await?.ok_or_else(|| damaged("no answer"))?;
    Ok(row.try_get::<_, Option<i64>>(0)?.map(EpochMs))
}
