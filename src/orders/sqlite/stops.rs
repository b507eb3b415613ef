//! What is stopped at once, in rows.

use rusqlite::{Connection, Transaction, params};

use super::super::sale_change::StopChange;
use super::super::store::StoreError;
use super::trail;
use crate::domain::Stops;

/// Stops sales, or has them go on.
pub(super) fn change(transaction: &Transaction<'_>, change: &StopChange) -> Result<Stops, StoreError> {
    let before = read(transaction)?;
    transaction
        .prepare_cached(
            "INSERT INTO stops (tenant, is_stopped, change) \
             VALUES (?1, ?2, (SELECT coalesce(max(change), 0) + 1 FROM stops)) \
             ON CONFLICT DO UPDATE SET is_stopped = excluded.is_stopped, change = excluded.change",
        )?
        .execute(params![change.tenant.as_deref().unwrap_or_default(), change.is_stopped])?;
    trail::append(transaction, &change.told(&before))?;
    read(transaction)
}

/// All that is stopped.
pub(super) fn read(connection: &Connection) -> Result<Stops, StoreError> {
    let mut statement = connection.prepare_cached("SELECT tenant, is_stopped, change FROM stops")?;
    let mut rows = statement.query([])?;
    let mut stops = Stops::default();
    while let Some(row) = rows.next()? {
        let (tenant, is_stopped): (String, bool) = (row.get(0)?, row.get(1)?);
        stops.version = stops.version.max(row.get(2)?);
        match tenant.as_str() {
            "" => stops.all = is_stopped,
            _ if is_stopped => drop(stops.tenants.insert(tenant)),
            _ => {}
        }
    }
    Ok(stops)
}
