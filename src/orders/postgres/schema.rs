//! The tables, and how those of an older engine become current ones.

use std::time::Duration;

use super::error::PgError;
use super::session::Session;

/// The scripts of each version, applied in order; the table `version` counts those that have been. Never change a
/// released one.
const MIGRATIONS: &[&[&str]] = &[
    &[include_str!("schema/1_tables.sql"), include_str!("schema/1_commit_batch.sql")],
    &[include_str!("schema/2_sharing.sql")],
    &[include_str!("schema/3_payments.sql"), include_str!("schema/3_commit_batch.sql")],
    &[include_str!("schema/4_deadlines.sql")],
    &[include_str!("schema/5_marks.sql")],
    &[include_str!("schema/6_trail.sql")],
    &[include_str!("schema/7_pauses.sql")],
    &[include_str!("schema/8_events.sql"), include_str!("schema/8_commit_batch.sql")],
    &[include_str!("schema/9_history.sql")],
];

/// Engines that start at once wait for each other here; changing a large table may take longer than any batch.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; \
                     SELECT pg_advisory_xact_lock(1936024427)";

/// How long one step of a migration may take, waiting for other engines included.
const UPGRADE_WAIT_MAX: Duration = Duration::from_secs(600);

/// Brings the tables to the version of this engine, in one transaction.
pub async fn migrate(session: &mut Session) -> Result<(), PgError> {
    let limit = session.limit_to(UPGRADE_WAIT_MAX);
    session.run(BEGIN).await?;
    let migrated = migrate_alone(session).await;
    session.run(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    session.limit_to(limit);
    migrated.map_err(lasting)
}

/// At the start a missing right or a foreign table is the operator's to mend, and said at once.
fn lasting(error: PgError) -> PgError {
    match error {
        PgError::Refused(error)
            if ["0A", "3F", "42"].iter().any(|class| error.code().code().starts_with(class)) =>
        {
            PgError::Unfit(format!("the tables cannot be made or brought up to date: {error}"), Some(error))
        }
        other => other,
    }
}

async fn migrate_alone(session: &mut Session) -> Result<(), PgError> {
    session
        .run(
            "CREATE SCHEMA IF NOT EXISTS seckill; \
             CREATE TABLE IF NOT EXISTS seckill.version (version integer PRIMARY KEY)",
        )
        .await?;
    let found = session.row("SELECT coalesce(max(version), 0) FROM seckill.version", &[]).await?;
    let found = found.map_or(Ok(0), |row| row.try_get::<_, i32>(0))? as usize;
    if found > MIGRATIONS.len() {
        return Err(PgError::Unfit(
            format!(
                "a newer engine has brought the tables to version {found}, and this one knows {}; nothing is damaged: \
             start an engine of that version or a later one",
                MIGRATIONS.len()
            ),
            None,
        ));
    }
    for (version, scripts) in (1i32..).zip(MIGRATIONS).skip(found) {
        for script in *scripts {
            session.run(script).await?;
        }
        session.rows("INSERT INTO seckill.version VALUES ($1)", &[&version]).await?;
        tracing::info!(version, "the tables of the order store were brought up to date");
    }
    Ok(())
}
