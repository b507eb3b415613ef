//! What is stopped at once, in rows.

use super::super::sale_change::StopChange;
use super::error::PgError;
use super::rows::{damaged, text};
use super::session::Session;
use super::trail;
use crate::domain::Stops;

/// Stops sales, or has them go on. Done again it comes to the same.
pub(super) async fn change(session: &mut Session, change: &StopChange) -> Result<Stops, PgError> {
    let set = "INSERT INTO stops (tenant, is_stopped) VALUES ($1, $2) \
               ON CONFLICT (tenant) DO UPDATE SET is_stopped = excluded.is_stopped";
    let tenant = change.tenant.as_deref().map(text).unwrap_or_default();
    session
        .transaction(async |session| {
            let before = read(session).await?;
            session.rows(set, &[&tenant, &change.is_stopped]).await?;
            trail::append(session, &change.told(&before)).await?;
            read(session).await
        })
        .await
}

/// All that is stopped.
pub(super) async fn read(session: &mut Session) -> Result<Stops, PgError> {
    let mut stops = Stops::default();
    for row in session.rows("SELECT tenant, is_stopped, change FROM stops", &[]).await? {
        let (tenant, is_stopped): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        let change = u64::try_from(row.try_get::<_, i64>(2)?).map_err(damaged)?;
        stops.version = stops.version.max(change);
        match tenant.as_str() {
            "" => stops.all = is_stopped,
            _ if is_stopped => drop(stops.tenants.insert(tenant)),
            _ => {}
        }
    }
    Ok(stops)
}
