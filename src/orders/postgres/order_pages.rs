//! Orders in the order of their numbers, piece by piece: each statement ends within its time, whatever is looked for.
//!
//! A statement that is asked often gets a plan that knows none of its parameters, and for "the next of this sale, by number"
//! that plan went through the orders of all sales. So a sale and a number are compared as a pair, in the order of pairs: only the
//! index of sales can serve that.

use super::super::order_search::{OrderFilter, PIECES_MAX, TenantSales};
use super::error::PgError;
use super::rows::{self, ORDER_COLUMNS, text};
use super::session::Session;
use crate::domain::{Order, OrderId, SaleId};

/// What holds for orders above `$1` and up to `$2`, of the sale `$3` or of any, and their order by number.
const fn range(sale: Option<SaleId>) -> (&'static str, &'static str) {
    match sale {
        Some(_) => (
            "(sale_id::bigint, order_id) > ($3::integer::bigint, $1::bigint) \
             AND (sale_id::bigint, order_id) <= ($3::integer::bigint, $2::bigint)",
            "sale_id::bigint, order_id",
        ),
        None => ("order_id > $1 AND order_id <= $2 AND $3::integer IS NULL", "order_id"),
    }
}

/// Looks for at most `limit` orders above `after` and up to `through`, oldest first, and says up to which number it has.
pub(super) async fn search(
    session: &mut Session,
    filter: &OrderFilter,
    after: i64,
    through: OrderId,
    limit: usize,
) -> Result<(Vec<Order>, OrderId), PgError> {
    let (range, order) = range(filter.sale);
    let end_of_piece =
        format!("SELECT order_id FROM all_orders WHERE {range} ORDER BY {order} OFFSET $4 LIMIT 1");
    let of_sales = match filter.sales {
        Some(_) => format!("sale_id IN (SELECT sale_id FROM sales WHERE {})", named(7)),
        None => "$7::text IS NULL AND $8::text IS NULL AND $9::text IS NULL".into(),
    };
    let select = format!(
        "SELECT {ORDER_COLUMNS} FROM all_orders WHERE {range} AND ($4::text IS NULL OR buyer = $4) \
         AND ($5::smallint IS NULL OR status = $5) AND {of_sales} ORDER BY {order} LIMIT $6"
    );
    let sale = filter.sale.map(|id| rows::column::<_, i32>(id.0));
    let (buyer, status) = (filter.buyer.as_deref().map(text), filter.status.map(|it| i16::from(it.code())));
    let [tenant, campaign, sku] = match &filter.sales {
        Some(TenantSales { tenant, campaign, sku }) => [Some(tenant), campaign.as_ref(), sku.as_ref()],
        None => [None; 3],
    };
    let last: i64 = rows::column(through.number());
    // The next one is sought only behind a piece that had none: that costs a look a sale.
    let (mut found, mut looked, mut in_vain) = (Vec::new(), after, false);
    for _ in 0..PIECES_MAX {
        if let Some(sales) = filter.sales.as_ref().filter(|_| in_vain) {
            let Some(next) = next_of(session, sales, looked, last).await? else {
                return Ok((found, through));
            };
            looked = next - 1;
        }
        let end = match filter.piece() {
            Some(orders) => session.row(&end_of_piece, &[&looked, &last, &sale, &(orders as i64)]).await?,
            None => None,
        };
        let end = end.map(|row| row.try_get::<_, i64>(0)).transpose()?;
        let left = i64::try_from(limit - found.len()).unwrap_or(i64::MAX);
        let wanted = session
            .rows(
                &select,
                &[&looked, &end.unwrap_or(last), &sale, &buyer, &status, &left, &tenant, &campaign, &sku],
            )
            .await?;
        in_vain = wanted.is_empty();
        for order in &wanted {
            found.push(rows::order(order)?);
        }
        if let Some(order) = found.last().filter(|_| found.len() >= limit) {
            let looked = order.placed.id;
            return Ok((found, looked));
        }
        match end {
            Some(end) => looked = end,
            None => return Ok((found, through)),
        }
    }
    Ok((found, rows::order_id(looked)?))
}

/// What holds for sales whose tenant, campaign and SKU are the parameters from number `first` on.
fn named(first: usize) -> String {
    let (campaign, sku) = (first + 1, first + 2);
    format!(
        "tenant = ${first}::text AND (${campaign}::text IS NULL OR campaign = ${campaign}) \
         AND (${sku}::text IS NULL OR sku = ${sku}) AND retired < 2"
    )
}

/// The number of the next order of these sales: one look at the index of each, whatever others have sold meanwhile.
async fn next_of(
    session: &mut Session,
    sales: &TenantSales,
    after: i64,
    through: i64,
) -> Result<Option<i64>, PgError> {
    let select = format!(
        "SELECT min(o.order_id) FROM (SELECT sale_id FROM sales WHERE {}) AS s CROSS JOIN LATERAL \
         (SELECT sale_id, order_id FROM all_orders \
         WHERE (sale_id::bigint, order_id) > (s.sale_id::bigint, $1::bigint) \
         ORDER BY sale_id::bigint, order_id LIMIT 1) AS o \
         WHERE o.sale_id = s.sale_id AND o.order_id <= $2::bigint",
        named(3)
    );
    let TenantSales { tenant, campaign, sku } = sales;
    let row = session.row(&select, &[&after, &through, tenant, campaign, sku]).await?;
    row.map_or(Ok(None), |row| Ok(row.try_get(0)?))
}
