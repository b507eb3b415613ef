//! Waiting rooms, in rows.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::super::room_log::{RoomReader, RoomWriter};
use super::super::store::StoreError;
use super::connection::damaged;
use super::reader::SqliteReader;
use super::writer::SqliteWriter;
use crate::domain::{EpochMs, Registration, RoomMarks, RoomMove, SaleId, Who};

/// The columns that [`marks`] reads, in its order.
const MARKS: &str =
    "draw_mark, fifo_mark_ms, drawn_at_ms, drawn, admitted, registered, rate_per_s, absent_permille";

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
}

/// Inserts those that are new, and counts them.
fn insert(transaction: &Transaction<'_>, registrations: &[Registration]) -> Result<(), StoreError> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO registrations (sale_id, joined_at_ms, who) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    )?;
    let mut new: Vec<(SaleId, usize)> = Vec::new();
    for Registration { sale, joined_at, who } in registrations {
        let inserted = insert.execute(params![sale.0, joined_at.0, who])?;
        // A batch is of one sale, or of a few: a short list beats a map.
        match new.iter_mut().find(|(known, _)| known == sale) {
            Some((_, count)) => *count += inserted,
            None => new.push((*sale, inserted)),
        }
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
    transaction
        .prepare_cached(&format!(
            "INSERT INTO room_moves (sale_id, at_ms, {MARKS}) \
             SELECT sale_id, ?2, {MARKS} FROM waiting_rooms WHERE sale_id = ?1 ON CONFLICT DO NOTHING"
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

fn of_sale(connection: &Connection, sale: SaleId) -> Result<Option<RoomMarks>, StoreError> {
    let select = format!("SELECT {MARKS} FROM waiting_rooms WHERE sale_id = ?");
    Ok(connection.prepare_cached(&select)?.query_row([sale.0], marks).optional()?)
}

fn marks(row: &Row<'_>) -> rusqlite::Result<RoomMarks> {
    Ok(RoomMarks {
        draw_mark: row.get(0)?,
        fifo_mark: EpochMs(row.get(1)?),
        drawn_at: row.get::<_, Option<i64>>(2)?.map(EpochMs),
        drawn: row.get(3)?,
        admitted: row.get(4)?,
        registered: row.get(5)?,
        rate_per_s: row.get(6)?,
        absent_permille: row.get(7)?,
    })
}
