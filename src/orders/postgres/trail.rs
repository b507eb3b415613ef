//! The trail, in rows.

use tokio_postgres::Row;

use super::super::trail::{Act, Actor, TrailEntry, TrailFilter, heard, told};
use super::error::PgError;
use super::rows::text;
use super::session::{Parameter, Session, WITH_STANDBYS};
use crate::domain::EpochMs;

/// The columns that [`entry`] reads, in its order.
const COLUMNS: &str = "seq, at_ms, tenant, who, role, address, request_id, act, object, was, became, reason";

/// Acts, column by column.
#[derive(Default)]
pub(super) struct TrailColumns {
    id: Vec<i64>,
    at: Vec<i64>,
    tenant: Vec<Option<String>>,
    who: Vec<String>,
    role: Vec<String>,
    address: Vec<String>,
    request_id: Vec<String>,
    act: Vec<&'static str>,
    object: Vec<String>,
    was: Vec<Option<String>>,
    became: Vec<Option<String>>,
    reason: Vec<Option<String>>,
}

impl TrailColumns {
    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// One act more.
    pub(super) fn push(&mut self, act: &Act) {
        let Actor { who, role, address, request_id } = &act.actor;
        self.id.push(act.id);
        self.at.push(act.at.0);
        self.tenant.push(act.tenant.as_deref().map(text));
        self.who.push(text(who));
        self.role.push(text(role));
        self.address.push(text(address));
        self.request_id.push(text(request_id));
        self.act.push(act.kind.as_str());
        self.object.push(text(&act.object));
        self.was.push(told(&act.from));
        self.became.push(told(&act.to));
        self.reason.push(act.reason.as_deref().map(text));
    }

    /// The statement that adds them, its parameters numbered behind the first `others`. The trail numbers its entries
    /// last of all that a transaction locks.
    pub(super) fn insert(others: usize) -> String {
        const TYPES: [&str; 12] = [
            "bigint", "bigint", "text", "text", "text", "text", "text", "text", "text", "text", "text",
            "text",
        ];
        let columns: Vec<_> =
            (others + 1..).zip(TYPES).map(|(number, kind)| format!("${number}::{kind}[]")).collect();
        format!(
            "INSERT INTO trail (act_id, at_ms, tenant, who, role, address, request_id, act, object, was, became, reason) \
             SELECT * FROM unnest({}) ON CONFLICT (act_id) DO NOTHING",
            columns.join(", ")
        )
    }

    /// The columns, in the order of the statement's parameters.
    pub(super) fn parameters(&self) -> [Parameter<'_>; 12] {
        [
            &self.id,
            &self.at,
            &self.tenant,
            &self.who,
            &self.role,
            &self.address,
            &self.request_id,
            &self.act,
            &self.object,
            &self.was,
            &self.became,
            &self.reason,
        ]
    }
}

/// Adds an act to the trail, within the transaction that the session has begun.
pub(super) async fn append(session: &mut Session, act: &Act) -> Result<(), PgError> {
    append_all(session, std::slice::from_ref(act)).await
}

/// The same of many, in one statement: one transaction where the session has begun none.
pub(super) async fn append_all(session: &mut Session, acts: &[Act]) -> Result<(), PgError> {
    let mut columns = TrailColumns::default();
    acts.iter().for_each(|act| columns.push(act));
    session.rows(&TrailColumns::insert(0), &columns.parameters()).await.map(drop)
}

/// Whether an act is durable, with the standbys that a commit waits for.
pub(super) async fn has_told(session: &mut Session, act: i64) -> Result<bool, PgError> {
    let told = format!("SELECT EXISTS (SELECT FROM trail WHERE act_id = $1), {WITH_STANDBYS}");
    let row = session.row(&told, &[&act]).await?;
    Ok(row.map_or(Ok(false), |row| row.try_get(0))?)
}

/// Entries above `after` that are about `tenant`, or about all of them.
pub(super) async fn read(
    session: &mut Session,
    tenant: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<TrailEntry>, PgError> {
    let select = format!(
        "SELECT {COLUMNS} FROM trail WHERE seq > $1 AND (tenant IS NULL OR tenant = $2) ORDER BY seq LIMIT $3"
    );
    session.rows(&select, &[&after, &tenant, &limit]).await?.iter().map(entry).collect()
}

/// Entries above `after`, about whichever tenant.
pub(super) async fn read_all(
    session: &mut Session,
    after: i64,
    limit: i64,
) -> Result<Vec<TrailEntry>, PgError> {
    let select = format!("SELECT {COLUMNS} FROM trail WHERE seq > $1 ORDER BY seq LIMIT $2");
    session.rows(&select, &[&after, &limit]).await?.iter().map(entry).collect()
}

/// Entries that pass the filter, the newest first.
pub(super) async fn page(session: &mut Session, filter: &TrailFilter) -> Result<Vec<TrailEntry>, PgError> {
    let select = format!(
        "SELECT {COLUMNS} FROM trail WHERE ($1::bigint IS NULL OR seq < $1) AND ($2::text IS NULL OR tenant = $2) \
         AND ($3::text IS NULL OR who = $3) AND ($4::text IS NULL OR act = $4) \
         AND ($5::text IS NULL OR strpos(object, $5) > 0) ORDER BY seq DESC LIMIT $6"
    );
    let before = filter.before.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX));
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let words = [&filter.tenant, &filter.who, &filter.kind, &filter.object];
    let [tenant, who, kind, object] = words.map(|word| word.as_deref().map(text));
    let found = session.rows(&select, &[&before, &tenant, &who, &kind, &object, &limit]).await?;
    found.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<TrailEntry, PgError> {
    Ok(TrailEntry {
        seq: row.try_get::<_, i64>(0)? as u64,
        at: EpochMs(row.try_get(1)?),
        tenant: row.try_get(2)?,
        actor: Actor {
            who: row.try_get(3)?,
            role: row.try_get(4)?,
            address: row.try_get(5)?,
            request_id: row.try_get(6)?,
        },
        kind: row.try_get(7)?,
        object: row.try_get(8)?,
        from: heard(row.try_get(9)?),
        to: heard(row.try_get(10)?),
        reason: row.try_get(11)?,
    })
}
