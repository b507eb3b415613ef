//! The trail, in rows.

use rusqlite::{Connection, Row, Transaction, params};

use super::super::store::StoreError;
use super::super::trail::{Act, Actor, TrailEntry, heard, told};
use crate::domain::EpochMs;

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
    let entry = |row: &Row<'_>| {
        Ok(TrailEntry {
            seq: row.get(0)?,
            at: EpochMs(row.get(1)?),
            tenant: row.get(2)?,
            actor: Actor {
                who: row.get(3)?,
                role: row.get(4)?,
                address: row.get(5)?,
                request_id: row.get(6)?,
            },
            kind: row.get(7)?,
            object: row.get(8)?,
            from: heard(row.get(9)?),
            to: heard(row.get(10)?),
            reason: row.get(11)?,
        })
    };
    let mut statement = connection.prepare_cached(
        "SELECT seq, at_ms, tenant, who, role, address, request_id, act, object, was, became, reason FROM trail \
         WHERE seq > ?1 AND (tenant IS NULL OR tenant = ?2) ORDER BY seq LIMIT ?3",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let found = statement.query_map(params![after, tenant, limit as i64], entry)?;
    Ok(found.collect::<Result<_, _>>()?)
}
