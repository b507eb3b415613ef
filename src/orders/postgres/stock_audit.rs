//! Counts a sale's units in its orders.

use super::super::store::Audit;
use super::error::PgError;
use super::rows;
use super::session::Session;
use crate::domain::OrderStatus;

/// The sale's units, as its orders hold them.
pub(super) async fn audit(session: &mut Session, sale: i32) -> Result<Option<Audit>, PgError> {
    let terms = "SELECT total, (SELECT coalesce(sum(sold - returned), 0)::integer FROM shares WHERE sale_id = $1), \
                 per_buyer_limit, retired, moved_through IS NOT NULL FROM sales WHERE sale_id = $1";
    let Some(terms) = session.row(terms, &[&sale]).await? else { return Ok(None) };
    let limit: i32 = terms.try_get(2)?;
    let mut audit = Audit {
        total: rows::whole(terms.try_get(0)?)?,
        sold_by_guard: rows::whole(terms.try_get(1)?)?,
        ..Audit::default()
    };
    // Where the sale's orders are.
    let (retired, is_moving): (i16, bool) = (terms.try_get(3)?, terms.try_get(4)?);
    let orders = match (retired, is_moving) {
        (0, _) => "orders",
        (_, true) => "all_orders",
        (_, false) => "archived_orders",
    };
    let sums = format!(
        "SELECT status, count(*), sum(quantity)::bigint, sum(restocked)::bigint, sum(amount_cents)::bigint, \
         sum(refunded_cents)::bigint FROM {orders} WHERE sale_id::bigint = $1::integer GROUP BY status"
    );
    let sums = session.rows(&sums, &[&sale]).await?;
    for row in &sums {
        let number = |place| Ok::<_, PgError>(row.try_get::<_, i64>(place)? as u64);
        let status = rows::status(row.try_get(0)?)?;
        audit.count(status, number(1)?, number(2)?, number(3)?, number(4)?, number(5)?);
    }
    let holding: Vec<i16> = OrderStatus::ALL
        .iter()
        .filter(|status| status.holds_units())
        .map(|status| status.code().into())
        .collect();
    let over = format!(
        "SELECT count(*) FROM (SELECT FROM {orders} WHERE sale_id::bigint = $1::integer AND status = ANY ($2) GROUP BY buyer \
         HAVING sum(quantity - restocked) > $3::bigint) AS over_limit"
    );
    let over = session.row(&over, &[&sale, &holding, &i64::from(limit)]).await?;
    audit.buyers_over_limit = over.map_or(Ok(0), |row| row.try_get::<_, i64>(0))? as u64;
    Ok(Some(audit))
}
