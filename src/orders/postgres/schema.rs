//! The tables, and how those of an older engine become current ones.

use std::time::Duration;

use super::error::PgError;
use super::rights::{self, Things};
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
    &[include_str!("schema/10_shares.sql"), include_str!("schema/10_commit_batch.sql")],
    &[include_str!("schema/11_retirement.sql")],
    &[include_str!("schema/12_refunds.sql"), include_str!("schema/12_commit_batch.sql")],
    &[include_str!("schema/13_waiting_rooms.sql")],
    &[include_str!("schema/14_shared_retirement.sql")],
    &[include_str!("schema/15_node_figures.sql")],
    &[include_str!("schema/16_archived_refunds.sql"), include_str!("schema/16_commit_batch.sql")],
    &[include_str!("schema/17_webhooks.sql")],
    &[include_str!("schema/18_beacons.sql")],
    &[include_str!("schema/19_grants.sql"), include_str!("schema/19_commit_batch.sql")],
    &[include_str!("schema/20_moved_deadlines.sql")],
];

/// Changing a large table may take longer than any batch, and waiting for an engine that does so as well.
const WITHOUT_LIMITS: &str = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0";
/// Engines that start at once are one after the other from here on.
const TRY_ALONE: &str = "SELECT pg_try_advisory_xact_lock(1936024427)";
const WAIT_ALONE: &str = "SELECT pg_advisory_xact_lock(1936024427)";

/// No limit in practice: a statement that was given up here would go on there, and with its lock every later try would only
/// wait for it. A line that breaks meanwhile is noticed by its keep-alive.
const UPGRADE_WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// All that the scripts make.
fn things() -> Things {
    let mut tables = made("TABLE");
    // The one is made by whoever asks for the version, the other one had another name when it was made.
    tables.extend(["version", "shares"]);
    // Read like a table.
    tables.push("all_orders");
    Things { tables, sequences: made("SEQUENCE"), functions: made("FUNCTION") }
}

/// What the scripts make of this kind, by name.
fn made(kind: &str) -> Vec<&'static str> {
    let lines = MIGRATIONS.iter().flat_map(|scripts| scripts.iter()).flat_map(|script| script.lines());
    let names = lines.filter_map(|line| {
        let made = line.strip_prefix("CREATE ")?;
        let made = ["OR REPLACE ", "UNLOGGED "]
            .iter()
            .fold(made, |made, word| made.strip_prefix(word).unwrap_or(made));
        let made = made.strip_prefix(kind)?.strip_prefix(' ')?;
        made.split(|c: char| !c.is_alphanumeric() && c != '_').next()
    });
    names.collect()
}

/// Whether the tables are of this engine's version; and that the user may do what remains to be done, which is to sell from
/// them or to bring them there first.
pub async fn check(session: &mut Session) -> Result<bool, PgError> {
    let is_current = stored_version(session).await? == Some(MIGRATIONS.len());
    if is_current {
        rights::check_to_sell(session, &things()).await?;
    } else {
        rights::check_to_migrate(session, &things()).await?;
    }
    Ok(is_current)
}

/// Brings the tables to the version of this engine, in one transaction. Where they are there is none: an engine whose user
/// may only sell can be started.
pub async fn migrate(session: &mut Session) -> Result<(), PgError> {
    if check(session).await? {
        return Ok(());
    }
    let limit = session.limit_to(UPGRADE_WAIT_MAX);
    let migrated = session.transaction(migrate_alone).await;
    session.limit_to(limit);
    migrated.map_err(lasting)
}

/// The version of the tables; `None` when there are none.
///
/// # Errors
/// It is a newer engine's, or the user may not read it.
async fn stored_version(session: &mut Session) -> Result<Option<usize>, PgError> {
    let select = "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') \
                  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                  WHERE n.nspname = 'seckill' AND c.relname = 'version' AND c.relkind = 'r'";
    let Some(row) = session.row(select, &[]).await? else { return Ok(None) };
    if !row.try_get::<_, bool>(0)? {
        rights::check_to_sell(session, &things()).await?;
    }
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
    Ok(Some(found))
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
    session.run(WITHOUT_LIMITS).await?;
    let is_first = session.row(TRY_ALONE, &[]).await?.map_or(Ok(true), |row| row.try_get(0))?;
    if !is_first {
        tracing::info!(
            "another engine brings the tables of the order store up to date: this one waits for it"
        );
        session.run(WAIT_ALONE).await?;
    }
    session
        .run(
            "CREATE SCHEMA IF NOT EXISTS seckill; \
             CREATE TABLE IF NOT EXISTS seckill.version (version integer PRIMARY KEY)",
        )
        .await?;
    let found = stored_version(session).await?.unwrap_or(0);
    for (version, scripts) in (1i32..).zip(MIGRATIONS).skip(found) {
        tracing::debug!(version, "bringing the tables of the order store up to date");
        for script in *scripts {
            session.run(script).await?;
        }
        session.rows("INSERT INTO seckill.version VALUES ($1)", &[&version]).await?;
        tracing::info!(version, "the tables of the order store were brought up to date");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_scripts_make_is_known_by_name() {
        let Things { tables, sequences, functions } = things();
        for name in [
            "version",
            "nodes",
            "orders",
            "event_log",
            "trail",
            "stops",
            "unplaced_events",
            "archived_orders",
            "refunds",
            "waiting_rooms",
            "node_figures",
            "webhooks",
            "grace_log",
        ] {
            assert!(tables.contains(&name), "{name} in {tables:?}");
        }
        assert_eq!(sequences, ["event_stamps"]);
        assert!(functions.contains(&"commit_batch") && functions.contains(&"place_events"), "{functions:?}");
    }
}
