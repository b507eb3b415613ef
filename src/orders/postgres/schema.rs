//! The tables, and how those of an older engine become current ones.

use super::session::Session;
use super::trouble::Trouble;

/// The scripts of each version, applied in order; the table `version` counts those that have been. Never change a
/// released one.
const MIGRATIONS: &[&[&str]] =
    &[&[include_str!("schema/1_tables.sql"), include_str!("schema/1_commit_batch.sql")]];

/// Engines that start at once wait for each other here.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1936024427)";

/// Brings the tables to the version of this engine, in one transaction.
pub async fn migrate(session: &mut Session) -> Result<(), Trouble> {
    session.run(&format!("BEGIN; {LOCK}")).await?;
    let migrated = migrate_alone(session).await;
    session.run(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    migrated
}

async fn migrate_alone(session: &mut Session) -> Result<(), Trouble> {
    session
        .run(
            "CREATE SCHEMA IF NOT EXISTS seckill; \
             CREATE TABLE IF NOT EXISTS seckill.version (version integer PRIMARY KEY)",
        )
        .await?;
    let found = session.row("SELECT coalesce(max(version), 0) FROM seckill.version", &[]).await?;
    let found = found.map_or(Ok(0), |row| row.try_get::<_, i32>(0))? as usize;
    if found > MIGRATIONS.len() {
        return Err(Trouble::Damaged(format!(
            "a newer engine wrote it: schema {found}, this engine knows {}; start that one",
            MIGRATIONS.len()
        )));
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
