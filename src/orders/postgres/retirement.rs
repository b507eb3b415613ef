//! Sales that have ended, in rows: how one is archived or deleted, how its orders move, and how they are found.
//!
//! The end of a sale is one transaction under the lock of its row. It takes the locks of all its shares, so that no batch is
//! half-way, on whatever node: what a batch before it has sold is counted, and one after it finds no unit, whatever share it
//! asks for (`unshared`). No epoch is given to the sale any more, so no book of it is opened. The orders move afterwards, a few in
//! a transaction; each is in exactly one of the two tables all the while. Whatever dies between two of these steps, any other
//! engine goes on with the next: which sales have orders that have yet to move, and a book that has yet to be forgotten, stands
//! in their rows.

use tokio_postgres::Row;

use super::super::retirement::{Ending, Retirement, RetirementReceipt};
use super::super::store::LeftBook;
use super::super::wanted_orders::WantedOrders;
use super::error::PgError;
use super::older_engines::{Knowledge, all_know};
use super::rows::{self, SALE_COLUMNS, column};
use super::session::Session;
use super::trail;
use crate::domain::{OrderId, OrderStatus, Sale, SaleId, SaleKey};

/// A sale whose orders are kept apart.
const ARCHIVED: i16 = 1;
/// A sale that is no more; its row has a name that no sale can have.
pub(super) const DELETED: i16 = 2;

/// Archives and deletes sales, and knows the one whose answer was lost, as it was last.
#[derive(Debug, Default)]
pub struct Retiring(Option<(Retirement, Sale)>);

impl Retiring {
    /// Archives or deletes a sale, or finds out that the attempt before has done so.
    pub async fn retire(
        &mut self,
        session: &mut Session,
        wanted: &Retirement,
    ) -> Result<RetirementReceipt, PgError> {
        let before = self.0.take().filter(|(asked, _)| asked == wanted).map(|(_, sale)| sale);
        let mut decided = before.clone();
        let outcome = session
            .transaction(async |session| {
                let receipt = decide(session, wanted, before).await?;
                if let RetirementReceipt::Done(sale) = &receipt {
                    decided = Some(sale.clone());
                }
                Ok(receipt)
            })
            .await;
        if outcome.is_err() {
            // What was decided is in doubt now; the trail will tell.
            self.0 = decided.map(|sale| (wanted.clone(), sale));
        }
        outcome
    }
}

async fn decide(
    session: &mut Session,
    wanted: &Retirement,
    before: Option<Sale>,
) -> Result<RetirementReceipt, PgError> {
    let id: i32 = column(wanted.sale.0);
    let lock = "SELECT retired FROM sales WHERE sale_id = $1 FOR UPDATE";
    let Some(row) = session.row(lock, &[&id]).await? else { return Ok(RetirementReceipt::Unknown) };
    let retired: i16 = row.try_get(0)?;
    if let Some(sale) = before.filter(|_| retired > 0)
        && trail::has_told(session, wanted.act.id).await?
    {
        return Ok(RetirementReceipt::Done(sale));
    }
    if retired == DELETED {
        return Ok(RetirementReceipt::Unknown);
    }
    if !all_know(session, Knowledge::Retirement).await? {
        return Ok(RetirementReceipt::OlderEngines);
    }
    session.rows("SELECT node FROM shares WHERE sale_id = $1 ORDER BY node FOR UPDATE", &[&id]).await?;
    // With the shares as they are now that they are locked.
    let select = format!("SELECT {SALE_COLUMNS} FROM sales WHERE sale_id = $1");
    let Some(row) = session.row(&select, &[&id]).await? else { return Ok(RetirementReceipt::Unknown) };
    let sale = rows::sale(&row)?;
    let has_orders = wanted.ending == Ending::Delete && has_orders(session, id).await?;
    let refunding = refunding(session, id).await?;
    if let Err(refusal) = wanted.decide(&sale, has_orders, refunding) {
        return Ok(*refusal);
    }
    session.rows("UPDATE shares SET granted = sold WHERE sale_id = $1 AND granted > sold", &[&id]).await?;
    let (state, moved_through, name) = match wanted.ending {
        Ending::Archive { .. } => (ARCHIVED, "0", "sku"),
        Ending::Delete => (DELETED, "NULL", "sku || '/' || sale_id"),
    };
    let update = format!(
        "UPDATE sales SET retired = $2, retired_at_ms = $3, moved_through = {moved_through}, sku = {name} \
         WHERE sale_id = $1 RETURNING change"
    );
    let at = wanted.act.at;
    let row = session.row(&update, &[&id, &state, &at.0]).await?;
    let version = row.map_or(Ok(0), |row| row.try_get::<_, i64>(0))?;
    trail::append(session, &wanted.told(&sale)).await?;
    let archived_at = Some(at).filter(|_| state == ARCHIVED);
    Ok(RetirementReceipt::Done(Sale { archived_at, version: version as u64, ..sale }))
}

/// Whether a sale has orders of any status. Those that were sold stand in its shares; who was only ever refused is looked
/// for in the table.
async fn has_orders(session: &mut Session, sale: i32) -> Result<bool, PgError> {
    let select = "SELECT EXISTS (SELECT FROM shares WHERE sale_id = $1 AND sold > 0) \
                  OR EXISTS (SELECT FROM orders WHERE sale_id::bigint = $1::integer)";
    let row = session.row(select, &[&sale]).await?;
    Ok(row.map_or(Ok(false), |row| row.try_get(0))?)
}

/// Units of orders whose money is being given back. A refund begins under a lock of the sale's row (`commit_batch`).
async fn refunding(session: &mut Session, sale: i32) -> Result<u64, PgError> {
    let select = "SELECT coalesce(sum(o.quantity), 0)::bigint FROM refunds r JOIN orders o USING (order_id) \
                  WHERE r.state = 0 AND o.sale_id = $1";
    let row = session.row(select, &[&sale]).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get::<_, i64>(0))?.unsigned_abs())
}

/// Goes through at most `max` orders and moves those of an archived sale. How many rows it went through; 0 when nothing is
/// left to move.
pub(super) async fn move_orders(session: &mut Session, max: usize) -> Result<usize, PgError> {
    let max = i32::try_from(max).unwrap_or(i32::MAX);
    let row = session.row("SELECT move_archived($1)", &[&max]).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get::<_, i32>(0))?.max(0) as usize)
}

/// Archived sales whose orders have yet to move.
pub(super) async fn moving(session: &mut Session) -> Result<Vec<SaleId>, PgError> {
    let moving = session.rows("SELECT sale_id FROM sales WHERE moved_through IS NOT NULL", &[]).await?;
    moving.iter().map(|row| Ok(SaleId(rows::whole(row.try_get(0)?)?))).collect()
}

/// At most `max` sales that have ended and whose books are to be forgotten, with the last epoch of each: those that nobody has
/// forgotten yet, and these.
pub(super) async fn left_books(
    session: &mut Session,
    ended: &[SaleId],
    max: usize,
) -> Result<Vec<LeftBook>, PgError> {
    // A deleted one has had its number behind its name since.
    let select = format!(
        "SELECT sale_id, tenant, campaign, CASE retired WHEN {DELETED} THEN left(sku, -length('/' || sale_id)) ELSE sku END, \
         epoch FROM sales WHERE retired > 0 AND (has_book OR sale_id = ANY ($1)) ORDER BY sale_id LIMIT $2"
    );
    let ended: Vec<i32> = ended.iter().map(|sale| column(sale.0)).collect();
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let left = |row: &Row| {
        Ok(LeftBook {
            sale: SaleId(rows::whole(row.try_get(0)?)?),
            key: SaleKey::new(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?).map_err(rows::damaged)?,
            last_epoch: row.try_get::<_, i64>(4)? as u64,
        })
    };
    session.rows(&select, &[&ended, &max]).await?.iter().map(left).collect()
}

/// The books of these sales are forgotten.
pub(super) async fn books_forgotten(session: &mut Session, sales: &[SaleId]) -> Result<(), PgError> {
    let sales: Vec<i32> = sales.iter().map(|sale| column(sale.0)).collect();
    let forget = "UPDATE sales SET has_book = false WHERE sale_id = ANY ($1) AND retired > 0";
    session.rows(forget, &[&sales]).await.map(drop)
}

/// The tenant's archived sales, oldest first.
pub(super) async fn sales(session: &mut Session, tenant: &str) -> Result<Vec<Sale>, PgError> {
    let select = format!(
        "SELECT {SALE_COLUMNS} FROM sales WHERE retired = {ARCHIVED} AND tenant = $1 ORDER BY sale_id"
    );
    session.rows(&select, &[&tenant]).await?.iter().map(rows::sale).collect()
}

/// The archived sale of this name.
pub(super) async fn sale(session: &mut Session, key: &SaleKey) -> Result<Option<Sale>, PgError> {
    let select = format!(
        "SELECT {SALE_COLUMNS} FROM sales WHERE tenant = $1 AND campaign = $2 AND sku = $3 AND retired = {ARCHIVED}"
    );
    let name = (key.tenant(), key.campaign(), key.sku());
    session.row(&select, &[&name.0, &name.1, &name.2]).await?.as_ref().map(rows::sale).transpose()
}

/// The buyer's orders that have moved, newest first; those that were refused are nobody's.
pub(super) async fn orders_of(
    session: &mut Session,
    wanted: &WantedOrders,
) -> Result<Vec<(OrderId, SaleId)>, PgError> {
    let select = "SELECT o.order_id, o.sale_id FROM archived_orders o JOIN sales s USING (sale_id) \
                  WHERE o.buyer = $1 AND o.order_id < $2 AND s.tenant = $3 AND o.status <> $7 \
                  AND ($4::text IS NULL OR s.campaign = $4) AND ($5::text IS NULL OR s.sku = $5) \
                  ORDER BY o.order_id DESC LIMIT $6";
    let before: i64 = wanted.before.map_or(i64::MAX, |id| column(id.number()));
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let refused = i16::from(OrderStatus::Rejected.code());
    let WantedOrders { tenant, buyer, campaign, sku, .. } = wanted;
    let found = session.rows(select, &[buyer, &before, tenant, campaign, sku, &limit, &refused]).await?;
    let numbers = |row: &Row| Ok((rows::order_id(row.try_get(0)?)?, SaleId(rows::whole(row.try_get(1)?)?)));
    found.iter().map(numbers).collect()
}
