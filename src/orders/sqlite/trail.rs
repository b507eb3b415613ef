//! The trail, in rows.

use rusqlite::{Connection, Row, Transaction, params};

use super::super::store::StoreError;
use super::super::trail::{Act, Actor, TrailEntry, TrailFilter, heard, told};
use crate::domain::EpochMs;

/// The columns that [`entry`] reads, in its order.
const COLUMNS: &str = "seq, at_ms, tenant, who, role, address, request_id, act, object, was, became, reason";

/// Adds an act to the trail.
pub(super) fn append(transaction: &Transaction<'_>, act: &Act) -> Result<(), StoreError> {
    let Actor { who, role, address, request_id } = &act.actor;
    transaction
        .prepare_cached(
            "INSERT INTO trail (at_ms, tenant, who, role, address, request_id, act, object, was, became, reason) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            act.at.0,
            act.tenant,
            who,
            role,
            address,
            request_id,
            act.kind.as_str(),
            act.object,
            told(&act.from),
            told(&act.to),
            act.reason,
        ])?;
    Ok(())
}

/// Entries above `after` that are about `tenant`, or about all of them.
pub(super) fn read(
    connection: &Connection,
    tenant: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<TrailEntry>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM trail WHERE seq > ?1 AND (tenant IS NULL OR tenant = ?2) ORDER BY seq LIMIT ?3"
    ))?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let found = statement.query_map(params![after, tenant, limit as i64], entry)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Entries above `after`, about whichever tenant.
pub(super) fn read_all(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<TrailEntry>, StoreError> {
    let select = format!("SELECT {COLUMNS} FROM trail WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&select)?;
    let found = statement.query_map(params![after, limit as i64], entry)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Entries that pass the filter, the newest first.
pub(super) fn page(connection: &Connection, filter: &TrailFilter) -> Result<Vec<TrailEntry>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM trail WHERE (?1 IS NULL OR seq < ?1) AND (?2 IS NULL OR tenant = ?2) \
         AND (?3 IS NULL OR who = ?3) AND (?4 IS NULL OR act = ?4) AND (?5 IS NULL OR instr(object, ?5) > 0) \
         ORDER BY seq DESC LIMIT ?6"
    ))?;
    let before = filter.before.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX));
    let TrailFilter { tenant, who, kind, object, limit, .. } = filter;
    let found = statement.query_map(params![before, tenant, who, kind, object, *limit as i64], entry)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<TrailEntry> {
    Ok(TrailEntry {
        seq: row.get(0)?,
        at: EpochMs(row.get(1)?),
        tenant: row.get(2)?,
        actor: Actor { who: row.get(3)?, role: row.get(4)?, address: row.get(5)?, request_id: row.get(6)? },
        kind: row.get(7)?,
        object: row.get(8)?,
        from: heard(row.get(9)?),
        to: heard(row.get(10)?),
        reason: row.get(11)?,
    })
}
