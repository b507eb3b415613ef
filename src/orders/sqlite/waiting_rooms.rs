//! Waiting rooms, in rows.

use rusqlite::{OptionalExtension, Transaction, params};

use super::super::room_log::{RoomReader, RoomWriter};
use super::super::store::StoreError;
use super::super::trail::Act;
use super::connection::damaged;
use super::reader::SqliteReader;
use super::room_marks::{MARKS, marks, of_sale};
use super::trail;
use super::writer::SqliteWriter;
use crate::domain::{DrawMix, EpochMs, Registration, RoomMarks, RoomMove, SaleId, Who};

/// Pages that registrations write, at least: so many rows find place in one.
const REGISTRATIONS_A_PAGE: usize = 64;
const FEW_PAGES: u32 = 16;

impl RoomWriter for SqliteWriter {
    fn register(&mut self, registrations: &[Registration]) -> Result<(), StoreError> {
        let pages = registrations.len().div_ceil(REGISTRATIONS_A_PAGE);
        let pages = FEW_PAGES + u32::try_from(pages).unwrap_or(u32::MAX - FEW_PAGES);
        self.write(pages, |transaction| insert(transaction, registrations))
    }

    fn move_room(&mut self, moved: &RoomMove) -> Result<(), StoreError> {
        self.write(FEW_PAGES, |transaction| move_marks(transaction, moved))
    }

    fn decide_mix(
        &mut self,
        sale: SaleId,
        mix: &DrawMix,
        act: Option<&Act>,
    ) -> Result<Option<DrawMix>, StoreError> {
        self.write(FEW_PAGES, |transaction| {
            let decided = transaction
                .prepare_cached(
                    "INSERT INTO waiting_rooms (sale_id, draw_mix) VALUES (?1, ?2) \
                     ON CONFLICT DO UPDATE SET draw_mix = ?2 WHERE draw_mix IS NULL AND drawn_at_ms IS NULL",
                )?
                .execute(params![sale.0, mix.bytes()])?;
            if let Some(act) = act.filter(|_| decided > 0) {
                trail::append(transaction, act)?;
            }
            Ok(of_sale(transaction, sale)?.and_then(|marks| marks.mix))
        })
    }

    fn forget_rooms(&mut self, max: usize) -> Result<usize, StoreError> {
        let pages = FEW_PAGES + u32::try_from(max / REGISTRATIONS_A_PAGE).unwrap_or(u32::MAX - FEW_PAGES);
        self.write(pages, |transaction| forget(transaction, max))
    }
}

/// Inserts those that are new, and counts them.
fn insert(transaction: &Transaction<'_>, registrations: &[Registration]) -> Result<(), StoreError> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO registrations (sale_id, joined_at_ms, who) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    )?;
    let mut new: Vec<(SaleId, usize)> = Vec::new();
    let mut deleted = transaction.prepare_cached("SELECT retired = 2 FROM sales WHERE sale_id = ?")?;
    let mut gone: Vec<SaleId> = Vec::new();
    for Registration { sale, joined_at, who } in registrations {
        // A batch is of one sale, or of a few: a short list beats a map.
        let place = match new.iter().position(|(known, _)| known == sale) {
            Some(place) => place,
            None if gone.contains(sale) => continue,
            None if deleted.query_row([sale.0], |row| row.get(0)).optional()?.unwrap_or(false) => {
                gone.push(*sale);
                continue;
            }
            None => {
                new.push((*sale, 0));
                new.len() - 1
            }
        };
        new[place].1 += insert.execute(params![sale.0, joined_at.0, who])?;
    }
    let mut count = transaction.prepare_cached(
        "INSERT INTO waiting_rooms (sale_id, registered) VALUES (?1, ?2) \
         ON CONFLICT DO UPDATE SET registered = registered + ?2",
    )?;
    for (sale, registered) in new {
        count.execute(params![sale.0, registered])?;
    }
    Ok(())
}

/// Forgets rows of the room of a deleted sale: its registrations first, then its moves, and when neither is left what leads to them.
fn forget(transaction: &Transaction<'_>, max: usize) -> Result<usize, StoreError> {
    let left =
        "SELECT w.sale_id FROM waiting_rooms w JOIN sales s USING (sale_id) WHERE s.retired = 2 LIMIT 1";
    let left: Option<u32> = transaction.prepare_cached(left)?.query_row([], |row| row.get(0)).optional()?;
    let Some(sale) = left else { return Ok(0) };
    let limit = i64::try_from(max).unwrap_or(i64::MAX);
    for delete in [
        "DELETE FROM registrations WHERE sale_id = ?1 AND (joined_at_ms, who) IN \
         (SELECT joined_at_ms, who FROM registrations WHERE sale_id = ?1 ORDER BY joined_at_ms, who LIMIT ?2)",
        "DELETE FROM room_moves WHERE sale_id = ?1 AND at_ms IN \
         (SELECT at_ms FROM room_moves WHERE sale_id = ?1 ORDER BY at_ms LIMIT ?2)",
    ] {
        let gone = transaction.prepare_cached(delete)?.execute(params![sale, limit])?;
        if gone > 0 {
            return Ok(gone);
        }
    }
    Ok(transaction.prepare_cached("DELETE FROM waiting_rooms WHERE sale_id = ?")?.execute([sale])?)
}

fn move_marks(transaction: &Transaction<'_>, moved: &RoomMove) -> Result<(), StoreError> {
    let RoomMove { sale, at, marks } = moved;
    transaction
        .prepare_cached(
            "INSERT INTO waiting_rooms (sale_id, draw_mark, fifo_mark_ms, drawn_at_ms, drawn, admitted, rate_per_s, \
             absent_permille) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET \
             draw_mark = max(draw_mark, ?2), fifo_mark_ms = max(fifo_mark_ms, ?3), \
             drawn_at_ms = coalesce(drawn_at_ms, ?4), drawn = max(drawn, ?5), admitted = max(admitted, ?6), \
             rate_per_s = ?7, absent_permille = ?8",
        )?
        .execute(params![
            sale.0,
            marks.draw_mark,
            marks.fifo_mark.0,
            marks.drawn_at.map(|at| at.0),
            marks.drawn,
            marks.admitted,
            marks.rate_per_s,
            marks.absent_permille,
        ])?;
    // Behind the last one, also where that was made by a clock that is ahead. One that came to nothing is none.
    transaction
        .prepare_cached(&format!(
            "INSERT INTO room_moves (sale_id, at_ms, {MARKS}) \
             SELECT ?1, max(?2, coalesce((SELECT max(at_ms) + 1 FROM room_moves WHERE sale_id = ?1), ?2)), {MARKS} FROM ( \
                 SELECT {MARKS} FROM waiting_rooms WHERE sale_id = ?1 EXCEPT SELECT {MARKS} FROM ( \
                     SELECT {MARKS} FROM room_moves WHERE sale_id = ?1 ORDER BY at_ms DESC LIMIT 1))"
        ))?
        .execute(params![sale.0, at.0])?;
    Ok(())
}

impl RoomReader for SqliteReader {
    fn room_marks(&self, sales: &[SaleId]) -> Result<Vec<(SaleId, RoomMarks)>, StoreError> {
        self.read(|connection| {
            let mut found = Vec::with_capacity(sales.len());
            for sale in sales {
                found.extend(of_sale(connection, *sale)?.map(|marks| (*sale, marks)));
            }
            Ok(found)
        })
    }

    fn registrations(
        &self,
        sale: SaleId,
        after: Option<(EpochMs, Who)>,
        limit: usize,
    ) -> Result<Vec<Registration>, StoreError> {
        // Before every time, and every name.
        let joined_at = after.map_or(i64::MIN, |(joined_at, _)| joined_at.0);
        let who = after.as_ref().map_or(&[][..], |(_, who)| &who[..]);
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT joined_at_ms, who FROM registrations WHERE sale_id = ?1 AND (joined_at_ms, who) > (?2, ?3) \
                 ORDER BY joined_at_ms, who LIMIT ?4",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![sale.0, joined_at, who, limit], |row| {
                Ok(Registration { sale, joined_at: EpochMs(row.get(0)?), who: row.get(1)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn room_moves(&self, sale: SaleId, after: EpochMs, limit: usize) -> Result<Vec<RoomMove>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {MARKS}, at_ms FROM room_moves WHERE sale_id = ?1 AND at_ms > ?2 ORDER BY at_ms LIMIT ?3"
            ))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![sale.0, after.0, limit], |row| {
                Ok(RoomMove { sale, at: EpochMs(row.get(8)?), marks: marks(row)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn pass_secret(&self) -> Result<Vec<u8>, StoreError> {
        self.read(|connection| {
            let found: Option<Vec<u8>> =
                connection.query_row("SELECT secret FROM pass_secret", [], |row| row.get(0)).optional()?;
            found.ok_or_else(|| damaged("no secret of the passes"))
        })
    }
}
