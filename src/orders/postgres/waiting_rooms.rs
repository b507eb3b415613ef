//! Waiting rooms, in rows. Each write comes to the same when it is done twice.

use tokio_postgres::Row;

use super::super::room_log::{RoomReader, RoomWriter};
use super::super::store::StoreError;
use super::super::trail::Act;
use super::error::PgError;
use super::reader::PgReader;
use super::retirement::DELETED;
use super::room_marks::{MARKS, marks, of_sales};
use super::rows::{column, damaged};
use super::session::{Parameter, Session};
use super::trail;
use super::writer::PgWriter;
use crate::domain::{DrawMix, EpochMs, Registration, RoomMarks, RoomMove, SaleId, Who};

const REGISTER: &str = "WITH new AS ( \
        INSERT INTO registrations (sale_id, joined_at_ms, who) \
        SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bytea[]) AS j (sale_id, joined_at_ms, who) \
        WHERE NOT EXISTS (SELECT FROM sales s WHERE s.sale_id = j.sale_id AND s.retired = 2) \
        ON CONFLICT DO NOTHING RETURNING sale_id \
    ) \
    INSERT INTO waiting_rooms AS r (sale_id, registered) \
    SELECT sale_id, count(*) FROM new GROUP BY sale_id ORDER BY sale_id \
    ON CONFLICT (sale_id) DO UPDATE SET registered = r.registered + excluded.registered";

const MOVE: &str = "INSERT INTO waiting_rooms AS r (sale_id, draw_mark, fifo_mark_ms, drawn_at_ms, drawn, admitted, \
                                  rate_per_s, absent_permille) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
    ON CONFLICT (sale_id) DO UPDATE SET draw_mark = greatest(r.draw_mark, excluded.draw_mark), \
        fifo_mark_ms = greatest(r.fifo_mark_ms, excluded.fifo_mark_ms), \
        drawn_at_ms = coalesce(r.drawn_at_ms, excluded.drawn_at_ms), drawn = greatest(r.drawn, excluded.drawn), \
        admitted = greatest(r.admitted, excluded.admitted), rate_per_s = excluded.rate_per_s, \
        absent_permille = excluded.absent_permille";

const DECIDE: &str = "INSERT INTO waiting_rooms AS r (sale_id, draw_mix) VALUES ($1, $2) \
    ON CONFLICT (sale_id) DO UPDATE SET draw_mix = excluded.draw_mix WHERE r.draw_mix IS NULL AND r.drawn_at_ms IS NULL \
    RETURNING sale_id";

/// Registrations first, then moves, and when neither is left what leads to them.
const FORGET: [&str; 2] = [
    "WITH gone AS (DELETE FROM registrations WHERE sale_id = $1 AND (joined_at_ms, who) IN \
        (SELECT joined_at_ms, who FROM registrations WHERE sale_id = $1 ORDER BY joined_at_ms, who LIMIT $2) RETURNING 1) \
     SELECT count(*) FROM gone",
    "WITH gone AS (DELETE FROM room_moves WHERE sale_id = $1 AND at_ms IN \
        (SELECT at_ms FROM room_moves WHERE sale_id = $1 ORDER BY at_ms LIMIT $2) RETURNING 1) SELECT count(*) FROM gone",
];

impl RoomWriter for PgWriter {
    fn register(&mut self, registrations: &[Registration]) -> Result<(), StoreError> {
        let sales: Vec<i32> = registrations.iter().map(|registration| column(registration.sale.0)).collect();
        let joined: Vec<i64> = registrations.iter().map(|registration| registration.joined_at.0).collect();
        let who: Vec<&[u8]> = registrations.iter().map(|registration| &registration.who[..]).collect();
        self.run(REGISTER, &[&sales, &joined, &who])
    }

    fn move_room(&mut self, moved: &RoomMove) -> Result<(), StoreError> {
        let RoomMove { sale, at, marks } = moved;
        let sale: i32 = column(sale.0);
        let (draw_mark, drawn, admitted): (i64, i64, i64) =
            (column(marks.draw_mark), column(marks.drawn), column(marks.admitted));
        let (rate_per_s, absent): (i32, i32) = (column(marks.rate_per_s), column(marks.absent_permille));
        let (fifo_mark, drawn_at) = (marks.fifo_mark.0, marks.drawn_at.map(|at| at.0));
        // Behind the last one, also where that was made by a clock that is ahead. One that came to nothing is none. In a statement
        // after the one that holds the room's row: it sees the move of whoever held it before.
        let tell = format!(
            "INSERT INTO room_moves (sale_id, at_ms, {MARKS}) \
             SELECT $1::integer, greatest($2::bigint, (SELECT max(at_ms) + 1 FROM room_moves WHERE sale_id = $1::integer)), \
                 {MARKS} FROM ( \
                 SELECT {MARKS} FROM waiting_rooms WHERE sale_id = $1::integer EXCEPT SELECT {MARKS} FROM ( \
                     SELECT {MARKS} FROM room_moves WHERE sale_id = $1::integer ORDER BY at_ms DESC LIMIT 1 \
                 ) AS last \
             ) AS moved"
        );
        self.in_transaction(async |session| {
            let moved: [Parameter<'_>; 8] =
                [&sale, &draw_mark, &fifo_mark, &drawn_at, &drawn, &admitted, &rate_per_s, &absent];
            session.rows(MOVE, &moved).await?;
            session.rows(&tell, &[&sale, &at.0]).await?;
            Ok(())
        })
    }

    fn decide_mix(
        &mut self,
        sale: SaleId,
        mix: &DrawMix,
        act: Option<&Act>,
    ) -> Result<Option<DrawMix>, StoreError> {
        let (sale, bytes): (i32, &[u8]) = (column(sale.0), mix.bytes());
        self.in_transaction(async |session| {
            let decided = session.row(DECIDE, &[&sale, &bytes]).await?.is_some();
            let stored = "SELECT draw_mix FROM waiting_rooms WHERE sale_id = $1";
            let row = session.row(stored, &[&sale]).await?.ok_or_else(|| damaged("no waiting room"))?;
            if let Some(act) = act.filter(|_| decided) {
                trail::append(session, act).await?;
            }
            Ok(row.try_get::<_, Option<&[u8]>>(0)?.and_then(DrawMix::of_bytes))
        })
    }

    fn forget_rooms(&mut self, max: usize) -> Result<usize, StoreError> {
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        self.in_transaction(async |session| {
            let left = format!(
                "SELECT w.sale_id FROM waiting_rooms w JOIN sales s USING (sale_id) WHERE s.retired = {DELETED} \
                 LIMIT 1 FOR UPDATE OF w SKIP LOCKED"
            );
            let Some(row) = session.row(&left, &[]).await? else { return Ok(0) };
            let sale: i32 = row.try_get(0)?;
            for forget in FORGET {
                let gone = session.row(forget, &[&sale, &limit]).await?;
                let gone = gone.map_or(Ok(0), |row| row.try_get::<_, i64>(0))?;
                if gone > 0 {
                    return Ok(usize::try_from(gone).unwrap_or(usize::MAX));
                }
            }
            session.rows("DELETE FROM waiting_rooms WHERE sale_id = $1", &[&sale]).await?;
            Ok(1)
        })
    }
}

impl RoomReader for PgReader {
    fn room_marks(&self, sales: &[SaleId]) -> Result<Vec<(SaleId, RoomMarks)>, StoreError> {
        self.pool().run(async |session| of_sales(session, sales).await)
    }

    fn registrations(
        &self,
        sale: SaleId,
        after: Option<(EpochMs, Who)>,
        limit: usize,
    ) -> Result<Vec<Registration>, StoreError> {
        let select = "SELECT joined_at_ms, who FROM registrations WHERE sale_id = $1 AND (joined_at_ms, who) > ($2, $3) \
                      ORDER BY joined_at_ms, who LIMIT $4";
        let (number, limit): (i32, i64) = (column(sale.0), i64::try_from(limit).unwrap_or(i64::MAX));
        // Before every time, and every name.
        let joined_at = after.map_or(i64::MIN, |(joined_at, _)| joined_at.0);
        let who = after.as_ref().map_or(&[][..], |(_, who)| &who[..]);
        self.pool().run_long(async |session| {
            let found = session.rows(select, &[&number, &joined_at, &who, &limit]).await?;
            found.iter().map(|row| registration(sale, row)).collect()
        })
    }

    fn room_moves(&self, sale: SaleId, after: EpochMs, limit: usize) -> Result<Vec<RoomMove>, StoreError> {
        let select = format!(
            "SELECT {MARKS}, at_ms FROM room_moves WHERE sale_id = $1 AND at_ms > $2 ORDER BY at_ms LIMIT $3"
        );
        let (number, limit): (i32, i64) = (column(sale.0), i64::try_from(limit).unwrap_or(i64::MAX));
        self.pool().run_long(async |session| {
            let found = session.rows(&select, &[&number, &after.0, &limit]).await?;
            let moved = |row: &Row| Ok(RoomMove { sale, at: EpochMs(row.try_get(8)?), marks: marks(row)? });
            found.iter().map(moved).collect()
        })
    }

    fn pass_secret(&self) -> Result<Vec<u8>, StoreError> {
        self.pool().run(async |session: &mut Session| {
            let row = session.row("SELECT secret FROM pass_secret", &[]).await?;
            Ok(row.ok_or_else(|| damaged("no secret of the passes"))?.try_get(0)?)
        })
    }
}

fn registration(sale: SaleId, row: &Row) -> Result<Registration, PgError> {
    let who: &[u8] = row.try_get(1)?;
    let who = who.try_into().map_err(|_| damaged("no name of 16 bytes"))?;
    Ok(Registration { sale, joined_at: EpochMs(row.try_get(0)?), who })
}
