//! The event log in rows: one block a commit and kind.

use rusqlite::{Transaction, params};

use super::super::events::EventKind;
use super::super::store::{Batch, StoreError};
use super::super::transition::Applied;
use crate::domain::EpochMs;

/// The end of the event log within one transaction.
pub(super) struct EventLog<'a> {
    pub transaction: &'a Transaction<'a>,
    /// The number of the last event.
    pub last_seq: u64,
}

impl EventLog<'_> {
    /// Appends what the batch did, one block a kind.
    pub fn append(&mut self, batch: &Batch, applied: &[Applied]) -> Result<(), StoreError> {
        if let Some(last) = batch.placed.last() {
            let orders = batch.placed.iter().map(|order| order.id.number());
            self.append_block(EventKind::Created, last.created_at, orders)?;
        }
        for kind in EventKind::ALL {
            let of_kind: Vec<_> = batch
                .transitions
                .iter()
                .zip(applied)
                .filter(|(transition, applied)| {
                    EventKind::of(transition.action) == Some(kind) && matches!(applied, Applied::Done(_))
                })
                .map(|(transition, _)| transition)
                .collect();
            if let Some(last) = of_kind.last() {
                let orders = of_kind.iter().map(|transition| transition.order.number());
                self.append_block(kind, last.at, orders)?;
            }
        }
        Ok(())
    }

    /// Appends one block.
    pub fn append_block(
        &mut self,
        kind: EventKind,
        at: EpochMs,
        orders: impl Iterator<Item = u64>,
    ) -> Result<(), StoreError> {
        let order_ids: Vec<u8> = orders.flat_map(u64::to_be_bytes).collect();
        self.last_seq += (order_ids.len() / size_of::<u64>()) as u64;
        self.transaction
            .prepare_cached(
                "INSERT INTO event_blocks (last_seq, kind, at_ms, order_ids) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![self.last_seq, kind.code(), at.0, order_ids])?;
        Ok(())
    }
}
