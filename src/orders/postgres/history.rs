//! Which store this is and how far it has come, as PostgreSQL keeps it.

use std::sync::Arc;

use super::super::history::{StoreHistory, StoreMark};
use super::super::store::StoreError;
use super::durability::Durability;
use super::error::PgError;
use super::pool::Pool;
use super::rows::{column, damaged};
use super::session::Session;
use crate::domain::StoreIdentity;

/// The store's history. All methods block.
#[derive(Debug)]
pub struct PgHistory {
    pool: Arc<Pool>,
}

impl PgHistory {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// How the store is now.
    ///
    /// # Errors
    /// What the database says.
    pub fn read(&self) -> Result<StoreHistory, StoreError> {
        let select = "SELECT identity, timeline, own_names, (SELECT last_seq FROM event_log), \
                      (SELECT last_change FROM sale_log), decisions FROM store_identity";
        self.pool.run(async |session| {
            let row = session.row(select, &[]).await?.ok_or_else(|| damaged("a store without identity"))?;
            let number = |place| Ok::<_, PgError>(row.try_get::<_, i64>(place)? as u64);
            let identity = StoreIdentity::from_bytes(row.try_get(0)?);
            Ok(StoreHistory {
                identity: identity.ok_or_else(|| damaged("no identity of 16 bytes"))?,
                timeline: number(1)?,
                own_names: row.try_get(2)?,
                mark: StoreMark { last_event: number(3)?, last_change: number(4)?, decisions: number(5)? },
            })
        })
    }

    /// Whether the server that has the store now keeps what it acknowledges.
    ///
    /// # Errors
    /// What the database says.
    pub fn durability(&self) -> Result<Durability, StoreError> {
        self.pool.run(Durability::read)
    }

    /// The store has gone back: begins a timeline above this one, unless somebody has, and every sale's next epoch.
    ///
    /// # Errors
    /// What the database says.
    pub fn begin_timeline(&self, above: u64) -> Result<(), StoreError> {
        self.pool.run(async |session| begin_timeline(session, column(above)).await)
    }

    /// From now on the keys of this store's ledger carry its identity.
    ///
    /// # Errors
    /// What the database says.
    pub fn take_own_names(&self) -> Result<(), StoreError> {
        self.pool.run(async |session| {
            session.run("SELECT begin_timeline(timeline) FROM store_identity WHERE NOT own_names").await?;
            session.run("UPDATE store_identity SET own_names = true").await
        })
    }
}

/// As [`PgHistory::begin_timeline`]. Everything in one statement: it is done, or it is not.
pub(super) async fn begin_timeline(session: &mut Session, above: i64) -> Result<(), PgError> {
    session.rows("SELECT begin_timeline($1)", &[&above]).await.map(drop)
}

/// Counts a decision of the ledger's protocol, in the transaction that makes it.
pub(super) const COUNT_DECISION: &str = "UPDATE store_identity SET decisions = decisions + 1";

/// The timeline that the store is in.
pub(super) async fn timeline(session: &mut Session) -> Result<i64, PgError> {
    let row = session.row("SELECT timeline FROM store_identity", &[]).await?;
    Ok(row.ok_or_else(|| damaged("a store without identity"))?.try_get(0)?)
}
