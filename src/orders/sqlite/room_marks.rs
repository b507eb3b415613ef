//! The marks of a waiting room, as a row has them.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::domain::{DrawMix, EpochMs, RoomMarks, SaleId};

/// The columns that [`marks`] reads, in its order.
pub const MARKS: &str =
    "draw_mark, fifo_mark_ms, drawn_at_ms, drawn, admitted, registered, rate_per_s, absent_permille";

/// How far the room of a sale has come, if it has.
pub fn of_sale(connection: &Connection, sale: SaleId) -> rusqlite::Result<Option<RoomMarks>> {
    let select = format!("SELECT {MARKS}, draw_mix FROM waiting_rooms WHERE sale_id = ?");
    let with_mix = |row: &Row<'_>| {
        let mix = row.get_ref(8)?.as_blob_or_null()?.and_then(DrawMix::of_bytes);
        Ok(RoomMarks { mix, ..marks(row)? })
    };
    connection.prepare_cached(&select)?.query_row([sale.0], with_mix).optional()
}

/// Reads [`MARKS`], without what the draw is mixed with.
pub fn marks(row: &Row<'_>) -> rusqlite::Result<RoomMarks> {
    Ok(RoomMarks {
        draw_mark: row.get(0)?,
        fifo_mark: EpochMs(row.get(1)?),
        drawn_at: row.get::<_, Option<i64>>(2)?.map(EpochMs),
        drawn: row.get(3)?,
        admitted: row.get(4)?,
        registered: row.get(5)?,
        rate_per_s: row.get(6)?,
        absent_permille: row.get(7)?,
        mix: None,
    })
}
