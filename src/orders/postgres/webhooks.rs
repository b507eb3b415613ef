//! Webhooks, in rows. What is written may be written twice, and comes to the same.

use tokio_postgres::Row;

use super::super::store::StoreError;
use super::super::trail::TrailEntry;
use super::super::webhook_log::{
    LogCursor, LogEnds, WebhookAct, WebhookHealth, WebhookReader, WebhookRow, WebhookSave, WebhookState,
    WebhookStep, WebhookWriter, held_column, held_of,
};
use super::error::PgError;
use super::reader::PgReader;
use super::rows::{column, damaged, text};
use super::session::Session;
use super::trail;
use super::writer::PgWriter;
use crate::domain::EpochMs;

/// The columns that [`row`] reads, in its order.
const COLUMNS: &str = "name, owner, generation, orders_through, orders_held, sales_through, sales_held, failing_since_ms, \
     failures, failed_at_ms, failure, delivered_at_ms, next_try_ms, disabled_at_ms, disabled_why";

const ENTER: &str = "INSERT INTO webhooks (name, orders_through, sales_through) \
                     SELECT n, e.last_seq, t.last_seq FROM unnest($1::text[]) AS n, event_log e, trail_log t \
                     ON CONFLICT (name) DO NOTHING";
const CLAIM: &str = "UPDATE webhooks SET owner = $2, generation = generation + 1 WHERE name = ANY ($1)";
const ENDS: &str = "SELECT (SELECT last_seq FROM event_log), (SELECT last_seq FROM trail_log)";

impl WebhookWriter for PgWriter {
    fn step_webhooks(&mut self, step: &WebhookStep) -> Result<bool, StoreError> {
        match step {
            WebhookStep::Enter(names) => self.run(ENTER, &[names]).map(|()| true),
            WebhookStep::Claim { owner, names } => self.run(CLAIM, &[names, owner]).map(|()| true),
            WebhookStep::Save(saves) => self.in_transaction(async |session| {
                let mut all = true;
                // In one order, so that two engines that save never wait for each other in a ring.
                let mut saves: Vec<&WebhookSave> = saves.iter().collect();
                saves.sort_unstable_by_key(|save| save.name.as_str());
                let mut acts = Vec::new();
                for save in saves {
                    let is_current = lock(session, &save.name)
                        .await?
                        .is_some_and(|row| (row.owner, row.generation) == (save.owner, save.generation));
                    if is_current {
                        // What was left to be written before an act is not kept any more.
                        write(session, &save.name, &save.state, i64::from(save.act.is_some())).await?;
                        acts.extend(&save.act);
                    }
                    all &= is_current;
                }
                // The trail is numbered last of all that is locked.
                for act in acts {
                    trail::append(session, act).await?;
                }
                Ok(all)
            }),
            WebhookStep::Act(act) => self.in_transaction(async |session| carry_out(session, act).await),
        }
    }
}

async fn carry_out(session: &mut Session, wanted: &WebhookAct) -> Result<bool, PgError> {
    let Some(before) = lock(session, &wanted.name).await? else { return Ok(false) };
    let (state, act) = wanted.decide(&before.state);
    write(session, &wanted.name, &state, 1).await?;
    trail::append(session, &act).await?;
    Ok(true)
}

async fn lock(session: &mut Session, name: &str) -> Result<Option<WebhookRow>, PgError> {
    let select = format!("SELECT {COLUMNS} FROM webhooks WHERE name = $1 FOR UPDATE");
    session.row(&select, &[&name]).await?.as_ref().map(row).transpose()
}

/// Writes the state of an endpoint that is locked, and raises its generation by so much.
async fn write(
    session: &mut Session,
    name: &str,
    state: &WebhookState,
    generations: i64,
) -> Result<(), PgError> {
    let update = "UPDATE webhooks SET orders_through = $2, orders_held = $3, sales_through = $4, sales_held = $5, \
                  failing_since_ms = $6, failures = $7, failed_at_ms = $8, failure = $9, delivered_at_ms = $10, \
                  next_try_ms = $11, disabled_at_ms = $12, disabled_why = $13, generation = generation + $14 \
                  WHERE name = $1";
    let WebhookState { orders, sales, health, disabled } = state;
    let ms = |at: Option<EpochMs>| at.map(|at| at.0);
    let (orders_through, sales_through): (i64, i64) = (column(orders.through), column(sales.through));
    let (orders_held, sales_held) = (held_column(orders), held_column(sales));
    let failures = i64::from(health.failures);
    let failed_at = health.last_failure.as_ref().map(|(at, _)| at.0);
    let failure = health.last_failure.as_ref().map(|(_, why)| text(why));
    let disabled_at = disabled.as_ref().map(|(at, _)| at.0);
    let why = disabled.as_ref().map(|(_, why)| text(why));
    let (since, delivered, next) = (ms(health.failing_since), ms(health.last_delivery), ms(health.next_try));
    session
        .rows(
            update,
            &[
                &name,
                &orders_through,
                &orders_held,
                &sales_through,
                &sales_held,
                &since,
                &failures,
                &failed_at,
                &failure,
                &delivered,
                &next,
                &disabled_at,
                &why,
                &generations,
            ],
        )
        .await
        .map(drop)
}

impl WebhookReader for PgReader {
    fn webhooks(&self) -> Result<(Vec<WebhookRow>, LogEnds), StoreError> {
        let select = format!("SELECT {COLUMNS} FROM webhooks ORDER BY name");
        self.pool().run(async |session| {
            // The ends may be ahead of the rows: what is behind is read in a moment.
            let rows = session.rows(&select, &[]).await?.iter().map(row).collect::<Result<_, _>>()?;
            let ends = session.row(ENDS, &[]).await?.ok_or_else(|| damaged("no ends of the logs"))?;
            Ok((rows, LogEnds { orders: number(ends.try_get(0)?)?, sales: number(ends.try_get(1)?)? }))
        })
    }

    fn all_acts_after(&self, after: u64, limit: usize) -> Result<Vec<TrailEntry>, StoreError> {
        let (after, limit) =
            (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        self.pool().run_long(async |session| trail::read_all(session, after, limit).await)
    }
}

fn number(column: i64) -> Result<u64, PgError> {
    u64::try_from(column).map_err(damaged)
}

fn row(row: &Row) -> Result<WebhookRow, PgError> {
    let at = |place: usize| Ok::<_, PgError>(row.try_get::<_, Option<i64>>(place)?.map(EpochMs));
    let cursor = |place: usize| {
        let held =
            held_of(row.try_get(place + 1)?).ok_or_else(|| damaged("sales that are held of a webhook"))?;
        Ok::<_, PgError>(LogCursor { through: number(row.try_get(place)?)?, held })
    };
    let (failure, why): (Option<String>, Option<String>) = (row.try_get(10)?, row.try_get(14)?);
    let state = WebhookState {
        orders: cursor(3)?,
        sales: cursor(5)?,
        health: WebhookHealth {
            failing_since: at(7)?,
            failures: u32::try_from(row.try_get::<_, i64>(8)?).map_err(damaged)?,
            last_failure: at(9)?.zip(failure),
            last_delivery: at(11)?,
            next_try: at(12)?,
        },
        disabled: at(13)?.zip(why),
    };
    let (name, owner) = (row.try_get(0)?, row.try_get(1)?);
    Ok(WebhookRow { name, owner, generation: number(row.try_get(2)?)?, state })
}
