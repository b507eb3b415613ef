//! The marks of a waiting room, as a row has them.

use tokio_postgres::Row;

use super::error::PgError;
use super::rows::{column, damaged, whole};
use super::session::Session;
use crate::domain::{DrawMix, EpochMs, RoomMarks, SaleId};

/// The columns that [`marks`] reads, in its order.
pub const MARKS: &str =
    "draw_mark, fifo_mark_ms, drawn_at_ms, drawn, admitted, registered, rate_per_s, absent_permille";

/// How far the rooms of these sales have come, as far as they have.
pub async fn of_sales(session: &mut Session, sales: &[SaleId]) -> Result<Vec<(SaleId, RoomMarks)>, PgError> {
    let select = format!("SELECT {MARKS}, sale_id, draw_mix FROM waiting_rooms WHERE sale_id = ANY ($1)");
    let sales: Vec<i32> = sales.iter().map(|sale| column(sale.0)).collect();
    let room = |row: &Row| {
        let mix = row.try_get::<_, Option<&[u8]>>(9)?.and_then(DrawMix::of_bytes);
        Ok((SaleId(whole(row.try_get(8)?)?), RoomMarks { mix, ..marks(row)? }))
    };
    session.rows(&select, &[&sales]).await?.iter().map(room).collect()
}

/// Reads [`MARKS`], without what the draw is mixed with.
pub fn marks(row: &Row) -> Result<RoomMarks, PgError> {
    let count = |place| u64::try_from(row.try_get::<_, i64>(place)?).map_err(damaged);
    Ok(RoomMarks {
        draw_mark: count(0)?,
        fifo_mark: EpochMs(row.try_get(1)?),
        drawn_at: row.try_get::<_, Option<i64>>(2)?.map(EpochMs),
        drawn: count(3)?,
        admitted: count(4)?,
        registered: count(5)?,
        rate_per_s: whole(row.try_get(6)?)?,
        absent_permille: whole(row.try_get(7)?)?,
        mix: None,
    })
}
