//! The event log in rows: one block a commit and kind.

use rusqlite::{Transaction, params};

use super::super::events::EventKind;
use super::super::store::{Batch, StoreError};
use super::super::transition::{Applied, Transition};
use crate::domain::EpochMs;

/// The end of the event log within one transaction.
pub(super) struct EventLog<'a> {
    pub transaction: &'a Transaction<'a>,
    /// The number of the last event.
    pub last_seq: u64,
}

impl EventLog<'_> {
    /// Appends what the batch did, one block a kind; of refunds, one a number.
    pub fn append(&mut self, batch: &Batch, applied: &[Applied]) -> Result<(), StoreError> {
        if let Some(last) = batch.placed.last() {
            let orders = batch.placed.iter().map(|order| order.id.number());
            self.append_block(EventKind::Created.block_code(0), last.created_at, orders)?;
        }
        let told = |(step, applied): (&Transition, &Applied)| match applied {
            Applied::Done(order) => {
                let kind = EventKind::of(step.action)?;
                Some((kind.block_code(order.refunds.begun), step.at, step.order.number()))
            }
            Applied::Refused(_) | Applied::UnknownOrder => None,
        };
        let mut told: Vec<_> = batch.transitions.iter().zip(applied).filter_map(told).collect();
        // Stable: what is of one code stays in its order.
        told.sort_by_key(|(code, ..)| *code);
        for of_code in told.chunk_by(|one, next| one.0 == next.0) {
            let (code, at, _) = of_code[of_code.len() - 1];
            self.append_block(code, at, of_code.iter().map(|(.., order)| *order))?;
        }
        Ok(())
    }

    /// Appends one block.
    pub fn append_block(
        &mut self,
        code: u16,
        at: EpochMs,
        orders: impl Iterator<Item = u64>,
    ) -> Result<(), StoreError> {
        let order_ids: Vec<u8> = orders.flat_map(u64::to_be_bytes).collect();
        self.last_seq += (order_ids.len() / size_of::<u64>()) as u64;
        self.transaction
            .prepare_cached(
                "INSERT INTO event_blocks (last_seq, kind, at_ms, order_ids) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![self.last_seq, code, at.0, order_ids])?;
        Ok(())
    }
}
