//! Whether the server lets this user do what an engine does, asked before anything is tried: all that is missing is said
//! at once, as the statements that give it.

use super::error::PgError;
use super::session::Session;

/// Whether all of it is the user's, or a superuser's to use: then nothing is lacking, and this asks a tenth of what the list
/// of rights costs. An owner who took rights from itself hears of it from the statement that is refused.
const IS_OWN: &str = "\
    SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = 'seckill' AND NOT pg_has_role(c.relowner, 'USAGE')) \
    AND NOT EXISTS (SELECT FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace \
        WHERE n.nspname = 'seckill' AND NOT pg_has_role(f.proowner, 'USAGE')) \
    AND coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'seckill'), true)";

/// What the user needs on the tables to sell: everything on most, reading the version, and adding to the trail. One row a
/// missing right, as GRANT takes it.
const LACKING_TO_SELL: &str = "\
    WITH home AS (SELECT oid FROM pg_namespace WHERE nspname = 'seckill') \
    SELECT 'USAGE ON SCHEMA seckill' FROM home WHERE NOT has_schema_privilege(oid, 'USAGE') \
    UNION ALL SELECT needed FROM ( \
        SELECT string_agg(p.word, ', ' ORDER BY p.place) || format(' ON seckill.%I', c.relname) AS needed \
        FROM home JOIN pg_class c ON c.relnamespace = home.oid \
        CROSS JOIN (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE')) AS p (place, word) \
        WHERE c.relname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'v') AND NOT has_table_privilege(c.oid, p.word) \
        AND p.place <= CASE c.relname WHEN 'version' THEN 1 WHEN 'all_orders' THEN 1 WHEN 'trail' THEN 2 ELSE 4 END \
        GROUP BY c.relname ORDER BY c.relname) AS tables \
    UNION ALL SELECT format('USAGE, SELECT ON SEQUENCE seckill.%I', c.relname) \
        FROM home JOIN pg_class c ON c.relnamespace = home.oid WHERE c.relname = ANY ($2::text[]) AND c.relkind = 'S' \
        AND NOT (has_sequence_privilege(c.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT')) \
    UNION ALL SELECT DISTINCT format('EXECUTE ON FUNCTION seckill.%I', f.proname) \
        FROM home JOIN pg_proc f ON f.pronamespace = home.oid WHERE f.proname = ANY ($3::text[]) \
        AND f.prorettype <> 'trigger'::regtype AND NOT has_function_privilege(f.oid, 'EXECUTE')";

/// What the user needs to make the tables, or to change those that are there: only their owner may.
const LACKING_TO_MIGRATE: &str = "\
    WITH home AS (SELECT oid FROM pg_namespace WHERE nspname = 'seckill') \
    SELECT format('CREATE ON DATABASE %I', current_database()) \
        WHERE NOT EXISTS (SELECT FROM home) AND NOT has_database_privilege(current_database(), 'CREATE') \
    UNION ALL SELECT p.word || ' ON SCHEMA seckill' FROM home CROSS JOIN (VALUES ('USAGE'), ('CREATE')) AS p (word) \
        WHERE NOT has_schema_privilege(oid, p.word) \
    UNION ALL SELECT DISTINCT format('%I', pg_get_userbyid(c.relowner)) \
        FROM home JOIN pg_class c ON c.relnamespace = home.oid \
        WHERE c.relname = ANY ($1::text[]) AND NOT pg_has_role(c.relowner, 'USAGE')";

/// What an engine works with, by name.
pub(super) struct Things {
    pub tables: Vec<&'static str>,
    pub sequences: Vec<&'static str>,
    pub functions: Vec<&'static str>,
}

/// Whether the user may sell from the tables, which are of this engine's version.
pub(super) async fn check_to_sell(session: &mut Session, things: &Things) -> Result<(), PgError> {
    let is_own = session.row(IS_OWN, &[]).await?;
    if is_own.map_or(Ok(false), |row| row.try_get(0))? {
        return Ok(());
    }
    let Things { tables, sequences, functions } = things;
    let lacking = session.rows(LACKING_TO_SELL, &[tables, sequences, functions]).await?;
    complete(session, "sell from the tables", &texts(&lacking)?).await
}

/// Whether the user may make the tables, or bring them to this engine's version.
pub(super) async fn check_to_migrate(session: &mut Session, things: &Things) -> Result<(), PgError> {
    let lacking = session.rows(LACKING_TO_MIGRATE, &[&things.tables]).await?;
    complete(session, "make the tables or bring them up to date", &texts(&lacking)?).await
}

fn texts(rows: &[tokio_postgres::Row]) -> Result<Vec<String>, PgError> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

async fn complete(session: &mut Session, to: &str, lacking: &[String]) -> Result<(), PgError> {
    if lacking.is_empty() {
        return Ok(());
    }
    let row = session.row("SELECT quote_ident(current_user::text), current_database()::text", &[]).await?;
    let (user, database): (String, String) = match row {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (String::new(), String::new()),
    };
    let grants: Vec<_> = lacking.iter().map(|right| format!("GRANT {right} TO {user}")).collect();
    Err(PgError::Unfit(
        format!(
            "the user {user} may not {to} in the database {database}; as their owner or a superuser, run: {}",
            grants.join("; ")
        ),
        None,
    ))
}
