//! Changing a sale: one transaction that reads the sale's row, locked, and writes it.
//!
//! A change may add units, so it must not be made twice. When the answer to the commit is lost, the server is asked what
//! became of the transaction before anything is tried again.

use tokio_postgres::Row;

use super::super::sale_change::{ChangeReceipt, SaleChange};
use super::super::store::StoreError;
use super::error::PgError;
use super::room_marks;
use super::rows::{self, SALE_COLUMNS, column, damaged};
use super::session::{Parameter, Session, WITH_STANDBYS};
use super::term_columns::TermColumns;
use super::trail;

/// A change whose answer was lost, if there is one.
#[derive(Debug, Default)]
pub struct SaleDoubt(Option<InDoubt>);

#[derive(Debug)]
struct InDoubt {
    change: SaleChange,
    /// The server's number of the transaction.
    transaction: i64,
    receipt: ChangeReceipt,
}

impl SaleDoubt {
    /// Makes the change, or finds out that the attempt before was carried out.
    pub async fn change(
        &mut self,
        session: &mut Session,
        change: &SaleChange,
        node: i16,
        lending: i16,
    ) -> Result<ChangeReceipt, StoreError> {
        if let Some(doubt) = self.0.take_if(|doubt| doubt.change == *change) {
            match Ending::of(session, doubt.transaction).await {
                Ok(Ending::Committed) => return Ok(doubt.receipt),
                Ok(Ending::Aborted) => {}
                Ok(Ending::Open) => {
                    self.0 = Some(doubt);
                    return Err(StoreError::transient("PostgreSQL: the change of a sale is still under way"));
                }
                Err(error) => {
                    self.0 = Some(doubt);
                    return Err(error.into());
                }
            }
        }
        session.run("BEGIN").await?;
        let decided = decide(session, change, node, lending).await;
        let (receipt, transaction) = match decided {
            Ok((receipt, Some(transaction))) => (receipt, transaction),
            Ok((receipt, None)) => {
                session.run("ROLLBACK").await?;
                return Ok(receipt);
            }
            Err(error) => {
                if !error.is_lost() {
                    session.run("ROLLBACK").await?;
                }
                return Err(error.into());
            }
        };
        match session.run("COMMIT").await {
            Ok(()) => Ok(receipt),
            Err(error) => {
                if error.is_lost() {
                    self.0 = Some(InDoubt { change: change.clone(), transaction, receipt });
                }
                Err(error.into())
            }
        }
    }
}

/// What the change comes to, and the number of the transaction if it has written something.
async fn decide(
    session: &mut Session,
    change: &SaleChange,
    node: i16,
    lending: i16,
) -> Result<(ChangeReceipt, Option<i64>), PgError> {
    let sale: i32 = column(change.sale.0);
    let select = format!("SELECT {SALE_COLUMNS} FROM sales WHERE sale_id = $1 AND retired < 2 FOR UPDATE");
    let Some(row) = session.row(&select, &[&sale]).await? else { return Ok((ChangeReceipt::Unknown, None)) };
    let before = rows::sale(&row)?;
    let rooms = room_marks::of_sales(session, &[change.sale]).await?;
    let marks = rooms.first().map(|(_, marks)| *marks).unwrap_or_default();
    let (terms, total) = match change.decide(&before, &marks) {
        Ok(decided) => decided,
        Err(refusal) => return Ok((*refusal, None)),
    };
    let total_before = before.total;
    if terms == before.terms && total == total_before {
        let Some(act) = &change.act else {
            return Ok((ChangeReceipt::Changed { sale: before, total_before }, None));
        };
        trail::append(session, &act.changed(&before, &before)).await?;
        let row =
            session.row("SELECT txid_current()", &[]).await?.ok_or_else(|| damaged("no transaction"))?;
        return Ok((ChangeReceipt::Changed { sale: before, total_before }, Some(row.try_get(0)?)));
    }
    if total < total_before {
        let lower: i32 = column(total);
        let make_room = "SELECT make_room($1, $2, $3, $4)";
        let row = session.row(make_room, &[&sale, &node, &lower, &lending]).await?;
        if !row.map_or(Ok(false), |row| row.try_get::<_, bool>(0))? {
            // Some of the units are lent to nodes: whoever wants them off sale has yet to gather them.
            return Ok((ChangeReceipt::Withdraw { units: total_before - total, total: total_before }, None));
        }
    }
    let update = format!(
        "UPDATE sales SET title = $2, price_cents = $3, currency = $4, per_buyer_limit = $5, starts_at_ms = $6, \
         ends_at_ms = $7, pay_within_s = $8, rate_per_s = $9, burst = $10, paused = $11, total = $12, \
         paused_until_ms = $13, room_mode = $14, room_opens_at_ms = $15, room_rate_per_s = $16, room_grace_s = $17, \
         room_holds = $18, room_seed = $19, room_beacon = $20, room_beacon_round = $21, room_beacon_wait_s = $22, \
         revision = revision + (total <> $12)::int \
         WHERE sale_id = $1 RETURNING {SALE_COLUMNS}, txid_current()"
    );
    let columns = TermColumns::of(&terms, total);
    let mut parameters: Vec<Parameter<'_>> = vec![&sale];
    parameters.extend(columns.parameters());
    let row: Row =
        session.row(&update, &parameters).await?.ok_or_else(|| damaged("a sale that went away"))?;
    let sale = rows::sale(&row)?;
    if let Some(act) = &change.act {
        trail::append(session, &act.changed(&before, &sale)).await?;
    }
    Ok((ChangeReceipt::Changed { sale, total_before }, Some(row.try_get(rows::SALE_COLUMNS_LEN)?)))
}

/// What became of a transaction.
enum Ending {
    Committed,
    Aborted,
    Open,
}

impl Ending {
    /// What the server says. One that does not know the transaction lost it in a failover, with all that it did.
    async fn of(session: &mut Session, transaction: i64) -> Result<Self, PgError> {
        let status = format!("SELECT txid_status($1), {WITH_STANDBYS}");
        let row = match session.row(&status, &[&transaction]).await {
            Err(PgError::Refused(_)) => return Ok(Self::Aborted),
            answer => answer?,
        };
        let status = row.map_or(Ok(None), |row| row.try_get::<_, Option<String>>(0))?;
        Ok(match status.as_deref() {
            Some("committed") => Self::Committed,
            Some("in progress") => Self::Open,
            _ => Self::Aborted,
        })
    }
}
